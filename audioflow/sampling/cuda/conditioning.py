"""What the mel and the speaker add in every layer, block by block, as the kernel reads it."""

from collections.abc import Iterator

import triton
from torch import Tensor
from torch.nn import functional

from audioflow.nets.conditioning import Conditioning
from audioflow.nets.masks import full_precision
from audioflow.nets.wavenet import CausalWaveNet
from audioflow.sampling import autoregressive
from audioflow.sampling.cuda.kernel import interpolate
from audioflow.sampling.cuda.weights import Sizes, condition_matrix, in_turns
from audioflow.sampling.steady import steady_sums

COLUMNS = 512
"""Of an interpolating program."""


def shares(
    network: CausalWaveNet,
    sizes: Sizes,
    cond: Conditioning | None,
    speaker: Tensor | None,
    batch: int,
    steps: int,
    first: int = 0,
) -> Iterator[tuple[int, int, Tensor]]:
    """Stretches of steps, from ... to before, and what is added there: ``[n, B, layers * 2 * gates]``, or ``n = 1``.

    Args:
        network: projects.
        sizes: of its channels.
        cond: at the rate of steps or of frames.
        speaker: embeddings ``[B, S]``.
        batch: utterances ``B``.
        steps: in all.
        first: the frame of ``cond`` that the first step is in.

    Raises:
        ValueError: the conditioning has other channels than the network's, or other utterances.
    """
    bias = in_turns(steady_sums(network, cond, speaker, batch), sizes)
    hop = 1 if cond is None else cond.hop
    # Long enough to be worth a start, and no longer than memory is dear.
    count = max(1, autoregressive.BLOCK // hop)
    matrix = None if cond is None else condition_matrix(network, sizes)
    features = None if cond is None else cond.features
    if matrix is not None and features is not None and features.shape[:2] != (batch, len(matrix)):
        # The kernel does not look where an array ends.
        raise ValueError(f"conditioning {list(features.shape)} is not that of {batch} utterances for this network")
    for start in range(0, steps, count * hop):
        stop = min(start + count * hop, steps)
        here = first + start // hop
        if cond is None or matrix is None:
            yield start, stop, bias[None]
        elif cond.interpolation is None:
            own = cond.features[..., here : here + stop - start].detach().float()
            yield start, stop, _product(own, matrix) + bias
        else:
            yield start, stop, _between(cond, here, here + count, matrix, bias)


def _between(cond: Conditioning, start: int, stop: int, matrix: Tensor, bias: Tensor) -> Tensor:
    """All samples of some frames: projected at the rate of frames, interpolated by a kernel that writes each once."""
    # The zeros before the first frame and after the last are zero when projected, for the bias comes later.
    around = functional.pad(cond.features.detach().float(), (1, 1))[..., start : stop + 2]
    frames = _product(around, matrix).contiguous()
    count, (hop, _), (batch, width) = len(frames) - 2, cond.weights.shape, bias.shape
    made = bias.new_empty(count * hop, batch, width)
    grid = (count, batch, triton.cdiv(width, COLUMNS))
    weight = cond.weights.detach().float().contiguous()
    interpolate[grid](frames, weight, bias.contiguous(), made, hop, batch, width, COLUMNS=COLUMNS, num_warps=4)
    return made


def _product(features: Tensor, matrix: Tensor) -> Tensor:
    """``[B, M, n]``, ``[M, R]`` -> ``[n, B, R]``."""
    with full_precision(features):
        return features.permute(2, 0, 1) @ matrix
