"""Audio whose mel is the given one: how near it comes, and that pieces, batches and wholes are the same."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audioflow.audio import PRESETS, MelContract, MelFrontEnd, decompress, mel_filterbank, read_audio
from audioflow.audio.band_levels import LARGEST_STEP
from audioflow.audio.envelope import band_magnitudes, interpolation_over_bins
from audioflow.audio.matching import LEAST_OVERLAP, MOMENTUM, MelMatcher
from audioflow.errors import AudioError, MelError

SPEECH = sorted((Path(__file__).parents[2] / "data" / "speech").glob("*.flac"))
ALL_PRESETS = pytest.mark.parametrize("name", list(PRESETS))
SMALL = {"sample_rate": 8000, "n_fft": 32, "hop_length": 5, "win_length": 20, "f_min": 0, "f_max": 3000, "n_mels": 4}


def small_contract(**changes):
    return MelContract(**{**SMALL, **changes})


@st.composite
def contracts(draw):
    """Every framing and padding; windows, odd and even, of one hop or several, shorter than the transform."""
    win_length = draw(st.integers(2, 33))
    return small_contract(
        n_fft=draw(st.integers(max(16, win_length), 34)),
        win_length=win_length,
        hop_length=draw(st.integers(1, win_length)),
        framing=draw(st.sampled_from(["centered", "half_hop"])),
        pad_mode=draw(st.sampled_from(["reflect", "zeros"])),
        power=draw(st.sampled_from([1, 2])),
        floor_law=draw(st.sampled_from(["clamp", "add"])),
    )


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def material(contract, frames, batch=1, dtype=torch.float64):
    """Loud and quiet noise, and a mel that is not its own."""
    wav = 0.1 * noise(batch, frames * contract.hop_length, seed=1, dtype=dtype)
    return wav, torch.log(0.3 * noise(batch, contract.n_mels, frames, seed=2, dtype=dtype).abs() + 1e-3)


def plain(wav, mel, contract, rounds, momentum=MOMENTUM):
    """The equations for one whole utterance, with the front-end's own framing and no thought for speed."""
    start_of = MelFrontEnd(contract)
    window = torch.hann_window(contract.win_length, periodic=True, dtype=torch.float64)
    filters = mel_filterbank(contract)
    filters = filters / filters.sum(1, keepdim=True).clamp(min=1e-12)
    floor, ceiling = limits(contract)
    left, right = (contract.n_fft - contract.win_length) // 2, contract.win_length
    reach = (contract.n_fft - (contract.hop_length if contract.framing == "half_hop" else 0)) // 2 - left
    samples, done = wav.shape[1], wav
    momentum = momentum if contract.ceiling is None else 0.0  # loudness beyond it would never come back
    for turn in range(rounds):
        # (the front-end frames n_fft samples, of which the window leaves the middle)
        heard = start_of._extended(wav, None).unfold(1, contract.n_fft, contract.hop_length)[..., left : left + right]
        spectrum = torch.fft.rfft(heard * window, contract.n_fft)
        mean = ((spectrum.abs().square() + contract.magnitude_epsilon) ** (contract.power / 2)) @ filters.T
        own = (mean ** (1 / contract.power)).clamp(floor, ceiling)
        goal = band_magnitudes(mel, contract).transpose(1, 2).clamp(floor, ceiling)
        gain = (goal.log() - own.log()).clamp(-LARGEST_STEP, LARGEST_STEP) @ interpolation_over_bins(contract).T
        change = torch.fft.irfft(spectrum * torch.expm1(gain), contract.n_fft)[..., :right] * window
        added, overlap = torch.zeros(2, wav.shape[0], samples + 2 * contract.n_fft, dtype=torch.float64)
        for k in range(change.shape[1]):
            at = k * contract.hop_length
            added[:, at : at + right] += change[:, k]
            overlap[:, at : at + right] += window.square()
        before, done = done, wav + (added / overlap.clamp(min=LEAST_OVERLAP))[:, reach : reach + samples]
        wav = done + momentum * (done - before) if turn else done
    return done


