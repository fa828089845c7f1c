"""The front: against an independent filter, in pieces, on another device's path, and for mels that no recording has."""

import numpy as np
import pytest
import torch
from scipy.signal import lfilter

from audioflow.audio import PRESETS, MelFrontEnd, read_audio
from audioflow.bundle import bundled
from audioflow.flows import Around, Front
from audioflow.flows import filtering as filtering_module
from audioflow.flows.envelope_filter import ROUNDING_VARIANCE, blocks_per_frame, upper_band_edges
from audioflow.flows.filtering import predict, predictors, resonate, resonate_by_scan

CONTRACT = PRESETS["speech-16k"]


def normals(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def speech():
    """Two seconds of a bundled recording ``[1, T]`` and their mel."""
    wav, _ = read_audio(bundled("speech", "data/speech") / "ru_0235.flac", CONTRACT.sample_rate)
    wav = wav[None, :32_000]
    return wav, MelFrontEnd(CONTRACT)(wav)


def stable_coefficients(batch, blocks, order, seed=0):
    """Filters of minimum phase, from the autocorrelations of noise that was smoothed a little."""
    x = normals(batch, blocks, 200, seed=seed).cumsum(-1) * 0.1 + normals(batch, blocks, 200, seed=seed + 1)
    lags = torch.stack([(x[..., : 200 - i] * x[..., i:]).sum(-1) for i in range(order + 1)], dim=-1)
    return predictors(lags)[0]


def test_levinson_solves_the_normal_equations():
    x = normals(3, 500).cumsum(-1)
    lags = torch.stack([(x[:, : 500 - i] * x[:, i:]).sum(-1) for i in range(9)], dim=-1)
    coefficients, energy = predictors(lags)
    for row in range(3):
        index = (torch.arange(8)[:, None] - torch.arange(8)).abs()
        exact = torch.linalg.solve(lags[row][index], lags[row, 1:])
        torch.testing.assert_close(coefficients[row].flip(0), exact, atol=1e-9, rtol=1e-9)
        torch.testing.assert_close(energy[row], lags[row, 0] - exact @ lags[row, 1:], atol=1e-6, rtol=1e-9)


def test_both_ways_to_the_predictors_agree_and_one_has_gradients():
    lags = torch.cat([torch.full((4, 1), 5.0, dtype=torch.float64), normals(4, 6)], dim=1).requires_grad_()
    by_torch = predictors(lags)
    for compiled, plain in zip(predictors(lags.detach()), by_torch, strict=True):
        torch.testing.assert_close(compiled, plain, atol=1e-12, rtol=1e-12)
    assert torch.autograd.gradcheck(predictors, (lags,))


@pytest.mark.parametrize("order", [1, 4, 32])
def test_the_filter_is_scipys_where_it_does_not_change(order):
    coefficients = stable_coefficients(1, 1, order)
    drive = normals(1, 300)
    polynomial = np.concatenate([[1.0], -coefficients[0, 0].flip(0).numpy()])
    made = resonate(drive, torch.zeros(1, order, dtype=torch.float64), coefficients, 300)
    np.testing.assert_allclose(made[0].numpy(), lfilter([1.0], polynomial, drive[0].numpy()), atol=1e-9)
    back = drive + predict(torch.cat([torch.zeros(1, order, dtype=torch.float64), drive], 1), -coefficients, 300)
    np.testing.assert_allclose(back[0].numpy(), lfilter(polynomial, [1.0], drive[0].numpy()), atol=1e-9)


@pytest.mark.parametrize("offset", [0, 1, 9])
@pytest.mark.parametrize(("order", "block", "steps"), [(3, 10, 75), (12, 10, 41), (5, 10, 1)])
def test_the_scan_is_the_recursion(offset, order, block, steps, monkeypatch):
    """What a GPU computes, on the CPU, also over several chunks of blocks."""
    monkeypatch.setattr(filtering_module, "CHUNK", 3)
    blocks = -(-(offset + steps) // block)
    coefficients, drive, before = stable_coefficients(2, blocks, order), normals(2, steps), normals(2, order, seed=3)
    by_loop = resonate(drive, before, coefficients, block, offset)
    by_scan = resonate_by_scan(drive, before, coefficients, block, offset)
    torch.testing.assert_close(by_scan, by_loop, atol=1e-9, rtol=1e-9)


def test_gradients_of_both_directions_are_exact():
    coefficients, drive, before = stable_coefficients(2, 3, 4), normals(2, 23), normals(2, 4, seed=2)
    inputs = [x.requires_grad_() for x in (drive, before, coefficients)]
    assert torch.autograd.gradcheck(lambda e, b, a: resonate(e, b, a, 10, 3), inputs)
    assert torch.autograd.gradcheck(lambda e, b, a: resonate_by_scan(e, b, a, 10, 3), inputs)
    assert torch.autograd.gradcheck(lambda e, b, a: predict(torch.cat([b, e], 1), a, 10), inputs)


def test_prediction_without_a_compiler_is_the_same(monkeypatch):
    x, coefficients = normals(2, 4 + 27), stable_coefficients(2, 3, 4)
    compiled = predict(x, coefficients, 10)
    monkeypatch.setattr(filtering_module, "compiles", lambda _: False)
    torch.testing.assert_close(predict(x, coefficients, 10), compiled, atol=1e-12, rtol=1e-12)


def test_a_mel_has_a_gradient_through_the_front(speech):
    wav, mel = (x[..., :n].double() for x, n in zip(speech, (800, 4), strict=True))
    front = Front(CONTRACT.model_copy(update={"n_fft": 800}), 4, 1e-4)
    assert torch.autograd.gradcheck(
        lambda m: front.to_noise(wav[:, None], m), (mel.requires_grad_(),), atol=1e-4, rtol=1e-3, nondet_tol=1e-9
    )


def test_excitation_of_speech_is_white_and_of_unit_variance(speech):
    wav, mel = speech
    front = Front(CONTRACT)
    front.fit(wav, mel)
    u = front.to_noise(wav[:, None], mel)[0][0, 0].double()
    assert u.square().mean().item() == pytest.approx(1, abs=0.05)
    for lag in range(1, 5):
        assert abs((u[lag:] * u[:-lag]).mean()) < 0.12, f"lag {lag}"
    loudness = u.unfold(0, 800, 400).square().mean(dim=1).sqrt()
    recorded = wav[0].double().unfold(0, 800, 400).square().mean(dim=1).sqrt()
    assert loudness.std() / loudness.mean() < 0.3 * recorded.std() / recorded.mean(), "loudness is left in it"


def test_order_zero_is_loudness_alone(speech):
    wav, mel = speech
    front = Front(CONTRACT, order=0)
    u = front.to_noise(wav[:, None], mel)[0]
    scales = front.filter(mel).log_scale_of_samples(wav.shape[1])
    torch.testing.assert_close(u[:, 0], (wav.double() * torch.exp(-scales)).float())


def test_pieces_with_the_state_handed_on_are_the_whole(speech):
    _, mel = speech
    front = Front(CONTRACT)
    filter_, u = front.filter(mel), normals(1, 1, mel.shape[-1] * 200)
    whole, _ = front.sound(u, filter_)
    state, done, made = None, 0, []
    for size in (1, 30, 169, 200, 401, 10_000):
        blocks = slice(done // filter_.block, None)
        rest = filter_._replace(coefficients=filter_.coefficients[:, blocks], log_scale=filter_.log_scale[:, blocks])
        x, state = front.sound(u[..., done : done + size], rest, state, done % filter_.block)
        made.append(x)
        done += size
    torch.testing.assert_close(torch.cat(made, dim=-1), whole[..., :done], atol=1e-12, rtol=1e-12)


def test_a_segment_with_what_lies_around_it_has_the_excitation_of_the_whole(speech):
    wav, mel = (x.double() for x in speech)
    front = Front(CONTRACT)
    whole = front.to_noise(wav[:, None], mel)[0]
    first, last = 100 * 200, 120 * 200  # within a vowel
    around = Around(wav[:, first - 32 : first], mel[..., 99:100], mel[..., 120:121])
    filter_ = front.filter(mel[..., 100:120], None, around)
    u = front.whiten(wav[:, None, first:last], filter_, around.samples)
    torch.testing.assert_close(u, whole[..., first:last], atol=1e-9, rtol=1e-9)
    alone = front.whiten(wav[:, None, first:last], front.filter(mel[..., 100:120]))
    assert (alone[..., :32] - u[..., :32]).abs().max() > 1, "zeros before a segment cost nothing?"


UNHEARD = {
    "recorded": lambda mel: mel,
    "smoothed": lambda mel: torch.nn.functional.avg_pool2d(mel[:, None], (5, 5), 1, 2)[:, 0],
    "louder": lambda mel: mel + 2,
    "quieter": lambda mel: mel - 4,
    "noisy": lambda mel: mel + 1.6 * torch.randn(mel.shape, generator=torch.Generator().manual_seed(0)),
    "floor": lambda mel: torch.full_like(mel, CONTRACT.silence),
    "deep": lambda mel: torch.full_like(mel, -300.0),
    "ten": lambda mel: torch.full_like(mel, 10.0),
    "one-band": lambda mel: torch.full_like(mel, CONTRACT.silence).index_fill(1, torch.tensor([7]), 2.0),
    "alternating": lambda mel: mel + 8 * (-1.0) ** torch.arange(80)[:, None],
    "shifted": lambda mel: mel.roll(9, dims=1),
}


@pytest.mark.parametrize("kind", UNHEARD)
@pytest.mark.parametrize("correction", [1e-9, 1e-5])
def test_any_mel_gives_finite_speech_of_sane_loudness(speech, kind, correction):
    """The root mean square of every tenth of a second is that of the mel's own band energies, within 10 dB."""
    mel = UNHEARD[kind](speech[1])
    front = Front(CONTRACT, 32, correction)
    x, _ = front.sound(normals(1, 1, mel.shape[-1] * 200), front.filter(mel))
    assert torch.isfinite(x).all()
    power = torch.exp(2 * front.envelope.log_spectrum(mel)) + ROUNDING_VARIANCE
    said = torch.einsum("bkf,k->bf", power, front.envelope._cosines[:, 0]) + ROUNDING_VARIANCE
    heard = x[0, 0].unfold(0, 1600, 1600).square().mean(dim=1)
    wanted = said[0].unfold(0, 8, 8).amax(dim=1)
    assert (10 * torch.log10(heard / wanted[: len(heard)])).amax() < 10


@pytest.mark.parametrize("name", PRESETS)
def test_every_contract_has_a_front(name):
    contract = PRESETS[name]
    wav = 0.1 * torch.randn(2, 20 * contract.hop_length, generator=torch.Generator().manual_seed(0))
    mel = MelFrontEnd(contract)(wav)
    front = Front(contract)
    front.fit(wav, mel)
    u, log_det = front.to_noise(wav[:, None], mel)
    assert u.square().mean().item() == pytest.approx(1, abs=0.1)
    assert torch.isfinite(log_det).all()
    torch.testing.assert_close(front.to_data(u, mel)[0], wav[:, None], atol=1e-4, rtol=1e-4)


def test_what_lies_above_the_bands_is_fitted():
    """White noise whose level moves: above 8 kHz it is known again, where a spectrum that ends would be too."""
    contract = PRESETS["nvidia-22k"]
    generator = torch.Generator().manual_seed(0)
    wav = torch.randn(4, 200 * 256, generator=generator)
    spectrum = torch.fft.rfft(wav)
    edge = int(8000 / 11025 * spectrum.shape[1])
    spectrum[:, edge:] *= 1e-3
    wav = 0.1 * torch.fft.irfft(spectrum, n=wav.shape[1])
    mel = MelFrontEnd(contract)(wav)
    fitted, plain = Front(contract), Front(contract)
    fitted.fit(wav, mel)
    plain.envelope.offset.copy_(fitted.envelope.offset)
    assert len(upper_band_edges(contract)) == 5
    nats = [
        (-0.5 * u.double().square().mean() + log_det.double().mean() / wav.shape[1]).item()
        for u, log_det in (front.to_noise(wav[:, None], mel) for front in (fitted, plain))
    ]
    assert nats[0] > nats[1] + 0.5
    other = Front(contract)
    other.load_state_dict(fitted.state_dict())
    assert torch.equal(other.filter(mel).coefficients, fitted.filter(mel).coefficients)


@pytest.mark.parametrize("name", PRESETS)
def test_powers_by_products_are_those_by_exponentials(name, monkeypatch):
    contract = PRESETS[name]
    mel = contract.silence + (0.5 + torch.rand(2, contract.n_mels, 7, generator=torch.Generator().manual_seed(0))) * 5
    envelope = Front(contract).envelope
    compiled = envelope._autocorrelations(mel)
    monkeypatch.setattr("audioflow.flows.envelope_filter.compiles", lambda _: False)
    torch.testing.assert_close(compiled, envelope._autocorrelations(mel), atol=0, rtol=1e-11)


@pytest.mark.parametrize("hop", [1, 2, 3, 5, 7, 13, 16, 200, 256, 300])
def test_blocks_divide_any_hop(hop):
    assert hop % blocks_per_frame(hop) == 0


def test_a_cast_to_float32_leaves_the_filters_exact(speech):
    mel = speech[1]
    front = Front(CONTRACT)
    before = front.filter(mel).coefficients
    assert torch.equal(front.half().float().filter(mel).coefficients, before)
