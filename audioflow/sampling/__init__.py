"""Engines for whatever is sequential, and noise from a seed."""

from audioflow.sampling.autoregressive import (
    CPU_ENGINES,
    ENGINES,
    Engine,
    Progress,
    cpu_sampler,
    sample_cached,
    sample_naive,
)
from audioflow.sampling.noise import NoiseWindow, batch_noise, seeds_of, utterance_noise

__all__ = [
    "CPU_ENGINES",
    "ENGINES",
    "Engine",
    "NoiseWindow",
    "Progress",
    "batch_noise",
    "cpu_sampler",
    "sample_cached",
    "sample_naive",
    "seeds_of",
    "utterance_noise",
]
