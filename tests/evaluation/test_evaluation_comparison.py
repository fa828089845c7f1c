import json
import math

import pytest
import torch

from audioflow.audio import PRESETS, MelFrontEnd
from audioflow.errors import AudioError, MelError, OptionError
from audioflow.evaluation import baseline_rows
from audioflow.evaluation.comparison import compare, loudest_stretch
from audioflow.evaluation.likelihood import pooled, score_many
from audioflow.evaluation.metrics import distances
from audioflow.evaluation.opinion import has_distillmos
from audioflow.evaluation.results import COLUMNS, HEARING, MATCHED_NOTE, Row, formatted
from audioflow.vocoders import Glow, WaveNet

USUAL = [name for name in COLUMNS if name not in HEARING]


@pytest.fixture(scope="module")
def recordings(speech):
    return {"long": speech[:9000], "short": speech[9000:14_000]}


@pytest.fixture(scope="module")
def quiet(toy_class):
    return toy_class(log_scale=-6.0)


@pytest.fixture(scope="module")
def found(toy_class, quiet, recordings):
    return compare({"loud": toy_class(), "quiet": quiet}, recordings, seed=3, stretch_seconds=0.1, runs=1)


def row_of(found, label, engine="-"):
    return next(row for row in found.rows if (row.label, row.engine) == (label, engine))


def test_there_is_a_row_for_each_engine_and_baseline(found):
    assert [(row.label, row.engine) for row in found.rows] == [
        ("recording", "-"),
        ("loud", "parallel"),
        ("loud", "naive"),
        ("loud", "blocks"),
        ("loud", "parallel, matched 8"),
        ("quiet", "parallel"),
        ("quiet", "naive"),
        ("quiet", "blocks"),
        ("quiet", "parallel, matched 8"),
        ("Griffin-Lim", "-"),
        ("Griffin-Lim", "matched 8"),
        ("pulses", "matched 24"),
        ("WORLD", "-"),
        ("energy Gaussian", "-"),
    ]


def test_a_row_holds_what_its_model_says_of_the_recordings(found, quiet, recordings, contract):
    row = row_of(found, "quiet", "parallel")
    for name, wav in recordings.items():
        made = quiet.synthesize(quiet.mel(wav[None]), seed=3)[0, : len(wav)]
        assert torch.equal(row.audio[name], made)
    pairs = [distances(wav, row.audio[name], MelFrontEnd(contract)) for name, wav in recordings.items()]
    assert row.distances == pytest.approx({name: (pairs[0][name] + pairs[1][name]) / 2 for name in pairs[0]})
    assert row.likelihood == pooled(score_many(quiet, recordings.values(), seed=3))
    assert row.parameters == 2
    assert row.timing.samples == 9000 + 5000  # both are whole frames of 200


def test_the_naive_engine_makes_the_stretch_and_agrees(found):
    row = row_of(found, "loud", "naive")
    assert list(row.audio) == ["long"]
    assert row.audio["long"].shape == (1600,)
    assert row.timing.samples == 1600
    assert row.difference == 0.0
    assert row.distances == {}
    assert "0.10 s" in row.note
    assert row_of(found, "loud", "blocks").difference == 0.0
    assert row_of(found, "loud", "parallel").difference is None


def test_an_engine_that_disagrees_is_seen(toy_class, speech):
    class Wrong(toy_class):
        def synthesize(self, mel, engine="auto", **options):
            right = super().synthesize(mel, engine="parallel", **options)
            return right if engine == "parallel" else right + (0.25 if engine == "naive" else 0.5)

    found = compare({"wrong": Wrong()}, {"it": speech[:4000]}, runs=1)
    assert row_of(found, "wrong", "naive").difference == pytest.approx(0.25, abs=1e-6)
    assert row_of(found, "wrong", "blocks").difference == pytest.approx(0.5, abs=1e-6)
    stretch = Wrong().synthesize(loudest_mel(speech[:4000], 0.25), engine="naive")
    further = 0.25 * math.sqrt(stretch.numel()) / float(stretch.detach().norm())
    for engine, wanted in (("naive", 0), ("parallel", further), ("blocks", further)):
        agreement = row_of(found, "wrong", engine).agreement
        assert agreement.relative_difference == pytest.approx(wanted, rel=1e-4), engine
        assert (agreement.nats_difference == 0) == (engine == "naive")


