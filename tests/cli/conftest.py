"""The material for the commands, made once, and a way to call ``audioflow`` in this process."""

import pytest
from cli_material import make_material
from click.testing import CliRunner

from audioflow.cli.main import main


@pytest.fixture(scope="session")
def material_directory(tmp_path_factory):
    root = tmp_path_factory.mktemp("material")
    make_material(root)
    return root


@pytest.fixture
def material(material_directory, monkeypatch):
    """The directory with everything in it, as the working directory."""
    monkeypatch.chdir(material_directory)
    return material_directory


@pytest.fixture
def audioflow(material):
    """Call a command as the shell would: ``audioflow("score glow.safetensors good.wav")``."""

    def run(line):
        return CliRunner().invoke(main, line.split(), prog_name="audioflow")

    return run
