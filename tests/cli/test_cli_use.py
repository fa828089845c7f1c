"""The commands as they are meant: notes on what was changed, figures as JSON, help that is quick, a second run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch
from cli_material import contents

from audioflow.audio import PRESETS
from audioflow.cli.main import COMMANDS, main
from audioflow.vocoders import build

NOTED = {
    "stereo.wav": "mixed down from 2 channels",
    "8bit.wav": "only 8 bits a sample",
    "96k.wav": "resampled from 96000 to 16000 Hz",
    "clipped.wav": "clipped: ",
}


def figures(result):
    """Standard output as JSON, nothing else being on it."""
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


@pytest.mark.parametrize(("name", "note"), NOTED.items())
def test_odd_recordings_work_with_a_note(name, note, audioflow, tmp_path):
    spoken = audioflow(f"synthesize glow.safetensors {name} --out {tmp_path}/a.wav")
    assert note in spoken.stdout
    assert soundfile.info(tmp_path / "a.wav").frames == 6400
    assert note in audioflow(f"score glow.safetensors {name}").stdout
    (scored,) = figures(audioflow(f"score glow.safetensors {name} --json"))["recordings"]
    assert any(note in found for found in scored["notes"])


def test_comparing_odd_recordings_notes_it_beside_the_figures(audioflow, tmp_path):
    result = audioflow("compare glow.safetensors --input stereo.wav --json")
    assert "stereo.wav: mixed down from 2 channels" in result.stderr
    assert figures(result)["rows"]


@pytest.mark.parametrize("name", ["stereo.wav", "8bit.wav", "96k.wav"])
def test_odd_recordings_are_prepared(name, audioflow, tmp_path):
    report = figures(audioflow(f"prepare corpora/{name} --out {tmp_path}/p --mel speech-16k --json"))
    assert report["utterances"] == 1
    assert report["mixed_down"] == (name == "stereo.wav")
    assert report["resampled"] == (name == "96k.wav")


@pytest.mark.parametrize(
    ("name", "problem"), [("silent.wav", "silent"), ("short.wav", "too-short"), ("clipped.wav", "clipped")]
)
def test_info_names_what_is_wrong_with_a_recording(name, problem, audioflow):
    facts = figures(audioflow(f"info {name} --json"))
    assert [found.partition(":")[0] for found in facts["problems"]] == [problem]


@pytest.mark.parametrize(("line", "note"), [
    ("good.npz", None),
    ("good-mel.safetensors", None),
    ("bare.npy --mel speech-16k", None),
    ("no-contract.npz --mel speech-16k", None),
    ("half-hop.npz", "mel converted between centred and half-hop framing"),
])  # fmt: skip
def test_mel_files_become_speech(line, note, audioflow, tmp_path):
    (made,) = figures(audioflow(f"synthesize glow.safetensors {line} --out {tmp_path}/a.wav --json"))
    assert made["notes"] == ([note] if note else [])
    assert soundfile.info(made["output"]).samplerate == 16_000


@pytest.mark.parametrize("thing", [
    "good.wav", "good.npz", "bare.npy", "glow.safetensors", "tiny.yaml", "prepared", "speech-16k", "sample", "glow",
])  # fmt: skip
def test_info_knows_it_in_text_and_as_json(thing, audioflow):
    assert figures(audioflow(f"info {thing} --json"))["kind"] in audioflow(f"info {thing}").stdout


def test_a_second_synthesis_needs_leave_to_overwrite(audioflow, tmp_path):
    line = f"synthesize glow.safetensors good.wav --out {tmp_path}/a.wav"
    assert audioflow(line).exit_code == 0
    first = contents(tmp_path)
    assert audioflow(f"{line} --seed 1").exit_code == 2
    assert contents(tmp_path) == first
    assert audioflow(f"{line} --overwrite").exit_code == 0
    assert contents(tmp_path) == first  # one seed, one audio
    assert audioflow(f"{line} --overwrite --seed 1").exit_code == 0
    assert contents(tmp_path) != first


def test_a_second_run_of_prepare_and_train_redoes_nothing(audioflow, tmp_path):
    prepare = f"prepare twins --out {tmp_path}/p --mel speech-16k --json"
    assert [figures(audioflow(prepare))["new"] for _ in range(2)] == [1, 0]
    train = f"train tiny.yaml --out {tmp_path}/run data.prepared={tmp_path}/s --json"
    assert [figures(audioflow(train))["step"] for _ in range(2)] == [1, 1]
    assert figures(audioflow(f"info {tmp_path}/run --json"))["provenance"]["step"] == 1


HELP = """
import sys
from click.testing import CliRunner
from audioflow.cli.main import COMMANDS, main
for name in COMMANDS:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0, name
    assert f"audioflow {name} " in result.output.partition("Example")[2], name
    for option in ("--json", "--verbose", *(["--device"] if name not in ("prepare", "info", "import") else [])):
        assert option in result.output, (name, option)
slow = {"torch", "librosa", "matplotlib"} & set(sys.modules)
assert not slow, slow
"""


def run(*command):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)


def test_help_shows_an_example_and_is_quick():
    done = run(sys.executable, "-c", HELP)
    assert done.returncode == 0, done.stderr


def test_every_command_is_listed_with_its_own_name(audioflow):
    listed = audioflow("--help").stdout
    assert all(name in listed for name in COMMANDS)
    assert [main.get_command(None, name).name for name in COMMANDS] == list(COMMANDS)


AUDIOFLOW = Path(sys.executable).with_name("audioflow")


def test_the_installed_command_refuses_in_one_line(material):
    done = run(AUDIOFLOW, "score", "pickle.safetensors", "good.wav")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Error: pickle.safetensors")
    assert len(done.stderr.splitlines()) == 1


def test_the_installed_command_logs_on_request_beside_its_figures(material, tmp_path):
    line = ("prepare", "corpora/good-and-bad", "--mel", "speech-16k", "--json", "--out", tmp_path / "p", "-v")
    done = run(AUDIOFLOW, *line)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["utterances"] == 1
    assert "unreadable: left out 1 (empty)" in done.stderr


def test_a_likelihood_beyond_float32_is_said_to_be_so(audioflow, tmp_path):
    student = build("student", PRESETS["speech-16k"], {"flows": [1], "residual_channels": 4, "linear_taps": 1})
    with torch.no_grad():
        student.networks[0].linear.weight[0] = 100.0  # the noise before counts a hundred times: its inverse grows so
    student.save(tmp_path / "wild.safetensors")
    result = audioflow(f"score {tmp_path}/wild.safetensors stereo.wav --json")
    assert "is beyond float32, so its likelihood is no finite number" in result.stderr
    found = figures(result)
    assert found["all"]["nats"] is None
    assert found["all"]["samples"] == 6400
