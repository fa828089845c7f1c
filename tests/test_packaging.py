"""What is delivered: the wheel, the source archive, their metadata, and an import that does no work."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from importlib import metadata
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import audioflow

ROOT = Path(__file__).parents[1]
HEAVY = ("torchaudio", "matplotlib", "lightning_fabric", "librosa", "scipy", "tensorboardX", "auraloss")


def names_under(*folders):
    """Files of the source tree, as paths inside it."""
    files = (path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    (path,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"])
    return Path(path)


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The wheel unpacked where no source tree is near."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run_python(code, path=None):
    """Run code in a fresh interpreter, outside the source tree; give what it prints as JSON."""
    environment = {**os.environ, "PYTHONPATH": str(path or ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=path or ROOT.anchor,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_wheel_has_every_file(wheel):
    with zipfile.ZipFile(wheel) as archive:
        found = set(archive.namelist())
    package = names_under("audioflow")
    speech = {name.replace("data/speech", "audioflow/resources/speech") for name in names_under("data/speech")}
    recipes = {name.replace("recipes", "audioflow/resources/recipes", 1) for name in names_under("recipes")}
    assert {"audioflow/py.typed", "audioflow/evaluation/page.html.j2"} <= package
    assert len([name for name in speech if name.endswith(".flac")]) == 8
    assert recipes
    assert package | speech | recipes <= found


def test_the_wheel_has_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert tops == {"audioflow", f"audioflow-{audioflow.__version__}.dist-info"}


def test_the_source_archive_builds_the_same_wheel(tmp_path, wheel):
    (archive,) = SdistBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with tarfile.open(archive) as source:
        source.extractall(tmp_path, filter="data")
    (again,) = WheelBuilder(str(tmp_path / f"audioflow-{audioflow.__version__}")).build(
        directory=str(tmp_path), versions=["standard"]
    )
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        assert sorted(first.namelist()) == sorted(second.namelist())


def test_an_installed_package_finds_its_speech_and_recipes(installed):
    code = """
import json
from audioflow.corpora import get_corpus
from audioflow.bundle import bundled
paths = [utterance.path for utterance in get_corpus("sample").utterances()]
recipe = bundled("recipes", "recipes") / "sample" / "wavenet.yaml"
print(json.dumps([str(path) for path in [*paths, recipe] if path.is_file()]))
"""
    found = run_python(code, installed)
    assert len(found) == 9
    assert all(Path(path).is_relative_to(installed) for path in found)


def test_importing_is_light():
    code = "import json, sys, audioflow, audioflow.cli.main; print(json.dumps(sorted(sys.modules)))"
    assert not set(HEAVY) & set(run_python(code))


def test_importing_changes_nothing():
    code = """
import json, random, warnings
import numpy, torch
def state():
    return [torch.get_num_threads(), str(torch.get_default_dtype()), torch.initial_seed(), warnings.filters[:],
            random.getstate()[1][0], int(numpy.random.get_state()[1][0]), torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled()]
import librosa, lightning_fabric, matplotlib
before = state()
import audioflow.vocoders, audioflow.training, audioflow.evaluation, audioflow.corpora
after = state()
print(json.dumps([str(one) for one, other in zip(before, after) if one != other]))
"""
    assert run_python(code) == []


def test_the_command_is_the_one_declared():
    (command,) = metadata.entry_points(group="console_scripts", name="audioflow")
    assert callable(command.load())


@pytest.fixture(scope="module")
def declared(wheel):
    """The metadata in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        return message_from_bytes(archive.read(name))


def test_versions_agree(declared):
    assert declared["Version"] == audioflow.__version__
    assert f"## {audioflow.__version__.split('.dev')[0]}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def constraints():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_every_requirement_has_one_exact_version_that_fits(declared):
    pinned = {canonicalize_name(one.name): next(iter(one.specifier)) for one in constraints()}
    assert all(pin.operator == "==" and "+" not in pin.version for pin in pinned.values())
    wanted = [Requirement(line) for line in declared.get_all("Requires-Dist")]
    wanted = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": "dev"})]
    assert len(wanted) > 20
    for one in wanted:
        name = canonicalize_name(one.name)
        assert name in pinned, f"{name} is not in constraints.txt"
        assert one.specifier.contains(pinned[name].version), f"{name} {pinned[name]} is outside {one.specifier}"


def test_everything_that_they_need_is_pinned_too():
    """No package is left to the day of the installation."""
    pinned = {canonicalize_name(one.name) for one in constraints()}
    missing = set()
    for name in pinned:
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for need in map(Requirement, needs):
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                missing |= {canonicalize_name(need.name)} - pinned
    assert {name for name in missing if not name.startswith(("nvidia-", "cuda-", "triton", "setuptools"))} == set()
