"""Vocoders by name, and the schema of their settings."""

import inspect
from collections.abc import Mapping
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from audioflow.audio import MelContract
from audioflow.errors import RecipeError
from audioflow.names import did_you_mean
from audioflow.vocoders.base import Vocoder
from audioflow.vocoders.flowavenet import FloWaveNet
from audioflow.vocoders.glow import Glow
from audioflow.vocoders.iaf import IafVocoder
from audioflow.vocoders.maf import MafVocoder
from audioflow.vocoders.nice import Nice
from audioflow.vocoders.realnvp import RealNvp
from audioflow.vocoders.student import Student
from audioflow.vocoders.waveflow import WaveFlow
from audioflow.vocoders.wavenet import WaveNet

VOCODERS: dict[str, type[Vocoder]] = {
    "wavenet": WaveNet,
    "glow": Glow,
    "nice": Nice,
    "realnvp": RealNvp,
    "flowavenet": FloWaveNet,
    "maf": MafVocoder,
    "iaf": IafVocoder,
    "student": Student,
    "waveflow": WaveFlow,
}


def vocoder_class(name: str) -> type[Vocoder]:
    """The class of the vocoder that recipes call ``name``.

    Raises:
        RecipeError: there is none; the nearest name is given.
    """
    if name in VOCODERS:
        return VOCODERS[name]
    raise RecipeError(f"There is no vocoder {name!r}{did_you_mean(str(name), sorted(VOCODERS))}")


def config_schema(name: str) -> type[BaseModel]:
    """A pydantic model of a vocoder's settings: its constructor's keyword arguments with types, ranges, defaults."""
    constructor = vocoder_class(name).__init__
    hints = get_type_hints(constructor, include_extras=True)
    fields: dict[str, Any] = {
        parameter.name: (hints[parameter.name], parameter.default)
        for parameter in inspect.signature(constructor).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    return create_model(f"{name.capitalize()}Config", __config__=ConfigDict(extra="forbid", strict=True), **fields)


def build(name: str, contract: MelContract, config: Mapping[str, Any]) -> Vocoder:
    """Make a vocoder with fresh weights.

    Args:
        name: a key of :data:`VOCODERS`.
        contract: the mel front-end it will be trained with.
        config: settings; what is left out takes the constructor's default.

    Raises:
        RecipeError: an unknown name or setting, a value out of range, settings that do not go together, or more weights
            than there is memory for.
    """
    try:
        settings = config_schema(name)(**config).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise RecipeError(f"{name}.{field}: {first['msg']} (found {first['input']!r}).") from error
    try:
        vocoder: Any = vocoder_class(name)
        built: Vocoder = vocoder(contract, **settings)
    except ValueError as error:
        raise RecipeError(f"The settings of {name} do not go together: {error}.") from error
    except (RuntimeError, MemoryError, OverflowError) as error:  # torch reports a lack of memory as a RuntimeError
        raise RecipeError(f"A {name} of this size cannot be made; give it fewer channels or layers.") from error
    return built
