"""Checkpoint files: weights as safetensors, with all that is needed to use them in the header.

A file holds the tensors of the vocoder's state dict and, as metadata, a format version, the vocoder's name and config,
its mel contract, whether weight normalisation was folded, and where the weights come from. Nothing in it is executed.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from audioflow.audio import MelContract
from audioflow.errors import AudioflowError, CheckpointError
from audioflow.files import atomic_path
from audioflow.nets.weight_norm import fold_weight_norm
from audioflow.vocoders.base import Vocoder
from audioflow.vocoders.registry import build

logger = logging.getLogger(__name__)

FORMAT = "audioflow-vocoder"
VERSION = "1"
RUN_FILES = ("best.safetensors", "last.safetensors")
"""Where a run directory keeps its weights, the better first."""


@dataclass(frozen=True)
class CheckpointHeader:
    """What a checkpoint says of itself.

    Attributes:
        path: the file.
        vocoder: name of the vocoder.
        config: settings that rebuild it.
        contract: mel front-end that it was trained with.
        folded: whether weight normalisation is worked out in the weights.
        provenance: where the weights come from: recipe, corpus, steps, likelihood, versions.
        parameters: number of values stored, weights and statistics.
    """

    path: Path
    vocoder: str
    config: dict[str, Any]
    contract: MelContract
    folded: bool
    provenance: dict[str, Any]
    parameters: int


def save(vocoder: Vocoder, path: str | Path, provenance: Mapping[str, Any] | None = None) -> None:
    """Write a vocoder to one file: a temporary one first, flushed, then renamed.

    Args:
        vocoder: what to write.
        path: ends in ``.safetensors``.
        provenance: JSON-able facts about where the weights come from.

    Raises:
        OutputError: the file cannot be written; one that was there before is still whole.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in vocoder.state_dict().items()}
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "vocoder": vocoder.name,
        "config": json.dumps(vocoder.config),
        "mel": vocoder.contract.model_dump_json(),
        "folded": json.dumps(_is_folded(vocoder)),
        "provenance": json.dumps(dict(provenance or {})),
    }
    with atomic_path(path) as temporary:
        try:
            save_file(tensors, temporary, metadata)
        except SafetensorError as error:
            # The library reports a full disk or a lost permission in its own exception.
            raise OSError(str(error)) from error


def read_header(path: str | Path) -> CheckpointHeader:
    """Read what a checkpoint says of itself, without its weights.

    Raises:
        CheckpointError: missing, not a safetensors file, truncated, of another program or format version.
    """
    path = locate(path)
    try:
        # Not as torch's: that opens the file a second time, which a run in training may have replaced meanwhile.
        with safe_open(path, framework="np") as file:
            metadata: dict[str, str] = file.metadata() or {}
            parameters = sum(_count(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not a whole safetensors file ({error}), so it is truncated, damaged or of another kind; take "
            "another copy (pickled checkpoints are not read, for safety)."
        ) from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is a safetensors file of another program: it holds no audioflow vocoder; name one."
        )
    if metadata.get("version") != VERSION:
        raise CheckpointError(
            f"{path} has format version {metadata.get('version')}, but this audioflow reads version {VERSION}; "
            "use the version of audioflow that wrote it."
        )
    try:
        return CheckpointHeader(
            path=path,
            vocoder=metadata["vocoder"],
            config=dict(json.loads(metadata["config"])),
            contract=MelContract.model_validate_json(metadata["mel"]),
            folded=bool(json.loads(metadata["folded"])),
            provenance=dict(json.loads(metadata["provenance"])),
            parameters=parameters,
        )
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        raise CheckpointError(f"{path} has a damaged header ({type(error).__name__}); take another copy.") from error


def load(path: str | Path, device: str | torch.device = "cpu", *, fold: bool = True) -> Vocoder:
    """Load a vocoder for synthesis and scoring.

    Args:
        path: a checkpoint, or the directory of a training run (its best weights are taken).
        device: where the weights go.
        fold: work weight normalisation out, once, for speed; ``False`` keeps the layers trainable as before.

    Returns:
        The vocoder, in evaluation mode.

    Raises:
        CheckpointError: the file is missing, foreign, truncated, or its weights do not fit its own config or are not
            finite.
    """
    header = read_header(path)
    try:
        vocoder = build(header.vocoder, header.contract, header.config)
    except AudioflowError as error:
        raise CheckpointError(f"{header.path} describes a model that cannot be built: {error}") from error
    if header.folded:
        fold_weight_norm(vocoder)
    try:
        with safe_open(header.path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        vocoder.load_state_dict(tensors)
    except (SafetensorError, RuntimeError) as error:
        # torch names the first weight that does not fit in the second line.
        reason = " ".join(line.strip() for line in str(error).splitlines()[:2])
        raise CheckpointError(
            f"The weights in {header.path} do not fit its own config ({reason.rstrip('.')}); take another copy."
        ) from error
    _require_finite(header.path, tensors)
    if fold:
        fold_weight_norm(vocoder)
    logger.info("%s: a %s of %d values, on %s", header.path, header.vocoder, header.parameters, device)
    return vocoder.to(device).eval()


def locate(path: str | Path) -> Path:
    """The checkpoint file meant by a path: itself, or the best one in a run directory.

    Raises:
        CheckpointError: there is none.
    """
    path = Path(path)
    if path.is_dir():
        for name in RUN_FILES:
            if (path / name).is_file():
                return path / name
        raise CheckpointError(f"{path} holds no checkpoint: neither {RUN_FILES[0]} nor {RUN_FILES[1]} is there.")
    if not path.exists():
        raise CheckpointError(f"{path} does not exist; name a .safetensors checkpoint or the directory of a run.")
    return path


def _require_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{path} is damaged: {name} holds NaN or infinite values; take another copy.")


def _is_folded(vocoder: Vocoder) -> bool:
    return not any(hasattr(module, "parametrizations") for module in vocoder.modules())


def _count(shape: list[int]) -> int:
    return int(torch.Size(shape).numel())
