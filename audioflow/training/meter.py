"""Mean loss and speed between two log lines."""

from dataclasses import dataclass, field


@dataclass
class Meter:
    """Gathers steps until their figures are taken.

    Attributes:
        loss: mean loss of the steps last taken, in nats per sample; None before that.
        samples_per_second: their speed in audio samples, time between the steps not counted.
    """

    loss: float | None = None
    samples_per_second: float = 0.0
    _losses: list[float] = field(default_factory=list)
    _figures: list[dict[str, float]] = field(default_factory=list)
    _samples: int = 0
    _seconds: float = 0.0

    def add(self, loss: float, samples: int, seconds: float, figures: dict[str, float] | None = None) -> None:
        """Count one step: its loss, its audio samples, the seconds it took, and other figures, always the same ones."""
        self._figures.append(figures or {})
        self._losses.append(loss)
        self._samples += samples
        self._seconds += seconds

    def take(self) -> dict[str, float]:
        """Give the figures of the steps since the last call, of which there must be one, and start anew."""
        self.loss = sum(self._losses) / len(self._losses)
        self.samples_per_second = self._samples / max(self._seconds, 1e-9)
        means = {name: sum(one[name] for one in self._figures) / len(self._figures) for name in self._figures[0]}
        self._losses, self._samples, self._seconds, self._figures = [], 0, 0.0, []
        return {"loss": self.loss, **means, "samples_per_second": self.samples_per_second}
