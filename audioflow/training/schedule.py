"""How long a run lasts, when something is due, and how the learning rate moves in between."""

import math
import re
from dataclasses import dataclass
from typing import Literal

Schedule = Literal["constant", "cosine", "halving"]

_UNIT_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Budget:
    """When a run ends: after a number of steps, of seconds, or whichever of the two comes first.

    Progress under a budget of seconds is ``elapsed / seconds``, where the elapsed time of a run that was stopped and
    resumed is the sum over its parts.

    Args:
        steps: number of optimizer steps, or None.
        seconds: seconds of training, validation and checkpoints included, or None.
    """

    steps: int | None = None
    seconds: float | None = None

    def progress(self, step: int, elapsed: float) -> float:
        """Give the share of the budget that is used, from 0; at 1 or above the run is over.

        Args:
            step: optimizer steps done.
            elapsed: seconds used.
        """
        by_steps = step / self.steps if self.steps else 0.0
        by_time = elapsed / self.seconds if self.seconds else 0.0
        return max(by_steps, by_time)


@dataclass(frozen=True)
class Cadence:
    """How often something happens: every so many steps, or every so many seconds.

    Args:
        steps: steps from one time to the next, or None.
        seconds: seconds from one time to the next, or None.
    """

    steps: int | None = None
    seconds: float | None = None

    @classmethod
    def parse(cls, text: str | int) -> "Cadence":
        """Read ``500`` (steps) or ``"30s"``, ``"5m"``, ``"1.5h"`` (time).

        Raises:
            ValueError: the text is neither, or not above zero.
        """
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", str(text).strip())
        if match is None or float(match[1]) <= 0 or (not match[2] and "." in match[1]):
            raise ValueError("should be a number of steps such as 500, or a time such as 30s, 5m or 1h")
        if not match[2]:
            return cls(steps=int(match[1]))
        return cls(seconds=float(match[1]) * _UNIT_SECONDS[match[2]])

    def due(self, before: tuple[int, float], now: tuple[int, float]) -> bool:
        """Say whether a multiple of the interval lies after ``before`` and not after ``now``.

        Args:
            before: step and elapsed seconds at the last look.
            now: step and elapsed seconds at this one.
        """
        if self.steps is not None:
            return now[0] // self.steps > before[0] // self.steps
        seconds = self.seconds or math.inf
        return now[1] // seconds > before[1] // seconds


@dataclass(frozen=True)
class LearningRate:
    """The learning rate over a run: a linear warm-up in steps, times a shape.

    ``constant`` stays at the peak; ``cosine`` falls over the whole budget from the peak to ``final_ratio`` of it along
    half a cosine of the progress; ``halving`` halves every ``halving_steps`` steps.

    Args:
        peak: the highest learning rate.
        warmup_steps: steps over which it rises from nearly zero.
        schedule: the shape.
        final_ratio: where the cosine ends, as a share of the peak.
        halving_steps: steps from one halving to the next.
    """

    peak: float
    warmup_steps: int = 0
    schedule: Schedule = "cosine"
    final_ratio: float = 0.1
    halving_steps: int = 200_000

    def at(self, step: int, progress: float) -> float:
        """Give the learning rate of the step that is about to be made.

        Args:
            step: steps done before it.
            progress: share of the budget that is used, from 0 to 1.
        """
        warmup = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        return self.peak * warmup * self._shape(step, min(max(progress, 0.0), 1.0))

    def _shape(self, step: int, progress: float) -> float:
        if self.schedule == "cosine":
            return self.final_ratio + (1 - self.final_ratio) * 0.5 * (1 + math.cos(math.pi * progress))
        if self.schedule == "halving":
            return float(0.5 ** (step // self.halving_steps))
        return 1.0