def limits(contract):
    """The mean magnitudes in each band between which a mel of the contract, and audio in [-1, 1], can lie."""
    sums = mel_filterbank(contract).sum(1).clamp(min=1e-12)
    low, high = contract.silence, contract.silence + 1e9 if contract.ceiling is None else contract.ceiling
    mels = torch.tensor([[low], [high]], dtype=torch.float64)
    floor, ceiling = (decompress(mels, contract) / sums) ** (1 / contract.power)
    return floor.clamp(min=1e-7), ceiling.clamp(max=contract.win_length / 2)


def streamed(matcher, wav, mel, wav_sizes, mel_sizes, lengths=None):
    """The audio that comes out of a stream of pieces, and after how many samples each piece of it came."""
    stream, out, heard, seen, turn = matcher.stream(len(wav), lengths), [], 0, 0, 0
    while heard < wav.shape[1] or seen < mel.shape[2]:
        n, m = wav_sizes[turn % len(wav_sizes)], mel_sizes[turn % len(mel_sizes)]
        out.append(stream.push(wav[:, heard : heard + n], mel[..., seen : seen + m] if m else None))
        heard, seen, turn = heard + n, seen + m, turn + 1
    return torch.cat([*out, stream.finish()], dim=1)


@settings(max_examples=60, deadline=None)
@given(
    contract=contracts(),
    frames=st.integers(1, 40),
    rounds=st.integers(0, 3),
    momentum=st.sampled_from([0.0, MOMENTUM, 0.99]),
)
def test_it_does_what_the_equations_say(contract, frames, rounds, momentum):
    wav, mel = material(contract, frames, batch=2)
    found = MelMatcher(contract, rounds, momentum)(wav, mel)
    assert found.shape == wav.shape
    torch.testing.assert_close(found, plain(wav, mel, contract, rounds, momentum), rtol=1e-9, atol=1e-9)


@ALL_PRESETS
def test_it_does_so_for_every_preset(name):
    contract = PRESETS[name]
    wav, mel = material(contract, 13)
    mel = MelFrontEnd(contract)(0.3 * wav.flip(1))
    torch.testing.assert_close(MelMatcher(contract, 2)(wav, mel), plain(wav, mel, contract, 2), rtol=1e-9, atol=1e-9)


@ALL_PRESETS
def test_audio_that_has_the_mel_already_stays(name):
    contract = PRESETS[name]
    wav, _ = read_audio(SPEECH[0], contract.sample_rate)
    wav = wav[None, contract.sample_rate :][:, : 50 * contract.hop_length]
    torch.testing.assert_close(
        MelMatcher(contract, 8)(wav, MelFrontEnd(contract)(wav)), wav, rtol=0, atol=1e-6
    )  # the mel is float32


@pytest.mark.parametrize("name", ["speech-16k", "hifigan-22k", "clarinet-22k", "espnet-24k"])
def test_every_round_brings_the_mel_of_speech_nearer(name):
    contract = PRESETS[name]
    wav, _ = read_audio(SPEECH[1], contract.sample_rate)
    wav = wav[None, : 100 * contract.hop_length]
    front_end = MelFrontEnd(contract)
    mel = front_end(wav)
    start = 0.05 * noise(*wav.shape, dtype=torch.float32)
    distances = [float((front_end(MelMatcher(contract, rounds)(start, mel)) - mel).abs().mean()) for rounds in range(7)]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.2 * distances[0]


def test_momentum_comes_nearer_in_as_many_rounds():
    contract = PRESETS["speech-16k"]
    wav, _ = read_audio(SPEECH[1], contract.sample_rate)
    wav = wav[None, : 100 * contract.hop_length]
    front_end = MelFrontEnd(contract)
    mel, start = front_end(wav), wav * (1 + noise(*wav.shape, dtype=torch.float32))

    def left(rounds, momentum):
        return float((front_end(MelMatcher(contract, rounds, momentum)(start, mel)) - mel).abs().mean())

    for rounds in (8, 16):
        assert left(rounds, MOMENTUM) < 0.9 * left(rounds, 0.0)


def test_more_bands_than_bins_leave_the_others_to_work():
    contract = small_contract(n_mels=24)
    wav, _ = material(contract, 20)
    front_end = MelFrontEnd(contract)
    goal = front_end(0.3 * wav.flip(1))
    before, after = (front_end(x) - goal for x in (wav, MelMatcher(contract, 8)(wav, goal)))
    assert torch.isfinite(after).all()
    assert after.abs().mean() < 0.5 * before.abs().mean()


