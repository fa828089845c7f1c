"""WaveFlow beyond the laws of every vocoder: rows, their dilations and orders, pieces with context."""

import pytest
import torch
from laws.flow_laws import close
from laws.models import WAVEFLOWS, contract, make_vocoder, perturb, set_loudness

from audioflow.errors import RecipeError
from audioflow.vocoders import build


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def waveflow(**config):
    return build("waveflow", contract(), {"flows": 2, "channels": 3, "layers": 8, **config})


def networks(vocoder):
    return [flow.network for flow in vocoder.flow.bijection.bijections]


@pytest.mark.parametrize(
    ("rows", "dilations"),
    [
        (8, [1, 1, 1, 1, 1, 1, 1, 1]),
        (16, [1, 1, 1, 1, 1, 1, 1, 1]),
        (32, [1, 2, 4, 1, 2, 4, 1, 2]),
        (64, [1, 2, 4, 8, 16, 1, 2, 4]),
        (128, [1, 2, 4, 8, 16, 32, 64, 1]),
        (20, [1, 1, 1, 1, 1, 1, 1, 1]),
    ],
)
def test_rows_have_the_dilations_of_the_paper(rows, dilations):
    for network in networks(waveflow(squeeze=rows)):
        assert [convolution.dilation for convolution in network.convolutions] == [
            (down, 2**layer) for layer, down in enumerate(dilations)
        ]


def test_dilations_can_be_given_and_must_fit_the_layers():
    (network, _) = networks(waveflow(squeeze=8, layers=2, row_dilations=[3, 1]))
    assert [convolution.dilation[0] for convolution in network.convolutions] == [3, 1]
    with pytest.raises(RecipeError, match=r"row_dilations = \[3\] names 1 layers"):
        waveflow(squeeze=8, layers=2, row_dilations=[3])
    with pytest.raises(RecipeError, match="row_dilations"):
        waveflow(squeeze=8, layers=2, row_dilations=[0, 1])


@pytest.mark.parametrize(
    ("kind", "last"), [("reverse", [[0, 1, 2, 3], [3, 2, 1, 0]]), ("bipartite", [[0, 1, 2, 3], [1, 0, 3, 2]])]
)
def test_flows_visit_the_rows_in_their_orders(kind, last):
    orders = [network.order.tolist() for network in networks(waveflow(squeeze=4, flows=4, layers=1, row_order=kind))]
    assert orders == [[0, 1, 2, 3], [3, 2, 1, 0], *last]


def test_the_first_row_passes_where_the_paper_is_followed():
    noise = {"to": normal(1, 4, 6), "from": normal(1, 3 * 4, 6)}
    for first_row_passes in (False, True):
        vocoder = perturb(waveflow(squeeze=4, flows=1, layers=2, first_row_passes=first_row_passes)).double()
        x, _ = vocoder.flow.bijection.to_data(noise["to"], noise["from"])
        assert torch.equal(x[:, 0], noise["to"][:, 0]) == first_row_passes
        assert not torch.equal(x[:, 1:], noise["to"][:, 1:])


@pytest.mark.parametrize("name", WAVEFLOWS)
@pytest.mark.parametrize("engine", ["cached", "naive"])
def test_audio_leads_back_to_its_noise(name, engine):
    vocoder = make_vocoder(name, spread=0.1)
    mel, speaker = normal(1, vocoder.contract.n_mels, 4), torch.tensor([1]) if vocoder.config["speakers"] else None
    noise = normal(1, 1, vocoder._noise_steps(4))
    given = vocoder._given(mel, None, speaker)
    with torch.no_grad():
        x = vocoder._generate(noise, given, 1.0, engine, None)
        samples = vocoder.scored_samples(4)
        folded = (x * torch.exp(-given.level))[..., :samples], vocoder._cond(given)[..., :samples]
        z, _ = vocoder.flow.bijection.to_noise(*vocoder._folded(*folded, None))
    # What a group cut by the end holds after it is heard of by the networks, at the seam.
    if samples == noise.shape[-1]:
        close(z, vocoder._folded(noise, folded[1], None)[0], 1e-8)
    else:
        assert torch.isfinite(z).all()


def test_pieces_with_the_stated_context_are_the_whole():
    torch.manual_seed(0)
    config = {"squeeze": 2, "flows": 2, "channels": 3, "layers": 1, "upsampler": "interpolate"}
    vocoder = set_loudness(perturb(build("waveflow", contract(), config)).double(), 0.05)
    context, hop, frames = vocoder.context_frames, vocoder.contract.hop_length, 30
    mel, noise = normal(1, 3, frames), normal(1, 1, frames * hop)

    @torch.no_grad()
    def generate(start, stop):
        given = vocoder._given(mel[..., start:stop], None, None)
        return vocoder._generate(noise[..., start * hop : stop * hop], given, 1.0, "cached", None)

    whole = generate(0, frames)
    first, last = 13, 16
    wanted = whole[..., first * hop : last * hop]
    piece = generate(first - context, last + context)[..., context * hop : (context + last - first) * hop]
    close(piece, wanted, 1e-9)
    assert not torch.allclose(generate(first, last), wanted), "context does not matter: nothing is shown"


@pytest.mark.parametrize("first_row_passes", [False, True])
def test_the_likelihood_is_a_density_over_amplitude(first_row_passes):
    torch.manual_seed(0)
    config = {"squeeze": 2, "flows": 2, "channels": 3, "layers": 2, "first_row_passes": first_row_passes}
    vocoder = set_loudness(perturb(build("waveflow", contract(1, 1), config)).double(), 0.5)
    cell = 12 / 201
    line = -6 + cell * (torch.arange(201, dtype=torch.float64) + 0.5)
    grid = torch.cartesian_prod(line, line)
    with torch.no_grad():
        log_prob = vocoder.log_prob(grid, torch.full((len(grid), 1, 2), 0.4, dtype=torch.float64))
    assert (log_prob.exp().sum() * cell**2).item() == pytest.approx(1, abs=2e-3)
