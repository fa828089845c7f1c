"""Trains a vocoder on a GPU that is at hand for some minutes, from speech that is small enough to be sent along.

    python -m benchmarks.gpu_training pack prepared/festvox-ru --out pack --megabytes 60
    python -m benchmarks.gpu_training train pack recipes/festvox-ru/wavenet.yaml --out out --minutes 10
    python -m benchmarks.gpu_training join out --to runs/from-gpu

See docs/gpu-training.md.
"""

import time

from benchmarks.gpu_training import stand_ins

STARTED = time.monotonic()
"""When the program began: to import torch and the rest is part of the time that it may take."""

# Before anything of audioflow is imported.
stand_ins.install()
