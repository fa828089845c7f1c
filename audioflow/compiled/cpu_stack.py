r"""The gated stack on a CPU, forward and backward: matrix products of rows, and one compiled pass for each gate.

Activations lie step by step, and the utterances of a step side by side, ``[T, B, C]``. So whoever looks ``o`` steps
away looks ``o B`` rows away, in all utterances alike, and a dilated convolution is one product of matrices for each tap
that needs neither padding nor copies:

.. math::
    (a, b)_t = \textstyle\sum_k W_k h_{t + o_k} + V c_t + v + \sum_j w_{p,j}\, u_{f+j} \qquad
    g_t = \tanh(a_t) \odot \sigma(b_t)

.. math::
    h_t \leftarrow (h_t + R g_t + r)\,\rho\,m_t \qquad
    \text{skip}_t = m_t \textstyle\sum_l (S_l g^{(l)}_t + s_l)

Convolutions of few channels take a library longer than such products, and what torch does between them takes as long
again. All of it is in float32. For the way back ``h``, ``tanh`` and ``sigma`` of each layer are kept.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from audioflow.compiled.lanes import LANES
from audioflow.compiled.row_kernels import gate, gate_backwards, residual

BLOCK = 32
"""Steps whose gradients are added up first, where there are no frames."""

SHARE = 1 << 16
"""Numbers that are worth another thread."""


class Weights(NamedTuple):
    """Weights of all layers.

    Attributes:
        taps: ``W``, ``[L, K, C, 2 * G]``.
        outputs: of one layer after another ``R [C, G]`` and ``S [S, G]``, one below the other; of the last one ``S``.
        biases: ``r`` and ``s``, likewise.
    """

    taps: Tensor
    outputs: Tensor
    biases: Tensor

    @property
    def skips(self) -> int:
        """Channels of a skip."""
        layers, _, channels, _ = self.taps.shape
        return (len(self.outputs) - (layers - 1) * channels) // layers


class Told(NamedTuple):
    """What is added to the sums of all layers, which stand side by side: ``L * 2 * G`` numbers.

    Attributes:
        steady: ``v``, ``[B, L * 2 * G]``: at all times alike, with the biases of the convolutions.
        frames: ``u``, ``[F + 2, B, L * 2 * G]``: of the frames, and of one more at either end.
        weight: ``w``, ``[T / F, 3]``.
        cond: ``c``, ``[T, B, M]``: features of the steps.
        matrix: ``V``, ``[L * 2 * G, M]``.
    """

    steady: Tensor
    frames: Tensor | None = None
    weight: Tensor | None = None
    cond: Tensor | None = None
    matrix: Tensor | None = None


class Shape(NamedTuple):
    """What is no tensor.

    Attributes:
        offsets: of the taps of each layer; the present is among them.
        residual_scale: ``rho``.
    """

    offsets: Sequence[Sequence[int]]
    residual_scale: float


def run(shape: Shape, x: Tensor, told: Told, weights: Weights, mask: Tensor | None = None) -> Tensor:
    """All layers of a stack, with gradients for everything but the mask.

    Args:
        shape: offsets and scale.
        x: ``[T, B, C]`` in float32 like all others, zero outside the mask; not written to.
        told: what mel and speaker say.
        weights: of all layers.
        mask: ``[T, B]``.

    Returns:
        The sum of the skips, ``[T, B, S]``.
    """
    if x.shape[-1] % LANES or weights.outputs.shape[1] % LANES:
        x, told, weights = _filled(x, told, weights)
    tensors = [None if t is None else t.contiguous() for t in (x, *weights, *told, mask)]
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        result: Tensor = _Stack.apply(shape, *tensors)
        return result
    return _Passes(shape, tensors).forwards(None)


def plain(shape: Shape, x: Tensor, told: Told, weights: Weights, mask: Tensor | None = None) -> Tensor:
    """The same by torch's own operations, which have gradients of gradients, too."""
    steps, _, channels = x.shape
    width, split = weights.taps.shape[-1], channels + weights.skips
    total = x.new_zeros(())
    for number, (taps, offsets) in enumerate(zip(weights.taps, shape.offsets, strict=True)):
        own = slice(number * width, (number + 1) * width)
        sums = told.steady[:, own].expand(steps, -1, -1)
        for matrix, offset in zip(taps, offsets, strict=True):
            seen = functional.pad(x, (0, 0, 0, 0, -min(offset, 0), max(offset, 0)))
            sums = sums + seen[max(offset, 0) :][:steps] @ matrix
        if told.cond is not None and told.matrix is not None:
            sums = sums + functional.linear(told.cond, told.matrix[own])
        if told.frames is not None and told.weight is not None:
            around = told.frames[..., own].unfold(0, 3, 1)
            sums = sums + torch.einsum("fbcj,pj->fpbc", around, told.weight).flatten(0, 1)
        filter_, open_ = sums.chunk(2, dim=-1)
        rows = slice(number * split, (number + 1) * split)
        y = functional.linear(torch.tanh(filter_) * torch.sigmoid(open_), weights.outputs[rows], weights.biases[rows])
        if number < len(weights.taps) - 1:
            x = (x + y[..., :channels]) * shape.residual_scale
            x, y = x if mask is None else x * mask[..., None], y[..., channels:]
        total = total + y
    return total if mask is None else total * mask[..., None]


