"""The formats by name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from audioflow.errors import OptionError
from audioflow.imports import ksw0306_clarinet, l0sg_waveflow, nvidia_waveglow, r9y9_wavenet
from audioflow.imports.base import Converted, ImportSettings
from audioflow.imports.unpickle import Checkpoint
from audioflow.names import did_you_mean


@dataclass(frozen=True)
class Format:
    """A family of foreign checkpoints.

    Attributes:
        title: the project and its model.
        settings: what may be said besides the file.
        convert: from checkpoint and settings to one of our vocoders.
    """

    title: str
    settings: type[ImportSettings]
    convert: Callable[[Checkpoint, Any], Converted]


FORMATS: dict[str, Format] = {
    "nvidia-waveglow": Format("NVIDIA/waveglow", nvidia_waveglow.WaveGlowSettings, nvidia_waveglow.convert),
    "r9y9-wavenet": Format("r9y9/wavenet_vocoder", r9y9_wavenet.WaveNetSettings, r9y9_wavenet.convert),
    "ksw0306-clarinet": Format("ksw0306/ClariNet", ksw0306_clarinet.ClariNetSettings, ksw0306_clarinet.convert),
    "l0sg-waveflow": Format("L0SG/WaveFlow", l0sg_waveflow.WaveFlowSettings, l0sg_waveflow.convert),
}


def get_format(name: str) -> Format:
    """The format called ``name``.

    Raises:
        OptionError: there is none; the nearest name is given.
    """
    if name in FORMATS:
        return FORMATS[name]
    raise OptionError(f"There is no format {name!r}{did_you_mean(name, FORMATS)}")
