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
    _samples: int = 0
    _seconds: float = 0.0

    def add(self, loss: float, samples: int, seconds: float) -> None:
        """Count one step: its loss in nats per sample, its audio samples, the seconds it took."""
        self._losses.append(loss)
        self._samples += samples
        self._seconds += seconds

    def take(self) -> dict[str, float]:
        """Give the figures of the steps since the last call, of which there must be one, and start anew."""
        self.loss = sum(self._losses) / len(self._losses)
        self.samples_per_second = self._samples / max(self._seconds, 1e-9)
        self._losses, self._samples, self._seconds = [], 0, 0.0
        return {"loss": self.loss, "samples_per_second": self.samples_per_second}
