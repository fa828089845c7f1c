"""The engines ``cuda`` and ``cuda-fp16``: an autoregressive WaveNet in one kernel."""

from collections.abc import Iterator
from typing import Literal

import torch
import triton
from torch import Tensor

from audioflow.distributions import OutputLaw
from audioflow.nets.conditioning import Conditioning
from audioflow.nets.wavenet import CausalWaveNet
from audioflow.sampling.autoregressive import Progress, check_groups
from audioflow.sampling.cuda import kernel
from audioflow.sampling.cuda.conditioning import shares
from audioflow.sampling.cuda.weights import Sizes, Weights, power_of_two, sizes_of, weights_of
from audioflow.sampling.law_numbers import law_numbers, prepared_noise

Precision = Literal["float32", "float16"]
PARTS = {"float32": 2, "float16": 1}
LEAST_MEMORY = 99 * 1024
"""Bytes that a multiprocessor of compute capability 8.0 or higher has for a program at least."""
WARPS = 8
"""Groups of 32 threads of a program: each has eight of 64 channels, the fewest that a matrix unit takes."""


@torch.inference_mode()
def sample_cuda(
    network: CausalWaveNet,
    law: OutputLaw,
    cond: Conditioning,
    level: Tensor,
    noise: Tensor,
    *,
    speaker: Tensor | None = None,
    temperature: float = 1.0,
    preemphasis: float = 0.0,
    limit: float = 1.0,
    progress: Progress | None = None,
    precision: Precision = "float32",
) -> Tensor:
    """See :class:`audioflow.sampling.Engine`. It works in float32, whatever the dtype of the noise.

    Args:
        network: see :class:`audioflow.sampling.Engine`, as all but the last.
        law: Gaussian, a mixture of Gaussians or of logistics, or mu-law; a group of samples of all but those on grids.
        cond: conditioning.
        level: log standard deviation.
        noise: standard normal.
        speaker: embeddings.
        temperature: of the law.
        preemphasis: coefficient.
        limit: what samples are clamped to.
        progress: told of samples done.
        precision: of the gated layers; ``float16`` multiplies numbers of 16 bits, and adds in float32 all the same.

    Raises:
        TypeError: the kernel does not know the law.
        ValueError: the network is wider than the kernel can work with, or makes groups with pre-emphasis.
    """
    batch, _, steps = noise.shape
    samples = law.sample_channels
    options = {"temperature": temperature, "preemphasis": preemphasis, "limit": limit, "precision": precision}
    sampler = CudaSampler(network, law, batch, speaker=speaker, **options)  # type: ignore[arg-type]
    made = []
    for piece in sampler.draw(cond, level.expand(batch, -1, steps), noise):
        made.append(piece)
        if progress is not None:
            # Blocks are queued: to count those that are done one has to wait for them.
            piece[:, -1].cpu()
            progress(piece.shape[1] // samples)
    return torch.cat(made, dim=1).to(noise.dtype).view(batch, steps, samples).transpose(1, 2)


class CudaSampler:
    """Draws from a WaveNet and remembers where it is, so that an utterance can be made stretch by stretch.

    Args:
        network: see :class:`audioflow.sampling.Engine`.
        law: see there.
        batch: utterances.
        speaker: see there.
        temperature: see there.
        preemphasis: see there.
        limit: see there.
        precision: see :func:`sample_cuda`.

    Raises:
        TypeError: the kernel does not know the law.
        ValueError: the network is wider than the kernel can work with, or makes groups with pre-emphasis.
    """

    def __init__(
        self,
        network: CausalWaveNet,
        law: OutputLaw,
        batch: int,
        *,
        speaker: Tensor | None = None,
        temperature: float = 1.0,
        preemphasis: float = 0.0,
        limit: float = 1.0,
        precision: Precision = "float32",
    ) -> None:
        check_groups(law, preemphasis)
        self._network, self._law, self._speaker, self._batch = network, law, speaker, batch
        self._sizes = sizes = sizes_of(network, law, PARTS[precision])
        self._weights: Weights = weights_of(network, law, sizes)
        self._numbers = numbers = law_numbers(law, temperature)
        self._preemphasis, self._limit = float(preemphasis), float(limit)
        like = self._weights.skip_bias
        self._edges = torch.as_tensor(numbers.edges).to(like)
        silent = (numbers.components - 1) // 2 if numbers.one_hot else 0.0
        self._seen = like.new_full((sizes.window, batch), silent)
        self._before = like.new_zeros(1, batch)
        self._room = like.new_empty((batch, sizes.width) if sizes.samples > 1 else 1)
        self._rings = like.new_zeros(sizes.slots, batch, sizes.parts, sizes.channels, dtype=torch.float16)
        self._step = 0

    def draw(self, cond: Conditioning | None, level: Tensor, noise: Tensor, first: int = 0) -> Iterator[Tensor]:
        """See :meth:`audioflow.sampling.Sampler.draw`.

        Raises:
            ValueError: the shapes do not fit together.
        """
        batch, steps = level.shape[0], level.shape[-1]
        if batch != self._batch or noise.shape != (batch, self._law.noise_channels, steps):
            raise ValueError(f"noise {list(noise.shape)} and level {list(level.shape)} do not fit the sampler")
        # In order of time.
        given = torch.stack([number.flatten(1).t() for number in prepared_noise(self._law, noise)])
        levels = level[:, 0].float().t()
        blocks = shares(self._network, self._sizes, cond, self._speaker, batch, steps, first)
        samples = self._sizes.samples
        for start, stop, share in blocks:
            own = given[:, start * samples : stop * samples]
            yield self._run(share, levels[start:stop].contiguous(), own.contiguous())

    def _run(self, share: Tensor, level: Tensor, noise: Tensor) -> Tensor:
        """A block ``[B, n * r]``; ``share`` see :func:`shares`, ``level [n, B]``, ``noise [2, n * r, B]``."""
        sizes, weights, numbers = self._sizes, self._weights, self._numbers
        steps, batch = level.shape
        share = share.contiguous()
        row = share.shape[-1]
        made = level.new_empty(steps * sizes.samples, batch)
        seen, audio = torch.cat([self._seen, made]), torch.cat([self._before, made])
        each = utterances_of_a_program(batch, level.device)
        kernel.sample[(-(-batch // each),)](
            seen,
            audio,
            share,
            level,
            noise,
            self._rings,
            weights.conv,
            weights.out,
            weights.residual_bias,
            weights.skip_bias,
            weights.front,
            weights.front_bias,
            weights.hidden,
            weights.hidden_bias,
            weights.end,
            weights.end_bias,
            weights.linear,
            weights.made_in,
            weights.made_out,
            self._room,
            self._edges,
            self._step,
            steps,
            batch,
            each,
            sizes.layers,
            batch * row if len(share) > 1 else 0,
            2 * sizes.gates,
            row,
            weights.residual_scale,
            weights.skip_scale,
            self._preemphasis,
            self._limit,
            numbers.temperature,
            numbers.min_log_scale,
            CYCLE=sizes.cycle,
            TAPS=sizes.taps,
            C=sizes.channels,
            G=sizes.gates,
            P=sizes.params,
            R=sizes.samples,
            S=power_of_two(sizes.samples),
            K=sizes.numbers,
            H=sizes.units,
            WIDTH=sizes.width,
            WINDOW=sizes.window,
            FRONT_TAPS=sizes.front_taps,
            LINEAR_TAPS=sizes.linear_taps,
            FRONT_RELU=sizes.front_relu,
            LAW=numbers.kind,
            COMPONENTS=numbers.components,
            ONE_HOT=numbers.one_hot,
            PARTS=sizes.parts,
            STAGES=stages_of(sizes, level.device),
            QUICK=level.is_cuda,
            num_warps=WARPS,
        )
        self._step += steps
        self._seen, self._before = seen[-sizes.window :].clone(), audio[-1:].clone()
        return audio[1:].t()


def check(network: CausalWaveNet, law: OutputLaw) -> None:
    """See whether the kernel can work with a network, where it is, and with a law.

    Raises:
        ValueError: it cannot.
    """
    try:
        law_numbers(law, 1.0)
    except TypeError as error:
        raise ValueError(str(error)) from error
    device = network.end.weight.device
    if device.type == "cuda" and (torch.version.cuda is None or torch.cuda.get_device_capability(device) < (8, 0)):
        raise ValueError("the GPU is no NVIDIA GPU of compute capability 8.0 or higher")
    sizes_of(network, law, PARTS["float32"])


def stages_of(sizes: Sizes, device: torch.device) -> int:
    """Layers whose weights are under way at a time, and one, as many as a device has room for."""
    own_memory = LEAST_MEMORY
    if device.type == "cuda":
        number = torch.cuda.current_device() if device.index is None else device.index
        own_memory = triton.runtime.driver.active.utils.get_device_properties(number)["max_shared_mem"]
    return sizes.stages(own_memory)


def utterances_of_a_program(batch: int, device: torch.device) -> int:
    """As few as can be: every multiprocessor has its own way to the weights."""
    return min(int(kernel.ROWS.value), max(1, -(-batch // _programs(device))))


def _programs(device: torch.device) -> int:
    """Programs that run at the same time: one on each multiprocessor."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 2
