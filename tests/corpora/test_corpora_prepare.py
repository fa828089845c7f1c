"""Preparing: what is checked, what is written, that nothing is done twice, that a kill does no harm."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner

from audioflow.audio import PRESETS, AudioLimits, MelFrontEnd, load_mel, read_audio
from audioflow.cli.prepare import prepare as command
from audioflow.corpora import PreparedCorpus, get_corpus, prepare, split_of
from audioflow.errors import CorpusError

CONTRACT = PRESETS["speech-16k"]


def tone(seconds, rate, amplitude=0.3):
    return amplitude * np.sin(np.arange(int(seconds * rate)) * 440 * 2 * np.pi / rate)


def folder_of(root, count=4, seconds=0.5):
    root.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        soundfile.write(root / f"tone{number}.wav", tone(seconds + number / 10, 16000), 16000)
    return get_corpus("folder", root=root)


def everything(directory):
    return {
        str(path.relative_to(directory)): (path.stat().st_mtime_ns, path.stat().st_ino)
        for path in directory.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def damaged(path):
    whole = path.with_suffix(".whole.wav")
    soundfile.write(whole, tone(1, 16000), 16000)
    path.write_bytes(whole.read_bytes()[:9000])
    whole.unlink()


def with_nan(path):
    samples = tone(1, 16000).astype(np.float32)
    samples[100] = np.nan
    soundfile.write(path, samples, 16000, subtype="FLOAT")


BAD = {
    "missing-samples.wav": ("unreadable", lambda path: soundfile.write(path, np.zeros(0), 16000)),
    "empty.wav": ("unreadable", lambda path: path.write_bytes(b"")),
    "text.wav": ("unreadable", lambda path: path.write_text("this is no audio")),
    "truncated.wav": ("unreadable", damaged),
    "nan.wav": ("nan", with_nan),
    "short.wav": ("too-short", lambda path: soundfile.write(path, tone(0.05, 16000), 16000)),
    "silent.wav": ("silent", lambda path: soundfile.write(path, np.zeros(16000), 16000)),
    "faint.wav": ("silent", lambda path: soundfile.write(path, tone(1, 16000, 3e-4), 16000)),
    "clipped.wav": ("clipped", lambda path: soundfile.write(path, tone(1, 16000, 9.0).clip(-1, 1), 16000)),
}


def test_what_is_written(tmp_path):
    report = prepare(get_corpus("sample"), tmp_path / "out", CONTRACT)
    assert (report.recordings, report.utterances, report.new) == (8, 8, 8)
    assert report.splits == {"train": 6, "valid": 1, "test": 1}
    assert (report.resampled, report.mixed_down, report.rejected) == (0, 0, {})
    content = json.loads((tmp_path / "out" / "corpus.json").read_text())
    assert content["corpus"] == "sample"
    assert "BSD" in content["licence"]
    assert content["contract"] == CONTRACT.model_dump()
    assert content["totals"]["utterances"] == 8
    prepared = PreparedCorpus(tmp_path / "out")
    assert prepared.contract == CONTRACT
    for entry, utterance in zip(prepared.entries(), get_corpus("sample").utterances(), strict=True):
        assert (entry.id, entry.text, entry.split) == (utterance.id, utterance.text, split_of(utterance.id))
        source, _ = read_audio(utterance.path)
        stored, rate = read_audio(tmp_path / "out" / "wav" / f"{entry.id}.wav")
        assert (rate, len(stored)) == (16000, entry.samples)
        assert torch.equal(stored, source)
        mel, contract = load_mel(tmp_path / "out" / "mel" / f"{entry.id}.safetensors")
        assert contract == CONTRACT
        assert torch.equal(mel, MelFrontEnd(CONTRACT)(stored[None])[0])


@pytest.mark.parametrize("name", BAD)
def test_bad_recordings_are_left_out(tmp_path, name):
    corpus = folder_of(tmp_path / "in", 1)
    kind, make = BAD[name]
    make(tmp_path / "in" / name)
    report = prepare(corpus, tmp_path / "out", CONTRACT)
    assert {problem: [one.id for one in found] for problem, found in report.rejected.items()} == {kind: [name[:-4]]}
    assert report.rejected[kind][0].detail
    assert [entry.id for entry in PreparedCorpus(tmp_path / "out").entries()] == ["tone0"]
    before = everything(tmp_path / "out")
    again = prepare(corpus, tmp_path / "out", CONTRACT)  # the bad one is not looked at again
    assert again.new == 0
    assert again.rejected == report.rejected
    assert everything(tmp_path / "out") == before


def test_bad_recordings_are_refused(tmp_path):
    corpus = folder_of(tmp_path / "in", 2)
    for name, (_, make) in BAD.items():
        make(tmp_path / "in" / name)
    with pytest.raises(
        CorpusError, match=r"9 of 11 recordings .*4 unreadable, 1 nan, 1 too-short, 2 silent, 1 clipped"
    ):
        prepare(corpus, tmp_path / "out", CONTRACT, on_bad="refuse")
    with pytest.raises(CorpusError, match="in part only"):
        PreparedCorpus(tmp_path / "out")
    assert prepare(corpus, tmp_path / "out", CONTRACT).new == 0


def test_nothing_fit_for_use(tmp_path):
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "a.wav", np.zeros(16000), 16000)
    with pytest.raises(CorpusError, match=r"1 of 1 recordings of folder are not fit for use \(1 silent\)"):
        prepare(get_corpus("folder", root=tmp_path / "in"), tmp_path / "out", CONTRACT)


def test_limits_can_be_set(tmp_path):
    corpus = folder_of(tmp_path / "in", 3)
    assert prepare(corpus, tmp_path / "out", CONTRACT, AudioLimits(min_seconds=0.55)).utterances == 2
    with pytest.raises(CorpusError, match="min_seconds"):
        prepare(corpus, tmp_path / "out", CONTRACT)


def test_duplicate_ids(tmp_path):
    corpus = folder_of(tmp_path / "in", 1)
    soundfile.write(tmp_path / "in" / "tone0.flac", tone(1, 16000), 16000)
    report = prepare(corpus, tmp_path / "out", CONTRACT)
    assert (report.recordings, report.utterances) == (2, 1)
    assert report.rejected["duplicate"][0].source.endswith("tone0.wav")


def festvox_with(root, ids):
    """A voice with these ids, each with a recording where its id says."""
    for folder in ("etc", "wav"):
        (root / folder).mkdir(parents=True)
    (root / "etc" / "txt.done.data").write_text("".join(f'( {one} "Да." )\n' for one in ids), encoding="utf-8")
    return get_corpus("festvox-ru", root=root), root / "wav"


def ljspeech_with(root, ids):
    """LJSpeech with these ids."""
    (root / "LJSpeech-1.1" / "wavs").mkdir(parents=True)
    (root / "LJSpeech-1.1" / "metadata.csv").write_text("".join(f"{one}|Yes|Yes\n" for one in ids))
    return get_corpus("ljspeech", root=root), root / "LJSpeech-1.1" / "wavs"


@pytest.mark.parametrize("make", [festvox_with, ljspeech_with])
@pytest.mark.parametrize("unfit", ["../../x", "a/b", "a\\b", ".x", "x" * 201, "ы" * 101])
def test_ids_that_cannot_name_a_file_are_left_out(tmp_path, make, unfit):
    corpus, wavs = make(tmp_path / "in" / "deep", ["good", unfit])
    for name in ("good", unfit):
        (wavs / f"{name}.wav").parent.mkdir(exist_ok=True)
        soundfile.write(wavs / f"{name}.wav", tone(1, 16000), 16000)
    before = everything(tmp_path)
    report = prepare(corpus, tmp_path / "out" / "deep", CONTRACT)
    assert [one.id for one in report.rejected["unfit-id"]] == [unfit]
    assert (report.recordings, report.utterances) == (2, 1)
    outside = {name for name in everything(tmp_path) if not name.startswith("out/deep/")}
    assert outside == set(before)
    with pytest.raises(CorpusError, match="1 unfit-id"):
        prepare(corpus, tmp_path / "out" / "deep", CONTRACT, on_bad="refuse")


def test_an_id_with_a_nul_is_left_out(tmp_path):
    corpus, wavs = festvox_with(tmp_path / "in", ["good", "a\0b"])
    soundfile.write(wavs / "good.wav", tone(1, 16000), 16000)
    assert [one.id for one in prepare(corpus, tmp_path / "out", CONTRACT).rejected["unfit-id"]] == ["a\0b"]


def test_a_long_id_that_fits_is_prepared(tmp_path):
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / f"{'x' * 200}.wav", tone(1, 16000), 16000)
    assert prepare(get_corpus("folder", root=tmp_path / "in"), tmp_path / "out", CONTRACT).utterances == 1


@pytest.mark.parametrize(
    ("rate", "channels", "subtype"),
    [(8000, 1, "PCM_16"), (44100, 2, "PCM_24"), (96000, 1, "FLOAT"), (16000, 1, "PCM_U8"), (11025, 2, "PCM_U8")],
)
def test_any_kind_becomes_the_contracts(tmp_path, rate, channels, subtype):
    (tmp_path / "in").mkdir()
    samples = np.repeat(tone(1, rate)[:, None], channels, axis=1)
    soundfile.write(tmp_path / "in" / "a.wav", samples, rate, subtype=subtype)
    report = prepare(get_corpus("folder", root=tmp_path / "in"), tmp_path / "out", CONTRACT)
    assert report.rates == {rate: 1}
    assert report.resampled == (rate != 16000)
    assert report.upsampled == (rate < 16000)
    assert report.mixed_down == (channels > 1)
    stored, stored_rate = soundfile.read(tmp_path / "out" / "wav" / "a.wav")
    assert (stored_rate, stored.ndim, len(stored)) == (16000, 1, pytest.approx(16000, abs=1))
    middle = slice(2000, 14000)
    assert np.abs(stored[: len(stored)] - tone(1, 16000)[: len(stored)])[middle].max() < 0.02


def test_second_run_does_nothing_and_a_changed_source_is_done_again(tmp_path):
    corpus = folder_of(tmp_path / "in")
    prepare(corpus, tmp_path / "out", CONTRACT)
    before = everything(tmp_path / "out")
    assert prepare(corpus, tmp_path / "out", CONTRACT).new == 0
    assert everything(tmp_path / "out") == before

    soundfile.write(tmp_path / "in" / "tone1.wav", tone(2, 16000), 16000)
    soundfile.write(tmp_path / "in" / "tone9.wav", tone(1, 16000), 16000)
    (tmp_path / "in" / "tone2.wav").unlink()
    (tmp_path / "out" / "mel" / "tone3.safetensors").unlink()
    assert prepare(corpus, tmp_path / "out", CONTRACT).new == 3
    entries = PreparedCorpus(tmp_path / "out").entries()
    assert [entry.id for entry in entries] == ["tone0", "tone1", "tone3", "tone9"]
    assert entries[1].samples == 32000
    after = everything(tmp_path / "out")
    assert after["wav/tone0.wav"] == before["wav/tone0.wav"]


def test_another_contract_or_corpus_is_refused(tmp_path):
    corpus = folder_of(tmp_path / "in")
    prepare(corpus, tmp_path / "out", CONTRACT)
    before = everything(tmp_path / "out")
    with pytest.raises(CorpusError, match="n_fft 1024 instead of 512"):
        prepare(corpus, tmp_path / "out", CONTRACT.model_copy(update={"n_fft": 512, "win_length": 512}))
    with pytest.raises(CorpusError, match="corpus 'folder' instead of 'sample'"):
        prepare(get_corpus("sample"), tmp_path / "out", CONTRACT)
    assert everything(tmp_path / "out") == before


def test_out_inside_the_corpus_is_refused(tmp_path):
    corpus = folder_of(tmp_path / "in")
    with pytest.raises(CorpusError, match="inside the corpus"):
        prepare(corpus, tmp_path / "in" / "out", CONTRACT)
    assert not (tmp_path / "in" / "out").exists()


def test_torn_journal_line(tmp_path):
    corpus = folder_of(tmp_path / "in")
    prepare(corpus, tmp_path / "out", CONTRACT)
    journal = tmp_path / "out" / "journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-20])
    assert prepare(corpus, tmp_path / "out", CONTRACT).new == 1
    assert journal.read_bytes() == whole


def test_damaged_corpus_file(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "corpus.json").write_text("{")
    with pytest.raises(CorpusError, match="damaged or from another version"):
        prepare(folder_of(tmp_path / "in"), tmp_path / "out", CONTRACT)


KILLED = """
import sys, torch
from audioflow.audio import PRESETS
from audioflow.corpora import get_corpus, prepare
torch.set_num_threads(1)
prepare(get_corpus("folder", root=sys.argv[1]), sys.argv[2], PRESETS["speech-16k"])
"""


@pytest.mark.parametrize("after", [0, 7])
def test_killed_and_continued(tmp_path, after):
    corpus = folder_of(tmp_path / "in", count=25, seconds=1)
    out = tmp_path / "out"
    journal = out / "journal.jsonl"
    process = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path / "in", out], env=os.environ)
    while process.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") >= after):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was done before it could be killed"
    with pytest.raises(CorpusError, match="in part only"):
        PreparedCorpus(out)
    (out / "wav").mkdir(exist_ok=True)
    (out / "wav" / ".tone0-abc.wav").write_bytes(b"a temporary file that a kill left")
    noted = [json.loads(line)["id"] for line in journal.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    before = everything(out)
    report = prepare(corpus, out, CONTRACT)
    assert report.utterances == 25
    assert report.new == 25 - len(noted)
    written = everything(out)
    assert all(written[f"wav/{name}.wav"] == before[f"wav/{name}.wav"] for name in noted)  # nothing was done again
    assert not list((out / "wav").glob(".*"))
    straight = prepare(corpus, tmp_path / "straight", CONTRACT)
    assert (out / "manifest.jsonl").read_bytes() == (tmp_path / "straight" / "manifest.jsonl").read_bytes()
    assert straight.totals() == report.totals()


def test_several_processes_give_the_same(tmp_path):
    corpus = folder_of(tmp_path / "in", 6)
    told = []
    prepare(corpus, tmp_path / "two", CONTRACT, workers=2, progress=lambda done, total: told.append((done, total)))
    prepare(corpus, tmp_path / "one", CONTRACT)
    assert told == [(done, 6) for done in range(7)]
    for name in ("manifest.jsonl", "wav/tone3.wav", "mel/tone3.safetensors"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_no_worker_is_refused(tmp_path):
    with pytest.raises(CorpusError, match="workers is 0"):
        prepare(folder_of(tmp_path / "in"), tmp_path / "out", CONTRACT, workers=0)


# the command


def run(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_command_on_a_directory(tmp_path):
    folder_of(tmp_path / "in", 2)
    BAD["silent.wav"][1](tmp_path / "in" / "silent.wav")
    done = run(tmp_path / "in", "--out", tmp_path / "out", "--json")
    report = json.loads(done.stdout)
    assert (report["utterances"], report["resampled"], report["upsampled"]) == (2, 2, 2)
    assert report["rejected"]["silent"][0]["id"] == "silent"
    assert "nvidia-22k" in done.stderr  # what the resampling follows from is stated
    assert PreparedCorpus(tmp_path / "out").contract == PRESETS["nvidia-22k"]
    again = run("folder", "--root", tmp_path / "in", "--out", tmp_path / "out", "--mel", "nvidia-22k")
    assert "2 of 3 recordings fit for use" in again.stdout
    assert "0 dealt with" in again.stdout
    assert "Left out, silent: 1" in again.stdout


def test_command_chooses_the_preset_of_the_corpus(tmp_path):
    assert run("sample", "--out", tmp_path / "out").exit_code == 0
    assert PreparedCorpus(tmp_path / "out").contract == PRESETS["speech-16k"]


def test_command_on_names_that_are_not_utf_8(tmp_path):
    folder_of(tmp_path / "in", 1)
    bad = os.fsencode(tmp_path / "in") + b"/caf\xe9.wav"
    Path(os.fsdecode(bad)).write_bytes((tmp_path / "in" / "tone0.wav").read_bytes())
    for options in (["--json"], []):
        done = run(tmp_path / "in", "--out", tmp_path / "out", "--mel", "speech-16k", *options)
        assert done.exit_code == 0, done.exception
        assert "caf\\xe9.wav" in done.stdout.replace("\\\\", "\\")
        assert "its name is not UTF-8" in done.stdout
    assert [entry.id for entry in PreparedCorpus(tmp_path / "out").entries()] == ["tone0"]


def test_a_folder_whose_name_is_not_utf_8_is_refused(tmp_path):
    folder_of(tmp_path / "in", 1)
    root = (tmp_path / "in").rename(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    corpus = get_corpus("folder", root=root)
    with pytest.raises(CorpusError, match=r"caf\\xe9 is not UTF-8; rename it"):
        prepare(corpus, tmp_path / "out", CONTRACT)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sampel"], "did you mean 'sample'"),
        (["./nowhere"], "does not exist"),
        ([Path(__file__)], "is a file"),
        (["folder"], "needs the option 'root'"),
        (["sample", "--mel", "nvidia-22"], "did you mean 'nvidia-22k'"),
    ],
)
def test_command_errors(tmp_path, arguments, words):
    done = run(*arguments, "--out", tmp_path / "out")
    assert words in str(done.exception)
    assert not (tmp_path / "out").exists()
