"""The engines for a GPU against the specification in float64; without a GPU by Triton's interpreter, step by step."""

import logging
import sys

import pytest
import torch
from laws.models import make_vocoder
from sampling_material import DEVICE, engine_material, made_by, there, utterance

from audioflow.distributions import Gaussian
from audioflow.nets.conditioning import Conditioning
from audioflow.nets.wavenet import CausalWaveNet
from audioflow.sampling import CUDA_ENGINES, ENGINES, autoregressive, sample_naive, sampler_of
from audioflow.sampling.cuda.graph import sample_graph

kernel_missing = "triton, whose interpreter runs the kernel without a GPU, is not installed"
engine = pytest.importorskip("audioflow.sampling.cuda.engine", reason=kernel_missing)
weights = pytest.importorskip("audioflow.sampling.cuda.weights")

STEPS, HOP = (48, 4) if DEVICE == "cuda" else (8, 4)  # the interpreter takes a tenth of a second for a step
NEAR = 1e-4 if DEVICE == "cuda" else 1e-5  # errors of rounding grow from step to step
NETWORKS = [
    "wavenet-gaussian-kernel-2",
    "wavenet-gaussian-kernel-3-speakers",
    "wavenet-gaussian_mixture-kernel-2",
    "wavenet-logistic_mixture-kernel-3",
    "wavenet-mu_law-kernel-2",
    "wavenet-linear-2-front-3",
    "wavenet-no-linear",
    "wavenet-one-hot",
]


def material(vocoder, batch, frames=False, steps=STEPS):
    return engine_material(vocoder, batch, steps, HOP if frames else None)


