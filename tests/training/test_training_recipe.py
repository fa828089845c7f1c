"""Recipes: those we ship are valid, and what a user gets wrong is answered in one sentence."""

import re
from pathlib import Path

import pytest
import yaml

from audioflow.audio import PRESETS
from audioflow.errors import RecipeError
from audioflow.training import load_recipe, parse_recipe, recipe_text
from audioflow.training.recipe_file import differing_fields
from audioflow.vocoders import VOCODERS, build
from audioflow.vocoders.registry import config_schema

RECIPES = Path(__file__).parents[2] / "recipes"
SHIPPED = sorted(RECIPES.glob("*/*.yaml"))


@pytest.fixture
def write(tmp_path, recipe_data):
    def to_file(text=None, **changes):
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(recipe_data(**changes)) if text is None else text)
        return path

    return to_file


def test_there_is_a_recipe_for_each_vocoder_and_corpus():
    found = {(path.parent.name, path.stem) for path in SHIPPED}
    assert found >= {(corpus, model) for corpus in ("sample", "festvox-ru", "ljspeech") for model in VOCODERS}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_shipped_recipes_are_valid(path):
    recipe = load_recipe(path)
    assert recipe.data.corpus == path.parent.name
    assert recipe.name == f"{path.parent.name}-{path.stem}"
    head = path.read_text().split("\nname:")[0]
    assert re.search(rf"recipes/{path.parent.name}/{path.name} (teacher=\S+ )?--out", head)
    narrow = {"residual_channels": 2, "skip_channels": 2, "gate_channels": 2, "channels": 2, "cond_channels": 2}
    if recipe.model.fields.get("upsampler", "transposed2d") == "transposed2d":
        narrow.pop("cond_channels")  # it keeps the mel bands
    known = config_schema(recipe.model.name).model_fields
    build(recipe.model.name, recipe.mel, {**recipe.model.fields, **{k: v for k, v in narrow.items() if k in known}})


def test_a_recipe_survives_being_written(tiny):
    recipe = tiny()
    assert parse_recipe(yaml.safe_load(recipe_text(recipe))) == recipe


def test_overrides_are_read_as_yaml(write):
    overrides = ["train.minutes=3", "model.residual_channels=32", "train.betas=[0.5, 0.9]", "train.gradient_clip=null"]
    recipe = load_recipe(write(), overrides)
    assert (recipe.train.minutes, recipe.model.fields["residual_channels"]) == (3.0, 32)
    assert (recipe.train.betas, recipe.train.gradient_clip) == ((0.5, 0.9), None)


def test_mel_is_a_preset_with_changes(write):
    recipe = load_recipe(write(mel={"preset": "speech-16k", "f_max": 7600.0}))
    assert recipe.mel == PRESETS["speech-16k"].model_copy(update={"f_max": 7600.0})


def test_differing_fields_leave_out_the_budget(tiny):
    other = tiny(train={"steps": 9, "log_every": 5, "learning_rate": 0.5})
    assert differing_fields(tiny(), other) == ["train.learning_rate: 0.001 -> 0.5"]


WRONG_FIELDS = {
    "misspelt section": ({"modle": {"name": "wavenet"}}, [], ["modle", "not a field", "did you mean 'model'"]),
    "misspelt model field": (
        {},
        ["model.residual_chanels=32"],
        ["model.residual_chanels", "mean 'residual_channels'?"],
    ),
    "misspelt train field": ({}, ["train.learning_rat=0.1"], ["train.learning_rat ", "mean 'learning_rate'?"]),
    "out of range": ({}, ["train.minutes=-1"], ["train.minutes is -1", "greater than 0"]),
    "out of range in the model": ({}, ["model.layers=0"], ["model.layers is 0", "greater than or equal to 1"]),
    "wrong type": ({}, ["data.batch_size=many"], ["data.batch_size is 'many'", "valid integer"]),
    "wrong type in the model": ({}, ["model.layers=many"], ["model.layers is 'many'", "valid integer"]),
    "not one of": ({}, ["train.schedule=cosin"], ["train.schedule is 'cosin'", "'cosine'"]),
    "not a number": ({}, ["train.learning_rate=.nan"], ["train.learning_rate", "finite"]),
    "section that is no mapping": ({}, ["train=5"], ["train is 5"]),
    "unknown vocoder": ({}, ["model.name=wavnet"], ["model.name is 'wavnet'", "did you mean 'wavenet'"]),
    "unknown preset": ({"mel": "speech-16"}, [], ["mel is 'speech-16'", "did you mean 'speech-16k'"]),
    "misspelt mel field": ({}, ["mel={preset: speech-16k, hop: 1}"], ["mel.hop", "hop_length"]),
    "bad cadence": ({}, ["train.validate_every=2 weeks"], ["train.validate_every is '2 weeks'", "30s, 5m or 1h"]),
    "no budget": ({}, ["train.steps=null"], ["train has no budget", "steps, minutes or both"]),
    "missing field": ({"data": None}, ["data={}"], ["data.corpus is missing"]),
}


@pytest.mark.parametrize("case", WRONG_FIELDS)
def test_a_wrong_field_is_named(case, write):
    changes, overrides, parts = WRONG_FIELDS[case]
    path = write(text=yaml.safe_dump({**yaml.safe_load(write().read_text()), **changes}))
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides)
    message = str(caught.value)
    for part in [str(path), *overrides, *parts]:
        assert part in message
    assert message.endswith((".", "?"))
    assert "\n" not in message


WRONG_FILES = {
    "empty": ("", "is empty, but a recipe is a mapping"),
    "a list": ("- name: x\n", "is a list, but a recipe is a mapping"),
    "bad YAML": ("name: x\ndata: [1,\nmodel: 5: 6\n", "is not valid YAML at line 3"),
    "code": ("name: !!python/object/apply:os.system ['true']\n", "is not valid YAML at line 1"),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_a_wrong_file_is_named(case, write):
    text, part = WRONG_FILES[case]
    path = write(text=text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert f"{path} {part}" in str(caught.value)


def test_binary_is_no_recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(RecipeError, match="not UTF-8 text"):
        load_recipe(path)


def test_a_missing_file_names_the_nearest(write):
    with pytest.raises(RecipeError, match=r"recipes?\.yml does not exist.*did you mean 'recipe.yaml'"):
        load_recipe(write().with_name("recipes.yml"))
    with pytest.raises(RecipeError, match="is a directory"):
        load_recipe(write().parent)


@pytest.mark.parametrize("override", ["train.minutes", "=3", "train..minutes=3", "name.x.y=1", "train.minutes=[1"])
def test_a_wrong_override_is_named(override, write):
    with pytest.raises(RecipeError) as caught:
        load_recipe(write(), [override])
    assert repr(override) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name: 2024-13-45", "month must be in 1..12"),
        ("name: " + "[" * 1000, "nested too deeply"),
        ("name: " + "1" * 5000, "digits"),
    ],
    ids=["date", "nesting", "digits"],
)
def test_a_value_that_yaml_cannot_make_is_no_traceback(text, problem, write):
    with pytest.raises(RecipeError, match=rf"recipe.yaml is not valid YAML: .*{problem}"):
        load_recipe(write(text))
    with pytest.raises(RecipeError, match="has a value that is not valid YAML"):
        load_recipe(write(), [text.replace(": ", "=")])
