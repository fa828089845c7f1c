"""Checkpoints compared on recordings, with a page to look at and listen to."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from audioflow.audio import SOUND_SUFFIXES, quantize, read_audio
from audioflow.corpora import get_corpus, split_of
from audioflow.errors import OptionError
from audioflow.evaluation.comparison import common_rate, compare
from audioflow.evaluation.page import write_page
from audioflow.evaluation.pictures import compare_figure, figure_png
from audioflow.evaluation.results import Comparison
from audioflow.files import atomic_path
from audioflow.jobs.inputs import expand, read_recording
from audioflow.jobs.synthesis import check_options, speaker_note
from audioflow.vocoders import Vocoder, load

BUNDLED_SPEECH = (
    "audioflow's bundled speech: festvox-ru, one Russian voice, (c) 2005 Nickolay V. Shmyrev, BSD-like licence"
)


def load_labelled(checkpoints: Sequence[str | Path], device: str | torch.device) -> dict[str, Vocoder]:
    """Load each checkpoint under a label that tells it from the others: its run's or file's name, or its whole path."""
    paths = [Path(checkpoint) for checkpoint in checkpoints]
    names = [_short_name(path) for path in paths]
    labels = [name if names.count(name) == 1 else str(path) for name, path in zip(names, paths, strict=True)]
    if len(set(labels)) < len(labels):
        raise OptionError("The same checkpoint is named twice; name each once.")
    return {label: load(path, device) for label, path in zip(labels, paths, strict=True)}


def read_recordings(
    paths: Sequence[str | Path],
    sample_rate: int,
    seconds: float | None,
    note: Callable[[str], object] = lambda _: None,
) -> dict[str, Tensor]:
    """Recordings at a rate, by name; the bundled held-out utterance where none is given.

    Args:
        paths: sound files, or directories of them.
        sample_rate: in Hz.
        seconds: length that is used of each, from its start; all for ``None``.
        note: told what was changed on the way: resampled, mixed down.
    """
    if paths:
        files = expand(paths, SOUND_SUFFIXES)
        stems = [path.stem for path in files]
        names = [path.stem if stems.count(path.stem) == 1 else str(path) for path in files]
        wavs = {}
        for name, path in zip(names, files, strict=True):
            wavs[name], notes = read_recording(path, sample_rate)
            if notes:
                note(f"{path}: {'; '.join(notes)}")
    else:
        wavs = held_out_speech(sample_rate)
    samples = None if seconds is None else max(1, round(seconds * sample_rate))
    return {name: wav[:samples] for name, wav in wavs.items()}


def held_out_speech(sample_rate: int) -> dict[str, Tensor]:
    """The bundled utterances that no recipe trains on or chooses its best weights by, with 16 bits a sample."""
    utterances = [one for one in get_corpus("sample").utterances() if split_of(one.id) == "test"]
    return {one.id: quantize(read_audio(one.path, sample_rate)[0]) for one in utterances}


def compare_checkpoints(
    checkpoints: Sequence[str | Path],
    recordings: Sequence[str | Path] = (),
    *,
    seconds: float | None = None,
    page: str | Path | None = None,
    command: str = "",
    device: str | torch.device = "cpu",
    seed: int = 0,
    temperature: float = 1.0,
    speaker: int | None = None,
    stretch_seconds: float = 0.25,
    engines: str | Sequence[str] = "all",
    overwrite: bool = True,
    heard: bool = False,
    scored: bool = True,
    match_mel: int = 8,
    progress: Callable[[str], object] = lambda _: None,
    note: Callable[[str], object] = lambda _: None,
) -> Comparison:
    """Load, compare, and write the page if one is asked for.

    Raises:
        AudioflowError: a checkpoint or recording is unfit, rates differ, or the page cannot be written.
    """
    vocoders = load_labelled(checkpoints, device)
    for label, vocoder in vocoders.items():
        check_options(vocoder, "auto", temperature, speaker, match_mel)
        if hint := speaker_note(vocoder, speaker):
            note(f"{label}: {hint}")
    wavs = read_recordings(recordings, common_rate(vocoders), seconds, note)
    comparison = compare(
        vocoders,
        wavs,
        seed=seed,
        temperature=temperature,
        speaker=speaker,
        stretch_seconds=stretch_seconds,
        engines=engines,
        heard=heard,
        scored=scored,
        match_mel=match_mel,
        progress=progress,
    )
    if page is not None:
        speech = "" if recordings else BUNDLED_SPEECH
        write_page(page, comparison, command=command, speech=speech, overwrite=overwrite)
    return comparison


def write_picture(path: str | Path, comparison: Comparison, *, overwrite: bool = True) -> None:
    """Draw waveform and spectrogram of the first recording and of everything that was made of all of it.

    Raises:
        OutputError: the file exists and may not be replaced, or cannot be written.
    """
    name = comparison.inputs[0]
    whole = comparison.rows[0].audio[name].shape[-1]
    sounds = {
        f"{row.label} ({row.engine})" if row.engine != "-" else row.label: row.audio[name]
        for row in comparison.rows
        if name in row.audio and row.audio[name].shape[-1] == whole
    }
    with atomic_path(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(figure_png(compare_figure(sounds, comparison.sample_rate)))


def _short_name(path: Path) -> str:
    if path.is_dir():
        return path.resolve().name
    return path.stem if path.stem not in {"best", "last"} else path.resolve().parent.name
