"""``audioflow train`` on the command line."""

import json

import pytest
import yaml
from click.testing import CliRunner

from audioflow.cli.main import main
from audioflow.training import RunDirectory
from audioflow.vocoders import read_header


@pytest.fixture
def audioflow(tmp_path, tiny, recipe_data):
    tiny()
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(recipe_data(train={"steps": 2})))

    def run(*arguments):
        return CliRunner().invoke(main, ["train", str(tmp_path / "tiny.yaml"), *map(str, arguments), "--device", "cpu"])

    return run


def test_train_prints_its_figures_and_goes_on(audioflow, tmp_path):
    out = tmp_path / "run"
    first = audioflow("--out", out)
    assert first.exit_code == 0, first.output
    assert "2 steps" in first.output
    assert "bits per sample (with noise of one 16-bit step)" in first.output
    second = audioflow("--out", out, "train.steps=4", "--json")
    figures = json.loads(second.stdout)
    assert (figures["step"], figures["stopped_by"]) == (4, "budget")
    assert read_header(out).provenance["step"] == 4
    assert [record["step"] for record in RunDirectory(out).read_history() if "loss" in record] == [1, 2, 3, 4]


@pytest.mark.parametrize(("arguments", "part"), [
    (["train.minutes=-1"], "train.minutes is -1"),
    (["model.residual_chanels=32"], "did you mean 'residual_channels'"),
    (["train.steps"], "should read field=value"),
    (["data.prepared=/proc/prepared"], "/proc/prepared"),
    (["data.corpus=smaple", "data.prepared=elsewhere"], "sample"),
    (["data.segment_frames=100000"], "segment_frames = 100000"),
    (["model={name: glow, layers: 0}"], "model.layers is 0"),
])  # fmt: skip
def test_what_is_wrong_is_said_in_a_sentence(arguments, part, audioflow, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = audioflow("--out", tmp_path / "run", *arguments)
    assert result.exit_code == 2, result.output
    assert part in result.stderr
    assert "Traceback" not in result.output


def test_a_failed_start_can_be_repeated_with_another_recipe(audioflow, tmp_path):
    out = tmp_path / "run"
    assert audioflow("--out", out, "data.segment_frames=100000").exit_code == 2
    assert audioflow("--out", out).exit_code == 0


def test_a_foreign_file_as_output_is_left_alone(audioflow, tmp_path):
    (tmp_path / "song.wav").write_text("mine")
    result = audioflow("--out", tmp_path / "song.wav")
    assert result.exit_code == 2
    assert (tmp_path / "song.wav").read_text() == "mine"