def _filled(x: Tensor, told: Told, weights: Weights) -> tuple[Tensor, Told, Weights]:
    """The same with channels and gates filled up by zeros, which give zeros, to multiples of 16."""
    channels, gates = x.shape[-1], weights.outputs.shape[1]
    more, wider = -channels % LANES, -gates % LANES
    split = channels + weights.skips

    def halves(t: Tensor, dim: int) -> Tensor:
        """Each run of ``gates`` along ``dim`` filled up."""
        cut = t.unflatten(dim, (-1, gates))
        return functional.pad(cut, (0, 0) * (t.ndim - 1 - dim) + (0, wider)).flatten(dim, dim + 1)

    def rows(t: Tensor) -> Tensor:
        """Residual channels filled up, skips as they are."""
        if not more:
            return t
        parts = []
        for part in t.split(split):
            cut = channels if len(part) == split else 0
            parts += [part[:cut], t.new_zeros(more if cut else 0, *t.shape[1:]), part[cut:]]
        return torch.cat(parts)

    frames, matrix = told.frames, told.matrix
    told = told._replace(
        steady=halves(told.steady, 1),
        frames=None if frames is None else halves(frames, 2),
        matrix=None if matrix is None else halves(matrix, 0),
    )
    taps = functional.pad(halves(weights.taps, 3), (0, 0, 0, more))
    filled = Weights(taps, functional.pad(rows(weights.outputs), (0, wider)), rows(weights.biases))
    return functional.pad(x, (0, more)), told, filled


class _Stack(torch.autograd.Function):
    """Both ways as one operation."""

    @staticmethod
    @override
    def forward(ctx: Any, shape: Shape, *tensors: Tensor | None) -> Tensor:
        kept: list[Tensor] = []
        result = _Passes(shape, tensors).forwards(kept)
        ctx.shape = shape
        ctx.save_for_backward(*tensors, *kept)
        return result

    @staticmethod
    @override
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        tensors, kept = ctx.saved_tensors[:OPERANDS], ctx.saved_tensors[OPERANDS:]
        needed = ctx.needs_input_grad[1:]
        # Autocast is as it was where the backward pass was asked for.
        with torch.autocast("cpu", enabled=False):
            if torch.is_grad_enabled():
                return None, *_differentiable(ctx.shape, tensors, needed, grad)
            return None, *_Passes(ctx.shape, tensors).backwards(grad.contiguous(), kept, needed)


OPERANDS = 10
"""Tensors that are given: ``x``, weights, what is told, the mask."""


def _differentiable(shape: Shape, tensors: Sequence[Any], needed: Sequence[bool], grad: Tensor) -> list[Tensor | None]:
    """Gradients that have gradients."""
    result = plain(shape, tensors[0], Told(*tensors[4:9]), Weights(*tensors[1:4]), tensors[9])
    wanted = [t for t, need in zip(tensors, needed, strict=True) if need]
    found = iter(torch.autograd.grad(result, wanted, grad, create_graph=True, allow_unused=True))
    return [next(found) if need else None for need in needed]


