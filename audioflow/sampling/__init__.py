"""Engines for whatever is sequential, and noise from a seed."""

from audioflow.sampling.autoregressive import (
    COMPILED_ENGINES,
    CPU_ENGINES,
    CUDA_ENGINES,
    ENGINES,
    KERNEL_ENGINES,
    Engine,
    Progress,
    Sampler,
    sample_cached,
    sample_naive,
    sampler_of,
)
from audioflow.sampling.noise import NoiseWindow, batch_noise, seeds_of, utterance_noise

__all__ = [
    "COMPILED_ENGINES",
    "CPU_ENGINES",
    "CUDA_ENGINES",
    "ENGINES",
    "KERNEL_ENGINES",
    "Engine",
    "NoiseWindow",
    "Progress",
    "Sampler",
    "batch_noise",
    "sample_cached",
    "sample_naive",
    "sampler_of",
    "seeds_of",
    "utterance_noise",
]
