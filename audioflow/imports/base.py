"""What every importer gives back, and how its settings are read."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from audioflow.errors import OptionError
from audioflow.names import did_you_mean
from audioflow.vocoders import Vocoder


class ImportSettings(BaseModel):
    """What the shapes of the weights do not tell; each format has its own.

    Attributes:
        mel: preset of the mel front-end that the model was trained with.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mel: str = "nvidia-22k"


Settings = TypeVar("Settings", bound=ImportSettings)


@dataclass(frozen=True)
class Converted:
    """A foreign model as one of ours.

    Attributes:
        vocoder: with the weights in place.
        layout: which of the family's layouts the file has.
        notes: sentences about what differs from the project that the weights come from.
    """

    vocoder: Vocoder
    layout: str
    notes: tuple[str, ...] = ()


def read_settings(schema: type[Settings], given: Iterable[str], name: str) -> Settings:
    """Read ``field=value`` words.

    Args:
        schema: the format's settings.
        given: the words.
        name: of the format, for messages.

    Raises:
        OptionError: an unknown field (the nearest is named), or a value out of range.
    """
    fields = {}
    for word in given:
        field, equals, value = word.partition("=")
        if not field or not equals:
            raise OptionError(f"{word!r} should read field=value, as in mel=nvidia-22k.")
        if field not in schema.model_fields:
            raise OptionError(f"{name} has no setting {field!r}{did_you_mean(field, schema.model_fields)}")
        fields[field] = value
    try:
        return schema.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        expected = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
        raise OptionError(f"{first['loc'][0]} is {first['input']!r}, but {expected}.") from error
