"""Networks that make several samples a step: every engine against the specification in float64."""

import pytest
import torch

from audioflow.distributions import Gaussian, GaussianMixture, LogisticMixture, MuLawCategorical
from audioflow.nets.frame_features import FrameFeatures
from audioflow.nets.group_head import GroupLaw
from audioflow.nets.wavenet import CausalWaveNet
from audioflow.sampling import sample_cached, sample_naive
from audioflow.sampling.cuda.graph import sample_graph

STEPS, HOP, COND = 24, 4, 5
LAWS = {"gaussian": Gaussian(), "gaussian_mixture": GaussianMixture(3), "logistic_mixture": LogisticMixture(3)}
HIDDEN = {"linear": (), "hidden": (12,), "two-hidden": (9, 14)}


def model(law, samples, hidden=(), channels=20, cond=COND, **options):
    """A network of random weights, float64, whose samples stay of the order of one, and its law."""
    torch.manual_seed(samples)
    group = GroupLaw(law, samples, hidden).double() if samples > 1 else law
    settings = {"kernel_size": 2, "front_kernel_size": 2, "linear_taps": 2, **options}
    network = CausalWaveNet(
        samples, group.parameter_channels, cond, layers=5, cycle=3, channels=channels, skip_channels=13, **settings
    ).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        if network.linear is not None:
            network.linear.weight.div_(samples)
        if samples > 1:
            for parameter in group.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
    return network, group


def material(law, batch, steps=STEPS, frames=True):
    generator = torch.Generator().manual_seed(3)

    def normal(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    cond = FrameFeatures(normal(batch, COND, steps // HOP), normal(HOP, 3) / 2, normal(batch, COND, 1))
    level, noise = torch.zeros(batch, 1, steps, dtype=torch.float64), normal(batch, law.noise_channels, steps)
    return {"cond": cond if frames else cond.samples(), "level": level, "noise": noise, "limit": 64.0}


def close(made, wanted, tolerance):
    assert wanted.unique().numel() > STEPS / 3 and wanted.abs().max() < 60, "nothing is shown"
    torch.testing.assert_close(made, wanted, atol=tolerance, rtol=0)


@pytest.mark.parametrize("samples", [1, 2, 4, 8, 20])
@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("frames", [True, False], ids=["frames", "steps"])
def test_the_plain_engines_are_alike(samples, name, hidden, frames):
    network, law = model(LAWS[name], samples, HIDDEN[hidden])
    given = material(law, 2, frames=frames)
    wanted = sample_naive(network, law, **given)
    assert wanted.shape == (2, samples, STEPS)
    close(sample_cached(network, law, **given), wanted, 1e-10)
    close(sample_graph(network, law, **given), wanted, 1e-10)
