"""Folders and configuration for VERSA, whose judges are others than ours."""

from collections.abc import Sequence
from pathlib import Path

import soundfile
import yaml
from torch import Tensor

from audioflow.errors import OutputError
from audioflow.evaluation.contenders import RECORDING
from audioflow.evaluation.evaluation import sound_of
from audioflow.evaluation.scores import Evaluation
from audioflow.files import atomic_path, ensure_directory

# Judges of VERSA that need a recording and a vocoder's audio and no more; the settings are those of its own examples.
JUDGES: Sequence[dict[str, object]] = (
    {
        "name": "mcd_f0",
        "f0min": 40,
        "f0max": 800,
        "mcep_shift": 5,
        "mcep_fftl": 1024,
        "mcep_dim": 39,
        "mcep_alpha": 0.466,
        "seq_mismatch_tolerance": 0.1,
        "power_threshold": -20,
        "dtw": False,
    },
    {"name": "signal_metric"},
    {"name": "pesq"},
    {"name": "stoi"},
    {
        "name": "pseudo_mos",
        "predictor_types": ["utmos", "dnsmos", "plcmos"],
        "predictor_args": {"utmos": {"fs": 16000}, "dnsmos": {"fs": 16000}, "plcmos": {"fs": 16000}},
    },
)


def export(directory: Path, evaluation: Evaluation) -> list[str]:
    """Write recordings, what each contender made of them, what was said, and the configuration.

    Args:
        directory: new, or empty: ``recordings/ID.wav``, ``NAME/ID.wav``, ``text``, ``versa.yaml``.
        evaluation: whose audio it is.

    Returns:
        The command of VERSA for each contender.

    Raises:
        OutputError: the directory holds something, or cannot be written to.
    """
    ensure_directory(directory)
    if any(directory.iterdir()):
        raise OutputError(f"{directory} is not empty; name a new directory for VERSA's files.")
    for one in evaluation.utterances:
        _write(directory / "recordings" / f"{one.id}.wav", one.wav, one.contract.sample_rate)
    with atomic_path(directory / "versa.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(list(JUDGES), sort_keys=False), encoding="utf-8")
    with atomic_path(directory / "text") as temporary:
        lines = [f"{one.id} {one.text}\n" for one in evaluation.utterances if one.text]
        temporary.write_text("".join(lines), encoding="utf-8")
    commands = []
    for row in evaluation.sounded:
        if row.contender.label == RECORDING:
            continue
        folder = "".join(sign if sign.isalnum() or sign in "-._" else "_" for sign in row.contender.name)
        for one in evaluation.utterances:
            audio, _ = sound_of(row.contender, one, evaluation.store)
            _write(directory / folder / f"{one.id}.wav", audio, one.contract.sample_rate)
        commands.append(
            f"versa-score --score_config {directory / 'versa.yaml'} --gt {directory / 'recordings'} "
            f"--pred {directory / folder} --io dir --output_file {directory / folder}.jsonl"
        )
    return commands


def _write(path: Path, wav: Tensor, sample_rate: int) -> None:
    ensure_directory(path.parent)
    with atomic_path(path) as temporary:
        soundfile.write(temporary, wav.numpy(), sample_rate, format="WAV", subtype="PCM_16")