def loudest_mel(wav, seconds):
    mel = MelFrontEnd(PRESETS["speech-16k"])(wav[None])
    return loudest_stretch(mel, wav, 200, seconds, 16_000)


def test_nobody_waits_for_the_naive_engine_who_asks_for_the_fastest(toy_class, speech):
    class Fast(toy_class):
        def synthesize(self, mel, engine="auto", **options):
            assert engine != "naive"
            return super().synthesize(mel, engine=engine, **options)

    found = compare({"it": Fast()}, {"it": speech[:4000]}, engines="auto", runs=1)
    assert row_of(found, "it", "parallel").agreement is None


def test_cost_is_measured_beside_speed(found):
    for row in found.rows[1:-1]:
        figures = row.figures()
        assert figures["peak_megabytes"] is None or 0 <= figures["peak_megabytes"] < 2000
        assert figures["first_sample_ms"] > 0
    assert {name for name in found.machine if name.startswith("Ceiling")} == {"Ceiling, float32", "Ceiling, copying"}
    assert row_of(found, "recording").distances["m_stft"] == 0


def test_the_first_samples_of_a_stream_come_before_all_are_made(contract, speech):
    torch.manual_seed(0)
    glow = Glow(contract, flows=2, channels=8, layers=2, early_every=2)
    row = row_of(compare({"g": glow}, {"it": speech.repeat(4)}, scored=False, runs=1), "g", "parallel")
    assert 0 < row.first_seconds < row.timing.seconds / 2
    assert 0 < row.share_of_ceiling < 1


def test_the_real_models_can_be_compared(speech, contract):
    torch.manual_seed(0)
    wavenet = WaveNet(contract, layers=2, cycle=2, residual_channels=4, skip_channels=4, cond_channels=4)
    glow = Glow(contract, flows=2, channels=4, layers=2, early_every=2)
    for vocoder in (wavenet, glow):
        for parameter in vocoder.parameters():  # nothing may stay at its first zero
            parameter.data += 0.05 * torch.randn(parameter.shape)
    found = compare({"w": wavenet, "g": glow}, {"it": speech[:1300]}, stretch_seconds=0.02, runs=1)
    models = [row for row in found.rows if row.label in ("w", "g") and not row.match_mel]
    made = [(row.label, row.engine) for row in models]
    assert made == [(name, engine) for name, one in (("w", wavenet), ("g", glow)) for engine in one.usable_engines]
    for row in models:
        assert row.likelihood.samples == 1200
        assert math.isfinite(row.likelihood.nats_per_sample)
        if row.engine == "naive":
            assert row.difference < 1e-4 < row.audio["it"].std()


@pytest.mark.parametrize(
    ("engines", "made"),
    [
        ("auto", [("toy", "parallel"), ("other", "one")]),
        ("blocks", [("toy", "blocks"), ("other", "one")]),
        (["two", "naive"], [("toy", "naive"), ("other", "two")]),
    ],
)
def test_engines_can_be_chosen(engines, made, toy_class, speech):
    class Other(toy_class):
        engines = ("one", "two")

    found = compare({"toy": toy_class(), "other": Other()}, {"it": speech[:4000]}, engines=engines, runs=1, match_mel=0)
    assert [(row.label, row.engine) for row in found.rows if row.label in ("toy", "other")] == made


