"""``audioflow import``: from a foreign file to a directory that the other commands take."""

import json

import pytest
import torch
from click.testing import CliRunner
from peers import TINY, waveglow

from audioflow.cli.import_ import import_
from audioflow.errors import AudioflowError, CheckpointError, OptionError, OutputError
from audioflow.imports import FORMATS
from audioflow.jobs.importing import import_checkpoint
from audioflow.vocoders import load, read_header


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "waveglow.pt"
    torch.save({"model": waveglow()}, path)
    return path


def test_what_was_imported_is_loaded_like_any_other(source, tmp_path):
    done = import_checkpoint("nvidia-waveglow", source, tmp_path / "out")
    vocoder = load(tmp_path / "out")
    assert vocoder.synthesize(torch.zeros(1, 80, 2)).abs().amax() > 0
    header = read_header(done.path)
    assert header.vocoder == done.vocoder == "glow"
    assert header.config["channels"] == TINY["WN_config"]["n_channels"]
    assert header.provenance["imported_from"] == "nvidia-waveglow"
    assert len(header.provenance["sha256"]) == 64


def test_the_command_says_what_it_made(source, tmp_path):
    result = CliRunner().invoke(import_, ["nvidia-waveglow", str(source), "--out", str(tmp_path / "out"), "--json"])
    assert result.exit_code == 0
    assert json.loads(result.output)["path"] == str(tmp_path / "out/best.safetensors")


def test_the_help_names_every_format():
    text = CliRunner().invoke(import_, ["--help"]).output
    assert all(name in text for name in FORMATS)


REFUSED = {
    "format": ({"name": "nvidia-waveglov"}, OptionError, "did you mean 'nvidia-waveglow'?"),
    "no-format": ({"name": "x"}, OptionError, "there are nvidia-waveglow"),
    "missing": ({"source": "missing.pt"}, CheckpointError, "missing.pt does not exist"),
    "setting": ({"given": ["mle=nvidia-22k"]}, OptionError, "did you mean 'mel'?"),
    "preset": ({"given": ["mel=nvidia-22"]}, AudioflowError, "did you mean 'nvidia-22k'?"),
    "out-is-a-file": ({"out": "waveglow.pt"}, OutputError, "is a file, but a directory is needed"),
    "out-is-taken": ({"out": "taken"}, OutputError, "is there already"),
    "out-is-the-source": ({"source": "taken/best.safetensors", "out": "taken"}, AudioflowError, "best.safetensors"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_refused_and_nothing_is_changed(case, source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/best.safetensors").write_text("mine")
    changes, error, words = REFUSED[case]
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    with pytest.raises(error) as caught:
        import_checkpoint(**{"name": "nvidia-waveglow", "source": source, "out": "out", **changes})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    after = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*") if path.name != "out"}
    assert after == before


def test_a_model_too_large_is_refused(tmp_path):
    model = waveglow().state_dict()
    model = {name: tensor for name, tensor in model.items() if not name.startswith("WN.0.in_layers.0")}
    model["WN.0.in_layers.0.weight"] = torch.zeros(2, 9000, 3)
    torch.save(model, tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match=r"cannot be built: glow\.channels"):
        import_checkpoint("nvidia-waveglow", tmp_path / "m.pt", tmp_path / "out")