@settings(max_examples=80, deadline=None)
@given(
    contract=contracts(),
    frames=st.integers(1, 60),
    rounds=st.integers(0, 4),
    wav_sizes=st.lists(st.integers(0, 90), min_size=1, max_size=5).filter(any),
    mel_sizes=st.lists(st.integers(0, 20), min_size=1, max_size=5).filter(any),
)
def test_pieces_give_what_the_whole_gives(contract, frames, rounds, wav_sizes, mel_sizes):
    wav, mel = material(contract, frames, batch=2)
    matcher = MelMatcher(contract, rounds)
    found = streamed(matcher, wav, mel, wav_sizes, mel_sizes)
    torch.testing.assert_close(found, matcher(wav, mel), rtol=1e-9, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    contract=contracts(),
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    size=st.integers(1, 70),
    junk=st.sampled_from([0.7, float("nan")]),
)
def test_a_padded_batch_gives_what_singles_give(contract, lengths, size, junk):
    wav, mel = material(contract, max(lengths) + 2, batch=len(lengths))
    matcher, hop = MelMatcher(contract, 3), contract.hop_length
    for row, frames in enumerate(lengths):
        wav[row, frames * hop :] = junk
        mel[row, :, frames:] = junk
    found = matcher(wav, mel, torch.tensor(lengths))
    for row, frames in enumerate(lengths):
        single = matcher(wav[row : row + 1, : frames * hop], mel[row : row + 1, :, :frames])
        torch.testing.assert_close(found[row : row + 1, : frames * hop], single, rtol=1e-9, atol=1e-9)
        assert not found[row, frames * hop :].any()
    pieces = streamed(matcher, wav, mel, [size], [3], torch.tensor(lengths))
    torch.testing.assert_close(pieces, found, rtol=1e-9, atol=1e-9)


