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
from audioflow.sampling.cpu.loop import Sizes, project
from audioflow.sampling.cpu.weights import condition_matrix, gates_padded

STEPS, NUMBERS = 4096, 2**20
"""At most so many steps and numbers in a block: few returns from the compiled loop, and little memory."""


class Conditioning(NamedTuple):
    """A block; see :class:`audioflow.sampling.cpu.loop.Block`."""

    frames: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    steps: int


def conditioning(
    network: CausalWaveNet,
    sizes: Sizes,
    cond: Tensor | FrameFeatures | None,
    speaker: Tensor | None,
    batch: int,
    first: int = 0,
) -> Iterator[Conditioning]:
    """Blocks one after another, the last one longer than what is left where frames run out.

    Args:
        network: projects.
        sizes: of its channels.
        cond: features at the rate of samples or of frames; ``None`` for none, in blocks without end.
        speaker: embeddings ``[B, S]``.
        batch: utterances.
        first: the frame, or sample, of ``cond`` to begin with.

    Raises:
        ValueError: the conditioning has other channels than the network's.
    """
    bias = _steady(network, sizes, cond, speaker, batch)
    if cond is None or network.stack.condition is None:
        nothing = np.zeros(3 * bias.size, np.float32)
        while True:
            yield Conditioning(nothing, np.zeros((STEPS, 3), np.float32), bias, STEPS)
    features = cond.frames if isinstance(cond, FrameFeatures) else cond
    # Features at the rate of samples are frames of one sample, with nothing between them.
    alone = torch.tensor([[0.0, 1.0, 0.0]])
    weight = (cond.weight if isinstance(cond, FrameFeatures) else alone).detach().float().numpy()
    matrix = condition_matrix(network, sizes)
    if features.shape[:2] != (batch, len(matrix) * batch // bias.size):
        # The compiled loop does not look where an array ends.
        raise ValueError(f"conditioning {list(features.shape)} is not that of {batch} utterances for this network")
    channels, count = features.shape[1], max(1, min(STEPS // len(weight), NUMBERS // bias.size))
    # The zeros before the first frame and after the last are zero when projected, for the bias comes later.
    around = functional.pad(features.detach().float(), (1, 1)).permute(2, 0, 1)
    for start in range(first, features.shape[-1], count):
        frames = around[start : start + count + 2].contiguous().numpy()
        projected = np.empty(len(frames) * bias.size, np.float32)
        project(matrix, channels, frames.reshape(-1), projected)
        yield Conditioning(projected, weight, bias, (len(frames) - 2) * len(weight))


def rows_of(cond: Tensor | FrameFeatures | None, rows: slice) -> Tensor | FrameFeatures | None:
    """Some utterances of a batch's conditioning."""
    if isinstance(cond, FrameFeatures):
        steady = None if cond.steady is None else cond.steady[rows]
        return FrameFeatures(cond.frames[rows], cond.weight, steady)
    return None if cond is None else cond[rows]


def _steady(
    network: CausalWaveNet, sizes: Sizes, cond: Tensor | FrameFeatures | None, speaker: Tensor | None, batch: int
) -> np.ndarray:
    """Biases, and whatever else is the same at all times: ``[B, layers, conv_width]``, flat."""
    stack = network.stack
    total = torch.stack([bias_of(c) for c in stack.convolutions]).expand(batch, -1, -1)  # type: ignore[arg-type]
    if stack.condition is not None and cond is not None:
        total = total + bias_of(stack.condition).view(sizes.layers, -1)
        if isinstance(cond, FrameFeatures) and cond.steady is not None:
            added = functional.conv1d(cond.steady, stack.condition.weight)
            total = total + added.view(batch, sizes.layers, -1)
    if stack.speaker is not None and speaker is not None:
        total = total + stack.speaker(speaker[..., None]).view(batch, sizes.layers, -1)
    return gates_padded(total.detach().float().numpy(), sizes).reshape(-1)
