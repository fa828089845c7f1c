"""Engines for whatever is sequential, and noise from a seed."""

from audioflow.sampling.autoregressive import ENGINES, Engine, Progress, sample_cached, sample_naive
from audioflow.sampling.noise import batch_noise, utterance_noise

__all__ = ["ENGINES", "Engine", "Progress", "batch_noise", "sample_cached", "sample_naive", "utterance_noise"]
