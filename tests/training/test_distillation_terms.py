"""Each term of distillation against an independent computation."""

import librosa
import numpy as np
import pytest
import torch
from laws.flow_laws import close
from torch.distributions import Normal, kl_divergence

from audioflow.audio import AMPLITUDE_STEP
from audioflow.distributions import DiscretizedLogisticMixture, Gaussian, GaussianMixture, MuLawCategorical
from audioflow.training.objectives.alignment import Alignment
from audioflow.training.objectives.contrast import contrast, others
from audioflow.training.objectives.gaussian_kl import floored, gaussian_kl, scale_difference
from audioflow.training.objectives.perceptual import feature_distance, gram_distance
from audioflow.training.objectives.sampled_kl import cross_entropy, draws, entropy
from audioflow.training.objectives.spectral import magnitudes, multi_resolution_stft_loss, power_loss

F64 = torch.float64


def normals(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def test_the_divergence_of_gaussians_is_that_of_torch():
    mean_q, log_q, mean_p, log_p = normals(4, 3, 50)
    wanted = kl_divergence(Normal(mean_q, log_q.exp()), Normal(mean_p, log_p.exp()))
    close(gaussian_kl(mean_q, log_q, mean_p, log_p), wanted, 1e-10)
    assert gaussian_kl(mean_p, log_p, mean_p, log_p).abs().max() < 1e-12


def test_scales_and_their_floor():
    q, p = normals(2, 5)
    close(scale_difference(q, p), (q - p) ** 2, 1e-12)
    floor = floored(torch.tensor([-30.0, -7.0, 3.0], dtype=F64), -7.0)
    assert floor[0] == pytest.approx(-7, abs=1e-6) and floor[2] == pytest.approx(3, abs=1e-4)
    assert (floor >= -7).all()


@pytest.mark.parametrize("base", ["normal", "logistic"])
def test_entropy_and_draws_are_those_of_the_law(base):
    """The entropy is the mean surprise of many draws, by scipy's density."""
    from scipy import stats

    mean, log_scale = torch.tensor([[0.3]], dtype=F64), torch.tensor([[-1.2]], dtype=F64)
    drawn = draws(mean, log_scale, base, normals(200_000, 1, 1))
    law = (stats.norm if base == "normal" else stats.logistic)(0.3, np.exp(-1.2))
    assert entropy(log_scale, base).item() == pytest.approx(law.entropy(), abs=1e-9)
    assert -law.logpdf(drawn.numpy()).mean() == pytest.approx(law.entropy(), abs=0.01)
    assert drawn.var().item() == pytest.approx(law.var(), rel=0.02)


@pytest.mark.parametrize("law", [GaussianMixture(2), DiscretizedLogisticMixture(2)], ids=["gaussians", "logistics"])
def test_the_sampled_divergence_is_the_integral(law):
    """One step: the estimate over many draws against a sum over a fine grid of amplitudes."""
    params = torch.tensor([0.5, -0.5, -0.1, 0.2, -2.5, -3.0], dtype=F64)[None, :, None]
    mean, log_scale = torch.tensor([[0.05]], dtype=F64), torch.tensor([[-2.0]], dtype=F64)
    drawn = draws(mean, log_scale, "normal", normals(40_000, 1, 1)).reshape(1, 1, -1)
    estimate = cross_entropy(law, params.expand(-1, -1, drawn.shape[-1]), drawn) - entropy(log_scale, "normal")
    x = torch.linspace(-3, 3, 60_001, dtype=F64)[None, None]
    log_q = Normal(0.05, float(np.exp(-2.0))).log_prob(x[0])
    log_p = law.smooth_log_prob(params.expand(-1, -1, x.shape[-1]), x)
    integral = (log_q.exp() * (log_q - log_p)).sum() * 1e-4
    assert estimate.mean().item() == pytest.approx(integral.item(), abs=0.03)


@pytest.mark.parametrize("law", [GaussianMixture(2), DiscretizedLogisticMixture(2)], ids=["gaussians", "logistics"])
def test_smooth_densities_have_gradients_and_integrate_to_one(law):
    params = torch.tensor([0.5, -0.5, -0.1, 0.2, -4.0, -3.0], dtype=F64)[None, :, None]
    x = torch.linspace(-1.5, 1.5, 30_001, dtype=F64)[None, None]
    density = law.smooth_log_prob(params.expand(-1, -1, x.shape[-1]), x).exp()
    assert density.sum().item() * 1e-4 == pytest.approx(1, abs=1e-4)
    at = normals(1, 1, 4).mul(0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: law.smooth_log_prob(params.expand(-1, -1, 4), x), at)


def test_smooth_is_discrete_on_the_grid():
    law = DiscretizedLogisticMixture(2)
    params = normals(1, 6, 9)
    x = (torch.randint(-20_000, 20_000, (1, 1, 9)) * AMPLITUDE_STEP).double()
    close(law.smooth_log_prob(params, x), law.log_prob(params, x), 1e-12)
    close(Gaussian().smooth_log_prob(params[:, :2], x), Gaussian().log_prob(params[:, :2], x), 1e-12)
    with pytest.raises(NotImplementedError):
        MuLawCategorical().smooth_log_prob(normals(1, 256, 9), x)


def test_spectral_losses_are_those_of_librosa():
    reference, generated = (0.1 * normals(1, 6000, seed=seed).float() for seed in (1, 2))

    def spectrum(wav, fft, hop, window):
        padded = np.abs(librosa.stft(wav[0].numpy(), n_fft=fft, hop_length=hop, win_length=window, pad_mode="reflect"))
        return np.maximum(padded, 1e-4)

    terms = []
    for fft, hop, window in ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240)):
        r, g = (spectrum(wav, fft, hop, window) for wav in (reference, generated))
        terms.append(np.linalg.norm(r - g) / np.linalg.norm(r) + np.abs(np.log(r) - np.log(g)).mean())
    assert float(multi_resolution_stft_loss(reference, generated)) == pytest.approx(np.mean(terms), rel=1e-3)
    r, g = (
        np.abs(librosa.stft(w[0].numpy(), n_fft=1024, hop_length=256, pad_mode="reflect"))
        for w in (reference, generated)
    )
    assert float(power_loss(reference, generated)) == pytest.approx(((r - g) ** 2).sum() / (r**2).sum(), rel=1e-4)
    assert float(power_loss(reference, reference)) == 0


