import math

import librosa
import numpy as np
import pytest
import scipy.signal
import torch

from audioflow.audio import PRESETS, MelFrontEnd
from audioflow.errors import AudioError
from audioflow.evaluation.metrics import (
    distances,
    log_spectral_distance,
    mel_distance,
    multi_resolution_stft,
)

NAMES = {"m_stft", "mel_distance", "lsd_db"}


def noisy(wav, level):
    return wav + level * torch.randn(wav.shape, generator=torch.Generator().manual_seed(1))


def test_equal_wavs_have_no_distance(speech, contract):
    assert distances(speech, speech.clone(), MelFrontEnd(contract)) == dict.fromkeys(NAMES, 0.0)


def test_every_distance_grows_with_the_noise(speech, contract):
    front_end = MelFrontEnd(contract)
    found = [distances(speech, noisy(speech, level), front_end) for level in (0.001, 0.01, 0.1)]
    for name in NAMES:
        figures = [each[name] for each in found]
        assert 0 < figures[0] < figures[1] < figures[2], name


def test_lsd_equals_numpy(speech):
    def decibels(wav):
        padded = np.pad(wav.double().numpy(), 512, mode="reflect")
        frames = np.stack([padded[i : i + 1024] for i in range(0, len(padded) - 1023, 256)], axis=1)
        window = scipy.signal.get_window("hann", 1024)
        return 20 * np.log10(np.maximum(np.abs(np.fft.rfft(frames * window[:, None], axis=0)), 1e-4))

    other = noisy(speech, 0.01)
    expected = np.mean(np.sqrt(np.mean((decibels(speech) - decibels(other)) ** 2, axis=0)))
    assert log_spectral_distance(speech, other) == pytest.approx(expected, rel=1e-6)


def test_lsd_of_a_gain_is_the_gain():
    # A loud noise, so that no bin is near the floor.
    wav = 0.2 * torch.randn(8000, generator=torch.Generator().manual_seed(0))
    assert log_spectral_distance(wav, wav / 2) == pytest.approx(20 * math.log10(2), rel=1e-4)


def test_m_stft_equals_scipy(speech):
    """The published definition, by another Fourier transform."""
    other = noisy(speech, 0.01)

    def magnitude(wav, fft, hop, win):
        window = np.zeros(fft)
        start = (fft - win) // 2
        window[start : start + win] = scipy.signal.get_window("hann", win)
        padded = np.pad(wav.double().numpy(), fft // 2, mode="reflect")
        frames = np.stack([padded[i : i + fft] * window for i in range(0, len(padded) - fft + 1, hop)])
        return np.sqrt(np.maximum(np.abs(np.fft.rfft(frames)) ** 2, 1e-8))

    terms = []
    for fft, hop, win in ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240)):
        r, g = magnitude(speech, fft, hop, win), magnitude(other, fft, hop, win)
        terms.append(np.linalg.norm(r - g) / np.linalg.norm(r) + np.mean(np.abs(np.log(r) - np.log(g))))
    assert multi_resolution_stft(speech, other) == pytest.approx(np.mean(terms), rel=1e-4)


def test_m_stft_holds_against_the_reference(speech):
    """Spectral convergence divides by the recording, so the order of the arguments matters."""
    quiet = speech / 4
    assert multi_resolution_stft(speech, quiet) < multi_resolution_stft(quiet, speech)


def test_mel_distance_equals_librosa(speech, contract):
    other = noisy(speech, 0.01)

    def log_mel(wav):
        energies = librosa.feature.melspectrogram(
            y=wav.numpy(), sr=16_000, n_fft=1024, hop_length=200, win_length=800, n_mels=80, fmax=8000, power=1
        )[:, : math.ceil(len(wav) / 200)]
        return np.log(np.maximum(energies, 1e-5))

    expected = np.abs(log_mel(speech) - log_mel(other)).mean()
    # librosa pads with zeros where the front-end mirrors: the frames at both ends differ a little.
    assert mel_distance(speech, other, MelFrontEnd(contract)) == pytest.approx(expected, rel=0.02)


def test_mel_distance_is_in_nats_under_every_logarithm(speech):
    natural = PRESETS["speech-16k"]
    decibel = natural.model_copy(update={"compression": "log10", "gain": 20.0, "offset": 3.0})
    other = noisy(speech, 0.01)
    found = mel_distance(speech, other, MelFrontEnd(decibel))
    assert found == pytest.approx(mel_distance(speech, other, MelFrontEnd(natural)), rel=1e-4)


@pytest.mark.parametrize("metric", [multi_resolution_stft, log_spectral_distance])
def test_unequal_or_short_wavs_are_refused(metric, speech):
    with pytest.raises(AudioError, match="cut both to one length"):
        metric(speech, speech[:-1])
    with pytest.raises(AudioError, match="too short"):
        metric(speech[:500], speech[:500])
