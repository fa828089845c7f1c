"""Models on held-out speech: the figures are those of the parts, differences are paired, nothing is made twice."""

import json
import math
from dataclasses import replace
from types import MappingProxyType

import pytest
import torch
import yaml

from audioflow.audio import MelFrontEnd, quantize
from audioflow.errors import AudioError, MelError, OptionError, OutputError
from audioflow.evaluation import evaluation as module
from audioflow.evaluation import hearing as judges_of_sound
from audioflow.evaluation.contenders import RECORDING, Settings, Utterance, digest_of
from audioflow.evaluation.evaluation import Model, Plan, evaluate
from audioflow.evaluation.evaluation_page import write_evaluation_page
from audioflow.evaluation.hearing import hearing
from audioflow.evaluation.likelihood import score_many
from audioflow.evaluation.metrics import distances
from audioflow.evaluation.store import Store
from audioflow.evaluation.versa import export

SETTINGS = Settings(temperatures=(1.0, 0.5), match_mel=(0, 4), seed=3)


@pytest.fixture(scope="module", autouse=True)
def no_opinions():
    """Networks that judge take most of the time; their own tests ask them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judges_of_sound, "has_distillmos", lambda: False)
        patch.setattr(judges_of_sound, "has_dnsmos", lambda: False)
        yield


@pytest.fixture(scope="module")
def utterances(speech, contract):
    front_end, found = MelFrontEnd(contract), []
    for index, wav in enumerate((speech[:8000].clone(), speech[8000:14_000].clone())):
        mel = front_end(wav[None])[0, :, : len(wav) // contract.hop_length]
        found.append(Utterance(f"u{index}", index, wav, mel, contract, "Слово", 0, digest_of(wav, mel)))
    return found


@pytest.fixture(scope="module")
def vocoder_class(toy_class):
    class Vocoder(toy_class):
        """Counts what it makes."""

        recommended_match_mel = 0
        config = MappingProxyType({})
        made = 0

        def synthesize(self, *arguments, voiced_temperature=None, **options):
            type(self).made += 1
            return super().synthesize(*arguments, **options)

    return Vocoder


@pytest.fixture(scope="module")
def models(vocoder_class):
    loud, quiet = vocoder_class(), vocoder_class(log_scale=-4.0)
    return {"loud": Model(loud, "digest of loud"), "quiet": Model(quiet, "digest of quiet")}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"), 16_000)


@pytest.fixture(scope="module")
def steps():
    return []


@pytest.fixture(scope="module")
def found(models, utterances, store, steps):
    plan = Plan(settings=SETTINGS)
    return evaluate(models, utterances, plan, store=store, title="two", progress=lambda *step: steps.append(step))


def row(found, name):
    return next(one for one in found.sounded if one.contender.name == name)


def test_there_is_a_row_for_each_setting_and_baseline(found):
    names = [one.contender.name for one in found.sounded]
    baselines = [RECORDING, "Griffin-Lim", "Griffin-Lim, matched 8", "pulses, matched 24", "WORLD"]
    settings = ["T 1", "T 1, matched 4", "T 0.5", "T 0.5, matched 4"]
    assert names == [*baselines, *(f"{model}, {one}" for model in ("loud", "quiet") for one in settings)]


def test_figures_are_those_of_the_parts(found, models, utterances, contract):
    one = utterances[1]
    made = models["quiet"].vocoder.synthesize(one.mel[None], seed=3 + 1, temperature=0.5)[0]
    made = quantize(made.detach())
    wanted = {**distances(one.wav, made, MelFrontEnd(contract)), **hearing(one.wav, made, 16_000)}
    assert row(found, "quiet, T 0.5").each[1].figures == pytest.approx(wanted, nan_ok=True, abs=1e-6)


def test_likelihoods_are_those_of_score_many(found, models, utterances):
    wanted = score_many(models["loud"].vocoder, [one.wav for one in utterances], seed=3)
    scored = {one.label: one for one in found.scored}
    gaussians = ["Gaussian, one variance", "Gaussian, frame energies", "Gaussian, the mel's envelope"]
    assert list(scored) == [*gaussians, "loud", "quiet"]
    assert [one.nats_total for one in scored["loud"].each] == pytest.approx([one.nats_total for one in wanted])
    total = sum(one.nats_total for one in wanted) / sum(one.samples for one in wanted)
    assert scored["loud"].nats_per_sample.mean == pytest.approx(total)
    difference = scored["quiet"].difference(scored["loud"])
    assert difference.mean == pytest.approx(scored["quiet"].nats_per_sample.mean - total)


def test_differences_are_taken_utterance_by_utterance(found):
    quiet, loud = row(found, "quiet, T 1"), row(found, "loud, T 1")
    assert found.opponent is loud
    each = [mine - its for mine, its in zip(quiet.values("m_stft"), loud.values("m_stft"), strict=True)]
    difference = quiet.difference(loud, "m_stft")
    assert difference.mean == pytest.approx(sum(each) / 2)
    assert (difference.low, difference.high) == pytest.approx((min(each), max(each)))


def test_progress_reaches_its_end(steps, found, utterances):
    assert [done for _, done, _ in steps] == list(range(len(steps)))
    assert {total for _, _, total in steps} == {len(steps)}
    assert len(steps) == 2 + len(found.sounded) * len(utterances)


def test_nothing_is_made_or_judged_twice(found, models, utterances, store, vocoder_class, monkeypatch):
    before = vocoder_class.made
    monkeypatch.setattr(module, "score_many", None)
    monkeypatch.setattr(module, "contour", None)
    again = evaluate(models, utterances, Plan(settings=SETTINGS), store=store, title="two")
    assert vocoder_class.made == before
    assert again.to_json() == found.to_json()


def test_other_weights_or_noise_are_made_anew(found, models, utterances, store, vocoder_class):
    plan = Plan(baselines=False, scored=False, settings=Settings(seed=3))
    changed = {"loud": replace(models["loud"], weights="other")}
    before = vocoder_class.made
    evaluate(models, utterances, plan, store=store)  # T 1, matched 0: known
    assert vocoder_class.made == before
    evaluate(changed, utterances, plan, store=store)
    evaluate({"loud": models["loud"]}, utterances, replace(plan, settings=Settings(seed=4)), store=store)
    assert vocoder_class.made == before + 2 * len(utterances)


def test_other_judges_judge_the_same_sound(found, models, utterances, store, vocoder_class, monkeypatch):
    plan = Plan(baselines=False, scored=False, settings=Settings(seed=3))
    before = vocoder_class.made
    monkeypatch.setattr(module, "judges", lambda: "others")
    asked = []
    monkeypatch.setattr(module.Court, "__call__", lambda self, *pair: asked.append(pair) or (lambda: {"pesq": 1.0}))
    again = evaluate({"loud": models["loud"]}, utterances, plan, store=store)
    assert (len(asked), vocoder_class.made) == (2, before)
    assert row(again, "loud, T 1").values("pesq") == [1.0, 1.0]


def test_other_processes_judge_alike(found, models, utterances):
    plan = Plan(baselines=False, scored=False, settings=Settings(seed=3), workers=2)
    apart = evaluate({"loud": models["loud"]}, utterances, plan, store=Store(None, 16_000))
    for mine, its in zip(row(apart, "loud, T 1").each, row(found, "loud, T 1").each, strict=True):
        assert {name: mine.figures[name] for name in its.figures} == pytest.approx(its.figures, nan_ok=True)


def test_the_table_and_the_json_say_the_same(found):
    content = json.loads(found.to_json())
    sound = {(one["model"], one["settings"]): one for one in content["sound"]}
    stated = sound["quiet", "T 0.5"]["figures"]["m_stft"]["mean"]
    line = next(line for line in found.table().splitlines() if line.startswith("quiet") and "T 0.5 " in line)
    assert f"{stated:.3f} ±" in line
    assert sound["quiet", "T 0.5"]["each"]["m_stft"] == row(found, "quiet, T 0.5").values("m_stft")
    assert sound["loud", "T 1"]["difference"] == {} and sound["quiet", "T 1"]["difference"]["pesq"]["utterances"] <= 2
    assert "utterance by utterance" in found.table() and "two: 2 utterances, 0.9 s; seed 3" in found.table()


def test_without_noise_and_without_sound(models, utterances):
    plan = Plan(sounded=False, noisy=False)
    found = evaluate(models, utterances, plan, store=Store(None, 16_000))
    assert found.sounded == [] and all(not one.dequantized for scored in found.scored for one in scored.each)
    assert "without dequantisation noise" in found.conditions()
    assert json.loads(found.to_json())["sound"] == []


def test_baselines_alone(utterances, store):
    found = evaluate({}, utterances, Plan(scored=False, settings=SETTINGS), store=store)
    assert found.opponent.contender.name == RECORDING
    assert row(found, RECORDING).values("m_stft") == [0.0, 0.0]
    assert math.isnan(found.times_real_time(row(found, RECORDING)))
    assert found.times_real_time(row(found, "Griffin-Lim")) > 0


def test_several_voices_are_scored_as_themselves(vocoder_class, utterances):
    heard = []

    class Several(vocoder_class):
        config = MappingProxyType({"speakers": 3})

        def log_prob(self, wav, mel, lengths=None, speaker=None):
            heard.append(int(speaker))
            return super().log_prob(wav, mel)

    pair = [replace(one, speaker=2 - one.index) for one in utterances]
    plan = Plan(sounded=False, baselines=False)
    evaluate({"several": Model(Several(), "")}, pair, plan, store=Store(None, 16_000))
    assert heard == [2, 1]


def test_what_cannot_be_judged_is_refused(models, utterances, contract):
    nothing = Store(None, 16_000)
    with pytest.raises(AudioError, match="no utterance to evaluate on"):
        evaluate(models, [], Plan(), store=nothing)
    other = replace(utterances[0], contract=contract.model_copy(update={"sample_rate": 22_050}))
    with pytest.raises(MelError, match="loud makes audio at 16000 Hz, but this speech is at 22050 Hz"):
        evaluate(models, [other], Plan(), store=nothing)
    with pytest.raises(OptionError, match="None of these models has an engine 'warp'"):
        evaluate(models, utterances, Plan(engines=["warp"]), store=nothing)


def test_the_page_holds_all_of_it(found, tmp_path):
    path = tmp_path / "page.html"
    write_evaluation_page(path, found, heard=1, command="audioflow evaluate")
    page = path.read_text(encoding="utf-8")
    assert page.count("<audio") == len(found.sounded)  # the recording once, though it is a row as well
    assert page.count("<summary>") == 1 + len(found.figures)
    assert "quiet" in page and "T 0.5, matched 4" in page and "audioflow evaluate" in page
    with pytest.raises(OutputError):
        write_evaluation_page(path, found, overwrite=False)


def test_versa_gets_folders_of_the_same_names(found, utterances, tmp_path):
    out = tmp_path / "versa"
    commands = export(out, found)
    assert len(commands) == len(found.sounded) - 1
    names = {f"{one.id}.wav" for one in utterances}
    folders = [path for path in out.iterdir() if path.is_dir()]
    assert {path.name for path in folders} > {"recordings", "quiet__T_0.5__matched_4"}
    assert all({path.name for path in folder.iterdir()} == names for folder in folders)
    assert [one["name"] for one in yaml.safe_load((out / "versa.yaml").read_text())][:1] == ["mcd_f0"]
    assert (out / "text").read_text(encoding="utf-8").splitlines() == ["u0 Слово", "u1 Слово"]
    with pytest.raises(OutputError, match="not empty"):
        export(out, found)


def test_audio_is_on_the_grid_of_16_bits(found, utterances, store):
    audio, seconds = module.sound_of(row(found, "loud, T 1").contender, utterances[0], store)
    assert torch.equal(quantize(audio), audio) and seconds > 0


def test_a_model_that_makes_no_numbers_is_told_of_and_judged(vocoder_class, utterances, store, caplog):
    class Wild(vocoder_class):
        def synthesize(self, *arguments, **options):
            made = super().synthesize(*arguments, **options).detach().clone()
            made[:, 5000:] = torch.nan
            return made

    plan = Plan(baselines=False, scored=False, settings=Settings(seed=3))
    found = evaluate({"wild": Model(Wild(), "wild")}, utterances, plan, store=store)
    assert "wild, T 1 made audio of u0 that is not finite" in caplog.text
    audio, _ = module.sound_of(row(found, "wild, T 1").contender, utterances[0], store)
    assert (audio[5000:] == 0).all() and audio[:5000].any()
    assert all(math.isfinite(value) for value in row(found, "wild, T 1").values("m_stft"))


def test_another_place_has_other_noise(models, utterances, store):
    contender = row(evaluate(models, utterances, Plan(settings=SETTINGS), store=store), "loud, T 1").contender
    moved = replace(utterances[0], index=5)
    assert not torch.equal(
        module.sound_of(contender, moved, store)[0], module.sound_of(contender, utterances[0], store)[0]
    )
