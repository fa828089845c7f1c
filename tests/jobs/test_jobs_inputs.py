"""What a command reads: recordings on the 16-bit grid, mels with a note of what was done to them."""

import numpy as np
import pytest
import soundfile
import torch

from audioflow.audio import PRESETS, SOUND_SUFFIXES, MelFrontEnd, quantize, save_mel
from audioflow.corpora import get_corpus
from audioflow.jobs.inputs import expand, read_inputs, read_recording
from audioflow.jobs.side_by_side import held_out_speech

CONTRACT = PRESETS["speech-16k"]


def speech(seconds=0.5, rate=16_000):
    return 0.3 * np.sin(np.arange(int(seconds * rate)) * 440 * 2 * np.pi / rate)


@pytest.mark.parametrize(
    ("subtype", "rate", "channels"),
    [("PCM_24", 16_000, 1), ("FLOAT", 16_000, 1), ("PCM_16", 22_050, 1), ("PCM_16", 16_000, 2)],
)
def test_recordings_come_on_the_16_bit_grid_with_a_note(tmp_path, subtype, rate, channels):
    samples = speech(rate=rate)
    samples = samples if channels == 1 else np.stack([samples, 0.77 * samples], axis=1)
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype=subtype)
    wav, notes = read_recording(tmp_path / "a.wav", 16_000)
    assert torch.equal(wav * 2**15, (wav * 2**15).round())
    assert notes[-1] == "rounded to 16 bits"


def test_a_16_bit_recording_is_left_as_it_is(tmp_path):
    soundfile.write(tmp_path / "a.wav", speech(), 16_000, subtype="PCM_16")
    wav, notes = read_recording(tmp_path / "a.wav", 16_000)
    assert torch.equal(wav, torch.from_numpy(soundfile.read(tmp_path / "a.wav", dtype="float32")[0]))
    assert notes == ()


def test_the_held_out_speech_is_on_the_grid_at_every_rate():
    for rate in (16_000, 22_050):
        for wav in held_out_speech(rate).values():
            assert torch.equal(quantize(wav), wav)


@pytest.mark.parametrize(
    ("change", "noted"),
    [
        ({}, []),
        ({"framing": "half_hop"}, ["half-hop"]),
        ({"magnitude_epsilon": 1e-9}, ["magnitude_epsilon 1e-09 instead of 0 passed over"]),
        ({"framing": "half_hop", "magnitude_epsilon": 1e-9}, ["half-hop", "magnitude_epsilon"]),
    ],
)
def test_a_mel_of_another_front_end_says_what_was_done(tmp_path, change, noted):
    mel = MelFrontEnd(CONTRACT)(torch.from_numpy(speech()).float()[None])[0]
    assert CONTRACT.magnitude_epsilon == 0
    save_mel(tmp_path / "a.npz", mel, CONTRACT.model_copy(update=change))
    (item,) = read_inputs([tmp_path / "a.npz"], CONTRACT)
    assert len(item.notes) == len(noted)
    assert all(words in note for words, note in zip(noted, item.notes, strict=True))


@pytest.mark.parametrize("suffix", SOUND_SUFFIXES)
def test_a_directory_and_a_corpus_have_the_same_recordings(tmp_path, suffix):
    path = tmp_path / f"a{suffix.upper()}"
    path.touch()
    assert expand([tmp_path], SOUND_SUFFIXES) == [path]
    assert [one.path for one in get_corpus("folder", root=tmp_path).utterances()] == [path.resolve()]