def test_likelihoods_can_be_left_out(toy_class, speech):
    class Dear(toy_class):
        def log_prob(self, *_args, **_options):
            raise AssertionError("it was not to be asked")

    found = compare({"it": Dear()}, {"it": speech[:4000]}, scored=False, runs=1)
    assert row_of(found, "it", "parallel").likelihood is None
    assert row_of(found, "energy Gaussian").likelihood is not None


def test_a_model_with_only_a_naive_engine_is_run_on_everything(toy_class, speech):
    class Naive(toy_class):
        engines = ("naive",)

    found = compare({"it": Naive()}, {"it": speech[:4000]}, runs=1)
    assert row_of(found, "it", "naive").audio["it"].shape == (4000,)


def test_the_baselines_bracket_the_models(found):
    """A model of loudness alone knows less than the true energies, and Griffin-Lim sounds nearer than noise."""
    gaussian = row_of(found, "energy Gaussian")
    assert gaussian.likelihood.nats_per_sample > row_of(found, "loud", "parallel").likelihood.nats_per_sample
    assert gaussian.likelihood.samples == row_of(found, "loud", "parallel").likelihood.samples
    assert row_of(found, "Griffin-Lim").distances["m_stft"] < gaussian.distances["m_stft"]


def test_one_more_row_of_each_model_is_moved_to_its_mel(found, quiet, recordings):
    row, plain = row_of(found, "quiet", "parallel, matched 8"), row_of(found, "quiet", "parallel")
    for name, wav in recordings.items():
        made = quiet.synthesize(quiet.mel(wav[None]), seed=3, match_mel=8)[0, : len(wav)]
        assert torch.equal(row.audio[name], made)
        assert not torch.equal(row.audio[name], plain.audio[name])
    assert row.distances["mel_distance"] < 0.3 * plain.distances["mel_distance"]
    assert row.timing.samples == plain.timing.samples
    assert row.parameters == plain.parameters
    assert (row.likelihood, row.agreement, row.difference, row.multiply_accumulates) == (None, None, None, None)
    assert [one.match_mel for one in found.rows if "matched" in one.engine] == [8, 8, 8, 24]


def test_matched_rows_are_said_to_be_so(found):
    assert MATCHED_NOTE in found.conditions() and MATCHED_NOTE in found.table()
    read = {(row["model"], row["engine"]): row["match_mel"] for row in json.loads(found.to_json())["rows"]}
    assert read["loud", "parallel, matched 8"] == 8
    assert read["loud", "parallel"] == read["Griffin-Lim", "-"] == 0


def test_matched_rows_can_be_left_out(toy, speech):
    found = compare({"it": toy}, {"it": speech[:4000]}, engines="auto", runs=1, match_mel=0)
    labels = ["recording", "it", "Griffin-Lim", "pulses", "WORLD", "energy Gaussian"]
    assert [row.label for row in found.rows] == labels
    assert {row.match_mel for row in found.rows} == {0}
    assert MATCHED_NOTE not in found.conditions()
    with pytest.raises(OptionError, match="rounds of mel matching are -1; they must be a whole number from 0 on"):
        compare({"it": toy}, {"it": speech[:4000]}, match_mel=-1)


def test_rounds_are_those_that_were_asked_for(toy, speech):
    found = compare({"it": toy}, {"it": speech[:4000]}, engines="auto", runs=1, match_mel=3, scored=False)
    made = toy.synthesize(toy.mel(speech[None, :4000]), match_mel=3)[0]
    assert torch.equal(row_of(found, "it", "parallel, matched 3").audio["it"], made)
    assert row_of(found, "Griffin-Lim", "matched 3").distances["mel_distance"] < 0.3


def test_baselines_are_heard_and_their_notes_say_what_they_were_given(found, recordings):
    for label, engine in (("Griffin-Lim", "matched 8"), ("pulses", "matched 24"), ("WORLD", "-")):
        row = row_of(found, label, engine)
        assert {name: len(wav) for name, wav in row.audio.items()} == {"long": 9000, "short": 5000}
        assert row.parameters == 0 and row.likelihood is None and row.timing.seconds > 0
        assert row.note.startswith("no learning")
        assert row.distances["m_stft"] < row_of(found, "energy Gaussian").distances["m_stft"]
    assert "no mel" in row_of(found, "WORLD").note


