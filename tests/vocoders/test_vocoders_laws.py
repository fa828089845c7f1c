"""Every law of every vocoder, in float64, after every parameter and statistic was perturbed."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from laws.flow_laws import GARBAGE, close
from laws.models import GLOWS, VOCODERS, VocoderCase, contract, make_vocoder, perturb, set_loudness

from audioflow.errors import MelError
from audioflow.nets.weight_norm import fold_weight_norm
from audioflow.sampling.slots import SLOT_ENGINES
from audioflow.vocoders import VOCODERS as VOCODER_CLASSES
from audioflow.vocoders import build, flow
from audioflow.vocoders.flow import BF16

few = settings(max_examples=2, deadline=None, derandomize=True, database=None)
every_vocoder = pytest.mark.parametrize("name", VOCODERS)


def material(vocoder, batch, frames, seed=0):
    """Quiet ``wav [B, T]``, ``mel [B, M, F]`` and speaker numbers or ``None``."""
    generator = torch.Generator().manual_seed(seed)
    hop, bands = vocoder.contract.hop_length, vocoder.contract.n_mels
    wav = 0.1 * torch.randn(batch, frames * hop, generator=generator, dtype=torch.float64)
    mel = torch.randn(batch, bands, frames, generator=generator, dtype=torch.float64)
    speaker = torch.arange(batch) % 2 if vocoder.config["speakers"] else None
    return wav.clamp(-1, 1), mel, speaker


def padded(values, lengths, rate=1):
    """The batch with garbage after the end of each row; ``rate`` steps per length."""
    values = values.clone()
    for row, length in enumerate(lengths):
        values[row, ..., length * rate :] = GARBAGE
    return values


def row_of(speaker, row):
    return None if speaker is None else speaker[row : row + 1]


@every_vocoder
@few
@given(seed=st.integers(0, 2**31), lengths=st.lists(st.integers(1, 5), min_size=1, max_size=3))
def test_a_padded_batch_is_scored_like_single_utterances(name, seed, lengths):
    vocoder = make_vocoder(name, seed)
    wav, mel, speaker = material(vocoder, len(lengths), max(lengths) + 1, seed)
    hop = vocoder.contract.hop_length
    together = vocoder.log_prob(padded(wav, lengths, hop), padded(mel, lengths), torch.tensor(lengths), speaker)
    for row, length in enumerate(lengths):
        alone = vocoder.log_prob(
            wav[row : row + 1, : length * hop], mel[row : row + 1, :, :length], speaker=row_of(speaker, row)
        )
        close(together[row : row + 1], alone)


@pytest.mark.parametrize("name", [name for name, case in VOCODERS.items() if case.vocoder != "wavenet"])
@pytest.mark.parametrize("together", [1, 24])
def test_a_few_utterances_at_a_time_sound_like_all_together(name, together, monkeypatch):
    vocoder = make_vocoder(name)
    _, mel, speaker = material(vocoder, 5, 5)
    lengths, made = torch.tensor([3, 5, 1, 2, 5]), []
    whole = vocoder.synthesize(padded(mel, lengths), lengths, seed=3, speaker=speaker)
    make = vocoder._make

    def counted(noise, *rest):
        made.append(len(noise))
        return make(noise, *rest)

    monkeypatch.setattr(flow, "TOGETHER", together)
    monkeypatch.setattr(vocoder, "_make", counted)
    close(vocoder.synthesize(padded(mel, lengths), lengths, seed=3, speaker=speaker), whole)
    close(vocoder.synthesize(mel, seed=3, speaker=speaker)[1::3], whole[1::3])
    assert sum(made) == 10 and (max(made) == 5) == (vocoder.engines[0] in SLOT_ENGINES)


@every_vocoder
@few
@given(seed=st.integers(0, 2**31), lengths=st.lists(st.integers(1, 5), min_size=1, max_size=3))
def test_a_padded_batch_sounds_like_single_utterances(name, seed, lengths):
    vocoder = make_vocoder(name, seed)
    _, mel, speaker = material(vocoder, len(lengths), max(lengths) + 1, seed)
    hop = vocoder.contract.hop_length
    seeds = [seed + 10 * row for row in range(len(lengths))]
    together = vocoder.synthesize(padded(mel, lengths), torch.tensor(lengths), seed=seeds, speaker=speaker)
    assert together.shape == (len(lengths), mel.shape[-1] * hop)
    for row, length in enumerate(lengths):
        alone = vocoder.synthesize(mel[row : row + 1, :, :length], seed=seeds[row], speaker=row_of(speaker, row))
        close(together[row : row + 1, : length * hop], alone)
        assert not together[row, length * hop :].any()


@every_vocoder
def test_a_seed_is_one_audio_and_seeds_count_up(name):
    vocoder = make_vocoder(name)
    _, mel, speaker = material(vocoder, 2, 3)
    wav = vocoder.synthesize(mel, seed=4, speaker=speaker)
    assert wav.dtype == mel.dtype
    assert wav.abs().max() <= 1
    assert torch.equal(wav, vocoder.synthesize(mel, seed=4, speaker=speaker))
    assert torch.equal(wav, vocoder.synthesize(mel, seed=[4, 5], speaker=speaker))
    assert not torch.equal(wav, vocoder.synthesize(mel, seed=6, speaker=speaker))
    cold = [vocoder.synthesize(mel, temperature=0.0, seed=seed, speaker=speaker) for seed in (1, 2)]
    assert torch.equal(*cold)


@every_vocoder
def test_every_engine_sounds_the_same(name):
    vocoder = make_vocoder(name)
    _, mel, speaker = material(vocoder, 2, 4)
    auto = vocoder.synthesize(mel, torch.tensor([4, 2]), speaker=speaker)
    for engine in vocoder.usable_engines:
        close(vocoder.synthesize(mel, torch.tensor([4, 2]), engine=engine, speaker=speaker), auto)


@pytest.mark.parametrize(
    "name", [name for name, case in VOCODERS.items() if BF16 in VOCODER_CLASSES[case.vocoder].engines]
)
def test_bfloat16_sounds_nearly_the_same(name):
    vocoder = make_vocoder(name, spread=0.05).float()
    _, mel, speaker = material(vocoder, 2, 4)
    exact, rough = (vocoder.synthesize(mel.float(), engine=e, speaker=speaker) for e in ("parallel", BF16))
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).abs().mean() < 0.03 * exact.abs().mean()


@pytest.mark.parametrize("hop", [1, 2, 3, 5, 7, 13, 16])
@pytest.mark.parametrize("kind", ["wavenet-gaussian-kernel-2", "glow", "nice", "realnvp", "flowavenet"])
def test_any_hop_gives_hop_samples_per_frame(kind, hop):
    case = VOCODERS[kind]
    vocoder = perturb(build(case.vocoder, contract(hop), case.config))
    for frames in (1, 2, 5):
        wav, lengths = vocoder(torch.randn(2, 3, frames))
        assert wav.shape == (2, frames * hop)
        assert lengths.tolist() == [frames * hop] * 2
        assert torch.isfinite(vocoder.log_prob(wav, torch.randn(2, 3, frames))).all()


@pytest.mark.parametrize("name", [name for name in VOCODERS if "speakers" in name])
def test_speakers_differ_and_the_first_is_the_default(name):
    vocoder = make_vocoder(name)
    wav, mel, _ = material(vocoder, 1, 3)
    first, second = torch.tensor([0]), torch.tensor([1])
    assert torch.equal(vocoder.log_prob(wav, mel), vocoder.log_prob(wav, mel, speaker=first))
    assert not torch.equal(vocoder.log_prob(wav, mel, speaker=first), vocoder.log_prob(wav, mel, speaker=second))
    assert not torch.equal(vocoder.synthesize(mel, speaker=first), vocoder.synthesize(mel, speaker=second))


@every_vocoder
def test_scoring_sees_mel_and_has_a_gradient_everywhere(name):
    vocoder = make_vocoder(name)
    wav, mel, speaker = material(vocoder, 2, 4)
    vocoder.log_prob(wav, mel.requires_grad_(), speaker=speaker).sum().backward()
    assert mel.grad.abs().sum(dim=(0, 1)).min() > 0
    silent = [key for key, value in vocoder.named_parameters() if value.grad is None or not value.grad.any()]
    assert not silent, "weights that nothing depends on"


@every_vocoder
def test_the_state_dict_and_folding_change_nothing(name):
    vocoder, other = make_vocoder(name, 1), make_vocoder(name, 2)
    wav, mel, speaker = material(vocoder, 2, 3)
    before = vocoder.log_prob(wav, mel, speaker=speaker)
    other.load_state_dict(vocoder.state_dict())
    assert torch.equal(other.log_prob(wav, mel, speaker=speaker), before)
    sound = other.synthesize(mel, speaker=speaker)
    assert other.fold_weight_norm() is other
    assert not [key for key in other.state_dict() if "parametrizations" in key]
    assert fold_weight_norm(other) == 0
    close(other.log_prob(wav, mel, speaker=speaker), before)
    close(other.synthesize(mel, speaker=speaker), sound)


@every_vocoder
def test_autocast_leaves_likelihood_and_audio_in_float32(name):
    vocoder = make_vocoder(name, spread=0.1).float()
    wav, mel, speaker = material(vocoder, 2, 4)
    wav, mel = wav.float(), mel.float()
    exact = vocoder.log_prob(wav, mel, speaker=speaker)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = vocoder.log_prob(wav, mel, speaker=speaker)
        sound = vocoder.synthesize(mel, speaker=speaker)
    assert rough.dtype == sound.dtype == torch.float32
    assert torch.isfinite(sound).all()
    torch.testing.assert_close(rough, exact, atol=0.1 * wav.shape[1], rtol=0.05)


@pytest.mark.parametrize("name", [name for name in VOCODERS if "gaussian-" in name])
def test_a_gaussian_wavenet_is_a_flow(name):
    vocoder = make_vocoder(name, spread=0.05)
    wav, mel, speaker = material(vocoder, 2, 4)
    flow = vocoder.bijection(vocoder.level(mel), speaker)
    assert flow.sequential == "to_data"
    cond = vocoder.upsampler(vocoder.normalizer(mel))
    z, log_det = flow.to_noise(wav[:, None], cond)
    log_base = -0.5 * z.square().sum(dim=(1, 2)) - 0.5 * math.log(2 * math.pi) * wav.shape[1]
    close(vocoder.log_prob(wav, mel, speaker=speaker), log_base + log_det)

    noise = 0.3 * torch.randn(2, 1, wav.shape[1], dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    sampled = vocoder._generate(noise, vocoder._given(mel, None, speaker), 1.0, "cached", None).clone()
    assert sampled.abs().max() < 1, "a clamped sample is no map of its noise"
    close(flow.to_noise(sampled, cond)[0], noise)
    close(flow.to_data(noise, cond)[0], sampled)


def test_other_heads_are_no_flows():
    with pytest.raises(TypeError, match="mu_law"):
        make_vocoder("wavenet-mu_law-kernel-2").bijection()


def test_likelihood_counts_whole_groups_where_squeeze_does_not_divide():
    vocoder = make_vocoder("glow-hop-5")
    wav, mel, _ = material(vocoder, 1, 3)  # 15 samples, groups of 4: the last three belong to none
    other = wav.clone()
    other[:, 12:] += 0.1
    assert torch.equal(vocoder.log_prob(wav, mel), vocoder.log_prob(other, mel))
    other[:, 11] += 0.1
    assert not torch.equal(vocoder.log_prob(wav, mel), vocoder.log_prob(other, mel))


_TINY = {"layers": 2, "cycle": 2, "residual_channels": 3, "skip_channels": 8, "cond_channels": 2}


@pytest.mark.parametrize(
    ("case", "frames", "reach", "points"),
    [
        (VocoderCase("wavenet", {**_TINY, "head": "gaussian"}), 1, 12.0, 4001),
        (VocoderCase("wavenet", {**_TINY, "head": "gaussian"}), 2, 6.0, 201),
        (VocoderCase("wavenet", {**_TINY, "head": "gaussian_mixture", "components": 3}), 1, 12.0, 4001),
        (VocoderCase("wavenet", {**_TINY, "head": "mu_law", "classes": 2}), 2, 1.0, 200),
        (GLOWS["glow-hop-1"], 2, 6.0, 201),
    ],
    ids=["gaussian-1", "gaussian-2", "mixture-1", "mu-law-2", "glow-2"],
)
def test_the_likelihood_is_a_density_over_amplitude(case, frames, reach, points):
    torch.manual_seed(0)
    vocoder = perturb(build(case.vocoder, contract(1, 1), case.config)).double().eval()
    set_loudness(vocoder, 0.5)  # wide enough for the grid
    cell = 2 * reach / points
    line = -reach + cell * (torch.arange(points, dtype=torch.float64) + 0.5)
    grid = torch.cartesian_prod(*[line] * frames).reshape(-1, frames)
    with torch.no_grad():
        log_prob = vocoder.log_prob(grid, torch.full((len(grid), 1, frames), 0.4, dtype=torch.float64))
    assert (log_prob.exp().sum() * cell**frames).item() == pytest.approx(1, abs=2e-3)


@every_vocoder
@pytest.mark.parametrize(("frames", "arriving"), [(1, 1), (3, 2), (None, 7)])
def test_a_stream_is_the_whole(name, frames, arriving):
    """Whatever the size of the pieces that come out, and of those that come in."""
    vocoder = make_vocoder(name)
    _, mel, speaker = material(vocoder, 2, 9)
    whole = vocoder.synthesize(mel, seed=3, speaker=speaker)
    pieces = list(vocoder.stream(mel.split(arriving, dim=-1), seed=3, speaker=speaker, frames=frames))
    close(torch.cat(pieces, dim=-1), whole)


@pytest.mark.parametrize("name", [name for name in VOCODERS if "glow" in name or "student" in name or name == "iaf"])
def test_a_piece_comes_as_soon_as_its_frames_are_there(name):
    vocoder = make_vocoder(name)
    hop, ahead = vocoder.contract.hop_length, vocoder.lookahead_frames
    size = 2 * math.lcm(hop, vocoder.group) // hop
    _, mel, speaker = material(vocoder, 1, ahead + 2 * size)
    given = []

    def arriving():
        for frame in mel.split(1, dim=-1):
            given.append(frame)
            yield frame

    first = next(vocoder.stream(arriving(), speaker=speaker, frames=size))
    assert len(given) == ahead + size
    close(first, vocoder.synthesize(mel, speaker=speaker)[:, : size * hop])


def test_long_batches_are_made_in_pieces(monkeypatch):
    """Utterances of unequal length, in pieces that some of them do not reach."""
    vocoder = make_vocoder("student")
    _, mel, _ = material(vocoder, 3, 40)
    lengths = torch.tensor([40, 3, 21])
    whole = vocoder.synthesize(mel, lengths, seed=1)
    monkeypatch.setattr(type(vocoder), "piece_frames", 5)
    made, piece = [], vocoder._piece
    monkeypatch.setattr(vocoder, "_piece", lambda *given: made.append(given[-2:]) or piece(*given))
    close(vocoder.synthesize(mel, lengths, seed=1), whole)
    assert len(made) == 8
    assert made[0] == (0, 5 + vocoder.lookahead_frames)
    assert made[-1] == (35 - vocoder.context_frames, 40)


def test_a_model_that_sees_too_far_is_no_stream(monkeypatch):
    vocoder = make_vocoder("glow-hop-5")
    _, mel, _ = material(vocoder, 1, 30)
    assert vocoder.lookahead_frames == vocoder.context_frames
    assert len(list(vocoder.stream(mel, frames=8))) > 1
    frame = vocoder.contract.hop_length / vocoder.contract.sample_rate
    monkeypatch.setattr("audioflow.vocoders.flow.LONGEST_PIECE", frame * (vocoder.context_frames - 1))
    assert vocoder.lookahead_frames is None
    assert len(list(vocoder.stream(mel, frames=8))) == 1


def test_a_stream_refuses_what_does_not_fit():
    vocoder = make_vocoder("student")
    _, mel, _ = material(vocoder, 2, 40)
    with pytest.raises(MelError, match="no mel"):
        list(vocoder.stream([]))
    with pytest.raises(MelError, match="1 utterances, the first one had 2"):
        list(vocoder.stream([mel, mel[:1]]))
    with pytest.raises(MelError, match="not finite"):
        list(vocoder.stream([mel, mel / 0]))
    with pytest.raises(ValueError, match="at least one"):
        list(vocoder.stream(mel, frames=0))


@pytest.mark.parametrize("name", [name for name, case in VOCODERS.items() if case.vocoder != "wavenet"])
def test_pieces_with_the_stated_context_are_the_whole(name):
    vocoder = make_vocoder(name)
    hop = vocoder.contract.hop_length
    whole_groups = math.lcm(hop, vocoder.group) // hop  # pieces begin where a group begins
    context = math.ceil(vocoder.context_frames / whole_groups) * whole_groups
    frames = 2 * context + whole_groups + 5
    _, mel, speaker = material(vocoder, 1, frames)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 1, vocoder._noise_steps(frames), dtype=torch.float64, generator=generator)

    @torch.no_grad()
    def generate(start, stop):
        piece = noise[..., start * hop :][..., : vocoder._noise_steps(stop - start)]
        given = vocoder._given(mel[..., start:stop], None, speaker)
        return vocoder._generate(piece, given, 1.0, vocoder.engines[0], None)

    first, last = context + whole_groups, context + whole_groups + 3
    wanted = generate(0, frames)[..., first * hop : last * hop]
    stop = last + vocoder.context_frames
    piece = generate(first - context, stop)[..., context * hop :][..., : (last - first) * hop]
    close(piece, wanted, 1e-9)
    assert not torch.allclose(generate(first, last), wanted), "context does not matter: nothing is shown"
