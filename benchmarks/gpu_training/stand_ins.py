"""Stand-ins for packages that audioflow imports as it starts, and that training does without.

A machine with a GPU often has torch and little else. Of the packages below, ``audioflow.audio`` imports soundfile and
soxr, and ``audioflow.training`` imports librosa and auraloss by way of its distillation; training by likelihood calls
none of them. Where one is missing, a module takes its place that has every name that is asked for, and says what is
missing as soon as one of them is called. Where it is installed, nothing happens.

What it cannot do without: torch, numpy, safetensors, pydantic, PyYAML, click, tqdm, matplotlib, and lightning_fabric,
which pytorch-lightning holds too.
"""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

REPLACEABLE = {"soundfile": (), "soxr": (), "librosa": (), "auraloss": ("freq",)}
"""Packages, and the modules of each that audioflow imports names from."""


class StandIn(ModuleType):
    """A module that has any name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _missing(f"{self.__name__}.{name}", self.__name__.split(".")[0])


def _missing(name: str, package: str) -> type[Exception]:
    """Something that can be called, or named after ``except``."""

    def refuse(_cls: type, *_args: Any, **_options: Any) -> NoReturn:
        raise ModuleNotFoundError(f"{name} was called, but {package} is not installed on this machine", name=package)

    return type(name, (Exception,), {"__new__": refuse})


def install() -> list[str]:
    """Put a stand-in in the place of each package that is missing; give the names of these."""
    missing = [name for name in REPLACEABLE if name not in sys.modules and importlib.util.find_spec(name) is None]
    for package in missing:
        for name in (package, *(f"{package}.{part}" for part in REPLACEABLE[package])):
            module = StandIn(name)
            module.__spec__ = ModuleSpec(name, None, is_package=name == package)
            module.__path__ = []
            sys.modules[name] = module
    return missing


def is_missing(package: str) -> bool:
    """Whether a stand-in is in the place of a package."""
    return isinstance(sys.modules.get(package), StandIn)
