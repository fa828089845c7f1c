"""The models that a recipe names."""

from audioflow.vocoders.base import Vocoder
from audioflow.vocoders.checkpoint import CheckpointHeader, load, locate, read_header
from audioflow.vocoders.glow import Glow
from audioflow.vocoders.registry import VOCODERS, build, config_schema, vocoder_class
from audioflow.vocoders.wavenet import WaveNet

__all__ = [
    "VOCODERS",
    "CheckpointHeader",
    "Glow",
    "Vocoder",
    "WaveNet",
    "build",
    "config_schema",
    "load",
    "locate",
    "read_header",
    "vocoder_class",
]
