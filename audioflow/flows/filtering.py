"""Filters whose coefficients change from block to block, with gradients: compiled on a CPU, in parallel on a GPU.

Signals are ``[B, T]`` and coefficients ``[B, N, p]``, the oldest sample's first, all float64. Block ``n`` holds the
samples from ``n * block`` on.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor

CHUNK = 256
"""Blocks that a GPU's scan takes at once: their transfer matrices are held in memory."""


def predict(x: Tensor, coefficients: Tensor, block: int) -> Tensor:
    r"""What linear prediction says of each sample: ``sum_i a_i(t) x_{t-i}``.

    Args:
        x: ``[B, p + T]``, with the ``p`` samples before the first.
        coefficients: ``[B, N, p]`` with ``N * block >= T``.
        block: samples of a block.

    Returns:
        ``[B, T]``.
    """
    if coefficients.shape[-1] == 0:
        return torch.zeros_like(x)
    if compiles(x):
        return _Predicted.apply(x, coefficients, block)  # type: ignore[no-any-return]
    steps = x.shape[1] - coefficients.shape[-1]
    blocks = -(-steps // block)
    windows = torch.nn.functional.pad(x, (0, blocks * block - steps)).unfold(1, coefficients.shape[-1], 1)
    windows = windows[:, : blocks * block].unflatten(1, (blocks, block))
    return torch.matmul(windows, coefficients[:, :blocks, :, None]).flatten(1)[:, :steps]


def resonate(drive: Tensor, before: Tensor, coefficients: Tensor, block: int, offset: int = 0) -> Tensor:
    r"""The all-pole filter ``x_t = e_t + sum_i a_i(t) x_{t-i}``.

    Args:
        drive: ``e [B, T]``.
        before: ``x`` before the first sample, ``[B, p]``.
        coefficients: ``[B, N, p]`` with ``N * block >= offset + T``.
        block: samples of a block.
        offset: of the first sample in the first block.

    Returns:
        ``x [B, T]``.
    """
    if coefficients.shape[-1] == 0:
        return drive
    if compiles(drive):
        return _Resonated.apply(drive, before, coefficients, block, offset)  # type: ignore[no-any-return]
    return resonate_by_scan(drive, before, coefficients, block, offset)


def predictors(lags: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients ``[..., p]``, the oldest first, and energies ``[...]`` of the error from ``lags [..., p + 1]``.

    The Levinson-Durbin recursion, in float64.

    >>> coefficients, energy = predictors(torch.tensor([1.0, 0.5], dtype=torch.float64))
    >>> coefficients.tolist(), energy.item()
    ([0.5], 0.75)
    """
    if compiles(lags) and not (lags.requires_grad and torch.is_grad_enabled()):
        return _compiled_predictors(lags)
    newest_first = lags[..., :0]
    energy = lags[..., 0]
    for i in range(1, lags.shape[-1]):
        known = (newest_first * lags[..., 1:i].flip(-1)).sum(dim=-1)
        reflection = (lags[..., i] - known) / energy
        moved = newest_first - reflection[..., None] * newest_first.flip(-1)
        newest_first = torch.cat([moved, reflection[..., None]], dim=-1)
        energy = energy * (1 - reflection.square())
    return newest_first.flip(-1), energy


def powers_between(points: Tensor, matrix: Tensor, first: Tensor, length: Tensor) -> Tensor:
    """Powers ``[B, K, F]`` of a spectrum whose log-magnitude is a straight line over runs of bins; by compiled loops.

    Args:
        points: log-magnitudes ``[B, P, F]``, float64.
        matrix: see :class:`audioflow.flows.envelope_filter.Stretches`, as the others.
        first: see there.
        length: see there.
    """
    start, ratio = torch.exp(2 * (matrix @ points)).chunk(2, dim=1)
    result = points.new_empty(points.shape[0], int(length.sum()), points.shape[2])
    numbers = (first.numpy(), length.numpy())
    _loops().interpolated_powers(_array(start), _array(ratio), *numbers, result.numpy())
    return result


def resonate_by_scan(drive: Tensor, before: Tensor, coefficients: Tensor, block: int, offset: int = 0) -> Tensor:
    r"""The same as :func:`resonate` without a loop over samples.

    Within a block the filter is constant, so its output is that of the input and that of the last ``p`` outputs ``s``:

    .. math:: x = H e + G s \qquad s' = A s + B e

    ``H`` is the triangle of the impulse response, ``G`` the response to what came before, ``A`` and ``B`` their last
    rows. The states obey a linear recurrence over blocks, which a parallel scan solves in as many steps as the
    logarithm of their number.
    """
    batch, steps = drive.shape
    order = coefficients.shape[-1]
    blocks = -(-(offset + steps) // block)
    ends = (offset, blocks * block - offset - steps)
    e = torch.nn.functional.pad(drive, ends).unflatten(1, (blocks, block))
    pieces, state = [], before
    for start in range(0, blocks, CHUNK):
        rows = slice(start, min(start + CHUNK, blocks))
        first_zeros = offset if start == 0 else 0
        made, state = _scanned(e[:, rows], state, coefficients[:, rows], order, first_zeros)
        pieces.append(made)
    return torch.cat(pieces, dim=1).flatten(1)[:, offset : offset + steps].reshape(batch, steps)


def _scanned(e: Tensor, state: Tensor, a: Tensor, order: int, zeros: int) -> tuple[Tensor, Tensor]:
    """Outputs ``[B, N, S]`` of blocks ``e [B, N, S]`` and the state after them; ``zeros`` samples come before."""
    size = e.shape[-1]
    impulse, from_state = _responses(a, size)
    if zeros:
        # The first block begins before the signal: the state is that at its first real sample.
        late = _responses(a[:, :1], size - zeros)[1]
        first = torch.zeros_like(from_state[:, :1])
        first[:, :, zeros:] = late
        from_state = torch.cat([first, from_state[:, 1:]], dim=1)
    from_drive = torch.matmul(impulse, e[..., None])[..., 0]
    both = _last(torch.cat([_carried(from_state), from_state], dim=2), order, zeros)
    ends = torch.cat([torch.zeros_like(from_drive[..., :1]).expand(-1, -1, order), from_drive], dim=-1)
    offsets = ends[..., -order:]
    states = _recurrence(both, offsets, state)
    entering = torch.cat([state[:, None], states[:, :-1]], dim=1)
    made = from_drive + torch.matmul(from_state, entering[..., None])[..., 0]
    return made, states[:, -1]


def _carried(from_state: Tensor) -> Tensor:
    """The state itself, as rows before the block: an identity ``[B, N, p, p]``."""
    order = from_state.shape[-1]
    eye = torch.eye(order, dtype=from_state.dtype, device=from_state.device)
    return eye.expand(*from_state.shape[:2], order, order)


def _last(rows: Tensor, order: int, zeros: int) -> Tensor:
    """Transfer from the state before a block to that after it; a first block of few samples keeps some of the old."""
    transfer = rows[:, :, -order:]
    if zeros:
        kept = torch.cat([rows[:, :1, :order], rows[:, :1, order + zeros :]], dim=2)[:, :, -order:]
        transfer = torch.cat([kept, transfer[:, 1:]], dim=1)
    return transfer


def _responses(a: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """``H [B, N, S, S]`` and ``G [B, N, S, p]`` of filters ``a [B, N, p]``."""
    order = a.shape[-1]
    history = a.new_zeros(*a.shape[:2], order)
    impulse = []
    for t in range(size):
        now = (a * history).sum(dim=-1) + (1.0 if t == 0 else 0.0)
        impulse.append(now)
        history = torch.cat([history[..., 1:], now[..., None]], dim=-1)
    h = torch.stack(impulse, dim=-1)
    delays = torch.arange(size, device=a.device)
    lag = delays[:, None] - delays[None, :]
    triangle = torch.where(lag >= 0, h[..., lag.clamp(min=0)], 0.0)
    # Sample j of the past drives sample t by the coefficient that reaches back so far: a_i with i = t + p - j.
    reach = torch.arange(order, device=a.device)[None, :] - delays[:, None]
    past = torch.where(reach >= 0, a[..., reach.clamp(min=0)], 0.0)
    return triangle, torch.matmul(triangle, past)


def _recurrence(transfer: Tensor, offsets: Tensor, state: Tensor) -> Tensor:
    """``s_n = A_n s_{n-1} + b_n`` for all ``n``, ``[B, N, p]``, by the scan of Hillis and Steele."""
    offsets = torch.cat(
        [torch.matmul(transfer[:, 0], state[..., None])[..., 0][:, None] + offsets[:, :1], offsets[:, 1:]], dim=1
    )
    count, distance = transfer.shape[1], 1
    while distance < count:
        later, earlier = transfer[:, distance:], transfer[:, :-distance]
        moved = offsets[:, distance:] + torch.matmul(later, offsets[:, :-distance, :, None])[..., 0]
        offsets = torch.cat([offsets[:, :distance], moved], dim=1)
        transfer = torch.cat([transfer[:, :distance], torch.matmul(later, earlier)], dim=1)
        distance *= 2
    return offsets


def compiles(x: Tensor) -> bool:
    """Whether compiled loops do the work for a tensor."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling() and _loops() is not None


@cache
def _loops() -> Any:
    """The compiled loops; ``None`` where there is no compiler."""
    try:
        from audioflow.compiled import filters  # noqa: PLC0415 - it takes half a second to load
    except ImportError:
        return None
    return filters


def _array(x: Tensor) -> Any:
    return x.detach().contiguous().numpy()


def _compiled_predictors(lags: Tensor) -> tuple[Tensor, Tensor]:
    flat = lags.reshape(-1, lags.shape[-1])
    coefficients, energy = flat.new_empty(len(flat), flat.shape[1] - 1), flat.new_empty(len(flat))
    _loops().levinson(_array(flat), coefficients.numpy(), energy.numpy())
    return coefficients.reshape(*lags.shape[:-1], -1), energy.reshape(lags.shape[:-1])


class _Predicted(torch.autograd.Function):
    """:func:`predict` by compiled loops."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, coefficients: Tensor, block: int) -> Tensor:
        ctx.save_for_backward(x, coefficients)
        ctx.block = block
        result = x.new_empty(x.shape[0], x.shape[1] - coefficients.shape[-1])
        _loops().predicted(_array(x), _array(coefficients), block, 0, result.numpy())
        return result

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, coefficients = ctx.saved_tensors
        g = _array(grads[0])
        of_x = of_coefficients = None
        if ctx.needs_input_grad[0]:
            of_x = torch.zeros_like(x)
            _loops().predicted_backwards(g, _array(coefficients), ctx.block, 0, of_x.numpy())
        if ctx.needs_input_grad[1]:
            of_coefficients = torch.zeros_like(coefficients)
            _loops().correlated(g, _array(x), ctx.block, 0, of_coefficients.numpy())
        return of_x, of_coefficients, None


class _Resonated(torch.autograd.Function):
    """:func:`resonate` by compiled loops; its adjoint is the same filter, run backwards in time."""

    @staticmethod
    def forward(ctx: Any, drive: Tensor, before: Tensor, coefficients: Tensor, block: int, offset: int) -> Tensor:
        x = torch.cat([before, drive], dim=1).detach()
        _loops().resonated(x.numpy(), _array(coefficients), block, offset)
        ctx.save_for_backward(x, coefficients)
        ctx.block, ctx.offset = block, offset
        return x[:, before.shape[1] :].clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        x, coefficients = ctx.saved_tensors
        order = coefficients.shape[-1]
        g = torch.cat([torch.zeros_like(x[:, :order]), grads[0]], dim=1)
        _loops().resonated_backwards(g.numpy(), _array(coefficients), ctx.block, ctx.offset)
        of_coefficients = None
        if ctx.needs_input_grad[2]:
            of_coefficients = torch.zeros_like(coefficients)
            of_drive = g[:, order:].contiguous()
            _loops().correlated(of_drive.numpy(), x.numpy(), ctx.block, ctx.offset, of_coefficients.numpy())
        return g[:, order:], g[:, :order], of_coefficients, None, None
