"""Speech from files of speech or mels, in batches of similar length."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from audioflow.audio import write_audio
from audioflow.errors import OptionError, OutputError
from audioflow.files import check_output, keep_apart
from audioflow.jobs.inputs import SpeechInput
from audioflow.sampling import Progress
from audioflow.vocoders import Vocoder

OUTPUT_SUFFIXES = (".wav", ".flac")


@dataclass(frozen=True)
class Synthesis:
    """One file that was made.

    Attributes:
        source: what it was made from.
        output: where it was written.
        seconds: its length.
        elapsed: seconds of computing, a batch's time shared out by length.
        notes: see :class:`SpeechInput`.
        match_mel: rounds in which the audio was moved to its mel.
    """

    source: Path
    output: Path
    seconds: float
    elapsed: float
    notes: tuple[str, ...]
    match_mel: int


def output_paths(inputs: Sequence[SpeechInput], out: Path, *, overwrite: bool) -> list[Path]:
    """Where each input's audio goes: ``out`` itself if it names a sound file, else ``out/<name>.wav``.

    Raises:
        OutputError: several inputs for one file, two inputs of one name, or an output that is there already.
    """
    if out.suffix.lower() in OUTPUT_SUFFIXES:
        if len(inputs) > 1:
            raise OutputError(f"{out} is one file, but there are {len(inputs)} inputs; name a directory with --out.")
        paths = [out]
    elif len(inputs) == 1 and out.suffix and not out.is_dir():
        raise OutputError(f"{out} ends in {out.suffix!r}; sound is written as {' or '.join(OUTPUT_SUFFIXES)}.")
    else:
        paths = [out / f"{item.path.stem}.wav" for item in inputs]
    sources: dict[Path, Path] = {}
    originals = [item.path for item in inputs]
    for item, path in zip(inputs, paths, strict=True):
        if path in sources:
            raise OutputError(f"{sources[path]} and {item.path} would both become {path}; synthesise them apart.")
        keep_apart(path, originals)
        sources[path] = item.path
    for path in paths:
        check_output(path, overwrite=overwrite)
    return paths


def synthesize_files(
    vocoder: Vocoder,
    inputs: Sequence[SpeechInput],
    out: str | Path,
    *,
    engine: str = "auto",
    seed: int = 0,
    temperature: float = 1.0,
    voiced_temperature: float | None = None,
    speaker: int | None = None,
    match_mel: int | None = None,
    batch_size: int = 16,
    overwrite: bool = False,
    progress: Progress | None = None,
    written: Callable[[Synthesis], object] = lambda _: None,
) -> list[Synthesis]:
    """Synthesise every input; each file's audio depends on its mel, the seed and the model alone, not on its batch.

    Args:
        vocoder: on its device, in evaluation mode.
        inputs: from :func:`audioflow.jobs.inputs.read_inputs`.
        out: a ``.wav`` or ``.flac`` file for a single input, else a directory.
        engine: one of the vocoder's, or ``"auto"``.
        seed: of the noise; every file gets the noise of this seed.
        temperature: how much of the noise is used, see :meth:`Vocoder.synthesize`.
        voiced_temperature: how much where speech is periodic, see there.
        speaker: speaker number, for a model of several voices.
        match_mel: rounds in which the audio is moved to its mel, see :meth:`Vocoder.synthesize`; those that the vocoder
            recommends by default.
        batch_size: utterances made together, at most.
        overwrite: whether files that are there may be replaced.
        progress: told of samples done.
        written: told of each file when it is on the disk.

    Raises:
        OptionError: an unknown engine, a temperature or a number of rounds below zero, a voiced temperature for a model
            that has none, or a speaker that the model does not have.
        OutputError: an output is occupied or cannot be written; nothing that was there before is lost.
    """
    rounds = vocoder.recommended_match_mel if match_mel is None else match_mel
    check_options(vocoder, engine, temperature, speaker, rounds, voiced_temperature)
    paths = output_paths(inputs, Path(out), overwrite=overwrite)
    made: list[Synthesis] = []
    for batch in batches_by_length(list(zip(inputs, paths, strict=True)), batch_size):
        started = time.monotonic()
        temperatures = temperature, voiced_temperature
        wavs = _synthesize([item for item, _ in batch], vocoder, engine, seed, temperatures, speaker, rounds, progress)
        elapsed = time.monotonic() - started
        total = sum(item.samples for item, _ in batch)
        for (item, path), wav in zip(batch, wavs, strict=True):
            write_audio(path, wav, vocoder.contract.sample_rate, overwrite=overwrite)
            seconds = item.samples / vocoder.contract.sample_rate
            made.append(Synthesis(item.path, path, seconds, elapsed * item.samples / total, item.notes, rounds))
            written(made[-1])
    return made


def batches_by_length(
    items: Iterable[tuple[SpeechInput, Path]], batch_size: int
) -> list[list[tuple[SpeechInput, Path]]]:
    """Group utterances of similar length, so that little is computed on padding; the longest come first."""
    ordered = sorted(items, key=lambda item: -item[0].mel.shape[-1])
    return [ordered[start : start + batch_size] for start in range(0, len(ordered), batch_size)]


def check_options(
    vocoder: Vocoder,
    engine: str,
    temperature: float,
    speaker: int | None,
    match_mel: int = 0,
    voiced_temperature: float | None = None,
) -> None:
    """Refuse what the vocoder cannot do, before anything is computed.

    Raises:
        OptionError: see :func:`synthesize_files`.
    """
    if engine != "auto" and engine not in vocoder.engines:
        raise OptionError(f"A {vocoder.name} has no engine {engine!r}; use auto or {', '.join(vocoder.engines)}.")
    if engine != "auto" and engine not in vocoder.usable_engines:
        usable = ", ".join(vocoder.usable_engines)
        device = "cuda" if vocoder.normalizer.mean.device.type == "cpu" else "cpu"
        raise OptionError(f"The engine {engine!r} does not work here; use {usable}, or --device {device}.")
    for one in (temperature, voiced_temperature):
        if one is not None and not 0 <= one < math.inf:
            raise OptionError(f"The temperature is {one}; it must be a number from 0 on.")
    if voiced_temperature is not None and vocoder.periodicity is None:
        raise OptionError(
            "This model reads no periodicity off the mel, which a voiced temperature needs; leave it out, or train the "
            "model with model.periodicity=48."
        )
    if voiced_temperature is not None and not vocoder.scales_noise:
        raise OptionError("The law of this model has no temperature of each step; leave the voiced temperature out.")
    if match_mel < 0:
        raise OptionError(f"The rounds of mel matching are {match_mel}; they must be a whole number from 0 on.")
    speakers = int(vocoder.config.get("speakers", 0))
    if speaker is not None and not 0 <= speaker < speakers:
        known = f"speakers 0 to {speakers - 1}" if speakers else "no speakers"
        raise OptionError(f"There is no speaker {speaker}: this model has {known}.")


def speaker_note(vocoder: Vocoder, speaker: int | None) -> str | None:
    """Say which speaker is meant where a model has several and none is named; ``None`` where that is clear."""
    speakers = int(vocoder.config.get("speakers", 0))
    if speaker is not None or speakers < 2:
        return None
    return f"speaker 0 of {speakers} is used, none being named; choose with --speaker"


def _synthesize(
    items: Sequence[SpeechInput],
    vocoder: Vocoder,
    engine: str,
    seed: int,
    temperatures: tuple[float, float | None],
    speaker: int | None,
    match_mel: int,
    progress: Progress | None,
) -> list[Tensor]:
    device = vocoder.normalizer.mean.device
    mel = pad_sequence([item.mel.t() for item in items], batch_first=True).transpose(1, 2).to(device)
    lengths = torch.tensor([item.mel.shape[-1] for item in items], device=device)
    voices = None if speaker is None else torch.full((len(items),), speaker, device=device)
    wavs = vocoder.synthesize(
        mel,
        lengths,
        temperature=temperatures[0],
        voiced_temperature=temperatures[1],
        seed=[seed] * len(items),
        engine=engine,
        speaker=voices,
        progress=progress,
        match_mel=match_mel,
    )
    return [wav[: item.samples].cpu() for wav, item in zip(wavs, items, strict=True)]
