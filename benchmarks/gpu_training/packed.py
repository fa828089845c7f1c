"""Reading a pack: a prepared corpus that lies in memory."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from audioflow.audio import MelFrontEnd
from audioflow.corpora import Entry, PreparedCorpus
from audioflow.errors import CorpusError
from benchmarks.gpu_training.encoding import decode
from benchmarks.gpu_training.manifest import Manifest, Spoken, read_manifest

_FULL_SCALE = 32768.0


class PackedCorpus(PreparedCorpus):
    """A pack, decoded, with its mels computed again: what the trainer reads instead of a prepared corpus.

    Args:
        directory: what ``pack`` has made.
        device: where the mels are computed.

    Attributes:
        manifest: what the pack says of itself.

    Raises:
        CorpusError: there is no pack, a file is gone or damaged, or it cannot be decoded on this machine.
    """

    def __init__(self, directory: str | Path, device: torch.device | str = "cpu") -> None:
        self.directory = Path(directory)
        self.manifest = read_manifest(self.directory)
        self.contract = self.manifest.contract
        self.name = "+".join(source.name for source in self.manifest.corpora)
        self.speakers = self.manifest.speakers
        self._entries = [_entry(spoken, self.manifest) for spoken in self.manifest.utterances]
        self._held = dict(self._decoded(MelFrontEnd(self.contract).to(device)))

    @override
    def load(self, entry: Entry) -> tuple[Tensor, Tensor]:
        return self.load_segment(entry, 0, entry.frames)

    @override
    def load_segment(self, entry: Entry, start: int, frames: int) -> tuple[Tensor, Tensor]:
        if not 0 <= start <= start + frames <= entry.frames:
            raise CorpusError(f"{entry.id} has {entry.frames} frames; {start} to {start + frames} are not in it.")
        hop = self.contract.hop_length
        wav, mel = self._held[entry.id]
        return wav[start * hop : (start + frames) * hop], mel[:, start : start + frames]

    def _decoded(self, front_end: MelFrontEnd) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
        device = front_end.filterbank.device
        with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as threads, torch.no_grad():
            for spoken, samples in zip(
                self.manifest.utterances, threads.map(self._samples, self.manifest.utterances), strict=True
            ):
                wav = torch.from_numpy(samples.astype(np.float32) / _FULL_SCALE)
                # Of all samples, also those after the last whole frame, as when the corpus was prepared.
                mel = front_end(wav[None].to(device))[0].cpu()
                frames = len(wav) // self.contract.hop_length
                yield spoken.id, (wav[: frames * self.contract.hop_length], mel[:, :frames].contiguous())

    def _samples(self, spoken: Spoken) -> np.ndarray:
        path = self.directory / spoken.file
        try:
            samples = decode(path.read_bytes(), self.manifest.encoding)
        except ModuleNotFoundError as error:
            raise CorpusError(
                f"{self.directory} is packed as {self.manifest.encoding}, which {error.name} has to decode, but that "
                "is not installed here; install it, or pack with --encoding xz."
            ) from error
        except Exception as error:  # each decoder has its own
            raise CorpusError(f"{path} is gone or damaged ({error}); pack the speech again.") from error
        spoken.check(path, samples)
        return samples


def _entry(spoken: Spoken, manifest: Manifest) -> Entry:
    return Entry(
        id=spoken.id,
        samples=spoken.samples,
        frames=spoken.samples // manifest.contract.hop_length,
        split=spoken.split,
        text="",
        speaker=spoken.speaker,
        source=spoken.file,
        source_bytes=spoken.bytes,
        source_mtime_ns=0,
        source_rate=manifest.contract.sample_rate,
        source_channels=1,
    )
