"""The mel contract: every number that decides what a mel spectrogram means, and the well-known sets of them."""

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import Self

from audioflow.errors import MelError
from audioflow.names import did_you_mean, nearest


class MelContract(BaseModel):
    """How a recording becomes a mel spectrogram, to the last number.

    With ``P`` the squared magnitude of the short-time Fourier transform, a mel value is::

        linear = filterbank @ (P + magnitude_epsilon) ** (power / 2)
        mel    = gain * log(max(linear, floor)) + offset        # floor_law "clamp"
        mel    = gain * log(linear + floor) + offset            # floor_law "add"
        mel    = min(mel, ceiling)                              # where there is a ceiling

    ``gain`` and ``offset`` are there for families in decibels, shifted or scaled to a unit range: 20 log10 is
    ``compression="log10", gain=20``. A window that the spectrum is divided by is an offset too. Statistics of a corpus
    (mean and variance normalisation) and filters before the analysis (pre-emphasis) are not part of a contract.

    Attributes:
        sample_rate: samples per second of the recording, Hz.
        n_fft: length of the Fourier transform, samples.
        hop_length: samples from one frame to the next.
        win_length: length of the Hann window, samples; it lies in the middle of ``n_fft``.
        f_min: lower edge of the lowest band, Hz.
        f_max: upper edge of the highest band, Hz.
        n_mels: number of bands.
        mel_scale: ``"slaney"`` (linear below 1 kHz) or ``"htk"``.
        mel_norm: ``"slaney"`` (each band has unit area) or ``"none"`` (each band peaks at 1).
        power: 1 for magnitudes, 2 for powers.
        magnitude_epsilon: added to the squared magnitude; keeps the gradient finite in silence.
        compression: natural or decimal logarithm.
        floor: least linear value, see the equations.
        floor_law: whether the floor is a lower limit or is added.
        gain: factor after the logarithm.
        offset: summand after the gain.
        ceiling: highest mel value, ``None`` for no limit.
        framing: ``"centered"``: frame ``k`` has its middle at sample ``k * hop_length``; ``"half_hop"``: at
            ``(k + 1/2) * hop_length``, the middle of the samples that the frame stands for.
        pad_mode: what lies beyond both ends of a recording: its mirror image or silence.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    sample_rate: int = Field(ge=1000, le=384_000)
    n_fft: int = Field(ge=16, le=65_536)
    hop_length: int = Field(ge=1)
    win_length: int = Field(ge=2)
    f_min: float = Field(ge=0)
    f_max: float = Field(gt=0)
    n_mels: int = Field(ge=1, le=1024)
    mel_scale: Literal["slaney", "htk"] = "slaney"
    mel_norm: Literal["slaney", "none"] = "slaney"
    power: Literal[1, 2] = 1
    magnitude_epsilon: float = Field(default=0.0, ge=0, le=1e-3)
    compression: Literal["ln", "log10"] = "ln"
    floor: float = Field(default=1e-5, gt=0)
    floor_law: Literal["clamp", "add"] = "clamp"
    gain: float = Field(default=1.0, gt=0)
    offset: float = 0.0
    ceiling: float | None = None
    framing: Literal["centered", "half_hop"] = "centered"
    pad_mode: Literal["reflect", "zeros"] = "reflect"

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.win_length > self.n_fft:
            raise ValueError(f"win_length {self.win_length} is longer than n_fft {self.n_fft}")
        if self.hop_length > self.win_length:
            raise ValueError(f"hop_length {self.hop_length} skips samples: it is longer than win_length")
        if not self.f_min < self.f_max <= self.sample_rate / 2:
            raise ValueError(f"bands from {self.f_min} to {self.f_max} Hz do not fit below {self.sample_rate / 2} Hz")
        if self.ceiling is not None and not self.silence < self.ceiling:
            raise ValueError(f"the ceiling {self.ceiling} is not above {self.silence:g}, the value of silence")
        return self

    @property
    def silence(self) -> float:
        """The mel value of digital silence, the lowest one there is (up to ``magnitude_epsilon``)."""
        return self.gain * math.log(self.floor) / self.log_base + self.offset

    @property
    def log_base(self) -> float:
        """Natural logarithm of the base of the compression."""
        return math.log(10.0) if self.compression == "log10" else 1.0

    def differences(self, other: "MelContract") -> list[str]:
        """Name the fields that differ: ``["hop_length 256 instead of 200"]``, the own value first."""
        return [
            f"{name} {getattr(self, name)} instead of {getattr(other, name)}"
            for name in type(self).model_fields
            if getattr(self, name) != getattr(other, name)
        ]


_NVIDIA = MelContract(sample_rate=22_050, n_fft=1024, hop_length=256, win_length=1024, f_min=0, f_max=8000, n_mels=80)
_HIFIGAN: dict[str, Any] = {"magnitude_epsilon": 1e-9, "framing": "half_hop"}
_AT_16K: dict[str, Any] = {"sample_rate": 16_000, "hop_length": 200, "win_length": 800}

PRESETS: dict[str, MelContract] = {
    "nvidia-22k": _NVIDIA,
    "hifigan-22k": _NVIDIA.model_copy(update=_HIFIGAN),
    "nvidia-16k": _NVIDIA.model_copy(
        update={"sample_rate": 16_000, "n_fft": 800, "hop_length": 200, "win_length": 800}
    ),
    "speech-16k": _NVIDIA.model_copy(update=_AT_16K),
    "vocos-24k": MelContract(
        sample_rate=24_000,
        n_fft=1024,
        hop_length=256,
        win_length=1024,
        f_min=0,
        f_max=12_000,
        n_mels=100,
        mel_scale="htk",
        mel_norm="none",
        floor=1e-7,
    ),
    "bigvgan-24k": _NVIDIA.model_copy(
        update={"sample_rate": 24_000, "f_max": 12_000.0, "n_mels": 100, **_HIFIGAN},
    ),
    "espnet-24k": MelContract(
        sample_rate=24_000,
        n_fft=2048,
        hop_length=300,
        win_length=1200,
        f_min=80,
        f_max=7600,
        n_mels=80,
        compression="log10",
        floor=1e-10,
    ),
    "r9y9-22k": _NVIDIA.model_copy(
        update={"f_min": 125.0, "f_max": 7600.0, "compression": "log10", "floor": 1e-10},
    ),
    "clarinet-22k": _NVIDIA.model_copy(
        update={
            "f_min": 125.0,
            "f_max": 7600.0,
            "power": 2,
            "compression": "log10",
            "floor": 1e-4,
            "gain": 0.2,
            "offset": 0.8,
            "ceiling": 1.0,
        },
    ),
}
"""Contracts of the public families, by name.

