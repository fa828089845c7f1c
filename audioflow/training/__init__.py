"""Recipes and the trainer: from a YAML file to a directory with a trained vocoder."""

from audioflow.training.recipe import Recipe
from audioflow.training.recipe_file import load_recipe, parse_recipe, recipe_text
from audioflow.training.run_directory import RunDirectory
from audioflow.training.trainer import TrainReport, train

__all__ = ["Recipe", "RunDirectory", "TrainReport", "load_recipe", "parse_recipe", "recipe_text", "train"]
