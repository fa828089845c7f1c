"""Shared by all tests; its place puts ``tests/`` on the import path, so that rooms can use ``laws.models``."""

import os

import pytest
import torch

if not torch.cuda.is_available():
    # Kernels for a GPU run in Triton's interpreter, which has to be asked for before they are read.
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Tiny tensors are slower on many threads than on one; what a module makes for all its tests is made so too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
