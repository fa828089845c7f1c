"""What a command line names as input: sound files, mel files, or directories of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from audioflow.audio import (
    SOUND_SUFFIXES,
    MelContract,
    MelFrontEnd,
    check_audio,
    convert_mel,
    get_contract,
    load_mel,
    probe,
    quantize,
    read_audio,
)
from audioflow.errors import AudioError, MelError

MEL_SUFFIXES = (".npz", ".npy", ".safetensors")

EIGHT_BITS = ("PCM_U8", "PCM_S8", "ULAW", "ALAW")


@dataclass(frozen=True)
class SpeechInput:
    """One utterance to synthesise.

    Attributes:
        path: the file it came from.
        mel: ``[M, F]`` in the units of the vocoder.
        samples: length of the audio to be made; a recording's own length, or ``F * hop_length`` for a mel file.
        notes: what a user should know: resampled, mixed down, clipped, converted.
    """

    path: Path
    mel: Tensor
    samples: int
    notes: tuple[str, ...] = ()


def expand(paths: Iterable[str | Path], suffixes: Sequence[str]) -> list[Path]:
    """Replace each directory by the files in it that end in one of ``suffixes``, sorted by name.

    Raises:
        AudioError: a path is missing, or a directory has no such file.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            found = sorted(file for file in path.iterdir() if file.suffix.lower() in suffixes)
            if not found:
                raise AudioError(f"{path} has no file that ends in {', '.join(suffixes)}; name another directory.")
            files += found
        elif path.exists():
            files.append(path)
        else:
            raise AudioError(f"{path} does not exist; name a file or a directory.")
    return files


def read_recording(path: Path, sample_rate: int) -> tuple[Tensor, tuple[str, ...]]:
    """Read speech at a vocoder's rate, with notes on what was changed on the way.

    What comes out is on the 16-bit grid, whatever the file: vocoders are trained on such speech, and a density is the
    code length of 16-bit samples only there.

    Returns:
        wav ``[T]``, and the notes.

    Raises:
        AudioError: unreadable, not a number, silent or too short; clipping is only noted.
    """
    facts = probe(path)
    wav, rate = read_audio(path)
    notes = []
    if facts.channels > 1:
        notes.append(f"mixed down from {facts.channels} channels")
    if facts.subtype in EIGHT_BITS:
        notes.append("only 8 bits a sample, which is audible as noise")
    for problem in check_audio(wav, rate):
        detail = problem.detail.rstrip(".")
        if problem.kind != "clipped":
            raise AudioError(f"{path} is not fit for use ({problem.kind}): {detail}; name another recording.")
        notes.append(f"clipped: {detail}")
    if rate != sample_rate:
        notes.append(f"resampled from {rate} to {sample_rate} Hz")
        wav, _ = read_audio(path, sample_rate)
    rounded = quantize(wav)
    if not torch.equal(rounded, wav):
        notes.append("rounded to 16 bits")
    return rounded, tuple(notes)


def read_inputs(paths: Iterable[str | Path], contract: MelContract, mel_preset: str | None = None) -> list[SpeechInput]:
    """Read every input of a synthesis before the first one is made, so that a bad one costs nothing.

    Args:
        paths: sound files, mel files, directories of them.
        contract: the vocoder's.
        mel_preset: name of the front-end that made the mel files which do not say so; one that says
            otherwise is refused.

    Raises:
        AudioError, MelError: an input is missing or unfit, or a mel was made by another front-end.
    """
    front_end = MelFrontEnd(contract)
    stated = None if mel_preset is None else get_contract(mel_preset)
    files = expand(paths, (*SOUND_SUFFIXES, *MEL_SUFFIXES))
    return [
        _from_mel(path, contract, stated)
        if path.suffix.lower() in MEL_SUFFIXES
        else _from_recording(path, contract, front_end)
        for path in files
    ]


def _from_recording(path: Path, contract: MelContract, front_end: MelFrontEnd) -> SpeechInput:
    wav, notes = read_recording(path, contract.sample_rate)
    with torch.no_grad():
        mel: Tensor = front_end(wav[None])[0]
    return SpeechInput(path, mel, wav.numel(), notes)


def _from_mel(path: Path, contract: MelContract, stated: MelContract | None) -> SpeechInput:
    mel, have = load_mel(path, stated)
    try:
        converted = convert_mel(mel, have, contract)
    except MelError as error:
        raise MelError(f"{path}: {error}") from error
    notes = []
    if have.framing != contract.framing:
        notes.append("mel converted between centred and half-hop framing")
    if have.magnitude_epsilon != contract.magnitude_epsilon:
        notes.append(
            f"magnitude_epsilon {have.magnitude_epsilon:g} instead of {contract.magnitude_epsilon:g} "
            "passed over, as too small to be seen"
        )
    return SpeechInput(path, converted, converted.shape[-1] * contract.hop_length, tuple(notes))
