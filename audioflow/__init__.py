"""audioflow: neural vocoders built from WaveNets and normalizing flows.

>>> import audioflow
>>> vocoder = audioflow.load("runs/voice")  # doctest: +SKIP
>>> wav = vocoder.synthesize(vocoder.mel(speech), seed=1)  # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audioflow.vocoders import Vocoder, load

__version__ = "0.1.0.dev0"
__all__ = ["Vocoder", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """Import the vocoders, and torch with them, only when they are asked for."""
    if name in {"Vocoder", "load"}:
        from audioflow import vocoders  # noqa: PLC0415

        return getattr(vocoders, name)
    raise AttributeError(f"module 'audioflow' has no attribute {name!r}")
