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
from dataclasses import dataclass
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


class Layer(NamedTuple):
    """One layer's weights.

    Attributes:
        taps: ``W``, ``[2 * G, C, K]``.
        output: ``R`` above ``S``, ``[C + S, G]``; ``S`` alone in the last layer.
        bias: ``r`` and ``s``, likewise.
    """

    taps: Tensor
    output: Tensor
    bias: Tensor


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


def run(shape: Shape, x: Tensor, told: Told, layers: Sequence[Layer], mask: Tensor | None = None) -> Tensor:
    """All layers of a stack, with gradients for everything but the mask.

    Args:
        shape: offsets and scale.
        x: ``[T, B, C]`` in float32 like all others, zero outside the mask; not written to.
        told: what mel and speaker say.
        layers: the weights, one layer after another.
        mask: ``[T, B]``.

    Returns:
        The sum of the skips, ``[T, B, S]``.
    """
    if x.shape[-1] % LANES or layers[0].output.shape[1] % LANES:
        x, told, layers = _filled(x, told, layers)
    tensors = [x, *told, mask, *(part for layer in layers for part in layer)]
    tensors = [None if t is None else t.contiguous() for t in tensors]
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        result: Tensor = _Stack.apply(shape, *tensors)
        return result
    return _Given.of(shape, tensors).forwards(None)


def plain(shape: Shape, x: Tensor, told: Told, layers: Sequence[Layer], mask: Tensor | None = None) -> Tensor:
    """The same by torch's own operations, which have gradients of gradients, too."""
    steps, width = len(x), 2 * layers[0].output.shape[1]
    total = x.new_zeros(())
    for number, (layer, offsets) in enumerate(zip(layers, shape.offsets, strict=True)):
        own = slice(number * width, (number + 1) * width)
        sums = told.steady[:, own].expand(steps, -1, -1)
        for matrix, offset in zip(layer.taps.unbind(-1), offsets, strict=True):
            seen = functional.pad(x, (0, 0, 0, 0, -min(offset, 0), max(offset, 0)))
            sums = sums + functional.linear(seen[max(offset, 0) :][:steps], matrix)
        if told.cond is not None and told.matrix is not None:
            sums = sums + functional.linear(told.cond, told.matrix[own])
        if told.frames is not None and told.weight is not None:
            around = told.frames[..., own].unfold(0, 3, 1)
            sums = sums + torch.einsum("fbcj,pj->fpbc", around, told.weight).flatten(0, 1)
        filter_, open_ = sums.chunk(2, dim=-1)
        y = functional.linear(torch.tanh(filter_) * torch.sigmoid(open_), layer.output, layer.bias)
        if number < len(layers) - 1:
            x = (x + y[..., : x.shape[-1]]) * shape.residual_scale
            x, y = x if mask is None else x * mask[..., None], y[..., x.shape[-1] :]
        total = total + y
    return total if mask is None else total * mask[..., None]


def _filled(x: Tensor, told: Told, layers: Sequence[Layer]) -> tuple[Tensor, Told, list[Layer]]:
    """The same with channels and gates filled up by zeros, which give zeros, to multiples of 16."""
    channels, gates = x.shape[-1], layers[0].output.shape[1]
    more, wider = -channels % LANES, -gates % LANES

    def halves(t: Tensor, dim: int) -> Tensor:
        """Each run of ``gates`` along ``dim`` filled up."""
        cut = t.unflatten(dim, (-1, gates))
        return functional.pad(cut, (0, 0) * (t.ndim - 1 - dim) + (0, wider)).flatten(dim, dim + 1)

    def rows(t: Tensor) -> Tensor:
        """Residual channels filled up, skips as they are."""
        return torch.cat([functional.pad(t[:channels], (0, 0) * (t.ndim - 1) + (0, more)), t[channels:]])

    filled = []
    for number, (taps, output, bias) in enumerate(layers):
        wide = functional.pad(output, (0, wider))
        if number < len(layers) - 1:
            wide, bias = rows(wide), rows(bias)  # noqa: PLW2901
        filled.append(Layer(functional.pad(halves(taps, 0), (0, 0, 0, more)), wide, bias))
    frames, matrix = told.frames, told.matrix
    told = told._replace(
        steady=halves(told.steady, 1),
        frames=None if frames is None else halves(frames, 2),
        matrix=None if matrix is None else halves(matrix, 0),
    )
    return functional.pad(x, (0, more)), told, filled


