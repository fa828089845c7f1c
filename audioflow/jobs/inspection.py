"""What is this? Facts about a checkpoint, a run, a prepared corpus, a recording, a mel file, a recipe or a preset."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from audioflow.audio import PRESETS, MelContract, check_audio, load_bare_mel, load_mel, probe, read_audio
from audioflow.corpora import CORPORA, PreparedCorpus, get_corpus
from audioflow.errors import AudioflowError, CorpusError, OptionError
from audioflow.names import did_you_mean
from audioflow.training import load_recipe
from audioflow.vocoders import VOCODERS, locate, read_header, vocoder_class

Facts = dict[str, Any]

PICKLED = (".pt", ".pth", ".ckpt", ".pkl", ".bin")
"""Kinds of checkpoints that can run code when they are read; they are refused as such."""


def describe(thing: str) -> Facts:
    """Say what a path or a name stands for.

    Args:
        thing: a file, a directory, or the name of a mel preset, a corpus or a vocoder.

    Returns:
        Facts by name, the kind first; all of them can be written as JSON.

    Raises:
        AudioflowError: it does not exist, or is none of the things that audioflow knows, or is damaged.
    """
    path = Path(thing)
    if path.is_dir():
        return _directory(path)
    if path.exists():
        return _file(path)
    if thing in PRESETS:
        return {"kind": "mel preset", "name": thing, **PRESETS[thing].model_dump()}
    if thing in VOCODERS:
        summary = (vocoder_class(thing).__doc__ or "").strip().splitlines()[0]
        return {"kind": "vocoder", "name": thing, "summary": summary, "engines": list(VOCODERS[thing].engines)}
    if thing in CORPORA:
        return _corpus(thing)
    hint = did_you_mean(thing, [*PRESETS, *CORPORA, *VOCODERS])
    raise OptionError(f"{thing} does not exist, and is no name of a mel preset, a corpus or a vocoder{hint}")


def preset_name(contract: MelContract) -> str:
    """The preset that a contract equals, or ``"custom"``."""
    return next((name for name, preset in PRESETS.items() if preset == contract), "custom")


def _directory(path: Path) -> Facts:
    if (path / "manifest.jsonl").is_file():
        return _prepared(path)
    try:
        return {"kind": "training run", "directory": str(path), **_checkpoint(locate(path))}
    except AudioflowError as error:
        raise OptionError(
            f"{path} is neither a prepared corpus nor a training run ({str(error).rstrip('.')}); name one, or a file."
        ) from error


def _file(path: Path) -> Facts:
    suffix = path.suffix.lower()
    if suffix in {".yaml", ".yml"}:
        recipe = load_recipe(path, ())
        return {"kind": "recipe", "file": str(path), **recipe.model_dump(mode="json")}
    if suffix in {".npz", ".npy"} or (suffix == ".safetensors" and _holds_mel(path)):
        return _mel(path)
    if suffix == ".safetensors" or suffix in PICKLED:
        return {"kind": "checkpoint", **_checkpoint(path)}
    return _recording(path)


def _checkpoint(path: Path) -> Facts:
    header = read_header(path)
    engines = VOCODERS[header.vocoder].engines if header.vocoder in VOCODERS else ()
    return {
        "file": str(header.path),
        "vocoder": header.vocoder,
        "parameters": header.parameters,
        "engines": list(engines),
        "mel_preset": preset_name(header.contract),
        "mel": header.contract.model_dump(),
        "config": header.config,
        "provenance": header.provenance,
    }


def _mel(path: Path) -> Facts:
    if path.suffix.lower() == ".npy":
        bands, frames = load_bare_mel(path).shape
        hint = "name its front-end with --mel PRESET"
        return {"kind": "mel without a contract", "file": str(path), "rows": bands, "columns": frames, "hint": hint}
    mel, contract = load_mel(path)
    return {
        "kind": "mel",
        "file": str(path),
        "bands": mel.shape[0],
        "frames": mel.shape[1],
        "seconds": mel.shape[1] * contract.hop_length / contract.sample_rate,
        "lowest": round(float(mel.min()), 4),
        "highest": round(float(mel.max()), 4),
        "mel_preset": preset_name(contract),
        "mel": contract.model_dump(),
    }


def _recording(path: Path) -> Facts:
    facts = probe(path)
    wav, rate = read_audio(path)
    return {
        "kind": "recording",
        "file": str(path),
        "sample_rate": facts.sample_rate,
        "channels": facts.channels,
        "samples": facts.samples,
        "seconds": facts.seconds,
        "format": f"{facts.format} {facts.subtype}",
        "peak": round(float(wav.abs().max()), 4),
        "rms": round(float(wav.square().mean().sqrt()), 4),
        "problems": [f"{problem.kind}: {problem.detail}" for problem in check_audio(wav, rate)],
    }


def _prepared(path: Path) -> Facts:
    corpus = PreparedCorpus(path)
    splits = {split: list(corpus.entries(split)) for split in ("train", "valid", "test")}
    rate = corpus.contract.sample_rate
    return {
        "kind": "prepared corpus",
        "directory": str(path),
        "utterances": {split: len(entries) for split, entries in splits.items()},
        "minutes": round(sum(entry.samples for entries in splits.values() for entry in entries) / rate / 60, 2),
        "speakers": corpus.speakers,
        "mel_preset": preset_name(corpus.contract),
        "mel": corpus.contract.model_dump(),
    }


def _corpus(name: str) -> Facts:
    try:
        corpus: Any = get_corpus(name)
    except CorpusError:
        corpus = CORPORA[name]
    fields = ("description", "origin", "licence", "sha256", "sample_rate")
    return {"kind": "corpus", "name": name, **{field: getattr(corpus, field, None) for field in fields}}


def _holds_mel(path: Path) -> bool:
    try:
        with safe_open(path, framework="np") as file:
            return list(file.keys()) == ["mel"]
    except (SafetensorError, OSError):
        return False


def as_text(facts: Facts, indent: str = "") -> str:
    """Facts as indented lines; nested ones below their name."""
    lines = []
    for name, value in facts.items():
        title = name.replace("_", " ")
        if isinstance(value, dict):
            lines += [f"{indent}{title}:", as_text(value, indent + "  ")] if value else [f"{indent}{title}: none"]
        elif isinstance(value, list):
            lines.append(f"{indent}{title}: {', '.join(map(str, value)) or 'none'}")
        else:
            lines.append(f"{indent}{title}: {value if isinstance(value, str) else json.dumps(value)}")
    return "\n".join(lines)
