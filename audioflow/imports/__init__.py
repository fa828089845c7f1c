"""Checkpoints of other projects, read without running anything in them, as vocoders of ours."""

from audioflow.imports.base import Converted, ImportSettings, read_settings
from audioflow.imports.formats import FORMATS, Format, get_format
from audioflow.imports.unpickle import Checkpoint, read_checkpoint

__all__ = [
    "FORMATS",
    "Checkpoint",
    "Converted",
    "Format",
    "ImportSettings",
    "get_format",
    "read_checkpoint",
    "read_settings",
]