class _Stack(torch.autograd.Function):
    """Both ways as one operation."""

    @staticmethod
    @override
    def forward(ctx: Any, shape: Shape, *tensors: Tensor | None) -> Tensor:
        kept: list[Tensor] = []
        result = _Given.of(shape, tensors).forwards(kept)
        ctx.shape, ctx.inputs = shape, len(tensors)
        ctx.save_for_backward(*tensors, *kept)
        return result

    @staticmethod
    @override
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        tensors, kept = ctx.saved_tensors[: ctx.inputs], ctx.saved_tensors[ctx.inputs :]
        needed = ctx.needs_input_grad[1:]
        # Autocast is as it was where the backward pass was asked for.
        with torch.autocast("cpu", enabled=False):
            if torch.is_grad_enabled():
                return None, *_differentiable(ctx.shape, tensors, needed, grad)
            return None, *_Given.of(ctx.shape, tensors).backwards(grad.contiguous(), kept, needed)


def _differentiable(
    shape: Shape, tensors: Sequence[Tensor | None], needed: Sequence[bool], grad: Tensor
) -> list[Tensor | None]:
    """Gradients that have gradients."""
    given = _Given.of(shape, tensors)
    result = plain(shape, given.x, given.told, given.layers, given.mask)
    wanted = [t for t, need in zip(tensors, needed, strict=True) if need and t is not None]
    found = iter(torch.autograd.grad(result, wanted, grad, create_graph=True, allow_unused=True))
    return [next(found) if need else None for need in needed]


