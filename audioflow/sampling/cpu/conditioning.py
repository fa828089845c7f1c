"""What the mel and the speaker add in every layer, block by block, as the compiled loop reads it."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from audioflow.nets.frame_features import FrameFeatures
from audioflow.nets.masked_convolution import bias_of
from audioflow.nets.wavenet import CausalWaveNet
from audioflow.sampling.cpu.loop import Sizes
from audioflow.sampling.cpu.weights import gate_columns

STEPS, NUMBERS = 4096, 2**22
"""At most so many steps and numbers in a block: few returns from the compiled loop, and little memory."""


class Conditioning(NamedTuple):
    """A block; see :class:`audioflow.sampling.cpu.loop.Block`."""

    frames: np.ndarray
    weight: np.ndarray
    bias: np.ndarray

    @property
    def steps(self) -> int:
        """Steps that it is for."""
        return (len(self.frames) - 2) * len(self.weight)


def conditioning(
    network: CausalWaveNet, sizes: Sizes, cond: Tensor | FrameFeatures | None, speaker: Tensor | None, batch: int
) -> Iterator[Conditioning]:
    """Blocks one after another, the last one longer than what is left where frames run out.

    Args:
        network: projects.
        sizes: of its channels.
        cond: features at the rate of samples or of frames; ``None`` for none, in blocks without end.
        speaker: embeddings ``[B, S]``.
        batch: utterances.
    """
    bias = _steady(network, sizes, cond, speaker, batch)
    if cond is None or network.stack.condition is None:
        nothing = np.zeros((3, sizes.layers, batch, sizes.conv_width), np.float32)
        while True:
            yield Conditioning(nothing, np.zeros((STEPS, 3), np.float32), bias)
    frames = cond.frames if isinstance(cond, FrameFeatures) else cond
    # Features at the rate of samples are frames of one sample, with nothing between them.
    alone = torch.tensor([[0.0, 1.0, 0.0]])
    weight = (cond.weight if isinstance(cond, FrameFeatures) else alone).detach().float().numpy()
    matrix = network.stack.condition.weight
    count = max(1, min(STEPS // len(weight), NUMBERS // bias.size))
    around = functional.pad(frames, (1, 1))
    for start in range(0, frames.shape[-1], count):
        projected = functional.conv1d(around[..., start : start + count + 2], matrix)
        # The zeros before the first frame and after the last stay zero, for the bias comes later.
        layers = projected.view(batch, sizes.layers, -1, projected.shape[-1]).permute(3, 1, 0, 2)
        yield Conditioning(_spread_gates(layers, sizes), weight, bias)


def rows_of(cond: Tensor | FrameFeatures | None, rows: slice) -> Tensor | FrameFeatures | None:
    """Some utterances of a batch's conditioning."""
    if isinstance(cond, FrameFeatures):
        steady = None if cond.steady is None else cond.steady[rows]
        return FrameFeatures(cond.frames[rows], cond.weight, steady)
    return None if cond is None else cond[rows]


def _steady(
    network: CausalWaveNet, sizes: Sizes, cond: Tensor | FrameFeatures | None, speaker: Tensor | None, batch: int
) -> np.ndarray:
    """Biases, and whatever else is the same at all times: ``[layers, B, conv_width]``."""
    stack = network.stack
    total = torch.stack([bias_of(c) for c in stack.convolutions])[:, None].expand(-1, batch, -1)  # type: ignore[arg-type]
    if stack.condition is not None and cond is not None:
        total = total + bias_of(stack.condition).view(sizes.layers, 1, -1)
        if isinstance(cond, FrameFeatures) and cond.steady is not None:
            added = functional.conv1d(cond.steady, stack.condition.weight)[..., 0]
            total = total + added.view(batch, sizes.layers, -1).transpose(0, 1)
    if stack.speaker is not None and speaker is not None:
        voice = stack.speaker(speaker[..., None])[..., 0]
        total = total + voice.view(batch, sizes.layers, -1).transpose(0, 1)
    return _spread_gates(total, sizes)


def _spread_gates(values: Tensor, sizes: Sizes) -> np.ndarray:
    """``[..., 2 * gate_channels]`` -> ``[..., conv_width]``."""
    result = np.zeros((*values.shape[:-1], sizes.conv_width), np.float32)
    result[..., gate_columns(values.shape[-1] // 2, sizes)] = values.detach().float().numpy()
    return result
