"""Recipes as YAML files: reading with overrides, writing, and comparing two of them."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from audioflow.errors import RecipeError
from audioflow.names import did_you_mean
from audioflow.training.recipe import Recipe
from audioflow.training.recipe_errors import as_sentence
from audioflow.vocoders import VOCODERS, config_schema

# What may change between the parts of one run: how long it lasts, where the speech lies, and what it reports when. Not
# what is held out: the best checkpoint is the best on one and the same speech.
FREE_TO_CHANGE = frozenset(
    {
        "name",
        "description",
        "data.root",
        "data.prepared",
        "data.workers",
        "train.steps",
        "train.minutes",
        "train.clock",
        "train.validate_every",
        "train.sample_every",
        "train.sample_seconds",
        "train.checkpoint_every",
        "train.log_every",
    }
)

# What the YAML reader raises: its own errors, those of values such as the date 2024-13-45, and endless nesting.
_UNREADABLE = (yaml.YAMLError, ValueError, RecursionError)


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and change single fields of it.

    Args:
        path: a YAML file.
        overrides: such as ``train.minutes=3``; the value is read as YAML.

    Raises:
        RecipeError: the file is missing or no YAML mapping, or a field is unknown, missing or out of range.
    """
    path = Path(path)
    data = _read_mapping(path)
    for override in overrides:
        _apply(data, override)
    source = f"{path} with {' '.join(overrides)}" if overrides else str(path)
    return parse_recipe(data, source)


def parse_recipe(data: Mapping[str, Any], source: str = "recipe") -> Recipe:
    """Check a recipe that is a mapping already, and fill in the defaults of its model.

    Args:
        data: the recipe.
        source: what errors call it.

    Raises:
        RecipeError: a field is unknown, missing or out of range.
    """
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        raise as_sentence(source, error, Recipe) from None
    name = recipe.model.name
    if name not in VOCODERS:
        raise RecipeError(
            f"{source}: model.name is {name!r}, but no vocoder has that name{did_you_mean(name, VOCODERS)}"
        )
    schema = config_schema(name)
    try:
        fields = schema.model_validate(recipe.model.fields)
    except ValidationError as error:
        raise as_sentence(source, error, schema, ("model",)) from None
    model = type(recipe.model)(name=name, **fields.model_dump(mode="json"))
    return recipe.model_copy(update={"model": model})


def recipe_text(recipe: Recipe) -> str:
    """Write a recipe as YAML, with every default spelt out."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def differing_fields(old: Recipe, new: Recipe) -> list[str]:
    """Name the fields in which two recipes train differently, as ``field: old -> new``."""
    before, after = (_flatten(recipe.model_dump(mode="json")) for recipe in (old, new))
    return [
        f"{field}: {before.get(field)} -> {after.get(field)}"
        for field in sorted({*before, *after} - FREE_TO_CHANGE)
        if before.get(field) != after.get(field)
    ]


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        found = "is a directory" if path.is_dir() else "cannot be read" if path.exists() else "does not exist"
        siblings = [file.name for file in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        raise RecipeError(f"{path} {found}, but a recipe file is needed{did_you_mean(path.name, siblings)}") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is not UTF-8 text, but a recipe is a YAML file.") from error
    try:
        data = yaml.safe_load(text)
    except _UNREADABLE as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        raise RecipeError(f"{path} is not valid YAML{line}: {_problem(error)}.") from error
    if not isinstance(data, dict):
        found = "empty" if data is None else f"a {type(data).__name__}"
        raise RecipeError(f"{path} is {found}, but a recipe is a mapping with name, data, mel, model and train.")
    return data


def _problem(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(getattr(error, "problem", None) or str(error).rstrip(".") or "unreadable")


def _apply(data: dict[str, Any], override: str) -> None:
    field, equals, text = override.partition("=")
    keys = field.strip().split(".")
    if not equals or not all(keys):
        raise RecipeError(f"The override {override!r} should read field=value, such as train.minutes=3.")
    try:
        value = yaml.safe_load(text)
    except _UNREADABLE as error:
        raise RecipeError(f"The override {override!r} has a value that is not valid YAML; quote it.") from error
    section = data
    for key in keys[:-1]:
        inner = section.setdefault(key, {})
        if not isinstance(inner, dict):
            raise RecipeError(
                f"The override {override!r} names a field below {key}, which is {inner!r}, not a section."
            )
        section = inner
    section[keys[-1]] = copy.deepcopy(value)


def _flatten(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
