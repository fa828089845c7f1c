"""All measures of one pair of sounds, in this process or in others beside it."""

from collections.abc import Callable, Collection
from concurrent.futures import Future, ProcessPoolExecutor
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from audioflow import __version__
from audioflow.audio import MelContract, MelFrontEnd
from audioflow.evaluation.hearing import hearing
from audioflow.evaluation.metrics import distances

PACKAGES = ("pesq", "pystoi", "librosa", "auraloss", "pyworld-prebuilt", "distillmos", "speechmos")
"""What figures depend on, besides this package."""


def judge(
    reference: np.ndarray,
    generated: np.ndarray,
    contract: MelContract,
    wanted: np.ndarray,
    without: Collection[str] = (),
) -> dict[str, float]:
    """Everything that :mod:`audioflow.evaluation.metrics` and :mod:`audioflow.evaluation.hearing` say of two wavs.

    Args:
        reference: the recording ``[T]`` in [-1, 1].
        generated: what is judged ``[T]``.
        contract: of the mel distance.
        wanted: the recording's contour of pitch.
        without: opinion scores to leave out.
    """
    pair = torch.from_numpy(reference), torch.from_numpy(generated)
    return {**distances(*pair, _front_end(contract)), **hearing(*pair, contract.sample_rate, wanted, without)}


def judges() -> str:
    """Names and versions of what judges here: figures of others are not taken for its own."""
    return ", ".join([f"audioflow {__version__}", *filter(None, map(_named, PACKAGES))])


class Court:
    """Judges pairs one after another, or in so many processes beside this one; a context manager.

    Args:
        workers: processes; 1 judges at once, in this one.
        without: opinion scores to leave out.
    """

    def __init__(self, workers: int, without: Collection[str] = ()) -> None:
        self._without = tuple(without)
        # Processes that are forked would share the threads' locks of this one.
        self._pool = ProcessPoolExecutor(workers, get_context("spawn"), _alone) if workers > 1 else None

    def __enter__(self) -> "Court":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=error is None, cancel_futures=True)

    def __call__(
        self, reference: Tensor, generated: Tensor, contract: MelContract, wanted: np.ndarray
    ) -> Callable[[], dict[str, float]]:
        """Ask for the figures of a pair; what comes back gives them, and waits for them."""
        pair = reference.numpy(), generated.numpy()
        if self._pool is None:
            found = judge(*pair, contract, wanted, self._without)
            return lambda: found
        asked: Future[dict[str, float]] = self._pool.submit(judge, *pair, contract, wanted, self._without)
        return asked.result


def _alone() -> None:
    torch.set_num_threads(1)


def _named(package: str) -> str | None:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return None


@lru_cache(maxsize=2)
def _front_end(contract: MelContract) -> MelFrontEnd:
    return MelFrontEnd(contract)
