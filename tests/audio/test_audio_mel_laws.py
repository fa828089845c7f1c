"""What holds for every front-end: length, batches, gradients, precision."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audioflow.audio import PRESETS, MelContract, MelFrontEnd, compress, decompress, frames_of, read_audio
from audioflow.errors import AudioError

SPEECH = sorted((Path(__file__).parents[2] / "data" / "speech").glob("*.flac"))
ALL_PRESETS = pytest.mark.parametrize("name", list(PRESETS))


def small_contract(**changes):
    fields = {
        "sample_rate": 8000,
        "n_fft": 64,
        "hop_length": 16,
        "win_length": 48,
        "f_min": 0,
        "f_max": 4000,
        "n_mels": 8,
    }
    return MelContract(**{**fields, **changes})


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) - 0.5


@settings(max_examples=60, deadline=None)
@given(
    samples=st.integers(1, 400),
    hop=st.integers(1, 48),
    framing=st.sampled_from(["centered", "half_hop"]),
    pad_mode=st.sampled_from(["reflect", "zeros"]),
)
def test_frames_are_samples_over_hop_rounded_up(samples, hop, framing, pad_mode):
    contract = small_contract(hop_length=hop, framing=framing, pad_mode=pad_mode)
    mel = MelFrontEnd(contract)(noise(2, samples))
    assert mel.shape == (2, 8, frames_of(samples, hop))
    assert (frames_of(samples, hop) - 1) * hop < samples <= frames_of(samples, hop) * hop
    assert torch.isfinite(mel).all()


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 300), min_size=1, max_size=4),
    hop=st.integers(1, 48),
    framing=st.sampled_from(["centered", "half_hop"]),
    pad_mode=st.sampled_from(["reflect", "zeros"]),
    junk=st.floats(-1, 1),
)
def test_a_padded_batch_gives_what_singles_give(lengths, hop, framing, pad_mode, junk):
    front_end = MelFrontEnd(small_contract(hop_length=hop, framing=framing, pad_mode=pad_mode))
    wavs = [noise(length, seed=seed) for seed, length in enumerate(lengths)]
    batch = torch.full((len(wavs), max(lengths) + 7), junk)
    for row, wav in zip(batch, wavs, strict=True):
        row[: len(wav)] = wav
    mels = front_end(batch, torch.tensor(lengths))
    for mel, wav in zip(mels, wavs, strict=True):
        frames = frames_of(len(wav), hop)
        torch.testing.assert_close(mel[:, :frames], front_end(wav[None])[0], atol=1e-6, rtol=0)
        assert (mel[:, frames:] == 0).all()


@ALL_PRESETS
def test_a_padded_batch_of_speech_gives_what_singles_give(name):
    contract = PRESETS[name]
    front_end = MelFrontEnd(contract)
    wavs = [read_audio(path, contract.sample_rate)[0][: 9001 + 4321 * i] for i, path in enumerate(SPEECH[:3])]
    batch = torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True)
    mels = front_end(batch, torch.tensor([len(wav) for wav in wavs]))
    for mel, wav in zip(mels, wavs, strict=True):
        single = front_end(wav[None])[0]
        torch.testing.assert_close(mel[:, : single.shape[1]], single, atol=1e-5, rtol=0)


@ALL_PRESETS
def test_gradients_reach_the_audio_also_in_silence(name):
    front_end = MelFrontEnd(PRESETS[name])
    wav = noise(1, 3000)
    wav[:, 1000:] = 0
    wav.requires_grad_()
    front_end(wav).sum().backward()
    assert torch.isfinite(wav.grad).all()
    assert wav.grad[:, :1000].abs().min() > 0


def test_gradients_are_the_numerical_ones():
    front_end = MelFrontEnd(small_contract(n_fft=16, win_length=16, hop_length=8, n_mels=3, framing="half_hop"))
    wav = noise(2, 21, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: front_end(x, torch.tensor([21, 13])), (wav,))


def test_precision_is_kept_and_autocast_does_not_lower_it():
    front_end = MelFrontEnd(PRESETS["speech-16k"])
    wav = noise(1, 4000)
    expected = front_end(wav.double())
    assert expected.dtype == torch.float64
    assert front_end(wav.bfloat16()).dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = front_end(wav)
    assert under_autocast.dtype == torch.float32
    assert (under_autocast - expected).abs().max() < 1e-5


@pytest.mark.parametrize("samples", [1, 2, 3, 300])
@ALL_PRESETS
def test_recordings_shorter_than_the_padding_work(name, samples):
    mel = MelFrontEnd(PRESETS[name])(0.5 * torch.ones(1, samples))
    assert mel.shape[-1] == frames_of(samples, PRESETS[name].hop_length)
    # Mirrored again and again, a constant stays one: its energy is in the lowest band, as for a long constant.
    long = MelFrontEnd(PRESETS[name])(0.5 * torch.ones(1, 10_000))
    torch.testing.assert_close(mel[..., 0], long[..., 15], atol=1e-3, rtol=0)


@ALL_PRESETS
def test_decompress_undoes_compress_above_the_floor(name):
    linear = torch.logspace(-3, 1, 50, dtype=torch.float64)
    torch.testing.assert_close(decompress(compress(linear, PRESETS[name]), PRESETS[name]), linear)


@pytest.mark.parametrize("law", ["clamp", "add"])
def test_floor_laws_and_silence(law):
    contract = small_contract(floor=1e-2, floor_law=law, gain=3.0, offset=0.5)
    assert MelFrontEnd(contract)(torch.zeros(1, 100)).unique().item() == pytest.approx(contract.silence, abs=1e-5)
    linear = torch.tensor([0.0, 0.02, 4.0], dtype=torch.float64)
    back = decompress(compress(linear, contract), contract)
    assert back.tolist() == pytest.approx([0.01 if law == "clamp" else 0.0, 0.02, 4.0])


def test_the_ceiling_is_as_loud_as_it_gets():
    contract = PRESETS["clarinet-22k"]
    linear = torch.tensor([0.0, 1e-4, 1.0, 10.0, 1e3], dtype=torch.float64)
    mel = compress(linear, contract)
    assert mel.tolist() == pytest.approx([0, 0, 0.8, 1, 1])
    assert decompress(mel, contract).tolist() == pytest.approx([1e-4, 1e-4, 1, 10, 10])
    assert contract.silence == pytest.approx(0)


@pytest.mark.parametrize(
    ("wav", "lengths", "words"),
    [
        (torch.zeros(100), None, "[B, T]"),
        (torch.zeros(1, 0), None, "no samples"),
        (torch.zeros(2, 10), torch.tensor([0, 5]), "0..5"),
        (torch.zeros(2, 10), torch.tensor([10, 11]), "10..11"),
    ],
)
def test_unfit_batches_are_refused(wav, lengths, words):
    with pytest.raises(AudioError) as error:
        MelFrontEnd(small_contract())(wav, lengths)
    assert words in str(error.value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@ALL_PRESETS
def test_cuda_gives_what_the_cpu_gives(name):
    front_end, wav = MelFrontEnd(PRESETS[name]), noise(2, 9000)
    expected = front_end(wav, torch.tensor([9000, 5001]))
    found = front_end.cuda()(wav.cuda(), torch.tensor([9000, 5001])).cpu()
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_nothing_of_it_lies_in_the_weights():
    assert MelFrontEnd(small_contract()).state_dict() == {}
