"""What the mel and the speaker add in every layer, block by block, as the compiled loop reads it."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch import Tensor
from torch.nn import functional

from audioflow.nets.conditioning import Conditioning
from audioflow.nets.wavenet import CausalWaveNet
from audioflow.sampling.cpu.loop import Sizes, project
from audioflow.sampling.cpu.places import aligned, placed
from audioflow.sampling.cpu.weights import condition_matrix, gates_padded
from audioflow.sampling.steady import steady_sums

STEPS, NUMBERS = 4096, 2**20
"""At most so many steps and numbers in a block: few returns from the compiled loop, and little memory."""


class Projected(NamedTuple):
    """A block; see :class:`audioflow.sampling.cpu.loop.Block`."""

    frames: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    steps: int


def conditioning(
    network: CausalWaveNet,
    sizes: Sizes,
    cond: Conditioning | None,
    speaker: Tensor | None,
    batch: int,
    first: int = 0,
) -> Iterator[Projected]:
    """Blocks one after another, the last one longer than what is left where frames run out.

    Args:
        network: projects.
        sizes: of its channels.
        cond: at the rate of steps or of frames; ``None`` for none, in blocks without end.
        speaker: embeddings ``[B, S]``.
        batch: utterances.
        first: the frame of ``cond`` to begin with.

    Raises:
        ValueError: the conditioning has other channels than the network's.
    """
    bias = placed(gates_padded(steady_sums(network, cond, speaker, batch).numpy(), sizes))
    if cond is None or network.stack.condition is None:
        nothing = aligned(3 * bias.size)
        while True:
            yield Projected(nothing, np.zeros((STEPS, 3), np.float32), bias, STEPS)
    features, weight = cond.features, cond.weights.detach().float().numpy()
    matrix = condition_matrix(network, sizes)
    if features.shape[:2] != (batch, len(matrix) * batch // bias.size):
        # The compiled loop does not look where an array ends.
        raise ValueError(f"conditioning {list(features.shape)} is not that of {batch} utterances for this network")
    channels, count = features.shape[1], max(1, min(STEPS // len(weight), NUMBERS // bias.size))
    # The zeros before the first frame and after the last are zero when projected, for the bias comes later.
    around = functional.pad(features.detach().float(), (1, 1)).permute(2, 0, 1)
    for start in range(first, features.shape[-1], count):
        frames = around[start : start + count + 2].contiguous().numpy()
        projected = aligned(len(frames) * bias.size)
        project(matrix, channels, frames.reshape(-1), len(frames) * batch, projected)
        yield Projected(projected, weight, bias, (len(frames) - 2) * len(weight))