class _Passes:
    """The operands of a stack, and the passes over them.

    Args:
        shape: offsets and scale.
        tensors: ``x``, weights, what is told, the mask; contiguous.
    """

    def __init__(self, shape: Shape, tensors: Sequence[Any]) -> None:
        self.shape = shape
        self.x: Tensor = tensors[0]
        self.weights, self.told = Weights(*tensors[1:4]), Told(*tensors[4:9])
        self.mask: Tensor | None = tensors[9]
        self.steps, self.batch, self.channels = self.x.shape
        self.rows = self.steps * self.batch
        self.gates = self.weights.outputs.shape[1]
        self.taps = [layer.unbind() for layer in self.weights.taps.unbind()]
        self.last = len(self.taps) - 1
        split = self.channels + self.weights.skips
        self.biases = self.weights.biases.split(split)
        #: ``R`` and ``S``; no rows in the last layer's ``R``.
        self.outputs = [self._in_two(part) for part in self.weights.outputs.split(split)]
        # Where there are no frames, blocks take their place; and then something has to stand for what is not looked at.
        frames, weight = self.told.frames, self.told.weight
        self.hop = BLOCK if weight is None else len(weight)
        self.frames = -(-self.steps // self.hop)
        self._steady = _flat(self.told.steady)
        self._frames = self._steady if frames is None else _flat(frames)
        self._weight = self._steady if weight is None else _flat(weight)
        self._sizes = self.steps, self.batch, self.gates, self.hop, self.told.steady.shape[1], frames is not None

    def _in_two(self, part: Tensor) -> tuple[Tensor, Tensor]:
        cut = len(part) - self.weights.skips
        return part[:cut], part[cut:]

    def _own(self, number: int) -> slice:
        """A layer's part of what is told to all."""
        return slice(2 * self.gates * number, 2 * self.gates * (number + 1))

    def _shifts(self, number: int) -> tuple[int, list[tuple[int, slice, slice]]]:
        """The tap that sees the present; of others that see something: rows of ``h`` and the rows that see them."""
        present, others = 0, []
        for tap, offset in enumerate(self.shape.offsets[number]):
            distance = abs(offset) * self.batch
            early, late = slice(0, self.rows - distance), slice(distance, self.rows)
            if not offset:
                present = tap
            elif distance < self.rows:
                others.append((tap, early, late) if offset < 0 else (tap, late, early))
        return present, others

    def forwards(self, kept: list[Tensor] | None) -> Tensor:
        """The sum of the skips, ``[T, B, S]``; ``kept`` takes each layer's ``h`` and gates for the way back."""
        h = self.x.view(self.rows, self.channels)
        skips = h.new_empty(self.rows, self.weights.skips)
        gates, sums = h.new_empty(self.rows, self.gates), h.new_empty(self.rows, 2 * self.gates)
        spare: list[Tensor] = []
        for number, (residual_, skip) in enumerate(self.outputs):
            if kept is not None and number:
                sums = torch.empty_like(sums)
            self._add_up(number, h, sums)
            self._gate(number, sums, gates, kept=kept is not None)
            if kept is not None:
                kept += [h, sums]
            if number:
                skips.addmm_(gates, skip.t())
            else:
                torch.mm(gates, skip.t(), out=skips)
            if number < self.last:
                above = spare.pop() if spare else torch.empty_like(h)
                torch.mm(gates, residual_.t(), out=above)
                self._add_residual(self.biases[number], h, above)
                if kept is None and number:
                    spare.append(h)  # the first one is the caller's
                h = above
        skips += torch.stack([bias[-skips.shape[1] :] for bias in self.biases]).sum(dim=0)
        if self.mask is not None:
            skips *= self.mask.view(-1, 1)
        return skips.view(self.steps, self.batch, -1)

    def _add_up(self, number: int, h: Tensor, sums: Tensor) -> None:
        """``sums = sum_k W_k h_{t + o_k} + V c_t``."""
        taps = self.taps[number]
        present, others = self._shifts(number)
        torch.mm(h, taps[present], out=sums)
        for tap, seen, seeing in others:
            sums[seeing].addmm_(h[seen], taps[tap])
        if self.told.cond is not None and self.told.matrix is not None:
            sums.addmm_(self.told.cond.view(self.rows, -1), self.told.matrix[self._own(number)].t())

    def _gate(self, number: int, sums: Tensor, result: Tensor, *, kept: bool) -> None:
        """``result = tanh sigma`` of the sums and what is told; if ``kept``, the sums' places hold the two."""
        start = 2 * self.gates * number
        told = self._steady[start:], self._frames[start:], self._weight
        operands = *self._sizes, kept, *told, _flat(sums), _flat(result)
        _in_parts(self.frames, sums.numel(), lambda _, first, last: gate(first, last, *operands))

    def _add_residual(self, bias: Tensor, h: Tensor, result: Tensor) -> None:
        """``result = (h + result + r) rho m``."""
        given = _flat(bias)
        mask = given if self.mask is None else _flat(self.mask)
        operands = self.channels, self.mask is not None, self.shape.residual_scale, given, mask, _flat(h), _flat(result)
        _in_parts(self.rows, h.numel(), lambda _, first, last: residual(first, last, *operands))

    def backwards(self, grad: Tensor, kept: Sequence[Tensor], needed: Sequence[bool]) -> list[Tensor | None]:
        """Gradients in the order of the operands, of those that are ``needed``."""
        told = self.told
        if self.mask is not None:
            grad = grad * self.mask[..., None]
        above = grad.view(self.rows, -1)
        gates, sums = grad.new_empty(self.rows, self.gates), grad.new_empty(self.rows, 2 * self.gates)
        above_gates = torch.empty_like(gates)
        between = told.frames is not None
        shares = grad.new_empty(self.frames, 4 if between else 1, *told.steady.shape)
        of_weight = grad.new_zeros(_parts(self.frames, sums.numel()), self.hop if between else 0, 3, LANES)
        of_taps, of_outputs, of_biases = (
            torch.empty_like(weight) if need else None for weight, need in zip(self.weights, needed[1:4], strict=True)
        )
        of_cond = None if told.cond is None or not needed[7] else grad.new_zeros(self.rows, told.cond.shape[-1])
        of_matrix = None if told.matrix is None or not needed[8] else torch.empty_like(told.matrix)
        # The gradient of ``h + R g + r``, and so of r.
        inside: Tensor | None = None
        for number in range(self.last, -1, -1):
            h, gate_kept = kept[2 * number : 2 * number + 2]
            residual_, skip = self.outputs[number]
            torch.mm(above, skip, out=above_gates)
            if inside is not None:
                above_gates.addmm_(inside, residual_)
            self._gate_backwards(number, (gate_kept, above_gates, gates, sums), shares, of_weight)
            self._outputs_backwards(number, gates, inside, above, of_outputs, of_biases)
            if of_taps is not None:
                self._taps_backwards(number, h, sums, of_taps[number])
            if of_cond is not None and told.matrix is not None:
                of_cond.addmm_(sums, told.matrix[self._own(number)])
            if of_matrix is not None and told.cond is not None:
                torch.mm(sums.t(), told.cond.view(self.rows, -1), out=of_matrix[self._own(number)])
            if number or needed[0]:
                inside = self._sums_backwards(number, sums, inside)
        of_x = inside.view_as(self.x) if inside is not None and needed[0] else None
        of_cond = None if of_cond is None or told.cond is None else of_cond.view_as(told.cond)
        of_frames = None
        if told.frames is not None:
            of_frames = torch.zeros_like(told.frames)
            for neighbour in range(3):
                of_frames[neighbour : neighbour + self.frames] += shares[:, 1 + neighbour]
        of_told = shares[:, 0].sum(dim=0), of_frames, of_weight.sum(dim=(0, 3)) if between else None
        return [of_x, of_taps, of_outputs, of_biases, *of_told, of_cond, of_matrix, None]

    def _gate_backwards(
        self, number: int, rows: tuple[Tensor, Tensor, Tensor, Tensor], shares: Tensor, of_weight: Tensor
    ) -> None:
        """From what was kept and the gates' gradient: fill in the gates and the gradient of their sums.

        See :func:`audioflow.compiled.row_kernels.gate_backwards`.
        """
        start = 2 * self.gates * number
        told = self._frames[start:], self._weight
        arrays = *self._sizes, *told, *map(_flat, rows), _flat(shares)[start:]
        each = [_flat(part) for part in of_weight]

        def work(part: int, first: int, last: int) -> None:
            gate_backwards(first, last, *arrays, each[part])

        _in_parts(self.frames, rows[0].numel(), work)

    def _outputs_backwards(
        self,
        number: int,
        gates: Tensor,
        inside: Tensor | None,
        above: Tensor,
        of_outputs: Tensor | None,
        of_biases: Tensor | None,
    ) -> None:
        """The gradients of ``R`` and ``S``, and of their biases."""
        start = (self.channels + self.weights.skips) * number
        middle = start if inside is None else start + self.channels
        end = middle + self.weights.skips
        for grad, rows in ((inside, slice(start, middle)), (above, slice(middle, end))):
            if grad is not None and of_outputs is not None:
                torch.mm(grad.t(), gates, out=of_outputs[rows])
            if grad is not None and of_biases is not None:
                torch.sum(grad, dim=0, out=of_biases[rows])

    def _taps_backwards(self, number: int, h: Tensor, sums: Tensor, result: Tensor) -> None:
        """The gradient of ``W``."""
        present, others = self._shifts(number)
        if 1 + len(others) < len(result):
            result.zero_()
        torch.mm(h.t(), sums, out=result[present])
        for tap, seen, seeing in others:
            torch.mm(h[seen].t(), sums[seeing], out=result[tap])

    def _sums_backwards(self, number: int, sums: Tensor, inside: Tensor | None) -> Tensor:
        """The gradient of what came into the layer below as ``h + R g + r``; of ``x`` below the first one."""
        taps = self.taps[number]
        present, others = self._shifts(number)
        scale = self.shape.residual_scale if number else 1.0
        if inside is None:
            inside = torch.mm(sums, taps[present].t())
            if scale != 1:
                inside *= scale
        else:
            inside.addmm_(sums, taps[present].t(), beta=scale, alpha=scale)
        for tap, seen, seeing in others:
            inside[seen].addmm_(sums[seeing], taps[tap].t(), alpha=scale)
        if self.mask is not None and number:
            inside *= self.mask.view(-1, 1)
        return inside


def _flat(x: Tensor) -> np.ndarray:
    array: np.ndarray = x.detach().view(-1).numpy()
    return array


def _parts(count: int, numbers: int) -> int:
    """In how many parts to cut a pass over so many rows or frames, and over so many numbers."""
    return max(1, min(torch.get_num_threads(), count, numbers // SHARE))


def _in_parts(count: int, numbers: int, work: Callable[[int, int, int], None]) -> None:
    """``work(part, first, last)`` for all parts of ``range(count)``, side by side on as many threads as torch has."""
    parts = _parts(count, numbers)
    if parts == 1:
        work(0, 0, count)
        return
    bounds = [count * part // parts for part in range(parts + 1)]
    tasks = [_threads(parts, os.getpid()).submit(work, part, *bounds[part : part + 2]) for part in range(1, parts)]
    work(0, *bounds[:2])
    for task in tasks:
        task.result()


@cache
def _threads(parts: int, _process: int) -> ThreadPoolExecutor:
    """Threads beside the caller's; a process that was forked off has its own."""
    return ThreadPoolExecutor(parts - 1)


@torch.inference_mode(mode=False)
@torch.enable_grad()
@torch.autocast("cpu", enabled=False)
def compile_all() -> None:
    """Compile what there is to compile, or read what was compiled before.

    Raises:
        NumbaError: it does not compile.
    """
    weights = Weights(torch.zeros(2, 1, LANES, 2 * LANES), torch.zeros(3 * LANES, LANES), torch.zeros(3 * LANES))
    x = torch.zeros(1, 1, LANES, requires_grad=True)
    run(Shape([[0], [0]], 1.0), x, Told(torch.zeros(1, 4 * LANES)), weights).sum().backward()
