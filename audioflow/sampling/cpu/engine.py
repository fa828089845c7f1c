"""The engine ``cpu``: an autoregressive WaveNet in a compiled loop."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from audioflow.distributions import DiscretizedLogisticMixture, Gaussian, GaussianMixture, MuLawCategorical, OutputLaw
from audioflow.distributions.base import uniform
from audioflow.nets.frame_features import FrameFeatures
from audioflow.nets.wavenet import CausalWaveNet
from audioflow.sampling.autoregressive import Progress
from audioflow.sampling.cpu.conditioning import Conditioning, conditioning, rows_of
from audioflow.sampling.cpu.laws import GAUSSIAN, GAUSSIAN_MIXTURE, LOGISTIC_MIXTURE, MU_LAW, LawNumbers
from audioflow.sampling.cpu.loop import Block, Sizes, State, Weights, run
from audioflow.sampling.cpu.weights import Precision, padded, sizes_of, weights_of

TILE = 16
"""Utterances that go through the loop together: their sums and inputs of one layer stay in the nearest cache."""


@torch.inference_mode()
def sample_cpu(
    network: CausalWaveNet,
    law: OutputLaw,
    cond: Tensor | FrameFeatures,
    level: Tensor,
    noise: Tensor,
    *,
    speaker: Tensor | None = None,
    temperature: float = 1.0,
    preemphasis: float = 0.0,
    progress: Progress | None = None,
    precision: Precision = "float32",
) -> Tensor:
    """See :class:`audioflow.sampling.Engine`. It works in float32, whatever the dtype of the noise.

    Args:
        network: see :class:`audioflow.sampling.Engine`, as all but the last.
        law: Gaussian, a mixture of Gaussians or of logistics, or mu-law.
        cond: at the rate of samples, or of frames.
        level: log standard deviation.
        noise: standard normal.
        speaker: embeddings.
        temperature: of the law.
        preemphasis: coefficient.
        progress: told of samples done.
        precision: of the gated layers' weights; ``int16`` is a whole number of 16 bits times the column's own scale.

    Raises:
        TypeError: the loop does not know the law.
    """
    sizes = sizes_of(network, precision)
    batch, _, steps = noise.shape
    job = _Job(sizes, weights_of(network, sizes), law_numbers(law, temperature), float(preemphasis))
    levels = level.float().expand(batch, -1, steps)[:, 0].numpy()
    prepared = prepared_noise(law, noise)
    audio = np.zeros((batch, steps), np.float32)
    done = _Progress(progress, batch)

    def work(rows: slice) -> None:
        # Each thread has its own inference mode.
        with torch.inference_mode():
            own = None if speaker is None else speaker[rows]
            blocks = conditioning(network, sizes, rows_of(cond, rows), own, rows.stop - rows.start)
            given = (levels[rows], prepared[:, rows], audio[rows])
            for count in job.run(blocks, *given):
                done.add(count, rows.stop - rows.start)

    tiles = list(_tiles(batch, torch.get_num_threads()))
    with ThreadPoolExecutor(min(len(tiles), torch.get_num_threads())) as pool:
        for finished in [pool.submit(work, rows) for rows in tiles]:
            finished.result()
    return torch.from_numpy(audio).to(noise.dtype)[:, None]


@dataclass(frozen=True)
class _Job:
    """What is the same for all utterances."""

    sizes: Sizes
    weights: Weights
    law: LawNumbers
    preemphasis: float

    def run(
        self, blocks: Iterable[Conditioning], level: np.ndarray, noise: np.ndarray, audio: np.ndarray
    ) -> Iterator[int]:
        """Draw ``audio [B, T]`` block by block, in place; numbers of steps done."""
        batch, steps = audio.shape
        state, start = self._silence(batch), 0
        for told in blocks:
            stop = min(steps, start + told.steps)
            longest = state.inputs.shape[1]
            room = np.zeros((batch, stop - start), np.float32)
            state = state._replace(inputs=np.concatenate([state.inputs, room], axis=1))
            here = np.zeros((batch, stop - start), np.float32)
            block = Block(
                told.frames,
                told.weight,
                told.bias,
                np.ascontiguousarray(level[:, start:stop]),
                np.ascontiguousarray(noise[..., start:stop]),
                here,
            )
            run(self.sizes, self.weights, self.law, state, block, self.preemphasis)
            audio[:, start:stop] = here
            state = state._replace(inputs=np.ascontiguousarray(state.inputs[:, -longest:]))
            yield stop - start
            start = stop
            if start == steps:
                return

    def _silence(self, batch: int) -> State:
        sizes = self.sizes
        slots = (sizes.taps - 1) * self.weights.dilations
        ends = np.cumsum(slots * batch * sizes.channels)
        longest = max(sizes.front_taps, sizes.linear_taps)
        silent = (sizes.classes - 1) // 2 if sizes.classes else 0

        def room(width: int) -> np.ndarray:
            return np.zeros(batch * width, np.float32)

        return State(
            inputs=np.full((batch, longest), silent, np.float32),
            before=room(1),
            rings=np.zeros(int(ends[-1]), np.float32),
            ring_starts=np.concatenate([[0], ends[:-1]]),
            slots=np.zeros(sizes.layers, np.int64),
            running=room(sizes.out_width),
            sums=room(sizes.conv_width),
            gated=room(sizes.gates),
            outputs=room(sizes.out_width),
            skips=room(sizes.skips),
            hidden=room(sizes.hidden_width),
            params=room(sizes.end_width),
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


def law_numbers(law: OutputLaw, temperature: float) -> LawNumbers:
    """A law as the compiled loop reads it.

    Raises:
        TypeError: the loop does not know the law.
    """
    kinds = {
        Gaussian: GAUSSIAN,
        GaussianMixture: GAUSSIAN_MIXTURE,
        DiscretizedLogisticMixture: LOGISTIC_MIXTURE,
        MuLawCategorical: MU_LAW,
    }
    if type(law) not in kinds:
        raise TypeError(f"the engine cpu does not know the law {type(law).__name__}")
    edges, components, one_hot = np.zeros(2), getattr(law, "components", 1), False
    if isinstance(law, MuLawCategorical):
        edges, components, one_hot = law.edges.double().numpy(), law.parameter_channels, law.one_hot
    floor = float(getattr(law, "min_log_scale", 0.0))
    return LawNumbers(kinds[type(law)], components, floor, float(temperature), edges, one_hot)


def prepared_noise(law: OutputLaw, noise: Tensor) -> np.ndarray:
    """Noise as :func:`audioflow.sampling.cpu.laws.draw` takes it, ``[2, B, T]``."""
    first, other = noise[:, 0], noise[:, -1]
    if not isinstance(law, Gaussian):
        first = uniform(first)
    if isinstance(law, DiscretizedLogisticMixture):
        other = torch.logit(uniform(other))
    return torch.stack([first, other]).float().numpy()


def _tiles(batch: int, threads: int) -> Iterator[slice]:
    """Rows that go through the loop together: a share for each thread, whole fours where there are enough."""
    share = -(-batch // threads)
    if share > 4:
        share = padded(share, 4)
    size = min(TILE, share)
    return (slice(start, min(start + size, batch)) for start in range(0, batch, size))
