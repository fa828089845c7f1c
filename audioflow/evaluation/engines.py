"""What is to be known of a vocoder's engines to measure them: which to run, what to hold them against."""

from collections.abc import Mapping, Sequence

import torch

from audioflow.errors import OptionError
from audioflow.sampling import COMPILED_ENGINES
from audioflow.vocoders import Vocoder

# What the others are held against: of models that go sample by sample or row by row, and of those that do not.
REFERENCES = ("naive", "parallel")


def choose_engines(vocoders: Mapping[str, Vocoder], engines: str | Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Give the engines of each vocoder that are meant, by the vocoder's label.

    Args:
        vocoders: by label.
        engines: ``all`` of each vocoder, ``auto`` for the fastest, or names; a vocoder that has none of these is run by
            its fastest.

    Raises:
        OptionError: no vocoder has an engine that is named.
    """
    usable = {label: vocoder.usable_engines for label, vocoder in vocoders.items()}
    if engines == "all":
        return usable
    names = [] if engines == "auto" else [engines] if isinstance(engines, str) else list(engines)
    known = sorted({name for each in usable.values() for name in each})
    for name in names:
        if name not in known:
            raise OptionError(f"None of these models has an engine {name!r}; there are {', '.join(known)}.")
    return {label: tuple(name for name in each if name in names) or each[:1] for label, each in usable.items()}


def reference_engine(vocoder: Vocoder) -> str:
    """Give the engine that says what is right: ``naive``, ``parallel``, or else the last."""
    return next((name for name in REFERENCES if name in vocoder.usable_engines), vocoder.usable_engines[-1])


def is_slow(vocoder: Vocoder, engine: str) -> bool:
    """Whether an engine is not for use, so that it is run on a short stretch only.

    ``naive`` is a specification; on a GPU ``cached`` of a WaveNet is little faster: each small step waits for Python.
    """
    return engine == "naive" or (engine == "cached" and vocoder.name == "wavenet" and vocoder.normalizer.mean.is_cuda)


def is_autoregressive(vocoder: Vocoder) -> bool:
    """Whether errors of rounding are fed back: the audio of two engines drifts apart although both are right."""
    return "naive" in vocoder.engines


def streams(vocoder: Vocoder, engine: str) -> bool:
    """Whether an engine gives the beginning of an utterance before it has made all of it."""
    whole = vocoder.name == "wavenet" and engine not in COMPILED_ENGINES
    return vocoder.lookahead_frames is not None and not whole


def precision(engine: str) -> torch.dtype:
    """Give the type in which an engine's products are computed; 16-bit whole numbers become float32 on the way."""
    if "bf16" in engine:
        return torch.bfloat16
    return torch.float16 if "fp16" in engine else torch.float32
