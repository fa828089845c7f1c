"""Figures of a model of several voices: the speaker that is named is the one that is scored and heard."""

import json

import pytest
import soundfile
import torch
from cli_material import CONTRACT, MODELS

from audioflow.audio import MelFrontEnd, read_audio
from audioflow.vocoders import build

SCORE = "score {} good.wav --json"
COMPARE = "compare {} --input good.wav --json"
NOTE = "speaker 0 of 2 is used, none being named; choose with --speaker"


@pytest.fixture(scope="module")
def voices(material_directory, tmp_path_factory):
    """A checkpoint of two voices that differ."""
    torch.manual_seed(0)
    vocoder = build("wavenet", CONTRACT, {**MODELS["wavenet"], "speakers": 2})
    wav, _ = read_audio(material_directory / "good.wav")
    vocoder.initialize(wav[None], MelFrontEnd(CONTRACT)(wav[None]))
    with torch.no_grad():
        for parameter in vocoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    path = tmp_path_factory.mktemp("voices") / "voices.safetensors"
    vocoder.save(path)
    return path


def bits(result):
    """Bits per sample, by ``score`` or by ``compare``."""
    assert result.exit_code == 0, (result.output, result.exception)
    read = json.loads(result.stdout)
    return read["all"]["bits_per_sample"] if "all" in read else read["rows"][1]["bits_per_sample"]


@pytest.mark.parametrize("line", [SCORE, COMPARE])
def test_the_speaker_is_the_one_that_is_named(line, voices, audioflow):
    line = line.format(voices)
    unnamed, first, second = (audioflow(f"{line}{which}") for which in ("", " --speaker 0", " --speaker 1"))
    assert bits(unnamed) == bits(first) != bits(second)
    assert NOTE in unnamed.stderr
    assert NOTE not in first.stderr + second.stderr


def test_score_and_compare_agree_on_a_speaker(voices, audioflow):
    figures = [bits(audioflow(f"{line.format(voices)} --speaker 1")) for line in (SCORE, COMPARE)]
    assert figures[0] == pytest.approx(figures[1], abs=1e-9)


def test_the_speaker_is_heard_in_a_comparison(voices, audioflow):
    lines = [f"{COMPARE.format(voices)} --speaker {speaker}" for speaker in (0, 1)]
    first, second = (json.loads(audioflow(line).stdout)["rows"][1]["m_stft"] for line in lines)
    assert first != second


def test_a_model_of_one_voice_has_nothing_to_note(audioflow):
    assert "speaker" not in audioflow("score glow.safetensors good.wav").stderr


@pytest.mark.parametrize("line", [SCORE, COMPARE])
def test_a_speaker_that_is_not_there_is_refused(line, voices, audioflow):
    result = audioflow(f"{line.format(voices)} --speaker 2")
    assert result.exit_code == 2
    assert "There is no speaker 2: this model has speakers 0 to 1." in result.stderr


def test_a_finer_recording_costs_no_more_than_its_16_bits(audioflow, material, tmp_path):
    """Without dequantisation noise, a recording off the grid would be another, and so would its figure."""
    samples, rate = soundfile.read(material / "good.wav")
    soundfile.write(tmp_path / "fine.wav", samples + 0.3 * 2**-15, rate, subtype="PCM_24")
    fine, plain = (
        bits(audioflow(f"score glow.safetensors {name} --json")) for name in (tmp_path / "fine.wav", "good.wav")
    )
    assert fine == plain
