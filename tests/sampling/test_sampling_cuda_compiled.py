"""The kernel can be compiled, and fits the smallest GPU that it is for: its interpreter asks for neither."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

engine = pytest.importorskip("audioflow.sampling.cuda.engine", reason="triton, which compiles it, is not installed")


def test_the_kernel_compiles_and_fits(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    script = Path(__file__).with_name("compiled_kernels.py")
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env=environment, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    for name, shared in json.loads(done.stdout).items():
        assert all(0 < taken <= engine.LEAST_MEMORY for taken in shared), f"{name}: {shared}"