@settings(max_examples=80, deadline=None)
@given(contract=contracts(), rounds=st.integers(0, 4), size=st.integers(1, 40))
def test_a_stream_waits_for_no_more_than_its_lookahead(contract, rounds, size):
    matcher, hop = MelMatcher(contract, rounds), contract.hop_length
    frames = 2 * matcher.lookahead_frames + 10 + contract.win_length // hop
    wav, mel = material(contract, frames)
    for all_of_the_mel in (True, False):
        stream = matcher.stream(1)
        first = stream.push(wav[:, :0] if all_of_the_mel else wav, mel if all_of_the_mel else None)
        given_out = first.shape[1]
        for at in range(0, frames, size):
            n, after = min(size, frames - at), min(at + size, frames)
            if all_of_the_mel:
                given_out += stream.push(wav[:, at * hop : after * hop]).shape[1]
                assert given_out >= after * hop - matcher.lookahead_samples
            else:
                given_out += stream.push(wav[:, :0], mel[..., at : at + n]).shape[1]
                # (the last frames' windows reach beyond what there is, and the stream does not know that it ends)
                whole = min(after, (wav.shape[1] - contract.win_length) // hop)
                assert given_out >= (whole - matcher.lookahead_frames) * hop


def test_the_lookahead_is_that_of_whole_windows():
    # 600 samples for each round but the first, which needs the window of a frame that begins at the sample.
    matcher = MelMatcher(PRESETS["speech-16k"], 8)
    assert matcher.lookahead_samples == 7 * 600 + 799
    assert MelMatcher(PRESETS["speech-16k"], 0).lookahead_samples == 0


def test_a_stream_keeps_no_more_than_it_needs():
    contract = PRESETS["speech-16k"]
    stream = MelMatcher(contract, 4).stream(1)
    kept = []
    for turn in range(40):
        stream.push(*material(contract, 4, dtype=torch.float32))
        held = [stream._goals.values] + [x for one in stream._rounds for x in (one._wav, one._pending, one._before)]
        kept.append(sum(x.untyped_storage().nbytes() for x in held))
        assert stream._goals.values.shape[1] < 40, turn
    assert kept[-1] == kept[-10]


@pytest.mark.parametrize("name", ["speech-16k", "espnet-24k", "clarinet-22k", "hifigan-22k"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("value", [-1e30, -30.0, 0.0, 10.0, 1e30])
@pytest.mark.parametrize("amplitude", [0.0, 1e-12, 1.0, 1e38])
def test_whatever_is_finite_gives_what_is_finite(name, dtype, value, amplitude):
    contract = PRESETS[name]
    wav = (amplitude * noise(1, 6 * contract.hop_length).clamp(-1, 1)).to(dtype).requires_grad_()
    mel = torch.full((1, contract.n_mels, 6), value, dtype=torch.float32)
    found = MelMatcher(contract, 8)(wav, mel)
    assert found.dtype == dtype
    assert torch.isfinite(found).all()
    assert amplitude or not found.any()
    found.float().clamp(-1, 1).sum().backward()
    assert torch.isfinite(wav.grad).all()


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("framing", ["centered", "half_hop"])
def test_gradients_are_right(power, framing):
    contract = small_contract(n_fft=16, win_length=12, power=power, framing=framing)
    wav, mel = material(contract, 7, batch=2)
    matcher = MelMatcher(contract, 2)
    lengths = torch.tensor([7, 4])
    assert torch.autograd.gradcheck(lambda x, m: matcher(x, m, lengths), (wav.requires_grad_(), mel.requires_grad_()))


def test_what_was_made_in_inference_serves_training():
    contract = small_contract()
    wav, mel = material(contract, 7)
    matcher = MelMatcher(contract, 2)
    with torch.inference_mode():
        before = matcher(wav, mel)
    after = matcher(wav.requires_grad_(), mel)
    after.sum().backward()
    assert torch.equal(after, before)
    assert torch.isfinite(wav.grad).all()


def test_autocast_changes_nothing():
    contract = small_contract()
    wav, mel = material(contract, 7, dtype=torch.float32)
    matcher = MelMatcher(contract, 2)
    plainly = matcher(wav, mel)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(matcher(wav, mel), plainly)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same():
    contract = PRESETS["speech-16k"]
    wav, mel = material(contract, 50, batch=2, dtype=torch.float32)
    matcher, lengths = MelMatcher(contract, 8), torch.tensor([50, 31])
    found = matcher(wav.cuda(), mel.cuda(), lengths.cuda())
    torch.testing.assert_close(found.cpu(), matcher(wav, mel, lengths), rtol=1e-5, atol=1e-6)


def test_what_does_not_fit_is_refused():
    contract = small_contract()
    matcher = MelMatcher(contract, 1)
    wav, mel = material(contract, 4, batch=2)
    with pytest.raises(ValueError, match="give 0 or more"):
        MelMatcher(contract, -1)
    for momentum in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="does not settle; give 0 or more, and less than 1"):
            MelMatcher(contract, 1, momentum)
    with pytest.raises(AudioError, match="21 samples do not go with 4 frames; give 20"):
        matcher(torch.zeros(2, 21), mel)
    with pytest.raises(AudioError, match=r"shape \[20\]"):
        matcher(wav[0], mel)
    with pytest.raises(MelError, match=r"\[2, 4, F\] is needed"):
        matcher(wav, mel[:, :3])
    with pytest.raises(MelError, match=r"Lengths of 0\.\.4 frames"):
        matcher(wav, mel, torch.tensor([0, 4]))
    with pytest.raises(MelError, match="lengths for 1 utterances"):
        matcher(wav, mel, torch.tensor([4]))


def test_a_stream_says_when_its_end_does_not_fit():
    contract = small_contract()
    wav, mel = material(contract, 4)
    stream = MelMatcher(contract, 1).stream(1)
    with pytest.raises(ValueError, match="nothing in this stream"):
        stream.finish()
    stream.push(wav, mel[..., :3])
    with pytest.raises(AudioError, match="20 samples do not go with 3 frames"):
        stream.finish()
    stream.push(wav[:, :0], mel[..., 3:])
    stream.finish()
    with pytest.raises(ValueError, match="has been finished"):
        stream.push(wav)


def test_an_empty_stream_has_nothing():
    contract = small_contract()
    wav, mel = material(contract, 4)
    stream = MelMatcher(contract, 2).stream(1)
    assert stream.push(wav[:, :0], mel[..., :0]).shape == (1, 0)
    assert stream.finish().shape == (1, 0)
