"""Our front-end against librosa's and torchaudio's, on real speech, for every preset."""

import sys
from pathlib import Path

import librosa
import numpy as np
import pytest
import torch

from audioflow.audio import PRESETS, MelFrontEnd, mel_filterbank, read_audio, torchaudio

SPEECH = sorted((Path(__file__).parents[2] / "data" / "speech").glob("*.flac"))[:3]
TOLERANCE = 1e-4  # in units of the logarithm of each family


def independent_bank(contract):
    """Filter bank [M, bins] by librosa, or by torchaudio where the family uses HTK's scale."""
    if contract.mel_scale == "slaney":
        return librosa.filters.mel(
            sr=contract.sample_rate,
            n_fft=contract.n_fft,
            n_mels=contract.n_mels,
            fmin=contract.f_min,
            fmax=contract.f_max,
            norm="slaney",
        )
    return (
        torchaudio()
        .functional.melscale_fbanks(
            contract.n_fft // 2 + 1,
            contract.f_min,
            contract.f_max,
            contract.n_mels,
            contract.sample_rate,
            norm=None,
            mel_scale="htk",
        )
        .T.numpy()
    )


def independent_mel(wav, contract):
    """Log-mel [M, F'] as the families' own code has it; F' as their framing gives it."""
    centered = contract.framing == "centered"
    if not centered:
        wav = np.pad(wav, (contract.n_fft - contract.hop_length) // 2, mode="reflect")
    spectrum = librosa.stft(
        wav,
        n_fft=contract.n_fft,
        hop_length=contract.hop_length,
        win_length=contract.win_length,
        center=centered,
        pad_mode="reflect",
    )
    magnitude = np.sqrt(np.abs(spectrum) ** 2 + contract.magnitude_epsilon)
    linear = np.maximum(independent_bank(contract) @ magnitude**contract.power, contract.floor)
    if contract == PRESETS["clarinet-22k"]:
        return np.clip((20 * np.log10(linear) - 20 + 100) / 100, 0, 1)
    return np.log(linear) if contract.compression == "ln" else np.log10(linear)


def largest_difference(wav, contract):
    expected = independent_mel(wav.numpy(), contract)
    ours = MelFrontEnd(contract)(wav[None])[0].numpy()
    shared = min(expected.shape[1], ours.shape[1])
    assert shared >= ours.shape[1] - 1
    return float(np.abs(expected[:, :shared] - ours[:, :shared]).max()), shared


def bank_difference(contract):
    """Largest difference of the filter banks, as a share of their peak."""
    expected, ours = independent_bank(contract), mel_filterbank(contract).numpy()
    return float(np.abs(expected - ours).max() / expected.max())


def test_every_preset_equals_the_independent_front_end(capsys):
    worst, banks = {}, {}
    head = f"{'preset':<12} {'filter bank':<11} {'framing':<9} {'log':<6}"
    lines = [f"{head} {'frames':>6} {'max|log mel|':>13} {'max|bank|':>10}"]
    for name, contract in PRESETS.items():
        pairs = [largest_difference(read_audio(path, contract.sample_rate)[0], contract) for path in SPEECH]
        frames = sum(shared for _, shared in pairs)
        worst[name], banks[name] = max(difference for difference, _ in pairs), bank_difference(contract)
        side = "librosa" if contract.mel_scale == "slaney" else "torchaudio"
        kind = f"{name:<12} {side:<11} {contract.framing:<9} {contract.compression:<6}"
        lines.append(f"{kind} {frames:>6} {worst[name]:>13.1e} {banks[name]:>10.1e}")
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(lines) + "\n")
    assert SPEECH
    assert {name: value for name, value in worst.items() if not value < TOLERANCE} == {}
    assert {name: value for name, value in banks.items() if not value < 1e-5} == {}


@pytest.mark.parametrize("framing", ["centered", "half_hop"])
@pytest.mark.parametrize(("scale", "norm"), [("htk", "none"), ("htk", "slaney"), ("slaney", "none")])
def test_power_spectra_on_other_scales_equal_librosa(framing, scale, norm):
    base = PRESETS["nvidia-22k"]
    contract = base.model_copy(update={"mel_scale": scale, "mel_norm": norm, "power": 2, "framing": framing})
    wav, _ = read_audio(SPEECH[0], contract.sample_rate)
    wav = wav[: 40 * contract.hop_length]
    samples = wav.numpy()
    if framing == "half_hop":
        samples = np.pad(samples, (contract.n_fft - contract.hop_length) // 2, mode="reflect")
    expected = librosa.feature.melspectrogram(
        y=samples,
        sr=contract.sample_rate,
        n_fft=contract.n_fft,
        hop_length=contract.hop_length,
        win_length=contract.win_length,
        center=framing == "centered",
        pad_mode="reflect",
        power=2.0,
        n_mels=contract.n_mels,
        fmin=contract.f_min,
        fmax=contract.f_max,
        htk=scale == "htk",
        norm=None if norm == "none" else norm,
    )
    ours = MelFrontEnd(contract)(wav[None])[0].numpy()
    expected = np.log(np.maximum(expected, contract.floor))[:, : ours.shape[1]]
    assert np.abs(ours - expected).max() < TOLERANCE


def test_zero_padding_equals_librosa():
    contract = PRESETS["nvidia-22k"].model_copy(update={"pad_mode": "zeros"})
    wav, _ = read_audio(SPEECH[0], contract.sample_rate)
    wav = wav[5000:15240]
    spectrum = np.abs(librosa.stft(wav.numpy(), n_fft=1024, hop_length=256, center=True, pad_mode="constant"))
    expected = np.log(np.maximum(independent_bank(contract) @ spectrum, contract.floor))
    ours = MelFrontEnd(contract)(wav[None])[0]
    assert np.abs(ours.numpy() - expected[:, : ours.shape[1]]).max() < TOLERANCE
    mirrored = MelFrontEnd(PRESETS["nvidia-22k"])(wav[None])[0]
    assert (ours - mirrored).abs().max() > 0.01


def test_decibels_are_a_gain_on_the_decimal_logarithm():
    plain = PRESETS["espnet-24k"].model_copy(update={"floor": 1e-5})
    decibels = plain.model_copy(update={"gain": 20.0, "offset": -20.0})
    wav, _ = read_audio(SPEECH[0], plain.sample_rate)
    expected = 20 * MelFrontEnd(plain)(wav[None]) - 20
    assert torch.allclose(MelFrontEnd(decibels)(wav[None]), expected, atol=1e-4)
    assert decibels.silence == pytest.approx(-120)
