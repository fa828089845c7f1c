"""A torch checkpoint of another project, as plain tensors by name; nothing in the file is executed.

``torch.load(weights_only=True)`` reads what holds tensors and containers only. Some projects saved whole modules: those
are read by :mod:`audioflow.imports.torch_files`, which takes the tensors out and leaves the classes alone.
"""

import logging
import struct
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audioflow.errors import CheckpointError
from audioflow.imports.pickle_machine import Made, PickleError
from audioflow.imports.torch_files import (
    LEGACY_START,
    ZIP_START,
    LegacyTorchFile,
    StoredTensor,
    TorchFile,
    ZipTorchFile,
)

logger = logging.getLogger(__name__)

MODEL_KEYS = ("state_dict", "model", "model_state_dict", "generator", "net", "ema")
"""Where projects keep the model in what they save, the most usual place first."""
DEPTH = 3
"""So many dicts inside each other are looked into."""


@dataclass(frozen=True)
class Checkpoint:
    """The weights of a model and what else the file says of it.

    Attributes:
        path: the file.
        weights: by their names in the project they come from, without a leading ``module.``.
        kind: path of the class where a whole module was saved, as in ``"glow.WaveGlow"``; else empty.
        sources: program text of classes that older files keep, by path of the class; never run.
    """

    path: Path
    weights: dict[str, Tensor]
    kind: str = ""
    sources: dict[str, str] = field(default_factory=dict)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read the model in a file that ``torch.save`` wrote: a state dict, a module, or a dict that has one of them.

    Args:
        path: of any torch version, zip or older format.

    Raises:
        CheckpointError: missing, no torch checkpoint, truncated, without a model, or with weights that are not finite.
    """
    path = Path(path)
    _require_start(path)
    try:
        _require_honest_zip(path)
        content = _load_plain(path)
        file = None
        if content is None:
            file = (ZipTorchFile if _is_zip(path) else LegacyTorchFile)(path)
            content = file.content
        model = _find_model(path, content)
        weights = {_plain_name(name): tensor for name, tensor in _tensors(model, file).items()}
    except (zipfile.BadZipFile, struct.error, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        raise CheckpointError(f"{path} cannot be read as a torch checkpoint: {reason}; take another copy.") from error
    _require_finite(path, weights)
    kind = model.kind if isinstance(model, Made) else ""
    logger.info("%s: %d weights%s", path, len(weights), f" of a pickled {kind}" if kind else "")
    return Checkpoint(path, weights, kind, file.sources if file else {})


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(ZIP_START)) == ZIP_START


def _require_start(path: Path) -> None:
    if not path.exists():
        raise CheckpointError(f"{path} does not exist; name a checkpoint file.")
    if path.is_dir():
        raise CheckpointError(f"{path} is a directory; name the checkpoint file in it.")
    with path.open("rb") as file:
        start = file.read(len(LEGACY_START))
    if not start:
        raise CheckpointError(f"{path} is empty (0 bytes); take another copy.")
    if not start.startswith((ZIP_START, LEGACY_START)):
        raise CheckpointError(f"{path} is not a file that torch.save wrote; name the checkpoint of the model.")


def _require_honest_zip(path: Path) -> None:
    """What torch saves is not compressed, so that no file becomes larger in memory than it is on the disk."""
    if not _is_zip(path):
        return
    if not zipfile.is_zipfile(path):
        raise CheckpointError(f"{path} is truncated: the index at its end is missing; take another copy.")
    with zipfile.ZipFile(path) as archive:
        if any(name.endswith("/constants.pkl") for name in archive.namelist()):
            raise CheckpointError(f"{path} is a compiled program (TorchScript); name a checkpoint of its weights.")
        if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
            raise CheckpointError(f"{path} is a compressed zip file, unlike what torch.save writes; name a checkpoint.")


def _load_plain(path: Path) -> Any:
    """What torch itself can read without running anything; ``None`` where it refuses or fails."""
    try:
        # Mapped, so that the state of an optimizer beside the weights is never read.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except Exception as error:  # a damaged file can make it fail in any way; our own reader then says how
        logger.info("torch does not read %s by itself (%s); only its tensors are taken", path, type(error).__name__)
        return None


def _find_model(path: Path, content: Any) -> Any:
    """The state dict or module in what was saved."""
    for _ in range(DEPTH):
        if isinstance(content, Made) and "_modules" in content.state:
            return content
        if not isinstance(content, dict):
            break
        if any(isinstance(value, Tensor | StoredTensor) for value in content.values()):
            return content
        inner = next((content[key] for key in MODEL_KEYS if isinstance(content.get(key), Made | dict)), None)
        if inner is None:
            break
        content = inner
    found = ", ".join(str(key) for key in content) if isinstance(content, dict) else type(content).__name__
    raise CheckpointError(
        f"{path} holds no model: neither weights by name nor a module, but {found[:200] or 'nothing'}."
    )


def _tensors(model: Any, file: TorchFile | None) -> dict[str, Tensor]:
    found: dict[str, Any] = _flattened(model) if isinstance(model, Made) else model
    weights = {}
    for name, value in found.items():
        if isinstance(value, StoredTensor):
            assert file is not None  # noqa: S101  (only its machine makes them)
            weights[str(name)] = file.tensor(value)
        elif isinstance(value, Tensor):
            weights[str(name)] = _own(value)
    return weights


def _own(tensor: Tensor) -> Tensor:
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise PickleError(f"a tensor of {list(tensor.shape)} does not fit into its storage")
    return tensor.detach()


def _flattened(module: Made) -> dict[str, Any]:
    """Parameters and buffers of a pickled module and of all modules in it, named as in its state dict."""
    found: dict[str, Any] = {}
    waiting, met = [("", module)], {id(module)}
    while waiting:
        prefix, here = waiting.pop()
        for kept in ("_parameters", "_buffers"):
            values = here.state.get(kept)
            if isinstance(values, dict):
                found.update({f"{prefix}{name}": value for name, value in values.items() if value is not None})
        children = here.state.get("_modules")
        for name, child in (children if isinstance(children, dict) else {}).items():
            if isinstance(child, Made) and id(child) not in met:
                met.add(id(child))
                waiting.append((f"{prefix}{name}.", child))
    return found


def _plain_name(name: str) -> str:
    """Training on several devices puts ``module.`` in front of every name."""
    return name.removeprefix("module.")


def _require_finite(path: Path, weights: dict[str, Tensor]) -> None:
    for name, tensor in weights.items():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{path} is damaged: {name} holds NaN or infinite values; take another copy.")
