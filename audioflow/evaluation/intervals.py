"""How sure a mean is: bootstrap intervals over utterances."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap

RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over utterances, and where it would lie with others of their kind.

    Attributes:
        mean: of the utterances that have the figure; NaN if none has.
        low: lower end of the 95 % interval; NaN where there are fewer than two utterances.
        high: upper end.
        count: utterances that have the figure.
    """

    mean: float
    low: float
    high: float
    count: int

    @property
    def margin(self) -> float:
        """Half the interval's width."""
        return (self.high - self.low) / 2


def estimate(values: Sequence[float], weights: Sequence[float] | None = None) -> Estimate:
    """Give the mean of one value for each utterance, with the percentile interval of 2,000 bootstrap resamples.

    Utterances are drawn anew, with replacement, as whole ones; values that are no finite numbers are left out.

    Args:
        values: one for each utterance.
        weights: what each counts, such as its samples; all the same for ``None``.

    References:
        B. Efron, R. J. Tibshirani: An Introduction to the Bootstrap, 1993

    >>> estimate([1.0, 1.0, 1.0])
    Estimate(mean=1.0, low=1.0, high=1.0, count=3)
    """
    x = np.asarray(values, dtype=float)
    w = np.ones_like(x) if weights is None else np.asarray(weights, dtype=float)
    finite = np.isfinite(x)
    x, w = x[finite], w[finite]
    if not len(x):
        return Estimate(np.nan, np.nan, np.nan, 0)
    mean = float(_weighted(x, w, -1))
    if len(x) < 2:
        return Estimate(mean, np.nan, np.nan, 1)
    if np.ptp(x) == 0:  # the package has no interval for what does not vary
        return Estimate(mean, mean, mean, len(x))
    found = bootstrap(
        (x, w),
        _weighted,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Estimate(mean, float(found.low), float(found.high), len(x))


def _weighted(x: np.ndarray, w: np.ndarray, axis: int) -> np.ndarray:
    mean: np.ndarray = (x * w).sum(axis=axis) / w.sum(axis=axis)
    return mean
