"""The two file formats of ``torch.save``, read without running anything in them.

Since 1.6 torch writes a zip file: ``<name>/data.pkl``, a pickle that refers to storages by key, and the bytes of each
storage in ``<name>/data/<key>``. Before, it wrote pickles one after another (a magic number, a version, facts of the
machine, the object, the list of storage keys) and then each storage, its length in front.
"""

import io
import math
import struct
import zipfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor
from typing_extensions import override

from audioflow.imports.pickle_machine import Name, PickleError, PickleMachine, ordinary

ZIP_START = b"PK\x03\x04"
LEGACY_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The magic number 0x1950a86a20f9469cfc6c, pickled."""

DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
REBUILD_TENSOR = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
WRAPPED_TENSOR = (
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch.nn.parameter.Parameter",
)


@dataclass(frozen=True)
class Storage:
    """Numbers that lie in the file.

    Attributes:
        key: under which.
        dtype: of what kind.
        start: number of the first one that is meant.
        count: how many.
    """

    key: str
    dtype: torch.dtype
    start: int
    count: int


@dataclass(eq=False)
class StoredTensor:
    """A tensor that has not been read yet: a view of a storage."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class TorchFile(ABC):
    """A checkpoint whose pickle has been read, and whose tensors can be read one by one.

    Args:
        path: the file.

    Attributes:
        content: what was saved, made of containers, numbers, :class:`Made` and :class:`StoredTensor`.
        sources: program text that older files keep beside a module's class, by the path of the class; never run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content: Any = None
        self.sources: dict[str, str] = {}
        self._dtypes: dict[str, torch.dtype] = {}

    @abstractmethod
    def _bytes(self, storage: Storage) -> bytes:
        """All bytes of a storage."""

    def tensor(self, stored: StoredTensor) -> Tensor:
        """Read one tensor.

        Raises:
            PickleError: its shape does not fit into its storage.
        """
        storage = stored.storage
        if not _fits(stored):
            raise PickleError(f"a tensor of {list(stored.size)} does not fit into {storage.count} numbers")
        if 0 in stored.size:
            return torch.zeros(stored.size, dtype=storage.dtype)
        data = bytearray(self._bytes(storage))
        if len(data) < (storage.start + storage.count) * storage.dtype.itemsize:
            raise PickleError(f"storage {storage.key} holds {len(data)} bytes, but more are needed")
        numbers = torch.frombuffer(data, dtype=storage.dtype)
        return numbers.as_strided(stored.size, stored.stride, storage.start + stored.offset).clone()

    def _machine(self) -> PickleMachine:
        return PickleMachine(_make, self._persistent)

    def _persistent(self, identity: Any) -> Any:
        """``("storage", class, key, device, count[, view])``, or ``("module", class, file, text)`` in older files."""
        what, *rest = identity
        if what == "module":
            self.sources[rest[0].path] = str(rest[2])
            return rest[0]
        dtype = DTYPES.get(rest[0].path.rpartition(".")[2]) if what == "storage" else None
        if dtype is None:
            raise PickleError(f"it holds numbers of an unknown kind ({getattr(rest[0], 'path', what)})")
        view = rest[4] if len(rest) > 4 else None
        start, count = (0, int(rest[3])) if view is None else (int(view[1]), int(view[2]))
        if start < 0 or count < 0:
            raise PickleError(f"storage {rest[1]} has a negative size")
        self._dtypes[str(rest[1])] = dtype
        return Storage(str(rest[1]), dtype, start, count)


class ZipTorchFile(TorchFile):
    """The format since torch 1.6."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
            if len(names) != 1:
                raise PickleError("it is a zip file, but holds no data.pkl")
            self.root = names[0].removesuffix("data.pkl")
            if self._read(archive, "byteorder", b"little") != b"little":
                raise PickleError("its numbers are big-endian")
            self.content = self._machine().run(io.BytesIO(self._read(archive, "data.pkl")))

    @override
    def _bytes(self, storage: Storage) -> bytes:
        with zipfile.ZipFile(self.path) as archive:
            return self._read(archive, f"data/{storage.key}")

    def _read(self, archive: zipfile.ZipFile, name: str, absent: bytes | None = None) -> bytes:
        name = self.root + name
        if absent is not None and name not in archive.namelist():
            return absent
        return archive.read(name)


class LegacyTorchFile(TorchFile):
    """The format before torch 1.6."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with path.open("rb") as file:
            _, _, _, self.content, keys = (self._machine().run(file) for _ in range(5))
            self.places = self._places(file, [str(key) for key in keys])

    def _places(self, file: BinaryIO, keys: list[str]) -> dict[str, tuple[int, int]]:
        """Position of each storage's bytes and the count of numbers in front of it."""
        size = self.path.stat().st_size
        places = {}
        for key in keys:
            head = file.read(8)
            count = struct.unpack("<q", head)[0] if len(head) == 8 else size
            places[key] = (file.tell(), count)
            end = file.tell() + count * self._dtypes[key].itemsize
            if count < 0 or end > size:
                raise PickleError(f"storage {key} reaches beyond the end of the file")
            file.seek(end)
        return places

    @override
    def _bytes(self, storage: Storage) -> bytes:
        position, count = self.places[storage.key]
        with self.path.open("rb") as file:
            file.seek(position)
            return file.read(count * storage.dtype.itemsize)


def _fits(stored: StoredTensor) -> bool:
    """Whether a view lies within its storage and has no more numbers: a view can claim a terabyte of a single one."""
    if len(stored.size) != len(stored.stride) or min((0, stored.offset, *stored.size, *stored.stride)) < 0:
        return False
    last = stored.offset + sum((n - 1) * step for n, step in zip(stored.size, stored.stride, strict=True))
    return 0 in stored.size or (last < stored.storage.count and math.prod(stored.size) <= stored.storage.count)


def _make(maker: Name, arguments: tuple[Any, ...]) -> Any:
    """Tensors become :class:`StoredTensor`; for the rest see :func:`ordinary`."""
    if maker.path in REBUILD_TENSOR and isinstance(arguments[0], Storage):
        storage, offset, size, stride = arguments[:4]
        return StoredTensor(storage, int(offset), tuple(map(int, size)), tuple(map(int, stride)))
    if maker.path in WRAPPED_TENSOR and isinstance(arguments[0], StoredTensor):
        return arguments[0]
    if maker.path == "torch.Size":
        return tuple(arguments[0])
    return ordinary(maker, arguments)
