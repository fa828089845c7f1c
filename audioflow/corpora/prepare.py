"""From recordings of any kind to what training reads: checked, resampled, mixed down, with mels, in one directory."""

import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Final, Literal

import torch

from audioflow.audio import AudioLimits, MelContract, MelFrontEnd, read_audio, resample, save_mel, write_audio
from audioflow.corpora.base import Corpus, Utterance
from audioflow.corpora.checks import Finding, examine, unfit_id
from audioflow.corpora.records import (
    CORPUS,
    JOURNAL,
    LOCK,
    MANIFEST,
    CorpusFile,
    Decision,
    Entry,
    Rejected,
    exclusive,
    line_of,
    mel_path,
    printable,
    read_corpus_file,
    read_decisions,
    stamp,
    wav_path,
    write_corpus_file,
    write_decisions,
)
from audioflow.corpora.report import PrepareReport, make_report
from audioflow.corpora.splits import split_of
from audioflow.errors import CorpusError, OutputError
from audioflow.files import ensure_directory

logger = logging.getLogger(__name__)

MANY: Final = 200
"""From this number of recordings on, starting more processes pays."""

GUARD: Final = 'a script that uses several workers calls it below if __name__ == "__main__".'
OnBad = Literal["skip", "refuse"]
Progress = Callable[[int, int], None]
"""Told after each recording: how many are dealt with, how many there are."""


def prepare(
    corpus: Corpus,
    out_dir: str | Path,
    contract: MelContract,
    limits: AudioLimits | None = None,
    *,
    on_bad: OnBad = "skip",
    workers: int | None = 1,
    progress: Progress | None = None,
) -> PrepareReport:
    """Prepare a corpus for training; what an earlier run has done is kept, also if it was killed.

    Args:
        corpus: where the recordings come from.
        out_dir: where to; made if need be. See `audioflow.corpora.records` for what is in it afterwards.
        contract: rate and front-end.
        limits: what a recording must keep to.
        on_bad: whether recordings that are not fit for use are left out, or make the whole corpus refused.
        workers: processes; None takes one for each CPU if there is much to do. With more than one, a script that calls
            this needs the usual ``if __name__ == "__main__"``.
        progress: told how far it is.

    Raises:
        CorpusError: the corpus is missing or empty; ``out_dir`` holds another corpus, contract or limits; a recording
            is bad and ``on_bad`` is "refuse"; or nothing is fit for use.
        OutputError: ``out_dir`` holds other things or cannot be written to.
    """
    _require_guarded_script()
    limits = limits or AudioLimits()
    utterances = list(corpus.utterances())
    out_dir = Path(out_dir)
    _require_apart(corpus, out_dir)
    _require_ours(out_dir)
    ensure_directory(out_dir)
    with exclusive(out_dir):
        state = _open(out_dir, corpus, contract, limits)
        chosen, refused = _with_usable_ids(utterances)
        done = _reusable(out_dir, chosen)
        todo = [utterance for utterance in chosen if utterance.id not in done]
        if todo and state.complete:
            state = state.model_copy(update={"complete": False})
            write_corpus_file(out_dir, state)
        new = _work_through(
            out_dir, todo, contract, limits, workers=workers, count=_counting(progress, len(done), len(chosen))
        )
        decisions = {**done, **new}
        ordered = [decisions[utterance.id] for utterance in chosen]
        report = make_report(corpus.name, out_dir, contract, [*ordered, *refused], len(new))
        _judge(report, on_bad)
        _finish(out_dir, state, ordered, report)
    return report


