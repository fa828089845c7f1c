"""Reading and writing recordings: mono float tensors on one side, sound files of many kinds on the other."""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from audioflow.audio.resampling import resample
from audioflow.errors import AudioError, OutputError
from audioflow.files import atomic_path

_LOUDEST = 4.0
"""Floating-point files may pass full scale a little; beyond 12 dB the scale itself is wrong."""

_STREAMED = 0x7FFF0000
"""A RIFF writer that cannot seek back leaves a size at or above this in the header: it says nothing."""

# fmt: off
SOUND_SUFFIXES = (
    ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".rf64",
)
# fmt: on
"""How the names of files end that are looked for where a directory is given."""

_CONTAINERS = {".wav": "WAV", ".flac": "FLAC"}


@dataclass(frozen=True)
class AudioFacts:
    """What the header of a sound file says.

    Attributes:
        sample_rate: samples per second.
        channels: number of channels.
        samples: length of each channel, in samples.
        format: container, for example ``"WAV"``.
        subtype: sample format, for example ``"PCM_16"``.
    """

    sample_rate: int
    channels: int
    samples: int
    format: str
    subtype: str

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.samples / self.sample_rate


def probe(path: str | Path) -> AudioFacts:
    """Read the header of a sound file and check that the file is as long as it claims.

    Args:
        path: a WAV, FLAC, Ogg, MP3 or other file that libsndfile knows.

    Raises:
        AudioError: the file is missing, a directory, empty, not audio, without samples, or a truncated WAV.
    """
    path = Path(path)
    _require_readable(path)
    try:
        info = soundfile.info(str(path))
    except (soundfile.SoundFileError, RuntimeError, TypeError) as error:  # TypeError: .raw has no header to read
        raise _not_audio(path, error) from error
    if info.frames == 0:
        raise AudioError(f"{path} holds no samples (its header is in order, length zero); record or export it again.")
    _require_whole_wav(path)
    return AudioFacts(info.samplerate, info.channels, info.frames, info.format, info.subtype)


def read_audio(path: str | Path, sample_rate: int | None = None) -> tuple[Tensor, int]:
    """Read a recording as mono float32.

    Channels are averaged. Samples of floating-point files that pass full scale are clamped to [-1, 1].

    Args:
        path: a file of any kind that `probe` accepts, of any sample format.
        sample_rate: the rate wanted, in Hz; ``None`` keeps the file's own.

    Returns:
        ``wav [T]`` in [-1, 1] and its rate in Hz.

    Raises:
        AudioError: see `probe`; also a file that ends early, NaN or infinite samples, and a scale that is not [-1, 1].
    """
    path = Path(path)
    facts = probe(path)
    try:
        samples, rate = soundfile.read(str(path), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise AudioError(
            f"{path} cannot be decoded to its end ({_reason(error)}): it is damaged or truncated; copy it again."
        ) from error
    if len(samples) < facts.samples:
        raise _truncated(path, f"{len(samples)} of {facts.samples} samples")
    _require_sane(path, samples)
    wav = torch.from_numpy(samples.mean(axis=1))
    if sample_rate is not None and sample_rate != rate:
        wav, rate = resample(wav, rate, sample_rate), sample_rate
    return wav.clamp(-1.0, 1.0), int(rate)


def write_audio(path: str | Path, wav: Tensor, sample_rate: int, overwrite: bool = False) -> None:
    """Write a mono recording with 16 bits a sample, whole or not at all.

    A sample ``x`` becomes the nearest of the steps ``k / 32768``; values beyond full scale are clamped.

    Args:
        path: where to; the suffix, ``.wav`` or ``.flac``, says the format.
        wav: ``[T]`` in [-1, 1].
        sample_rate: its rate in Hz.
        overwrite: whether an existing file may be replaced.

    Raises:
        AudioError: ``wav`` is not of shape [T], is empty, or holds NaN or infinity.
        OutputError: the suffix is unknown, the file exists, or it cannot be written.
    """
    path = Path(path)
    container = _CONTAINERS.get(path.suffix.lower())
    if container is None:
        known = " or ".join(_CONTAINERS)
        raise OutputError(f"{path} ends in {path.suffix or 'nothing'!r}, audio is written as {known}; name it so.")
    samples = _as_int16(path, wav)
    with atomic_path(path, overwrite=overwrite) as temporary:
        try:
            soundfile.write(str(temporary), samples, sample_rate, format=container, subtype="PCM_16")
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise OutputError(f"{path} cannot be written: {_reason(error)}.") from error


def _as_int16(path: Path, wav: Tensor) -> np.ndarray:
    if wav.dim() != 1 or wav.numel() == 0:
        raise AudioError(f"Audio for {path} has shape {list(wav.shape)}, but [T] with at least one sample is needed.")
    wav = wav.detach().to("cpu", torch.float64)
    if not bool(torch.isfinite(wav).all()):
        raise AudioError(f"Audio for {path} holds NaN or infinite samples, so nothing was written.")
    return (wav * 32768).round().clamp(-32768, 32767).to(torch.int16).numpy()


def _require_readable(path: Path) -> None:
    if path.is_dir():
        raise AudioError(f"{path} is a directory, but a sound file is needed; name a file in it.")
    if not path.exists():
        raise AudioError(f"{path} does not exist; check the name of the sound file.")
    try:
        with path.open("rb") as file:
            first = file.read(1)
    except OSError as error:
        raise AudioError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not first:
        raise AudioError(f"{path} is empty (0 bytes), but a sound file is needed; record or copy it again.")


def _require_whole_wav(path: Path) -> None:
    """Decoders silently shorten a WAV that ends before its header says; here that is an error."""
    with path.open("rb") as file:
        if file.read(4) != b"RIFF":
            return
        size, position = path.stat().st_size, 12
        while position + 8 <= size:
            file.seek(position)
            kind, length = struct.unpack("<4sI", file.read(8))
            position += 8
            if kind == b"data":
                if length < _STREAMED and position + length > size:
                    raise _truncated(path, f"{size - position} of {length} bytes of samples")
                return
            position += length + length % 2  # chunks start at even places


def _require_sane(path: Path, samples: np.ndarray) -> None:
    bad = int(np.count_nonzero(~np.isfinite(samples)))
    if bad:
        raise AudioError(f"{path} holds {bad} NaN or infinite samples; export it again from its source.")
    peak = float(np.abs(samples).max())
    if peak > _LOUDEST:
        raise AudioError(f"{path} has samples up to {peak:.3g}, but full scale is 1; divide them to fit [-1, 1].")


def _truncated(path: Path, found: str) -> AudioError:
    return AudioError(f"{path} is truncated: it holds {found} that its header promises; copy or record it again.")


def _not_audio(path: Path, error: Exception) -> AudioError:
    return AudioError(f"{path} is not a sound file that can be decoded ({_reason(error)}); give WAV or FLAC.")


def _reason(error: Exception) -> str:
    text: str = getattr(error, "error_string", "") or str(error)
    return text.strip().rstrip(".")
