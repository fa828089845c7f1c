"""``audioflow evaluate`` on the speech that this package brings."""

import json
from dataclasses import replace

import pytest
import torch
from cli_material import CONTRACT, contents
from click.testing import CliRunner

from audioflow.cli.main import main
from audioflow.corpora import PreparedCorpus, get_corpus, prepare
from audioflow.evaluation.recognition import plain
from audioflow.jobs.evaluation import Selection, read_utterances

QUICK = "--seconds 0.5 --limit 1 --no-baselines --without distillmos,dnsmos"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    directory = tmp_path_factory.mktemp("prepared") / "sample"
    prepare(get_corpus("sample"), directory, CONTRACT)
    return directory


@pytest.fixture
def evaluate(audioflow, corpus, tmp_path):
    def run(line, *, cache="cache"):
        return audioflow(f"evaluate {line} --on {corpus} --cache {tmp_path / cache}")

    return run


def test_a_model_on_held_out_speech(evaluate, tmp_path):
    line = f"glow.safetensors {QUICK} --temperature 1,0.5 --match-mel 0,2"
    result = evaluate(line)
    assert result.exit_code == 0, result.output
    assert "DNSMOS" not in result.stdout and "MCD" in result.stdout
    assert "glow" in result.stdout and "T 0.5, matched 2" in result.stdout and "nats/sample" in result.stdout
    again = json.loads(evaluate(f"{line} --json").stdout)
    assert [one["settings"] for one in again["sound"]] == ["T 1", "T 1, matched 2", "T 0.5", "T 0.5, matched 2"]
    kept = contents(tmp_path / "cache")
    assert kept and contents(tmp_path / "cache") == kept


def test_page_and_export(evaluate, tmp_path):
    page, out = tmp_path / "page.html", tmp_path / "versa"
    line = f"glow.safetensors {QUICK} --page {page} --heard 1 --export versa --out {out}"
    result = evaluate(line)
    assert result.exit_code == 0, result.output
    assert page.read_text(encoding="utf-8").count("<audio") == 2
    assert "versa-score --score_config" in result.stdout
    assert len(list((out / "glow__T_1").iterdir())) == 1
    assert evaluate(line).exit_code == 2  # the page is there already
    assert "is not empty" in evaluate(f"{line} --overwrite").output


def test_nothing_is_kept_where_it_is_not_wanted(evaluate, tmp_path):
    assert evaluate(f"glow.safetensors {QUICK} --no-sound --no-keep").exit_code == 0
    assert not (tmp_path / "cache").exists()


def test_the_protocol_of_nanoflow_is_the_first_tenth_without_noise(evaluate, corpus, monkeypatch):
    prepared = PreparedCorpus(corpus)
    (first, *_) = sorted(prepared.entries(), key=lambda one: one.id)
    assert [one.id for one in read_utterances(prepared, Selection(protocol="nanoflow"))] == [first.id]
    many = [replace(first, id=f"LJ{number:05}") for number in reversed(range(139))]
    monkeypatch.setattr(prepared, "entries", lambda split=None: many)
    monkeypatch.setattr(prepared, "load", lambda entry: (torch.zeros(400), torch.zeros(80, 2)))
    chosen = read_utterances(prepared, Selection(protocol="nanoflow"))
    assert [one.id for one in chosen] == [f"LJ{number:05}" for number in range(13)]
    result = evaluate("glow.safetensors --protocol nanoflow --no-sound --no-baselines --json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["dequantized"], found["utterances"]) == (False, [first.id])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("glow.safetensors --protocol nanoflow --seconds 1", "scores whole clips; leave out the seconds"),
        ("glow.safetensors --temperature 1,x", "'x' is not a valid float"),
        ("glow.safetensors --temperature 1,,2", "'' is not a valid float"),
        ("glow.safetensors --temperature -1", "-1.0 is not in the range x>=0"),
        ("glow.safetensors --match-mel 8,-2", "-2 is not in the range 0<=x<=1000"),
        ("glow.safetensors --engines warp", "None of these models has an engine 'warp'"),
        ("glow.safetensors glow.safetensors", "named twice"),
        ("glow.safetensors --speaker 1", "glow: There is no speaker 1: this model has no speakers"),
        ("missing.safetensors", "missing.safetensors does not exist"),
        ("glow.safetensors --no-sound --no-likelihood", "nothing to find out"),
        ("glow.safetensors --export versa", "--export and --out belong together"),
        ("glow.safetensors --recognizer no-audio", "no-audio holds no Whisper model"),
        ("glow.safetensors --split train", "'train' is not one of 'test', 'valid'"),
        ("glow.safetensors --seconds nan", "nan is not a finite number"),
        ("glow.safetensors --page taken.html", "taken.html is there already"),
        ("glow.safetensors --page glow.safetensors --overwrite", "is itself an input"),
        ("glow.safetensors --without pesq", "'pesq' is not one of 'distillmos', 'dnsmos'"),
        ("glow.safetensors --device tpu", "'tpu' is not one of"),
    ],
)
def test_what_is_refused(evaluate, tmp_path, line, said, monkeypatch):
    if "recognizer" in line:
        monkeypatch.setattr("audioflow.evaluation.recognition.PACKAGES", ())
    result = evaluate(line)
    assert result.exit_code == 2 and said in " ".join(result.output.split()), result.output
    assert "Traceback" not in result.output and not (tmp_path / "cache").exists()


def test_speech_that_was_not_prepared(audioflow):
    result = audioflow("evaluate glow.safetensors --on no-audio")
    assert result.exit_code == 2 and "holds no prepared corpus" in result.output


def test_a_recognizer_that_is_not_installed_is_said(evaluate, monkeypatch):
    monkeypatch.setattr("audioflow.evaluation.recognition.PACKAGES", ("no_such_package",))
    result = evaluate("glow.safetensors --recognizer no-audio")
    assert "no_such_package must be installed for this: pip install 'audioflow[recognizer]'" in " ".join(
        result.output.split()
    )


def test_texts_are_compared_without_signs():
    assert plain("«Ёлки» -- It's 3 o’clock!") == "елки its 3 oclock"


def test_help_is_quick_and_whole():
    result = CliRunner().invoke(main, ["evaluate", "--help"])
    assert result.exit_code == 0 and "--protocol" in result.output