def test_world_is_left_out_where_it_is_not_installed(toy, speech, monkeypatch):
    monkeypatch.setattr(baseline_rows, "has_world", lambda: False)
    found = compare({"it": toy}, {"it": speech[:4000]}, engines="auto", runs=1, match_mel=0)
    assert "WORLD" not in {row.label for row in found.rows}


def test_the_table_is_aligned_and_complete(found):
    lines = found.table().splitlines()
    table = lines[: len(found.rows) + 2]
    ends = [len(line) for line in table]
    assert max(ends) == min(ends)  # the last column is to the right
    for row, line in zip(found.rows, table[2:], strict=True):
        assert line.startswith(row.label)
        assert line.split()[-len(USUAL) :] == [formatted(row)[name] for name in USUAL]
    assert "16000 Hz; seed 3, temperature 1; dequantisation: uniform noise of one 16-bit step" in found.table()


def test_json_holds_the_figures_in_full(found):
    read = json.loads(found.to_json())
    assert read["inputs"] == ["long", "short"]
    assert read["machine"]["PyTorch"] == torch.__version__
    for row, written in zip(found.rows, read["rows"], strict=True):
        assert {name: written[name] for name in USUAL} == {name: row.figures()[name] for name in USUAL}
        assert not set(HEARING) & set(written)


def test_hearing_is_shown_where_it_was_asked_for(toy, speech):
    found = compare({"it": toy}, {"it": speech[:24_000]}, runs=1, heard=True)
    assert "PESQ" in found.table() and "voicing err." in found.table()
    row = next(row for row in json.loads(found.to_json())["rows"] if row["model"] == "Griffin-Lim")
    assert 0 < row["stoi"] <= 1 and 1 <= row["pesq"] <= 4.65 and 0 <= row["voicing_error"] <= 0.5
    assert ("distillmos" in row) == ("DistillMOS" in found.table()) == has_distillmos()


def test_temperature_and_dequantisation_are_passed_on(toy, speech):
    cold = compare({"it": toy}, {"it": speech[:4000]}, temperature=0.0, dequantize=False, runs=1)
    assert row_of(cold, "it", "parallel").audio["it"].abs().max() == 0
    assert not row_of(cold, "it", "parallel").likelihood.dequantized
    assert not row_of(cold, "energy Gaussian").likelihood.dequantized
    assert "dequantisation: none" in cold.conditions()


def test_the_loudest_stretch_is_found():
    wav = torch.zeros(2000)
    wav[1250] = 1.0
    mel = torch.arange(10.0)[None, None]
    cut = loudest_stretch(mel, wav, hop_length=200, seconds=0.1, sample_rate=2000)
    assert cut.tolist() == [[[6.0]]]
    everything = loudest_stretch(mel, wav, hop_length=200, seconds=9.0, sample_rate=2000)
    assert torch.equal(everything, mel)


def test_what_a_row_does_not_have_is_a_dash():
    assert set(formatted(Row("it", "-", {})).values()) == {"-"}


def test_models_of_different_rates_are_refused(toy_class, speech):
    other = toy_class(PRESETS["nvidia-22k"])
    with pytest.raises(MelError, match="a at 16000 Hz, b at 22050 Hz"):
        compare({"a": toy_class(), "b": other}, {"it": speech})


def test_no_recording_and_no_model_are_refused(toy):
    with pytest.raises(AudioError, match="no recording"):
        compare({"it": toy}, {})
    with pytest.raises(MelError, match="none"):
        compare({}, {"it": torch.zeros(4000)})


def test_speeds_are_finite(found):
    for row in found.rows[1:-1]:
        assert math.isfinite(row.timing.times_real_time)
        assert row.timing.times_real_time > 0
