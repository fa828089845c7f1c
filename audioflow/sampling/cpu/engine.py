"""The engine ``cpu``: an autoregressive WaveNet in a compiled loop."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from audioflow.distributions import Gaussian, OutputLaw
from audioflow.nets.conditioning import Conditioning
from audioflow.nets.wavenet import CausalWaveNet
from audioflow.sampling.autoregressive import Precision, Progress, check_groups
from audioflow.sampling.cpu import int8_works
from audioflow.sampling.cpu.byte_loop import ByteWeights, run_bytes
from audioflow.sampling.cpu.byte_weights import byte_state, byte_weights_of
from audioflow.sampling.cpu.conditioning import Projected, conditioning
from audioflow.sampling.cpu.group_weights import made_of
from audioflow.sampling.cpu.groups import Made
from audioflow.sampling.cpu.loop import Block, Sizes, State, Weights, run
from audioflow.sampling.cpu.places import LANES, aligned, padded, placed
from audioflow.sampling.cpu.weights import PACKED, sizes_of, weights_of
from audioflow.sampling.law_numbers import law_numbers, prepared_noise

TILE = 16
"""Utterances that go through the loop together: their sums and inputs of one layer stay in the nearest cache."""


@torch.inference_mode()
def sample_cpu(
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
        precision: of the gated layers' weights; ``int16`` is a whole number of 16 bits times the column's own scale,
            ``int8`` one of 8 bits, and so are their inputs then.

    Raises:
        TypeError: the loop does not know the law.
    """
    batch, _, steps = noise.shape
    levels = level.expand(batch, -1, steps)
    samples = law.sample_channels
    audio = np.empty((batch, steps * samples), np.float32)
    done = _Progress(progress, batch)
    network_as_read = read_weights(network, law, sizes_of(network, law, precision))

    def work(rows: slice) -> None:
        own = None if speaker is None else speaker[rows]
        sampler = CpuSampler(
            network,
            law,
            rows.stop - rows.start,
            speaker=own,
            temperature=temperature,
            preemphasis=preemphasis,
            limit=limit,
            precision=precision,
            weights=network_as_read,
        )
        start = 0
        for made in sampler.draw(cond.utterances(rows), levels[rows], noise[rows]):
            audio[rows, start : start + made.shape[1]] = made.numpy()
            start += made.shape[1]
            done.add(made.shape[1] // samples, rows.stop - rows.start)

    tiles = list(_tiles(batch, torch.get_num_threads()))
    with ThreadPoolExecutor(min(len(tiles), torch.get_num_threads())) as pool:
        for finished in [pool.submit(work, rows) for rows in tiles]:
            finished.result()
    return torch.from_numpy(audio).to(noise.dtype).view(batch, steps, samples).transpose(1, 2)


class CpuSampler:
    """Draws from a WaveNet and remembers where it is, so that an utterance can be made stretch by stretch.

    Args:
        network: see :class:`audioflow.sampling.Engine`.
        law: see there.
        batch: utterances.
        speaker: see there.
        temperature: see there.
        preemphasis: see there.
        limit: see there.
        precision: see :func:`sample_cpu`.
        weights: what :func:`read_weights` makes of the network, where it is known.

    Raises:
        TypeError: the loop does not know the law.
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
        weights: Weights | ByteWeights | None = None,
    ) -> None:
        check_groups(law, preemphasis)
        self._network, self._law, self._speaker, self._batch = network, law, speaker, batch
        self._numbers = law_numbers(law, temperature)
        self._sizes = sizes_of(network, law, precision)
        self._weights = read_weights(network, law, self._sizes) if weights is None else weights
        self._made = made_of(law)
        self._preemphasis, self._limit = float(preemphasis), float(limit)
        self._state = _silence(self._sizes, self._weights, self._made, self._numbers.components, batch)
        self._bytes = byte_state(self._sizes, self._state.rings.size, batch)

    def draw(self, cond: Conditioning | None, level: Tensor, noise: Tensor, first: int = 0) -> Iterator[Tensor]:
        """See :meth:`audioflow.sampling.Sampler.draw`.

        Raises:
            ValueError: the shapes do not fit together.
        """
        # A thread has its own inference mode.
        with torch.inference_mode():
            levels = level[:, 0].float().numpy()
            batch, steps = levels.shape
            if batch != self._batch or noise.shape != (batch, self._law.noise_channels, steps):
                raise ValueError(f"noise {list(noise.shape)} and level {list(level.shape)} do not fit the sampler")
            given = prepared_noise(self._law, noise)
            blocks = conditioning(self._network, self._sizes, cond, self._speaker, batch, first)
        start = 0
        while start < steps:
            with torch.inference_mode():
                told = next(blocks)
            stop = min(steps, start + told.steps)
            noises = [number[:, start:stop].numpy() for number in given]
            yield self._run(told, levels[:, start:stop], noises)
            start = stop

    def outputs(self, seen: np.ndarray) -> np.ndarray:
        """What the law was given at the step before, ``[B, P]``, where a Gaussian law or a group drew it.

        Args:
            seen: what the network sees of that step from now on instead of what was drawn, ``[B, r]``.
        """
        self._state.inputs.reshape(self._batch, -1)[:, -seen.shape[1] :] = seen
        outputs: np.ndarray = self._state.params.reshape(self._batch, -1)[:, : self._law.parameter_channels]
        return outputs.copy()

    def _run(self, told: Projected, level: np.ndarray, noises: list[np.ndarray]) -> Tensor:
        sizes, state, (batch, steps) = self._sizes, self._state, level.shape
        kept, made = sizes.longest * sizes.samples, steps * sizes.samples
        inputs = aligned(batch * (kept + made)).reshape(batch, -1)
        inputs[:, :kept] = state.inputs.reshape(batch, -1)[:, -kept:] if kept else 0
        state = state._replace(inputs=inputs.reshape(-1))
        first = placed(noises[0])
        block = Block(
            steps=steps,
            batch=batch,
            hop=len(told.weight),
            frames=told.frames,
            weight=told.weight.reshape(-1),
            bias=told.bias,
            level=np.ascontiguousarray(level).reshape(-1),
            noise=first,
            other=first if noises[1] is noises[0] else placed(noises[1]),
            audio=aligned(batch * made),
        )
        given = self._numbers, self._made, state
        if isinstance(self._weights, ByteWeights):
            run_bytes(sizes, self._weights, *given, self._bytes, block, self._preemphasis, self._limit)
        else:
            run(sizes, self._weights, *given, block, self._preemphasis, self._limit)
        self._state = state._replace(inputs=np.ascontiguousarray(inputs[:, made:]).reshape(-1))
        return torch.from_numpy(block.audio.reshape(batch, made))


def read_weights(network: CausalWaveNet, law: OutputLaw, sizes: Sizes) -> Weights | ByteWeights:
    """The weights as the loop of that precision reads them."""
    return (byte_weights_of if sizes.packed == PACKED["int8"] else weights_of)(network, law, sizes)


def check(law: OutputLaw, precision: Precision) -> None:
    """See whether the loop knows a law and whether this CPU has the instructions.

    Raises:
        ValueError: it does not.
    """
    if precision == "int8" and not int8_works():
        raise ValueError("the CPU has no products of 8-bit numbers, AVX-512 VNNI")
    try:
        law_numbers(law, 1.0)
    except TypeError as error:
        raise ValueError(str(error)) from error


@cache
def compile_once(precision: Precision = "float32") -> None:
    """Compile the loop, or read what was compiled before, by drawing one sample of the smallest network.

    Raises:
        NumbaError: it cannot be compiled.
    """
    network = CausalWaveNet(1, 2, 1, 1, 1, 1, 1)
    one = torch.zeros(1, 1, 1)
    for _ in CpuSampler(network, Gaussian(), 1, precision=precision).draw(Conditioning(one), one, one):
        pass


def _silence(sizes: Sizes, weights: Weights | ByteWeights, made: Made, components: int, batch: int) -> State:
    slots = (sizes.taps - 1) * weights.dilations
    ends = np.cumsum(slots * batch * sizes.channels)
    silent = (sizes.classes - 1) // 2 if sizes.classes else 0

    def room(width: int) -> np.ndarray:
        return aligned(batch * width)

    units = int(made.widths.sum() + made.widths.max())
    return State(
        inputs=np.full(batch * sizes.longest * sizes.samples, silent, np.float32),
        before=room(1),
        rings=aligned(int(ends[-1])),
        ring_starts=np.concatenate([[0], ends[:-1]]),
        slots=np.zeros(sizes.layers, np.int64),
        running=room(sizes.out_width),
        taps=room(sizes.taps * sizes.channels),
        sums=room(sizes.conv_width),
        gated=room(sizes.gates),
        outputs=room(sizes.out_width),
        skips=room(sizes.skips),
        last=room(sizes.end_rows),
        params=room(sizes.end_width),
        room=aligned(2 * padded(sizes.samples) + LANES * components + units),
    )


class _Progress:
    """Adds up what several threads have done, in steps of the whole batch."""

    def __init__(self, progress: Progress | None, batch: int) -> None:
        self.progress, self.batch = progress, batch
        self.done = self.told = 0
        self.lock = Lock()

    def add(self, steps: int, utterances: int) -> None:
        if self.progress is None:
            return
        with self.lock:
            self.done += steps * utterances
            self.progress(self.done // self.batch - self.told)
            self.told = self.done // self.batch


def _tiles(batch: int, threads: int) -> Iterator[slice]:
    """Rows that go through the loop together: a share for each thread, whole fours where there are enough."""
    share = -(-batch // threads)
    if share > 4:
        share = padded(share, 4)
    size = min(TILE, share)
    return (slice(start, min(start + size, batch)) for start in range(0, batch, size))