def test_spectral_gradients_are_finite_in_silence():
    wav = torch.zeros(1, 3000, requires_grad=True)
    (multi_resolution_stft_loss(torch.randn(1, 3000), wav) + magnitudes(wav).sum()).backward()
    assert wav.grad.isfinite().all()


def test_perceptual_distances_by_hand():
    a, b = normals(2, 1, 3, 10)
    share = ((a - b) ** 2).sum() / (a**2).sum()
    assert float(feature_distance([a], [b])) == pytest.approx(float(share), rel=1e-5)
    ga, gb = (np.einsum("bct,bdt->bcd", h.numpy(), h.numpy()) / 10 for h in (a, b))
    wanted = ((ga - gb) ** 2).sum() / (ga**2).sum()
    assert float(gram_distance([a], [b])) == pytest.approx(float(wanted), rel=1e-5)
    moved = a.roll(3, dims=-1)
    assert float(gram_distance([a], [moved])) < 1e-10 < float(feature_distance([a], [moved]))


def test_contrast_is_bounded_and_takes_another_utterance():
    small, large = torch.full((2, 5), 0.01), torch.full((2, 5), 1e6)
    assert float(contrast(small, 10)) == pytest.approx(0.01, rel=1e-4)
    assert float(contrast(large, 10)) == pytest.approx(10)
    assert others(torch.tensor([1, 2, 3])).tolist() == [3, 1, 2]


def test_alignment_can_be_learned_and_leaves_the_teacher_alone():
    torch.manual_seed(0)
    alignment = Alignment((3, 2), (4, 3))
    assert alignment.partners == [0, 2]
    student = [torch.randn(1, 3, 50) for _ in range(2)]
    mix = [torch.randn(4, 3), torch.randn(4, 3)]
    teacher = [mix[0] @ student[0], torch.randn(1, 4, 50), mix[1] @ student[1]]
    teacher = [one.requires_grad_() for one in teacher]
    optimizer = torch.optim.Adam(alignment.parameters(), 0.1)
    for _ in range(200):
        optimizer.zero_grad()
        loss = alignment(student, teacher)
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 1e-3
    assert all(one.grad is None for one in teacher)
