"""The kernels of :mod:`audioflow.compiled.cuda_stack` and :mod:`audioflow.compiled.cuda_gate`, in Triton's language."""

import triton
import triton.language as tl


@triton.jit
def _gate(a: tl.tensor, b: tl.tensor, QUICK: tl.constexpr) -> tl.tensor:
    """``tanh(a) sigmoid(b)``, without overflow."""
    if QUICK:
        t = tl.inline_asm_elementwise("tanh.approx.f32 $0, $1;", "=f,f", [a], tl.float32, is_pure=True, pack=1)
        s = tl.inline_asm_elementwise("tanh.approx.f32 $0, $1;", "=f,f", [0.5 * b], tl.float32, is_pure=True, pack=1)
        gate = t * (0.5 * s + 0.5)
    else:
        e = tl.exp(-2.0 * tl.abs(a))
        gate = tl.where(a < 0, e - 1.0, 1.0 - e) / ((1.0 + e) * (1.0 + tl.exp(-b)))
    return gate


@triton.jit(do_not_specialize=["count", "of_share", "per_number"])
def gate_kernel(
    sums: tl.tensor,
    share: tl.tensor,
    result: tl.tensor,
    count: tl.tensor,
    of_share: tl.tensor,
    per_number: tl.tensor,
    SHARED: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Some numbers of ``tanh(a) sigmoid(b)`` of one utterance.

    Operands:
        sums: ``[B, 2, count]``, ``a`` and ``b``.
        share: what is added; read where ``SHARED``.
        result: ``[B, count]``.
        count: channels times steps.
        of_share: numbers from one utterance of ``share`` to the next.
        per_number: how many numbers one of ``share`` is for.
    """
    batch = tl.program_id(1).to(tl.int64)
    places = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = places < count
    sums += batch * 2 * count + places
    a, b = tl.load(sums, mask=inside).to(tl.float32), tl.load(sums + count, mask=inside).to(tl.float32)
    if SHARED:
        share += batch * of_share + places // per_number
        a += tl.load(share, mask=inside).to(tl.float32)
        b += tl.load(share + count // per_number, mask=inside).to(tl.float32)
    tl.store(result + batch * count + places, _gate(a, b, False).to(result.dtype.element_ty), mask=inside)


# Numbers that change from layer to layer must not make a kernel of their own for each value.
@triton.jit(do_not_specialize=["steps", "first", "dilation"])
def gated_kernel(
    h: tl.tensor,
    cond: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    gates: tl.tensor,
    steps: tl.tensor,
    first: tl.tensor,
    dilation: tl.tensor,
    CHANNELS: tl.constexpr,
    CONDS: tl.constexpr,
    GATES: tl.constexpr,
    TAPS: tl.constexpr,
    STRIDE: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    QUICK: tl.constexpr,
) -> None:
    """A tile of a gated layer's ``g``.

    Operands:
        h: ``[B, T, CHANNELS]``.
        cond: ``[B, T, CONDS]``; not read where ``CONDS`` is 0.
        weight: ``[TAPS * CHANNELS + CONDS, 2 * GATES]``, filters and gates in turns: ``a0 b0 a1 b1 ...``.
        bias: ``[2 * GATES]``, float32, in the same order.
        gates: the result, rows of ``STRIDE``.
        steps: ``T``.
        first: offset of the first tap.
        dilation: steps from tap to tap.
    """
    # Only a tile's first row may lie farther away than 32 bits reach.
    tile, rows = tl.program_id(1) * BLOCK_T, tl.arange(0, BLOCK_T)
    columns = tl.program_id(0) * (2 * BLOCK_N) + tl.arange(0, 2 * BLOCK_N)
    inner = tl.arange(0, BLOCK_K)
    begin = tl.program_id(2).to(tl.int64) * steps + tile
    h += begin * CHANNELS
    cond += begin * CONDS
    PARTS: tl.constexpr = CHANNELS // BLOCK_K
    OF_TAPS: tl.constexpr = TAPS * PARTS
    sums = tl.zeros((BLOCK_T, 2 * BLOCK_N), tl.float32) + tl.load(bias + columns)[None, :]
    w = weight + inner[:, None] * (2 * GATES) + columns[None, :]
    # One loop over taps and conditioning: between two loops the pipeline would run dry.
    for k in range(OF_TAPS + CONDS // BLOCK_K):
        if CONDS == 0:
            source, width, offset = h + (k % PARTS) * BLOCK_K, CHANNELS, first + (k // PARTS) * dilation
        else:
            told = k >= OF_TAPS
            source = tl.where(told, cond + (k - OF_TAPS) * BLOCK_K, h + (k % PARTS) * BLOCK_K)
            width = tl.where(told, CONDS, CHANNELS)
            offset = tl.where(told, 0, first + (k // PARTS) * dilation)
        places = rows + offset
        seen = (places >= -tile) & (places < steps - tile)
        x = tl.load(source + (places * width)[:, None] + inner[None, :], mask=seen[:, None], other=0.0)
        sums = tl.dot(x, tl.load(w), sums, input_precision="ieee")
        w += BLOCK_K * 2 * GATES
    a, b = tl.split(tl.reshape(sums, (BLOCK_T, BLOCK_N, 2)))
    columns = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    gates += begin * STRIDE
    places = gates + (rows * STRIDE)[:, None] + columns[None, :]
    tl.store(places, _gate(a, b, QUICK).to(gates.dtype.element_ty), mask=(rows < steps - tile)[:, None])


@triton.jit(do_not_specialize=["steps", "scale"])
def product_kernel(
    gates: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    start: tl.tensor,
    mask: tl.tensor,
    wide: tl.tensor,
    half: tl.tensor,
    steps: tl.tensor,
    scale: tl.tensor,
    STRIDE: tl.constexpr,
    DEPTH: tl.constexpr,
    WIDTH: tl.constexpr,
    STARTS: tl.constexpr,
    MASKED: tl.constexpr,
    WIDE: tl.constexpr,
    HALF: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
) -> None:
    """A tile of ``(start + gates weight + bias) scale mask``.

    Operands:
        gates: ``[B, T, DEPTH]``, rows of ``STRIDE``.
        weight: ``[DEPTH, WIDTH]``.
        bias: ``[WIDTH]``, float32.
        start: ``[B, T, WIDTH]``, float32; read where ``STARTS``; may be ``wide``.
        mask: ``[B, T]``, float32; read where ``MASKED``.
        wide: the result, ``[B, T, WIDTH]``, float32; written where ``WIDE``.
        half: the result as an operand, ``[B, T, WIDTH]``; written where ``HALF``.
        steps: ``T``.
        scale: a number.
    """
    tile, rows = tl.program_id(1) * BLOCK_T, tl.arange(0, BLOCK_T)
    columns = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    inner = tl.arange(0, BLOCK_K)
    begin = tl.program_id(2).to(tl.int64) * steps + tile
    valid = (rows < steps - tile)[:, None]
    start += begin * WIDTH
    wide += begin * WIDTH
    half += begin * WIDTH
    places = (rows * WIDTH)[:, None] + columns[None, :]
    sums = tl.zeros((BLOCK_T, BLOCK_N), tl.float32) + tl.load(bias + columns)[None, :]
    if STARTS:
        sums += tl.load(start + places, mask=valid, other=0.0)
    x = gates + begin * STRIDE + (rows * STRIDE)[:, None] + inner[None, :]
    w = weight + inner[:, None] * WIDTH + columns[None, :]
    for _ in range(DEPTH // BLOCK_K):
        sums = tl.dot(tl.load(x, mask=valid, other=0.0), tl.load(w), sums, input_precision="ieee")
        x += BLOCK_K
        w += BLOCK_K * WIDTH
    sums *= scale
    if MASKED:
        sums *= tl.load(mask + begin + rows, mask=rows < steps - tile, other=0.0)[:, None]
    if WIDE:
        tl.store(wide + places, sums, mask=valid)
    if HALF:
        tl.store(half + places, sums.to(half.dtype.element_ty), mask=valid)


@triton.jit(do_not_specialize=["channels", "steps", "of_batch", "of_channel", "of_step"])
def rows_kernel(
    x: tl.tensor,
    wide: tl.tensor,
    half: tl.tensor,
    channels: tl.tensor,
    steps: tl.tensor,
    of_batch: tl.tensor,
    of_channel: tl.tensor,
    of_step: tl.tensor,
    WIDTH: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """A tile of ``x [B, C, T]`` turned to ``[B, T, WIDTH]``, in float32 (where ``WIDE``) and as an operand."""
    rows = (tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)
    columns = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)
    batch = tl.program_id(2).to(tl.int64)
    there = x + batch * of_batch + columns[:, None] * of_channel + rows[None, :] * of_step
    seen = (columns < channels)[:, None] & (rows < steps)[None, :]
    turned = tl.trans(tl.load(there, mask=seen, other=0.0))
    here = batch * steps * WIDTH + (rows * WIDTH)[:, None] + columns[None, :]
    valid = (rows < steps)[:, None]
    if WIDE:
        tl.store(wide + here, turned.to(tl.float32), mask=valid)
    tl.store(half + here, turned.to(half.dtype.element_ty), mask=valid)