@dataclass(frozen=True)
class _Given:
    """The operands of a stack, and what follows from their sizes.

    Attributes:
        shape: offsets and scale.
        x: ``[T, B, C]``.
        told: what is added to the sums.
        mask: ``[T, B]``.
        layers: weights.
    """

    shape: Shape
    x: Tensor
    told: Told
    mask: Tensor | None
    layers: list[Layer]

    @classmethod
    def of(cls, shape: Shape, tensors: Sequence[Tensor | None]) -> "_Given":
        """From a flat list."""
        x, told, mask, rest = tensors[0], tensors[1:6], tensors[6], tensors[7:]
        layers = [Layer(*rest[i : i + 3]) for i in range(0, len(rest), 3)]  # type: ignore[arg-type]
        return cls(shape, x, Told(*told), mask, layers)  # type: ignore[arg-type]

    @property
    def gates(self) -> int:
        """``G``."""
        return self.layers[0].output.shape[1]

    @property
    def hop(self) -> int:
        """Steps of a frame, or of what takes its place."""
        return BLOCK if self.told.weight is None else len(self.told.weight)

    @property
    def frames(self) -> int:
        """How many there are of them."""
        return -(-len(self.x) // self.hop)

    def forwards(self, kept: list[Tensor] | None) -> Tensor:
        """The sum of the skips, ``[T, B, S]``; ``kept`` takes each layer's ``h`` and gates for the way back."""
        steps, batch, channels = self.x.shape
        rows, last = steps * batch, len(self.layers) - 1
        h = self.x.view(rows, channels)
        skips = h.new_empty(rows, len(self.layers[-1].output))
        gates, sums = h.new_empty(rows, self.gates), h.new_empty(rows, 2 * self.gates)
        spare: list[Tensor] = []
        for number, layer in enumerate(self.layers):
            if kept is not None and number:
                sums = torch.empty_like(sums)
            self._add_up(number, h, sums)
            self._gate(number, sums, gates, kept=kept is not None)
            if kept is not None:
                kept += [h, sums]
            split = channels if number < last else 0
            skip = layer.output[split:].t()
            if number:
                skips.addmm_(gates, skip)
            else:
                torch.mm(gates, skip, out=skips)
            if number < last:
                above = spare.pop() if spare else torch.empty_like(h)
                torch.mm(gates, layer.output[:split].t(), out=above)
                self._add_residual(layer.bias, h, above)
                if kept is None and number:
                    spare.append(h)  # the first one is the caller's
                h = above
        skips += torch.stack([layer.bias[-skips.shape[1] :] for layer in self.layers]).sum(dim=0)
        if self.mask is not None:
            skips *= self.mask.view(-1, 1)
        return skips.view(steps, batch, -1)

    def _shifts(self, number: int) -> list[tuple[int, slice, slice]]:
        """Of each tap that sees something, the present first: its number, rows of ``h`` and the rows that see them."""
        steps, batch, _ = self.x.shape
        found = []
        for tap, offset in enumerate(self.shape.offsets[number]):
            rows = (steps - abs(offset)) * batch
            if rows > 0:
                seen, seeing = max(offset, 0) * batch, max(-offset, 0) * batch
                found.append((tap, slice(seen, seen + rows), slice(seeing, seeing + rows)))
        return sorted(found, key=lambda shift: shift[1] != shift[2])

    def _add_up(self, number: int, h: Tensor, sums: Tensor) -> None:
        """``sums = sum_k W_k h_{t + o_k} + V c_t``."""
        matrices = self.layers[number].taps.permute(2, 1, 0).contiguous()
        (present, _, _), *others = self._shifts(number)
        torch.mm(h, matrices[present], out=sums)
        for tap, seen, seeing in others:
            sums[seeing].addmm_(h[seen], matrices[tap])
        if self.told.cond is not None and self.told.matrix is not None:
            sums.addmm_(self.told.cond.flatten(0, 1), self.told.matrix[self._own(number)].t())

    def _own(self, number: int) -> slice:
        """A layer's part of what is told to all."""
        return slice(2 * self.gates * number, 2 * self.gates * (number + 1))

    def _told(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``v``, ``u`` and ``w`` as flat arrays; where there is no ``u``, something."""
        start = 2 * self.gates * number
        steady = _flat(self.told.steady)[start:]
        if self.told.frames is None or self.told.weight is None:
            return steady, steady, steady
        return steady, _flat(self.told.frames)[start:], _flat(self.told.weight)

    def _sizes(self) -> tuple[int, int, int, int, int, bool]:
        steps, batch, _ = self.x.shape
        return steps, batch, self.gates, self.hop, self.told.steady.shape[1], self.told.frames is not None

    def _gate(self, number: int, sums: Tensor, result: Tensor, *, kept: bool) -> None:
        """``result = tanh sigma`` of the sums and what is told; if ``kept``, the sums' places hold the two."""
        operands = *self._sizes(), kept, *self._told(number), _flat(sums), _flat(result)
        _in_parts(self.frames, sums.numel(), lambda _, first, last: gate(first, last, *operands))

    def _add_residual(self, bias: Tensor, h: Tensor, result: Tensor) -> None:
        """``result = (h + result + r) rho m``."""
        mask = _flat(bias if self.mask is None else self.mask)
        operands = (h.shape[1], self.mask is not None, self.shape.residual_scale, _flat(bias), mask)
        arrays = _flat(h), _flat(result)
        _in_parts(len(h), h.numel(), lambda _, first, last: residual(first, last, *operands, *arrays))

    def backwards(self, grad: Tensor, kept: Sequence[Tensor], needed: Sequence[bool]) -> list[Tensor | None]:
        """Gradients in the order of the operands, of those that are ``needed``."""
        steps, batch, channels = self.x.shape
        rows, last, told = steps * batch, len(self.layers) - 1, self.told
        if self.mask is not None:
            grad = grad * self.mask[..., None]
        above_skips = grad.view(rows, -1)
        skip_bias = above_skips.sum(dim=0)
        gates, sums = grad.new_empty(rows, self.gates), grad.new_empty(rows, 2 * self.gates)
        above_gates = torch.empty_like(gates)
        between = told.frames is not None
        shares = grad.new_empty(self.frames, 4 if between else 1, *told.steady.shape)
        in_weight = grad.new_zeros(_parts(self.frames, sums.numel()), self.hop if between else 0, 3, LANES)
        in_cond = None if told.cond is None or not needed[4] else grad.new_zeros(rows, told.cond.shape[-1])
        in_matrix = None if told.matrix is None or not needed[5] else torch.empty_like(told.matrix)
        in_layers: list[Tensor | None] = [None] * (3 * len(self.layers))
        # The gradient of ``h + R g + r``, and so of r.
        inside: Tensor | None = None
        for number in range(last, -1, -1):
            layer, (h, gate_kept) = self.layers[number], kept[2 * number : 2 * number + 2]
            split = 0 if inside is None else channels
            torch.mm(above_skips, layer.output[split:], out=above_gates)
            if inside is not None:
                above_gates.addmm_(inside, layer.output[:split])
            self._gate_backwards(number, gate_kept, above_gates, gates, sums, shares, in_weight)
            own = needed[7 + 3 * number :]
            if own[1]:
                in_output = torch.empty_like(layer.output)
                torch.mm(above_skips.t(), gates, out=in_output[split:])
                if inside is not None:
                    torch.mm(inside.t(), gates, out=in_output[:split])
                in_layers[3 * number + 1] = in_output
            if own[2]:
                in_layers[3 * number + 2] = skip_bias if inside is None else torch.cat([inside.sum(dim=0), skip_bias])
            if own[0]:
                in_layers[3 * number] = self._taps_backwards(number, h, sums)
            if in_cond is not None and told.matrix is not None:
                in_cond.addmm_(sums, told.matrix[self._own(number)])
            if in_matrix is not None and told.cond is not None:
                torch.mm(sums.t(), told.cond.flatten(0, 1), out=in_matrix[self._own(number)])
            if number or needed[0]:
                inside = self._sums_backwards(number, sums, inside)
        first = None if inside is None or not needed[0] else inside.view_as(self.x)
        in_cond = None if in_cond is None or told.cond is None else in_cond.view_as(told.cond)
        in_frames = None
        if told.frames is not None:
            in_frames = torch.zeros_like(told.frames)
            for neighbour in range(3):
                in_frames[neighbour : neighbour + self.frames] += shares[:, 1 + neighbour]
        of_weight = in_weight.sum(dim=(0, 3)) if between else None
        return [first, shares[:, 0].sum(dim=0), in_frames, of_weight, in_cond, in_matrix, None, *in_layers]

    def _gate_backwards(
        self,
        number: int,
        kept: Tensor,
        grad: Tensor,
        gates: Tensor,
        sums: Tensor,
        shares: Tensor,
        in_weight: Tensor,
    ) -> None:
        """Fill ``gates`` with the gates, ``sums`` with the gradient of their sums; add it up over frames."""
        _, told, weight = self._told(number)
        arrays = told, weight, *map(_flat, (kept, grad, gates, sums)), _flat(shares)[2 * self.gates * number :]
        sizes, each = self._sizes(), [_flat(part) for part in in_weight]

        def work(part: int, first: int, last: int) -> None:
            gate_backwards(first, last, *sizes, *arrays, each[part])

        _in_parts(self.frames, kept.numel(), work)

    def _taps_backwards(self, number: int, h: Tensor, sums: Tensor) -> Tensor:
        """The gradient of ``W``."""
        taps = self.layers[number].taps
        found = taps.new_zeros(taps.shape[2], *taps.shape[:2])
        for tap, seen, seeing in self._shifts(number):
            torch.mm(sums[seeing].t(), h[seen], out=found[tap])
        return found.permute(1, 2, 0).contiguous()

    def _sums_backwards(self, number: int, sums: Tensor, inside: Tensor | None) -> Tensor:
        """The gradient of what came into the layer below as ``h + R g + r``; of ``x`` below the first one."""
        matrices = self.layers[number].taps.permute(2, 0, 1).contiguous()
        (present, _, _), *others = self._shifts(number)
        scale = self.shape.residual_scale if number else 1.0
        if inside is None:
            inside = torch.mm(sums, matrices[present])
            if scale != 1:
                inside *= scale
        else:
            inside.addmm_(sums, matrices[present], beta=scale, alpha=scale)
        for tap, seen, seeing in others:
            inside[seen].addmm_(sums[seeing], matrices[tap], alpha=scale)
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


@torch.enable_grad()
@torch.autocast("cpu", enabled=False)
def compile_all() -> None:
    """Compile what there is to compile, or read what was compiled before.

    Raises:
        NumbaError: it does not compile.
    """
    layer = Layer(torch.zeros(2 * LANES, LANES, 1), torch.zeros(LANES, LANES), torch.zeros(LANES))
    inner = layer._replace(output=torch.zeros(2 * LANES, LANES), bias=torch.zeros(2 * LANES))
    x = torch.zeros(1, 1, LANES, requires_grad=True)
    run(Shape([[0], [0]], 1.0), x, Told(torch.zeros(1, 4 * LANES)), [inner, layer]).sum().backward()
