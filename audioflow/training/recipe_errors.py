"""Validation errors as one sentence: file, field, what was found, what was expected."""

from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from audioflow.errors import RecipeError
from audioflow.names import did_you_mean


def as_sentence(
    source: str, error: ValidationError, schema: type[BaseModel], prefix: tuple[str, ...] = ()
) -> RecipeError:
    """Turn the most telling of pydantic's findings into an error of ours.

    A misspelt field comes first: where one is misspelt, another is often missing for that reason alone.

    Args:
        source: the file, and the overrides if there are any.
        error: what pydantic raised.
        schema: the model that was validated, for the names that would have been valid.
        prefix: where in the recipe that model stands.
    """
    details = sorted(error.errors(), key=lambda detail: detail["type"] != "extra_forbidden")[0]
    location = tuple(part for part in details["loc"] if isinstance(part, str) and part not in ("function-before",))
    field = ".".join((*prefix, *location)) or "the recipe"
    finding = _finding(field, location, details, schema)
    return RecipeError(f"{source}: {finding}" + ("" if finding.endswith(("?", ".")) else "."))


def _finding(field: str, location: tuple[str, ...], details: ErrorDetails, schema: type[BaseModel]) -> str:
    if details["type"] == "extra_forbidden":
        return f"{field} is not a field of a recipe{did_you_mean(location[-1], _names(schema, location[:-1]))}"
    if details["type"] == "missing":
        return f"{field} is missing; add it"
    expected = details["msg"].removeprefix("Value error, ").removeprefix("Input ").replace("Input ", "")
    if details["type"] == "value_error" and isinstance(details["input"], dict):
        return f"{field} {expected}"
    return f"{field} is {details['input']!r}, but {expected}"


def _names(schema: type[BaseModel], path: tuple[str, ...]) -> list[str]:
    """Names of the fields of the section at ``path`` below ``schema``."""
    for part in path:
        field = schema.model_fields.get(part)
        inner = _model_in(field.annotation if field else None)
        if inner is None:
            return []
        schema = inner
    return list(schema.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)
