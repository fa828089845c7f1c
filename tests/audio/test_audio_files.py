"""Sound files: what is read, what is written, what is refused and how."""

import struct

import numpy as np
import pytest
import soundfile
import torch

from audioflow.audio import AudioFacts, probe, quantize, read_audio, resample, write_audio
from audioflow.errors import AudioError, OutputError

RATE = 16_000
SPEECH_LIKE = np.sin(np.arange(RATE) * 0.05) * np.linspace(0.1, 0.6, RATE)


@pytest.mark.parametrize(
    ("subtype", "accuracy"),
    [("PCM_U8", 2**-7), ("PCM_16", 2**-15), ("PCM_24", 2**-23), ("PCM_32", 1e-7), ("DOUBLE", 1e-7)],
)
def test_every_sample_format_is_read_at_its_own_accuracy(tmp_path, subtype, accuracy):
    soundfile.write(tmp_path / "a.wav", SPEECH_LIKE, RATE, subtype=subtype)
    wav, rate = read_audio(tmp_path / "a.wav")
    assert (wav.dtype, rate, wav.shape) == (torch.float32, RATE, (RATE,))
    assert np.abs(wav.numpy() - SPEECH_LIKE).max() <= accuracy
    assert probe(tmp_path / "a.wav") == AudioFacts(RATE, 1, RATE, "WAV", subtype)


def test_channels_are_averaged(tmp_path):
    stereo = np.stack([SPEECH_LIKE, -0.5 * SPEECH_LIKE], 1)
    soundfile.write(tmp_path / "a.flac", stereo, RATE)
    wav, _ = read_audio(tmp_path / "a.flac")
    assert np.abs(wav.numpy() - 0.25 * SPEECH_LIKE).max() < 2**-14
    assert probe(tmp_path / "a.flac").channels == 2


@pytest.mark.parametrize("rate", [8000, 22_050, 96_000])
def test_reading_resamples(tmp_path, rate):
    time = np.arange(rate) / rate
    soundfile.write(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 440 * time), rate)
    wav, found = read_audio(tmp_path / "a.wav", RATE)
    assert (found, len(wav)) == (RATE, RATE)
    expected = 0.5 * torch.sin(2 * torch.pi * 440 * torch.arange(RATE, dtype=torch.float64) / RATE)
    assert (wav - expected)[500:-500].abs().max() < 1e-3


def test_resampling_keeps_shape_type_and_bounds_the_band():
    wav = torch.stack([torch.sin(torch.arange(8000) * 2.8), torch.sin(torch.arange(8000) * 0.1)]).double()
    halved = resample(wav[None], 16_000, 8000)
    assert (halved.shape, halved.dtype) == ((1, 2, 4000), torch.float64)
    assert halved[0, 0, 200:-200].abs().max() < 1e-3  # 7.1 kHz has no place below 4 kHz
    assert halved[0, 1, 200:-200].abs().max() > 0.99
    assert resample(wav, 8000, 8000) is wav


@pytest.mark.parametrize(
    ("samples", "rates"), [(0, (8000, 16_000)), (1, (96_000, 16_000)), (9, (0, 16_000)), (9, (8000, -1))]
)
def test_resampling_nothing_or_to_nowhere_is_refused(samples, rates):
    with pytest.raises(AudioError):
        resample(torch.zeros(samples), *rates)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".WAV"])
def test_16_bit_values_survive_the_round_trip(tmp_path, suffix):
    wav = quantize(torch.rand(5000) * 2 - 1)
    write_audio(tmp_path / f"a{suffix}", wav, 22_050)
    back, rate = read_audio(tmp_path / f"a{suffix}")
    assert rate == 22_050
    assert torch.equal(back, wav)
    assert probe(tmp_path / f"a{suffix}").subtype == "PCM_16"


def test_writing_clamps(tmp_path):
    write_audio(tmp_path / "a.wav", torch.tensor([-3.0, 0.0, 3.0]), RATE)
    assert read_audio(tmp_path / "a.wav")[0].tolist() == [-1.0, 0.0, 1 - 2**-15]


