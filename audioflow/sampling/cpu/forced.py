"""What a network says in the compiled loop of given samples: how far its weights' precision takes it from the rest."""

from typing import Any

import torch
from torch import Tensor

from audioflow.distributions import OutputLaw
from audioflow.nets.conditioning import Conditioning
from audioflow.nets.group_head import GroupLaw
from audioflow.nets.wavenet import CausalWaveNet
from audioflow.sampling.autoregressive import Precision
from audioflow.sampling.cpu.engine import CpuSampler
from audioflow.sampling.cpu.group_weights import columns_of_triangle


@torch.inference_mode()
def outputs_given(
    network: CausalWaveNet,
    law: OutputLaw,
    cond: Conditioning,
    level: Tensor,
    x: Tensor,
    precision: Precision,
    **options: Any,
) -> Tensor:
    """What the loop gives the law at each step, when the samples before it are those of ``x``: ``[B, P, T]``, float32.

    It is to :meth:`CausalWaveNet.forward` what an engine is to sampling, and its likelihood is that of the engine's
    model. It goes step by step from Python, a tenth of a millisecond each.

    Args:
        network: see :class:`audioflow.sampling.Engine`.
        law: see there.
        cond: see there.
        level: see there.
        x: samples ``[B, S, T]``.
        precision: of the gated layers' weights.
        options: of :class:`CpuSampler`.

    Raises:
        ValueError: the law has hidden units, whose first layer the loop works out together with the network's last, or
            the network sees classes.
    """
    batch, samples, steps = x.shape
    if (isinstance(law, GroupLaw) and law.made is not None) or law.input_channels > samples:
        raise ValueError("of this law the loop has no outputs like the network's")
    features = cond.samples()
    seen = law.network_input(x, level.expand(batch, -1, steps)).float().numpy()
    sampler = CpuSampler(network, law, batch, precision=precision, **options)
    silence = torch.zeros(batch, law.noise_channels, 1)
    made = torch.empty(batch, law.parameter_channels, steps)
    for t in range(steps):
        here = Conditioning(features[..., t : t + 1])
        for _ in sampler.draw(here, level[..., t : t + 1].expand(batch, -1, 1), silence):
            # What it drew is replaced by what was there.
            made[..., t] = torch.from_numpy(sampler.outputs(seen[..., t]))
    if samples > 1:
        own, columns = law.parameter_channels - samples * (samples - 1) // 2, columns_of_triangle(samples)
        made[:, own + torch.from_numpy(columns)] = made[:, own:].clone()
    return made
