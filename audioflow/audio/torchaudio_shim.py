"""Importing torchaudio where its compiled part cannot load.

The torchaudio wheels on the package index are linked against CUDA. Beside a torch that was built for the CPU,
``import torchaudio`` stops with an ``OSError`` that names a missing CUDA library. The Python parts (filter banks,
transforms, data sets) need nothing compiled: they work once the module that loads the libraries has a stand-in.
"""

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

_EXTENSION = "torchaudio._extension"


def torchaudio() -> ModuleType:
    """Import torchaudio, with a stand-in for its compiled part only where that part cannot load.

    Decoding and encoding (``torchaudio.load``, ``torchaudio.save``) are not to be used: see `read_audio`.

    Returns:
        the module ``torchaudio``, complete down to ``functional``, ``transforms`` and ``datasets``.

    Raises:
        ImportError: torchaudio is not installed.
        OSError: torchaudio cannot load for another reason than a missing CUDA library.
    """
    try:
        return importlib.import_module("torchaudio")
    except OSError as error:
        if not _is_missing_cuda(error):
            raise
    for name in [name for name in sys.modules if name == "torchaudio" or name.startswith("torchaudio.")]:
        del sys.modules[name]  # leftovers of the import that failed half-way
    sys.modules[_EXTENSION] = _stand_in()
    return importlib.import_module("torchaudio")


def _is_missing_cuda(error: BaseException | None) -> bool:
    """Look for a CUDA library in the message; newer torch puts it into the error's cause."""
    if error is None:
        return False
    named = any(library in str(error) for library in ("libc10_cuda", "libtorch_cuda", "libcudart"))
    return named or _is_missing_cuda(error.__cause__)


def _stand_in() -> ModuleType:
    module: Any = ModuleType(_EXTENSION)
    module._IS_TORCHAUDIO_EXT_AVAILABLE = False
    module._IS_ALIGN_AVAILABLE = False
    module.fail_if_no_align = _identity
    return module  # type: ignore[no-any-return]


def _identity(function: Callable[..., Any]) -> Callable[..., Any]:
    return function
