"""Mel spectrograms as files that carry the contract they were made under."""

import json
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from audioflow.audio.contract import MelContract
from audioflow.errors import MelError, OutputError
from audioflow.files import atomic_path

_CONTRACT_KEY = "mel_contract"
_WITH_CONTRACT = (".npz", ".safetensors")
_NPY = b"\x93NUMPY"


def save_mel(path: str | Path, mel: Tensor, contract: MelContract, overwrite: bool = False) -> None:
    """Write a spectrogram in float32 together with its contract, whole or not at all.

    Args:
        path: ``.npz`` (arrays ``mel`` and ``mel_contract``, JSON) or ``.safetensors`` (tensor ``mel``, metadata).
        mel: ``[M, F]``.
        contract: what it was made under.
        overwrite: whether an existing file may be replaced.

    Raises:
        MelError: the shape does not fit the contract, or there is NaN or infinity.
        OutputError: the suffix is another one, the file exists, or it cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in _WITH_CONTRACT:
        known = " or ".join(_WITH_CONTRACT)
        raise OutputError(f"{path} cannot carry a mel contract: mel files are written as {known}; name it so.")
    mel = mel.detach().to("cpu", torch.float32).contiguous()
    _require_mel(path, mel, contract)
    text = contract.model_dump_json()
    with atomic_path(path, overwrite=overwrite) as temporary:
        if path.suffix.lower() == ".npz":
            np.savez(temporary, allow_pickle=False, **{"mel": mel.numpy(), _CONTRACT_KEY: np.array(text)})
        else:
            try:
                save_file({"mel": mel}, temporary, metadata={_CONTRACT_KEY: text})
            except SafetensorError as error:  # how the library reports a full disk
                raise OSError(str(error)) from error


def load_mel(path: str | Path, contract: MelContract | None = None) -> tuple[Tensor, MelContract]:
    """Read a spectrogram and the contract it was made under. Nothing in the file is ever executed.

    Args:
        path: ``.npz`` or ``.safetensors`` as `save_mel` writes them, or a bare ``.npy`` of shape [M, F].
        contract: needed for a bare ``.npy``, which says nothing of its origin; elsewhere it must equal the file's.

    Returns:
        mel ``[M, F]`` in float32, and its contract.

    Raises:
        MelError: the file is missing, of another kind, damaged, pickled or without a contract; it was made under
            another contract; or the values have the wrong shape, are NaN or infinite.
    """
    path = Path(path)
    if not path.is_file():
        raise MelError(f"{path} {'is a directory' if path.is_dir() else 'does not exist'}; name a mel file.")
    array, text = _read(path)
    if text is not None:
        found = _parse_contract(path, text)
        if contract is not None and found != contract:
            differing = ", ".join(found.differences(contract))
            raise MelError(f"{path} was made by another mel front-end: {differing}; make it again from the audio.")
        contract = found
    if contract is None:
        raise MelError(f"{path} does not say which front-end made it; name its contract (--mel PRESET).")
    mel = torch.from_numpy(_as_float32(path, array))
    _require_mel(path, mel, contract)
    return mel, contract


def load_bare_mel(path: str | Path) -> Tensor:
    """Read a ``.npy`` that does not say what it was made under. Nothing in the file is ever executed.

    Returns:
        the values as they are, ``[rows, columns]`` in float32.

    Raises:
        MelError: the file is missing, damaged, pickled, or no matrix of floating-point numbers.
    """
    path = Path(path)
    mel = torch.from_numpy(_as_float32(path, _read(path)[0]))
    if mel.dim() != 2:
        raise MelError(f"{path} has shape {list(mel.shape)}, but a spectrogram [M, F] is needed; make it again.")
    return mel


def _read(path: Path) -> tuple[np.ndarray, str | None]:
    readers = {".npy": _read_npy, ".npz": _read_npz, ".safetensors": _read_safetensors}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise MelError(f"{path} ends in {path.suffix!r}, mel files end in {', '.join(readers)}; convert or rename it.")
    try:
        return reader(path)
    except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile, zlib.error, SafetensorError) as error:
        raise _unreadable(path, error) from error


def _read_npy(path: Path) -> tuple[np.ndarray, None]:
    with path.open("rb") as file:
        if file.read(len(_NPY)) != _NPY:
            raise ValueError("it does not begin like a NumPy array")
    array: np.ndarray = np.load(path, allow_pickle=False)
    return array, None


def _read_npz(path: Path) -> tuple[np.ndarray, str | None]:
    if not zipfile.is_zipfile(path):
        raise ValueError("it is no whole zip archive")
    with np.load(path, allow_pickle=False) as archive:
        text = str(archive[_CONTRACT_KEY]) if _CONTRACT_KEY in archive else None
        return archive["mel"], text


def _read_safetensors(path: Path) -> tuple[np.ndarray, str | None]:
    with safe_open(path, framework="np") as file:
        if "mel" not in set(file.keys()):
            raise KeyError("mel")
        return file.get_tensor("mel"), (file.metadata() or {}).get(_CONTRACT_KEY)


def _unreadable(path: Path, error: Exception) -> MelError:
    if "pickle" in str(error).lower():
        return MelError(f"{path} holds pickled objects, which can run code; save the plain array instead.")
    if isinstance(error, KeyError):
        return MelError(f"{path} has no array named 'mel'; write mel files with save_mel.")
    reason = str(error).rstrip(".")
    return MelError(
        f"{path} is damaged, truncated or no mel file ({reason}); make it again (pickled data are not read)."
    )


def _parse_contract(path: Path, text: str) -> MelContract:
    try:
        return MelContract.model_validate(json.loads(text))
    except (ValidationError, ValueError) as error:
        raise MelError(f"{path} carries a mel contract that cannot be understood; make the file again.") from error


def _as_float32(path: Path, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind != "f":
        raise MelError(f"{path} holds values of type {array.dtype}, but floating-point log-mel values are needed.")
    return np.ascontiguousarray(array, dtype=np.float32)


def _require_mel(path: Path, mel: Tensor, contract: MelContract) -> None:
    bands, shape = contract.n_mels, list(mel.shape)
    if mel.dim() != 2:
        raise MelError(f"{path} has shape {shape}, but a spectrogram [M, F] with {bands} bands is needed.")
    if mel.shape[0] != bands and mel.shape[1] == bands:
        raise MelError(f"{path} is transposed: it has shape {shape}, but [M, F] with M = {bands} is needed.")
    if mel.shape[0] != bands:
        raise MelError(f"{path} has {shape[0]} mel bands, but its contract has {bands}; use the matching front-end.")
    if mel.shape[1] == 0:
        raise MelError(f"{path} has no frames; make it again from a longer recording.")
    bad = int((~torch.isfinite(mel)).sum())
    if bad:
        raise MelError(f"{path} holds {bad} NaN or infinite values; make it again.")
