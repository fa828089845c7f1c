"""What is added to a WaveNet's gates at all times alike."""

import torch
from torch import Tensor
from torch.nn import functional

from audioflow.nets.conditioning import Conditioning
from audioflow.nets.masked_convolution import bias_of
from audioflow.nets.masks import full_precision
from audioflow.nets.wavenet import CausalWaveNet


def steady_sums(network: CausalWaveNet, cond: Conditioning | None, speaker: Tensor | None, batch: int) -> Tensor:
    """Biases of each layer's convolution and conditioning, and what the speaker adds: ``[B, L, 2 * gate_channels]``.

    Args:
        network: whose.
        cond: of which only what is the same at all times is looked at; ``None`` for none.
        speaker: embeddings ``[B, S]``.
        batch: utterances ``B``.
    """
    stack = network.stack
    layers = len(stack.dilations)
    with full_precision(network.end.weight):
        total = torch.stack([bias_of(c) for c in stack.convolutions]).expand(batch, -1, -1)  # type: ignore[arg-type]
        if stack.condition is not None and cond is not None:
            total = total + bias_of(stack.condition).view(layers, -1)
            if cond.time_invariant is not None:
                total = total + functional.conv1d(cond.time_invariant, stack.condition.weight).view(batch, layers, -1)
        if stack.speaker is not None and speaker is not None:
            total = total + stack.speaker(speaker[..., None]).view(batch, layers, -1)
    return total.detach().float()