def close(made, wanted, tolerance=1e-4):  # three steps of the grid that a mixture of logistics is drawn on
    assert wanted.unique().numel() > STEPS / 3, "the samples hardly differ: nothing is shown"
    torch.testing.assert_close(made, wanted, atol=tolerance, rtol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_kernel_is_naive_sample_for_sample(name):
    vocoder = make_vocoder(name)
    given = material(vocoder, 3)
    wanted = sample_naive(vocoder.network, vocoder.law, **given)
    close(
        made_by(engine.sample_cuda, vocoder.network, vocoder.law, given),
        wanted,
        1e-4 if "logistic" in name else NEAR,
    )


@pytest.mark.parametrize("name", ["wavenet-gaussian-kernel-2", "wavenet-logistic_mixture-kernel-3"])
def test_numbers_of_16_bits_stay_near(name):
    vocoder = make_vocoder(name)
    given = material(vocoder, 2)
    wanted = sample_naive(vocoder.network, vocoder.law, **given)
    made = made_by(engine.sample_cuda, vocoder.network, vocoder.law, given, precision="float16")
    close(made, wanted, 100 * NEAR)
    single = made_by(engine.sample_cuda, vocoder.network, vocoder.law, given)
    assert (made - wanted).norm() >= (single - wanted).norm(), "the precision makes no difference"


@pytest.mark.parametrize("block", [400, 4], ids=["one-block", "many-blocks"])
def test_features_of_frames_and_blocks(block, monkeypatch):
    monkeypatch.setattr(autoregressive, "BLOCK", block)
    vocoder = make_vocoder("wavenet-gaussian-kernel-3")
    given = material(vocoder, 2, frames=True)
    wanted, done = sample_naive(vocoder.network, vocoder.law, **given), []
    for function in (engine.sample_cuda, sample_graph):
        close(made_by(function, vocoder.network, vocoder.law, given, progress=done.append), wanted, NEAR)
    assert sum(done) == 2 * STEPS


@pytest.mark.parametrize("temperature", [0.0, 0.5])
@pytest.mark.parametrize("head", ["gaussian_mixture", "mu_law"])
def test_temperature(head, temperature):
    vocoder = make_vocoder(f"wavenet-{head}-kernel-2")
    given = {**material(vocoder, 1), "temperature": temperature}
    wanted = sample_naive(vocoder.network, vocoder.law, **given)
    made = made_by(engine.sample_cuda, vocoder.network, vocoder.law, given)
    torch.testing.assert_close(made, wanted, atol=3e-5, rtol=0)


@pytest.mark.parametrize("function", [engine.sample_cuda, sample_graph])
def test_preemphasis(function):
    vocoder = make_vocoder("wavenet-gaussian-kernel-2")
    given = {**material(vocoder, 2), "preemphasis": 0.9}
    close(
        made_by(function, vocoder.network, vocoder.law, given),
        sample_naive(vocoder.network, vocoder.law, **given),
        1e-5,
    )


@pytest.mark.parametrize("cond_channels", [0, 5])
def test_channels_that_are_no_powers_of_two(cond_channels):
    vocoder = make_vocoder("wavenet-gaussian-kernel-2")
    torch.manual_seed(0)
    network = CausalWaveNet(1, 2, cond_channels, 5, 3, 20, 37, 2, 3, 4, gate_channels=24).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    given = material(vocoder, 2)
    given["cond"] = Conditioning(torch.randn(2, max(cond_channels, 1), STEPS, dtype=torch.float64))
    close(made_by(engine.sample_cuda, network, vocoder.law, given), sample_naive(network, vocoder.law, **given), NEAR)


def test_rows_of_many_programs_are_their_utterances(monkeypatch):
    monkeypatch.setattr(engine, "_programs", lambda device: 2)  # three rows each, the last program has one
    vocoder = make_vocoder("wavenet-gaussian-kernel-2")
    given = material(vocoder, 5, steps=4)
    together = made_by(engine.sample_cuda, vocoder.network, vocoder.law, given)
    for row in range(5):
        own = utterance(given, row)
        alone = made_by(engine.sample_cuda, vocoder.network, vocoder.law, own)
        torch.testing.assert_close(alone, together[row : row + 1], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", [*NETWORKS, "wavenet-mu_law-kernel-3-speakers"])
def test_the_graph_is_naive_sample_for_sample(name):
    vocoder = make_vocoder(name)
    given = material(vocoder, 3)
    made = made_by(sample_graph, vocoder.network, vocoder.law, given, torch.float64)
    # On a GPU torch takes the norms of float64 weights in float32.
    close(made, sample_naive(vocoder.network, vocoder.law, **given), 1e-10 if DEVICE == "cpu" else 1e-6)


def test_a_sampler_goes_on_where_it_stopped():
    vocoder = make_vocoder("wavenet-gaussian-kernel-3").float().to(DEVICE)
    given = {name: there(value, torch.float32) for name, value in material(vocoder, 2, frames=True).items()}
    cond, level, noise = given["cond"], given["level"], given["noise"]
    whole = engine.sample_cuda(vocoder.network, vocoder.law, cond, level, noise)
    sampler = sampler_of("cuda", vocoder.network, vocoder.law, 2, None, 1.0, 0.0)
    pieces = [
        piece
        for start in range(0, STEPS, HOP)
        for piece in sampler.draw(cond, level[..., start : start + HOP], noise[..., start : start + HOP], start // HOP)
    ]
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole[:, 0], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("own_memory", "single", "half"), [(232_448, 3, 4), (166_912, 2, 4), (101_376, 1, 2), (49_152, 1, 1)]
)
def test_as_many_layers_are_under_way_as_there_is_room_for(own_memory, single, half):
    # Compiled for 64 channels it took 18,432 bytes, and 102,400 for each layer under way; half of these for 16 bits.
    network = CausalWaveNet(1, 2, 0, 20, 10, 64, 64)
    assert [weights.sizes_of(network, Gaussian(), parts).stages(own_memory) for parts in (2, 1)] == [single, half]


def test_two_numbers_of_16_bits_keep_what_float32_has():
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    high, low = weights.in_two(x).float()
    assert ((high + low - x).abs() <= 2**-21 * x.abs() + 2**-24).all()
    assert ((high - x).abs() > 2**-14 * x.abs()).any(), "the second number would not be needed"


@pytest.mark.parametrize(
    ("channels", "dilations", "message"), [(256, None, "256 channels are more"), (8, [1, 3, 9], "not powers of two")]
)
def test_what_the_kernel_cannot_do_is_done_by_the_graph(channels, dilations, message, caplog):
    vocoder = make_vocoder("wavenet-gaussian-kernel-2")
    network = CausalWaveNet(1, 2, vocoder.config["cond_channels"], 3, 3, channels, 8).double()
    if dilations:
        network.stack.dilations = dilations
    given = material(vocoder, 1, steps=4)
    with caplog.at_level(logging.WARNING):
        made = made_by(ENGINES["cuda"], network, vocoder.law, given, torch.float64)
    assert message in caplog.text and "cuda-graph is used" in caplog.text
    assert torch.equal(made, made_by(sample_graph, network, vocoder.law, given, torch.float64))


def test_without_triton_a_warning_says_what_is_used(monkeypatch, caplog):
    for name in [name for name in sys.modules if name.startswith("audioflow.sampling.cuda")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "triton", None)
    vocoder = make_vocoder("wavenet-gaussian-kernel-2")
    given = material(vocoder, 1, steps=4)
    with caplog.at_level(logging.WARNING):
        ENGINES["cuda-fp16"](vocoder.network, vocoder.law, **given)
    assert "cuda-graph is used" in caplog.text


@pytest.mark.skipif(DEVICE == "cuda", reason="needs a model without a GPU")
@pytest.mark.parametrize("name", CUDA_ENGINES)
def test_a_model_on_the_cpu_does_not_take_them(name):
    vocoder = make_vocoder("wavenet-gaussian-kernel-2").float()
    assert name in vocoder.engines and name not in vocoder.usable_engines
    with pytest.raises(ValueError, match="needs the model on a GPU"):
        vocoder.synthesize(torch.zeros(1, vocoder.contract.n_mels, 2), engine=name)
    with pytest.raises(ValueError, match="needs the model on a GPU"):
        next(vocoder.stream(torch.zeros(1, vocoder.contract.n_mels, 2), engine=name))
