"""Base distributions and densities: they integrate to one, and draws follow the law that log_prob states."""

import math

import pytest
import torch
from laws.flow_laws import GARBAGE, close
from laws.models import COND, made, perturb
from scipy import stats

from audioflow.flows import MAF, DiagonalNormal, Flow, Logistic, MelNormal, StandardNormal

BASES = {
    "normal": StandardNormal,
    "diagonal": lambda: DiagonalNormal(2),
    "logistic": Logistic,
    "mel": lambda: MelNormal(2, COND),
}
every_base = pytest.mark.parametrize("name", BASES)


def make(name):
    torch.manual_seed(0)
    return perturb(BASES[name](), 0.5).double()


def normals(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@every_base
def test_it_integrates_to_one(name):
    line = torch.linspace(-40, 40, 801, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)[..., None]
    cond = torch.full((len(grid), COND, 1), 0.7, dtype=torch.float64)
    with torch.no_grad():
        mass = make(name).log_prob(grid, cond).exp().sum() * (line[1] - line[0]) ** 2
    assert mass.item() == pytest.approx(1, abs=1e-6)


@every_base
def test_draws_follow_the_law(name):
    """The distribution function at the draw of noise ``n`` is that of the normal law at ``n``."""
    base, noise, cond = make(name), normals(1, 2, 400), normals(1, COND, 400, seed=1)
    z = base.sample(noise, cond)
    grid = torch.linspace(0, 1, 2001, dtype=torch.float64)
    for step in (0, 250):
        for channel in range(2):
            # Integrate the density of this value from its median up to the draw.
            end = z[0, channel, step]
            centre = base.sample(torch.zeros_like(noise), cond)[0, channel, step]
            line = centre + grid * (end - centre)
            points = base.sample(torch.zeros_like(noise), cond)[..., step : step + 1].repeat(len(line), 1, 1)
            points[:, channel, 0] = line
            log_density = base.log_prob(points, cond[..., step : step + 1].expand(len(line), -1, -1))
            other = 1 - channel
            rest = points[:1].clone()
            log_other = marginal(base, rest, cond[..., step : step + 1], other)
            mass = torch.trapezoid((log_density - log_other).exp(), line)
            assert mass.item() + 0.5 == pytest.approx(stats.norm.cdf(noise[0, channel, step].item()), abs=1e-5)
    assert torch.equal(base.sample(noise, cond, temperature=0.0), base.sample(torch.zeros_like(noise), cond))
    centre = base.sample(torch.zeros_like(noise), cond)
    close(base.sample(noise, cond, temperature=0.5) - centre, 0.5 * (z - centre))


def marginal(base, point, cond, channel):
    """Log-density of one channel of a base whose channels are independent, by integrating the other out."""
    line = torch.linspace(-60, 60, 8001, dtype=torch.float64)
    points = point.repeat(len(line), 1, 1)
    points[:, 1 - channel, 0] = line
    log_density = base.log_prob(points, cond.expand(len(line), -1, -1))
    return torch.log(torch.trapezoid(log_density.exp(), line))


@every_base
def test_padding_changes_nothing(name):
    base, z, cond = make(name), normals(2, 2, 6), normals(2, COND, 6, seed=1)
    mask = torch.ones(2, 1, 6, dtype=torch.float64)
    mask[1, :, 4:] = 0
    dirty = torch.where(mask > 0, z, torch.full_like(z, GARBAGE))
    close(base.log_prob(dirty, cond * mask, mask)[1], base.log_prob(z[1:, :, :4], cond[1:, :, :4])[0])
    drawn = base.sample(dirty, cond * mask, mask)
    close(drawn[1:, :, :4], base.sample(z[1:, :, :4], cond[1:, :, :4]))
    assert not drawn[1, :, 4:].any()


@every_base
def test_it_starts_as_a_standard_law(name):
    base, z = BASES[name]().double(), normals(3, 2, 4)
    law = stats.logistic if name == "logistic" else stats.norm
    expected = torch.from_numpy(law.logpdf(z.numpy())).sum(dim=(1, 2))
    close(base.log_prob(z, normals(3, COND, 4)), expected)


def test_a_mel_base_without_a_mel_is_refused():
    with pytest.raises(ValueError, match="needs conditioning"):
        make("mel").log_prob(normals(1, 2, 3))


@every_base
def test_a_flow_of_it_is_its_density_times_the_volume(name):
    torch.manual_seed(0)
    flow = Flow(make(name), perturb(MAF(made(channels=2))).double())
    noise, cond = normals(3, 2, 4), normals(3, COND, 4, seed=1)
    x, log_prob = flow.rsample_and_log_prob(noise.requires_grad_(), cond)
    z, log_det = flow.bijection.to_noise(x, cond)
    close(flow.base.log_prob(z, cond) + log_det, log_prob)
    assert torch.autograd.grad(log_prob.sum(), noise)[0].abs().min() > 0, "no gradient reaches the noise"
    x, log_prob = flow.sample_and_log_prob(noise, cond)
    assert not x.requires_grad
    assert not log_prob.requires_grad


def test_standard_normal_at_zero():
    assert StandardNormal().log_prob(torch.zeros(1, 2, 3)).item() == pytest.approx(-3 * math.log(2 * math.pi))
