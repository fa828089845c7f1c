"""How well a recogniser of speech understands what was made: character and word error rates."""

import hashlib
import importlib.util
import unicodedata
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audioflow.audio import resample
from audioflow.errors import OptionError

RATE = 16_000
"""What Whisper hears, in Hz."""

PACKAGES = ("faster_whisper", "jiwer")


class Recognizer:
    """A Whisper model in the format of CTranslate2, from a directory; nothing is fetched.

    Args:
        directory: holds ``model.bin``, ``config.json``, ``tokenizer.json`` and a vocabulary.
        language: of the speech, such as ``ru``; the model guesses it for None.

    Raises:
        OptionError: a package is missing, or there is no model.

    References:
        A. Radford et al.: Robust Speech Recognition via Large-Scale Weak Supervision, 2022
    """

    def __init__(self, directory: Path, language: str | None = None) -> None:
        missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
        if missing:
            raise OptionError(
                f"{' and '.join(missing)} must be installed for this: pip install 'audioflow[recognizer]'."
            )
        if not (directory / "model.bin").is_file():
            raise OptionError(f"{directory} holds no Whisper model of CTranslate2: there is no model.bin in it.")
        self.directory, self.language = directory, language

    @cached_property
    def name(self) -> str:
        """What tells this model from others: a digest of its weights, and the language."""
        digest = hashlib.sha256()
        with (self.directory / "model.bin").open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        return f"{digest.hexdigest()} {self.language or 'any'}"

    def errors(self, text: str, wav: Tensor, sample_rate: int) -> dict[str, float]:
        """Give ``cer`` and ``wer``, edits over characters and words of the text; NaN without one.

        Punctuation, case and stress marks do not count.

        Args:
            text: what is said.
            wav: ``[T]`` in [-1, 1].
            sample_rate: in Hz.
        """
        import jiwer  # noqa: PLC0415 - an extra

        wanted = plain(text)
        if not wanted:
            return {"cer": float("nan"), "wer": float("nan")}
        heard = plain(self.hear(wav, sample_rate))
        return {"cer": float(jiwer.cer(wanted, heard)), "wer": float(jiwer.wer(wanted, heard))}

    def hear(self, wav: Tensor, sample_rate: int) -> str:
        """What the model understands."""
        samples = resample(wav[None].float(), sample_rate, RATE)[0].numpy()
        segments, _ = self._model.transcribe(
            samples, language=self.language, beam_size=1, condition_on_previous_text=False
        )
        return " ".join(segment.text for segment in segments)

    @cached_property
    def _model(self) -> Any:
        from faster_whisper import WhisperModel  # noqa: PLC0415 - an extra

        threads = torch.get_num_threads()
        return WhisperModel(
            str(self.directory), device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
        )


def plain(text: str) -> str:
    """Letters and digits in lower case, words one space apart.

    >>> plain("На пол+у - куча, ТРЯПЬЯ!")
    'на полу куча тряпья'
    """
    composed = unicodedata.normalize("NFKC", text).lower().replace("ё", "е")
    kept = (sign if sign.isalnum() or sign.isspace() else "" if sign in "+'’" else " " for sign in composed)
    return " ".join("".join(kept).split())