def test_floats_a_little_beyond_full_scale_are_clamped_and_integers_as_floats_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([0.5, -1.5, 1.2]), RATE, subtype="FLOAT")
    assert read_audio(tmp_path / "a.wav")[0].tolist() == [0.5, -1.0, 1.0]
    soundfile.write(tmp_path / "b.wav", SPEECH_LIKE * 32768, RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match="full scale is 1"):
        read_audio(tmp_path / "b.wav")


@pytest.mark.parametrize(
    ("name", "wav", "error", "words"),
    [
        ("a.mp3", torch.zeros(9), OutputError, ".mp3"),
        ("a", torch.zeros(9), OutputError, ".wav or .flac"),
        ("a.wav", torch.tensor([0.0, float("nan")]), AudioError, "NaN"),
        ("a.wav", torch.zeros(0), AudioError, "[0]"),
        ("a.wav", torch.zeros(1, 9), AudioError, "[1, 9]"),
    ],
)
def test_unfit_output_is_refused_and_nothing_written(tmp_path, name, wav, error, words):
    with pytest.raises(error) as caught:
        write_audio(tmp_path / name, wav, RATE)
    assert words in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_existing_files_stay_unless_overwriting_is_allowed(tmp_path):
    write_audio(tmp_path / "a.wav", torch.zeros(9), RATE)
    before = (tmp_path / "a.wav").read_bytes()
    with pytest.raises(OutputError, match="there already"):
        write_audio(tmp_path / "a.wav", torch.ones(9), RATE)
    assert (tmp_path / "a.wav").read_bytes() == before
    write_audio(tmp_path / "a.wav", torch.ones(9), RATE, overwrite=True)
    assert (tmp_path / "a.wav").read_bytes() != before


def _valid(folder, name="good.wav"):
    soundfile.write(folder / name, SPEECH_LIKE, RATE)
    return (folder / name).read_bytes()


def _non_finite(value):
    def make(folder, path):
        soundfile.write(path, np.array([0.0, value, 0.1]), RATE, subtype="FLOAT")

    return make


BAD_FILES = {
    "missing": (lambda folder, path: None, ".wav", "does not exist"),
    "directory": (lambda folder, path: path.mkdir(), ".wav", "is a directory"),
    "empty": (lambda folder, path: path.write_bytes(b""), ".wav", "0 bytes"),
    "zero-length": (lambda folder, path: soundfile.write(path, np.zeros(0), RATE), ".wav", "no samples"),
    "zero-length flac": (lambda folder, path: soundfile.write(path, np.zeros(0), RATE), ".flac", ""),
    "header only": (lambda folder, path: path.write_bytes(_valid(folder)[:20]), ".wav", "not a sound file"),
    "truncated": (lambda folder, path: path.write_bytes(_valid(folder)[:9000]), ".wav", "truncated"),
    "truncated flac": (
        lambda folder, path: path.write_bytes(_valid(folder, "good.flac")[:-3000]),
        ".flac",
        "truncated",
    ),
    "text": (lambda folder, path: path.write_text("not audio at all\n" * 50), ".wav", "not a sound file"),
    "zeros": (lambda folder, path: path.write_bytes(bytes(4096)), ".wav", "not a sound file"),
    "headerless": (lambda folder, path: path.write_bytes(bytes(4096)), ".raw", "not a sound file"),
    "nan": (_non_finite(np.nan), ".wav", "1 NaN or infinite"),
    "infinite": (_non_finite(-np.inf), ".wav", "1 NaN or infinite"),
}


@pytest.mark.parametrize("kind", list(BAD_FILES))
def test_bad_files_are_refused_in_one_sentence_naming_the_file(tmp_path, kind):
    make, suffix, words = BAD_FILES[kind]
    path = tmp_path / f"bad{suffix}"
    make(tmp_path, path)
    with pytest.raises(AudioError) as caught:
        read_audio(path, 22_050)
    message = str(caught.value)
    assert str(path) in message
    assert words in message
    assert "\n" not in message
    assert message.endswith(".")


def test_streamed_wav_of_unknown_length_is_read(tmp_path):
    data = bytearray(_valid(tmp_path))
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", 0xFFFFFFFF)
    (tmp_path / "a.wav").write_bytes(data)
    assert len(read_audio(tmp_path / "a.wav")[0]) == RATE
