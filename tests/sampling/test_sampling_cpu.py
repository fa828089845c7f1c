"""The compiled loop against the specification in float64, for every kind of network, batch and block."""

import logging

import numpy as np
import pytest
import torch
from laws.models import WAVENETS, make_vocoder
from numba.core.errors import TypingError
from sampling_material import engine_material, utterance

from audioflow.compiled import lanes
from audioflow.nets.conditioning import Conditioning
from audioflow.nets.upsample import TransposedUpsampler
from audioflow.nets.wavenet import CausalWaveNet
from audioflow.sampling import ENGINES, sample_cached, sample_naive
from audioflow.sampling.cpu import conditioning, engine, int8_works, weights
from audioflow.sampling.cpu.engine import sample_cpu

STEPS, HOP = 48, 4
NETWORKS = [*WAVENETS, "wavenet-front-3", "wavenet-no-linear", "wavenet-linear-2-front-3", "wavenet-one-hot"]


def material(vocoder, batch, frames=False):
    return engine_material(vocoder, batch, STEPS, HOP if frames else None)


def close(made, wanted):  # three steps of the grid that a mixture of logistics is drawn on
    assert wanted.unique().numel() > STEPS / 3, "the samples hardly differ: nothing is shown"
    torch.testing.assert_close(made, wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("batch", [1, 3, 9])
def test_it_is_naive_sample_for_sample(name, batch):
    vocoder = make_vocoder(name)
    given = material(vocoder, batch)
    close(sample_cpu(vocoder.network, vocoder.law, **given), sample_naive(vocoder.network, vocoder.law, **given))


@pytest.mark.parametrize("name", ["wavenet-gaussian-kernel-2", "wavenet-logistic_mixture-kernel-3"])
@pytest.mark.parametrize(("block", "hop"), [(4096, HOP), (8, HOP)], ids=["one-block", "many-blocks"])
def test_features_of_frames_are_interpolated(name, block, hop, monkeypatch):
    monkeypatch.setattr(conditioning, "STEPS", block)
    vocoder = make_vocoder(name)
    given = material(vocoder, 2, frames=True)
    close(sample_cpu(vocoder.network, vocoder.law, **given), sample_naive(vocoder.network, vocoder.law, **given))


@pytest.mark.parametrize("name", ["wavenet-gaussian-kernel-3", "wavenet-one-hot"])
def test_blocks_continue_where_the_last_stopped(name, monkeypatch):
    vocoder = make_vocoder(name)
    given = material(vocoder, 2)
    whole = sample_cpu(vocoder.network, vocoder.law, **given)
    monkeypatch.setattr(conditioning, "STEPS", 7)
    assert torch.equal(sample_cpu(vocoder.network, vocoder.law, **given), whole)


@pytest.mark.parametrize("temperature", [0.0, 0.5])
@pytest.mark.parametrize("head", ["gaussian", "gaussian_mixture", "logistic_mixture", "mu_law"])
def test_temperature(head, temperature):
    vocoder = make_vocoder(f"wavenet-{head}-kernel-2")
    given = {**material(vocoder, 2), "temperature": temperature}
    made = sample_cpu(vocoder.network, vocoder.law, **given)
    torch.testing.assert_close(made, sample_naive(vocoder.network, vocoder.law, **given), atol=3e-5, rtol=0)


def test_preemphasis():
    vocoder = make_vocoder("wavenet-gaussian-kernel-2")
    given = {**material(vocoder, 2), "preemphasis": 0.9}
    close(sample_cpu(vocoder.network, vocoder.law, **given), sample_naive(vocoder.network, vocoder.law, **given))


@pytest.mark.parametrize("gate_channels", [None, 24], ids=["as-many", "more"])
@pytest.mark.parametrize("cond_channels", [0, 5])
def test_channels_that_fill_no_register(gate_channels, cond_channels):
    vocoder = make_vocoder("wavenet-gaussian-kernel-2")
    torch.manual_seed(0)
    network = CausalWaveNet(1, 2, cond_channels, 5, 3, 20, 37, 2, 3, 4, gate_channels=gate_channels).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    given = material(vocoder, 5)
    given["cond"] = Conditioning(torch.randn(5, max(cond_channels, 1), STEPS, dtype=torch.float64))
    close(sample_cpu(network, vocoder.law, **given), sample_naive(network, vocoder.law, **given))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_batch_is_its_utterances_one_by_one(threads, monkeypatch):
    monkeypatch.setattr(engine, "TILE", 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    vocoder = make_vocoder("wavenet-gaussian-kernel-2")
    given = material(vocoder, 7)
    done = []
    together = sample_cpu(vocoder.network, vocoder.law, **given, progress=done.append)
    assert sum(done) == STEPS
    for row in range(7):
        own = utterance(given, row)
        # Sums are taken in the same order whatever the batch, so that not a bit differs.
        assert torch.equal(sample_cpu(vocoder.network, vocoder.law, **own), together[row : row + 1])


def test_threads_work_in_inference_mode_too(monkeypatch):
    monkeypatch.setattr(engine, "TILE", 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    vocoder = make_vocoder("wavenet-gaussian-kernel-2").float()
    mel = torch.zeros(5, vocoder.contract.n_mels, 6)
    outside = vocoder.synthesize(mel, seed=1, engine="cpu")
    with torch.inference_mode():
        assert torch.equal(vocoder.synthesize(mel, seed=1, engine="cpu"), outside)


def test_pairs_hold_each_weight_to_half_a_step():
    matrix = np.random.default_rng(0).standard_normal((3, 10, 7))
    matrix[0, :, 2] = 0
    words, scale = weights.paired(matrix)
    assert words.shape == (3, 5, 7)
    # What the loop reads: the lower half shifted up, and the whole number.
    lower = (words.astype(np.int64) << 16).astype(np.int32)
    read = np.stack([lower, words], axis=2).reshape(3, 10, 7) * scale[:, None].astype(np.float64)
    step = np.abs(matrix).max(axis=1, keepdims=True) / weights.LARGEST
    assert (np.abs(read - matrix) <= 0.501 * step + 1e-12).all()


@pytest.mark.parametrize("name", ["wavenet-gaussian-kernel-3", "wavenet-mu_law-kernel-2"])
def test_16_bits_are_the_rounded_weights(name):
    vocoder = make_vocoder(name)
    given = material(vocoder, 5)
    rounded = make_vocoder(name).fold_weight_norm()
    with torch.no_grad():
        for layer in [*rounded.network.stack.convolutions, *rounded.network.stack.outputs]:
            _round(layer.weight)
    made = sample_cpu(vocoder.network, vocoder.law, **given, precision="int16")
    # Of each pair the upper weight is rounded as it will be read, up to half a step from here.
    torch.testing.assert_close(made, sample_naive(rounded.network, rounded.law, **given), atol=3e-4, rtol=0)
    exact = sample_naive(vocoder.network, vocoder.law, **given)
    assert 0 < (made - exact).abs().max() < 1e-3


def _round(weight):
    """To the nearest of 64,001 numbers for each output, one tap's rows after another, as pairs are read."""
    rows = weight.detach().permute(2, 1, 0).flatten(0, 1)
    step = rows.abs().amax(dim=0) / weights.LARGEST
    weight.copy_((torch.round(rows / step) * step).view(weight.shape[2], weight.shape[1], -1).permute(2, 1, 0))


def test_exp_and_gate():
    @lanes.compiled
    def run(a, b, powers, gates):
        for i in range(0, len(a), 16):
            lanes.store(powers, i, lanes.exp(lanes.load(a, i)))
            lanes.store(gates, i, lanes.gated(lanes.load(a, i), lanes.load(b, i)))

    a = np.linspace(-39, 39, 4096, dtype=np.float32)
    b = np.random.default_rng(0).permutation(a)
    powers, gates = np.empty_like(a), np.empty_like(a)
    run(a, b, powers, gates)
    np.testing.assert_allclose(powers, np.exp(a.astype(np.float64)), rtol=3e-7)
    exact = np.tanh(a.astype(np.float64)) / (1 + np.exp(-b.astype(np.float64)))
    np.testing.assert_allclose(gates, exact, atol=3e-7)


def test_where_it_cannot_be_compiled_the_cached_engine_does_it(monkeypatch, caplog):
    def fails(*_args, **_options):
        raise TypingError("no such type\nand a long explanation")

    monkeypatch.setattr(engine, "compile_once", fails)
    vocoder = make_vocoder("wavenet-gaussian-kernel-2")
    given = material(vocoder, 2)
    with caplog.at_level(logging.WARNING):
        made = ENGINES["cpu"](vocoder.network, vocoder.law, **given)
    assert torch.equal(made, sample_cached(vocoder.network, vocoder.law, **given))
    assert "no such type), so the slower engine cached is used" in caplog.text
    whole = vocoder.float().synthesize(torch.zeros(1, vocoder.contract.n_mels, 3), engine="cached")
    pieces = list(vocoder.stream(torch.zeros(1, vocoder.contract.n_mels, 3), engine="cpu"))
    assert [torch.equal(piece, whole) for piece in pieces] == [True]


@pytest.mark.parametrize("upsampler", ["interpolate", "transposed"])
@pytest.mark.parametrize("frames", [1, 3])
def test_a_stream_is_the_whole(upsampler, frames):
    """The state goes from piece to piece, and each is made of the frames that are known then."""
    vocoder = make_vocoder("wavenet-mu_law-kernel-3-speakers").float()
    if upsampler == "transposed":
        vocoder.upsampler = TransposedUpsampler(
            vocoder.contract.n_mels, vocoder.config["cond_channels"], vocoder.contract.hop_length
        )
    mel = torch.randn(2, vocoder.contract.n_mels, 11, generator=torch.Generator().manual_seed(0))
    speaker = torch.tensor([1, 0])
    whole = vocoder.synthesize(mel, speaker=speaker)
    given = []

    def arriving():
        for frame in mel.split(1, dim=-1):
            given.append(frame)
            yield frame

    pieces = vocoder.stream(arriving(), speaker=speaker, frames=frames)
    first = next(pieces)
    assert len(given) == frames + vocoder.lookahead_frames
    torch.testing.assert_close(torch.cat([first, *pieces], dim=-1), whole, atol=1e-5, rtol=0)


def test_a_long_utterance_is_made_in_pieces(monkeypatch):
    vocoder = make_vocoder("wavenet-gaussian-kernel-2").float()
    mel = torch.randn(1, vocoder.contract.n_mels, 30, generator=torch.Generator().manual_seed(0))
    whole, done = vocoder.synthesize(mel), []
    rate = vocoder.contract.sample_rate / vocoder.contract.hop_length
    monkeypatch.setattr("audioflow.vocoders.wavenet.LONGEST_PIECE", 7 / rate)
    torch.testing.assert_close(vocoder.synthesize(mel, progress=done.append), whole, atol=1e-5, rtol=0)
    hop = vocoder.contract.hop_length
    assert done == [7 * hop] * 4 + [2 * hop]


def test_auto_is_the_compiled_loop_in_float32_only():
    vocoder = make_vocoder("wavenet-gaussian-kernel-2")
    assert vocoder.usable_engines == ("cached", "naive")
    bytes_too = ("cpu-int8",) if int8_works() else ()
    assert vocoder.float().usable_engines == ("cpu", "cpu-int16", *bytes_too, "cached", "naive")