``espnet-24k`` and ``r9y9-22k`` are what those projects have before mean and variance. Recordings for ``clarinet-22k``
(ksw0306's ClariNet and FloWaveNet) are divided by their peak first, so that it is 0.999.
"""


def get_contract(name_or_fields: str | Mapping[str, Any] | MelContract) -> MelContract:
    """Make a contract from what a recipe says.

    Args:
        name_or_fields: the name of a preset; or all fields; or ``preset`` and the fields that differ from it.

    Raises:
        MelError: there is no such preset (the nearest is named), or a field is unknown, missing or out of range.

    Example:
        >>> get_contract({"preset": "nvidia-22k", "hop_length": 300}).hop_length
        300
    """
    if isinstance(name_or_fields, MelContract):
        return name_or_fields
    if isinstance(name_or_fields, str):
        return _preset(name_or_fields)
    fields = dict(name_or_fields)
    preset = fields.pop("preset", None)
    base = {} if preset is None else _preset(str(preset)).model_dump()
    try:
        return MelContract.model_validate({**base, **fields})
    except ValidationError as error:
        raise MelError(f"The mel contract is wrong: {_sentence(error)}.") from error


def _preset(name: str) -> MelContract:
    if name in PRESETS:
        return PRESETS[name]
    raise MelError(f"There is no mel preset {name!r}{did_you_mean(name, PRESETS)}")


def _sentence(error: ValidationError) -> str:
    return "; ".join(_problem(problem) for problem in error.errors())


def _problem(problem: Any) -> str:
    field = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        near = nearest(field, MelContract.model_fields)
        return f"unknown field {field!r}" + (f", did you mean {near!r}?" if near else "")
    text = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "missing":
        return f"field {field!r} is missing"
    return f"{field} = {problem['input']!r}: {text}" if field else text