def _require_guarded_script() -> None:
    """Stop a worker that runs its parent's script again: it would wait for the lock that the parent holds."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise CorpusError(f"prepare was called while a worker process loads the script: {GUARD}")


def _require_apart(corpus: Corpus, out_dir: Path) -> None:
    if corpus.root is not None and out_dir.resolve().is_relative_to(corpus.root.resolve()):
        raise CorpusError(f"{out_dir} lies inside the corpus {corpus.root}; prepare into a directory outside of it.")


def _require_ours(out_dir: Path) -> None:
    """Refuse a directory with things in it that are not from here: files of the same names would be replaced."""
    if not out_dir.is_dir() or (out_dir / CORPUS).is_file():
        return
    foreign = sorted(path.name for path in out_dir.iterdir() if path.name != LOCK and not _is_leftover(path))
    if foreign:
        raise OutputError(
            f"{out_dir} holds other things ({', '.join(foreign[:3])}); prepare into a new or empty directory."
        )


def _is_leftover(path: Path) -> bool:
    """Whether a file is a half-written record of a run that was killed, see `audioflow.files.atomic_path`."""
    return path.name.startswith(tuple(f".{Path(name).stem}-" for name in (CORPUS, JOURNAL, MANIFEST)))


def _open(out_dir: Path, corpus: Corpus, contract: MelContract, limits: AudioLimits) -> CorpusFile:
    """Read or begin ``corpus.json``; what it says must be what is asked for."""
    asked = CorpusFile(
        corpus=corpus.name,
        origin=corpus.origin,
        licence=corpus.licence,
        sha256=corpus.sha256,
        contract=contract,
        limits=asdict(limits),
    )
    found = read_corpus_file(out_dir)
    if found is None:
        write_corpus_file(out_dir, asked)
        return asked
    differing = [
        f"{name} {getattr(found, name)!r} instead of {getattr(asked, name)!r}"
        for name in ("format", "corpus", "origin", "limits")
        if getattr(found, name) != getattr(asked, name)
    ]
    differing += found.contract.differences(contract)
    if differing:
        raise CorpusError(f"{out_dir} is prepared with {', '.join(differing)}; name another directory or remove it.")
    return found


def _with_usable_ids(utterances: list[Utterance]) -> tuple[list[Utterance], list[Rejected]]:
    """Part the utterances whose ids can name the files made of them, each once, from the others."""
    chosen: dict[str, Utterance] = {}
    refused = []
    for utterance in utterances:
        if printable(utterance.path) != str(utterance.path):
            problem, detail = "unreadable", "its name is not UTF-8; rename it"
        elif reason := unfit_id(utterance.id):
            problem, detail = "unfit-id", reason
        elif utterance.id in chosen:
            problem, detail = "duplicate", f"{chosen[utterance.id].path} has the same id"
        else:
            chosen[utterance.id] = utterance
            continue
        refused.append(_reject(utterance, problem, detail, stamp(utterance.path)))
    return list(chosen.values()), refused


def _reusable(out_dir: Path, chosen: list[Utterance]) -> dict[str, Decision]:
    """Read the journal: what is there, whose source is unchanged, and whose files exist."""
    latest = {decision.id: decision for decision in read_decisions(out_dir / JOURNAL)}
    return {
        utterance.id: latest[utterance.id]
        for utterance in chosen
        if utterance.id in latest and _still_holds(out_dir, latest[utterance.id], utterance)
    }


def _still_holds(out_dir: Path, decision: Decision, utterance: Utterance) -> bool:
    same_source = (decision.source, decision.source_bytes, decision.source_mtime_ns) == (
        str(utterance.path),
        *stamp(utterance.path),
    )
    if isinstance(decision, Rejected):
        return same_source
    same_words = (decision.text, decision.speaker) == (utterance.text, utterance.speaker)
    files = wav_path(out_dir, utterance.id), mel_path(out_dir, utterance.id)
    return same_source and same_words and all(path.is_file() for path in files)


def _work_through(
    out_dir: Path,
    todo: list[Utterance],
    contract: MelContract,
    limits: AudioLimits,
    *,
    workers: int | None,
    count: Callable[[], None],
) -> dict[str, Decision]:
    """Prepare what is left, noting each recording in the journal as soon as its files are in place."""
    if not todo:
        return {}
    _tidy(out_dir)
    write_decisions(out_dir / JOURNAL, read_decisions(out_dir / JOURNAL))  # cuts off a line that a crash left torn
    new: dict[str, Decision] = {}
    job = partial(prepare_one, out_dir=out_dir, contract=contract, limits=limits)
    with (out_dir / JOURNAL).open("a", encoding="utf-8") as journal:
        for decision in _run(job, todo, _processes(workers, len(todo))):
            journal.write(line_of(decision))
            journal.flush()
            new[decision.id] = decision
            count()
        os.fsync(journal.fileno())
    return new


def _tidy(out_dir: Path) -> None:
    """Remove temporary files of a run that was killed; nobody else writes here, see `exclusive`."""
    records = (path for path in out_dir.glob(".*-*") if _is_leftover(path))
    for path in (*records, *(out_dir / "wav").glob(".*-*"), *(out_dir / "mel").glob(".*-*")):
        path.unlink(missing_ok=True)


def _processes(workers: int | None, jobs: int) -> int:
    if workers is not None and workers < 1:
        raise CorpusError(f"workers is {workers}, but at least one process is needed.")
    if workers is None:
        workers = (os.cpu_count() or 1) if jobs >= MANY else 1
    return min(workers, jobs)


def _run(job: Callable[[Utterance], Decision], todo: list[Utterance], processes: int) -> Iterator[Decision]:
    if processes == 1:
        yield from map(job, todo)
        return
    with _pool(processes) as pool:
        futures = [pool.submit(job, utterance) for utterance in todo]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise CorpusError(
                f"A worker process of prepare died: use fewer if memory ran out, and note that {GUARD}"
            ) from error


def _start_worker() -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent alone answers it


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    # A forked copy of a process that has run torch can hang, so the workers are started afresh.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_start_worker)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def prepare_one(utterance: Utterance, out_dir: Path, contract: MelContract, limits: AudioLimits) -> Decision:
    """Check one recording and, if it is fit for use, write its wav and mel.

    The mel is that of the stored 16-bit wav, whole, so that wav and mel belong together exactly.
    """
    before = stamp(utterance.path)
    finding = examine(utterance.path, limits)
    if finding.problem is not None or finding.wav is None:
        return _reject(utterance, finding.problem or "unreadable", finding.detail, before)
    wav = resample(finding.wav, finding.sample_rate, contract.sample_rate)
    if len(wav) < contract.hop_length:
        detail = f"{len(wav)} samples at {contract.sample_rate} Hz, one frame is {contract.hop_length}"
        return _reject(utterance, "too-short", detail, before)
    target = wav_path(out_dir, utterance.id)
    write_audio(target, wav, contract.sample_rate, overwrite=True)
    stored, _ = read_audio(target)
    with torch.no_grad():
        mel = _front_end(contract)(stored[None])[0]
    save_mel(mel_path(out_dir, utterance.id), mel, contract, overwrite=True)
    return _entry(utterance, finding, len(stored), contract, before)


@lru_cache(maxsize=2)
def _front_end(contract: MelContract) -> MelFrontEnd:
    return MelFrontEnd(contract)


def _entry(
    utterance: Utterance, finding: Finding, samples: int, contract: MelContract, before: tuple[int, int]
) -> Entry:
    return Entry(
        id=utterance.id,
        samples=samples,
        frames=samples // contract.hop_length,
        split=split_of(utterance.id),
        text=utterance.text,
        speaker=utterance.speaker,
        source=str(utterance.path),
        source_bytes=before[0],
        source_mtime_ns=before[1],
        source_rate=finding.sample_rate,
        source_channels=finding.channels,
    )


def _reject(utterance: Utterance, problem: str, detail: str, before: tuple[int, int]) -> Rejected:
    return Rejected(printable(utterance.id), printable(utterance.path), problem, detail, *before)


def _counting(progress: Progress | None, done: int, total: int) -> Callable[[], None]:
    def count() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    if progress is not None:
        progress(done, total)
    return count


def _judge(report: PrepareReport, on_bad: OnBad) -> None:
    if not report.rejected or (on_bad == "skip" and report.utterances):
        return
    counts = ", ".join(f"{len(found)} {problem}" for problem, found in report.rejected.items())
    first = next(iter(report.rejected.values()))[0]
    advice = "repair or remove them" + (", or leave them out with --on-bad skip" if report.utterances else "")
    raise CorpusError(
        f"{report.recordings - report.utterances} of {report.recordings} recordings of {report.corpus} are not fit for "
        f"use ({counts}), the first is {first.source}: {first.detail.rstrip('.')}; {advice}."
    )


def _finish(out_dir: Path, state: CorpusFile, ordered: list[Decision], report: PrepareReport) -> None:
    entries = [decision for decision in ordered if isinstance(decision, Entry)]
    totals = report.totals()
    if not state.complete or list(read_decisions(out_dir / MANIFEST)) != entries:
        write_decisions(out_dir / MANIFEST, entries)
    if not state.complete or state.totals != totals:
        write_corpus_file(out_dir, state.model_copy(update={"complete": True, "totals": totals}))
    for problem, found in report.rejected.items():
        logger.info("%s: left out %d (%s)", problem, len(found), ", ".join(one.id for one in found[:10]))
