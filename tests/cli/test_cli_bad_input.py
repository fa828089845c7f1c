"""Bad input on the command line: one sentence saying what, where and what to do; exit code 2; nothing lost."""

import errno
import importlib
import resource
from contextlib import contextmanager

import pytest
import torch
from cli_material import contents
from cli_refusals import refusals

WORKING_STATE = {"recipe.yaml", ".lock", "corpus.json", "journal.jsonl"}
"""What train and prepare write first, whole, so that the next call can go on."""


def assert_refused(result, said):
    assert result.exit_code == 2, (result.output, result.exception)
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    sentences = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(sentences) == 1
    assert sentences[0] == result.stderr.splitlines()[-1]
    assert said in sentences[0]


@pytest.mark.parametrize(("line", "said"), refusals(), ids=lambda value: value[:70])
def test_it_is_refused_in_one_sentence_and_nothing_is_touched(line, said, audioflow, material, tmp_path):
    before = contents(material)
    assert_refused(audioflow(line.replace("OUT", str(tmp_path / "out"))), said)
    assert contents(material) == before
    written = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert written <= WORKING_STATE


@pytest.mark.parametrize("line", [
    "synthesize wavenet.safetensors good.wav --out OUT/a.wav",
    "score wavenet.safetensors good.wav",
    "compare wavenet.safetensors --input good.wav",
    "train tiny.yaml --out OUT/run",
    "demo --out OUT/demo",
])  # fmt: skip
def test_cuda_that_is_not_there(line, audioflow, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert_refused(audioflow(f"{line.replace('OUT', str(tmp_path))} --device cuda"), "CUDA device")
    assert not any(tmp_path.iterdir())


def test_a_corpus_with_bad_recordings_is_refused_on_request(audioflow, tmp_path):
    line = f"prepare corpora/good-and-bad --out {tmp_path}/p --mel speech-16k"
    assert_refused(audioflow(f"{line} --on-bad refuse"), "2 of 3 recordings")
    skipped = audioflow(line)
    assert skipped.exit_code == 0, skipped.output
    assert "1 of 3 recordings fit for use" in skipped.stdout
    assert "empty.wav: is empty (0 bytes)" in skipped.stdout
    assert "nan.wav: holds 1 NaN" in skipped.stdout


@contextmanager
def files_of_at_most(size):
    """Let no file grow beyond ``size`` bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("line", [
    "synthesize glow.safetensors good.wav --out OUT/a.wav",
    "synthesize glow.safetensors good.wav --out OUT/a.flac",
    "prepare twins --out OUT/p --mel speech-16k",
    "train tiny.yaml --out OUT/run data.prepared=OUT/p",
])  # fmt: skip
def test_a_full_disk(line, audioflow, tmp_path):
    with files_of_at_most(3000):
        result = audioflow(line.replace("OUT", str(tmp_path)))
    assert_refused(result, "cannot be written")
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} <= WORKING_STATE


def test_a_page_that_does_not_fit_leaves_the_old_one(audioflow, material, tmp_path):
    (tmp_path / "page.html").write_text("mine")
    audioflow("compare glow.safetensors --input good.wav")  # libraries write caches of their own when first used
    with files_of_at_most(3000):
        result = audioflow(f"compare glow.safetensors --input good.wav --page {tmp_path}/page.html --overwrite")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith(f"Error: {tmp_path}/page.html cannot be written: ")
    assert contents(tmp_path) == {tmp_path / "page.html": b"mine"}


def test_an_error_of_the_system_is_a_sentence_too(audioflow, tmp_path, monkeypatch):
    def fail(*_arguments, **_options):
        raise OSError(errno.ENOSPC, "No space left on device", "journal.jsonl")

    monkeypatch.setattr(importlib.import_module("audioflow.corpora.prepare"), "write_corpus_file", fail)
    assert_refused(audioflow(f"prepare sample --out {tmp_path}/p"), "journal.jsonl: No space left on device")


@pytest.mark.parametrize("error", [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: you tried"),
])  # fmt: skip
def test_too_little_memory_is_a_sentence_too(error, audioflow, tmp_path, monkeypatch):
    def fail(*_arguments, **_options):
        raise error

    monkeypatch.setattr(importlib.import_module("audioflow.jobs.synthesis"), "_synthesize", fail)
    line = f"synthesize glow.safetensors good.wav --out {tmp_path}/a.wav"
    assert_refused(audioflow(line), "lower --batch-size (synthesize) or data.batch_size (train)")


def test_any_other_error_of_the_runtime_keeps_its_traceback(audioflow, tmp_path, monkeypatch):
    def fail(*_arguments, **_options):
        raise RuntimeError("a bug")

    monkeypatch.setattr(importlib.import_module("audioflow.jobs.synthesis"), "_synthesize", fail)
    result = audioflow(f"synthesize glow.safetensors good.wav --out {tmp_path}/a.wav")
    assert isinstance(result.exception, RuntimeError)


def test_a_run_of_another_recipe_is_left_alone(audioflow, tmp_path):
    line = f"train tiny.yaml --out {tmp_path}/run data.prepared={tmp_path}/p"
    assert audioflow(line).exit_code == 0
    before = contents(tmp_path)
    assert_refused(audioflow(f"{line} model.residual_channels=8"), "residual_channels: 4 -> 8")
    assert contents(tmp_path) == before


def test_a_pickle_is_never_run(audioflow, material, tmp_path):
    for name in ("pickle.safetensors", "pickle.pt"):
        for command in ("info {}", "score {} good.wav", "synthesize {} good.wav --out OUT/a.wav", "compare {}"):
            assert audioflow(command.format(name).replace("OUT", str(tmp_path))).exit_code == 2
    for command in ("info pickled.npy", f"synthesize glow.safetensors pickled.npy --mel speech-16k --out {tmp_path}/a"):
        assert audioflow(command).exit_code == 2
    assert not (material / "executed").exists()


@pytest.mark.parametrize(("line", "where"), [
    ("synthesize glow.safetensors good.wav --out OUT/a.wav", "audioflow.jobs.synthesis"),
    ("compare glow.safetensors --input good.wav", "audioflow.jobs.side_by_side"),
])  # fmt: skip
def test_ctrl_c_ends_without_a_traceback(line, where, audioflow, tmp_path, monkeypatch):
    def interrupt(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module(where), "check_options", interrupt)
    result = audioflow(line.replace("OUT", str(tmp_path)))
    assert result.exit_code == 1
    assert "Aborted" in result.stderr
    assert "Traceback" not in result.output
    assert not any(tmp_path.iterdir())
