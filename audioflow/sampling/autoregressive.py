"""Engines that run an autoregressive WaveNet sample by sample: all give the same audio for the same noise.

``naive`` is the specification: it calls the network on the whole receptive field for every sample. ``cached`` keeps
each layer's past in rings, so that a step costs one column of the network.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from audioflow.distributions import OutputLaw
from audioflow.nets.wavenet import CausalWaveNet

Progress = Callable[[int], None]
"""Called now and then with the number of samples done since the last call."""

BLOCK = 400
"""Steps whose conditioning is projected together: few enough to keep memory small, enough to make it one product."""


class Engine(Protocol):
    """What an engine is: a function from conditioning and noise to audio."""

    def __call__(
        self,
        network: CausalWaveNet,
        law: OutputLaw,
        cond: Tensor,
        level: Tensor,
        noise: Tensor,
        *,
        speaker: Tensor | None = None,
        temperature: float = 1.0,
        preemphasis: float = 0.0,
        progress: Progress | None = None,
    ) -> Tensor:
        """Audio ``[B, 1, T]`` within [-1, 1].

        Args:
            network: gives what the law needs for each sample.
            law: of a sample.
            cond: conditioning features ``[B, M, T]``.
            level: log standard deviation of the speech, ``[B, 1, T]``, see :class:`audioflow.nets.level.MelLevel`.
            noise: standard normal, ``[B, N, T]``.
            speaker: embeddings ``[B, S]``.
            temperature: of the law.
            preemphasis: coefficient ``a`` of a network and a law that work on ``x_t - a x_{t-1}``.
            progress: told of samples done.
        """
        ...


@torch.inference_mode()
def sample_naive(
    network: CausalWaveNet,
    law: OutputLaw,
    cond: Tensor,
    level: Tensor,
    noise: Tensor,
    *,
    speaker: Tensor | None = None,
    temperature: float = 1.0,
    preemphasis: float = 0.0,
    progress: Progress | None = None,
) -> Tensor:
    """Recompute the receptive field for every sample."""
    batch, _, steps = noise.shape
    x, before = noise.new_zeros(batch, 1, steps), noise.new_zeros(batch, 1, 1)
    emphasized = torch.zeros_like(x)
    for t in range(steps):
        # The step itself, and the past that reaches it.
        start = max(0, t - network.receptive_field)
        projected = network.project(cond[..., start : t + 1], speaker)
        outputs = network(law.network_input(emphasized[..., start : t + 1], level[..., start : t + 1]), projected)
        params = law.at_level(outputs[..., -1:], level[..., t : t + 1])
        sample, before = _draw(law, params, noise[..., t : t + 1], temperature, preemphasis * before)
        x[..., t : t + 1], emphasized[..., t : t + 1] = before, sample
        if progress is not None:
            progress(1)
    return x


@torch.inference_mode()
def sample_cached(
    network: CausalWaveNet,
    law: OutputLaw,
    cond: Tensor,
    level: Tensor,
    noise: Tensor,
    *,
    speaker: Tensor | None = None,
    temperature: float = 1.0,
    preemphasis: float = 0.0,
    progress: Progress | None = None,
) -> Tensor:
    """Step with rings of past activations; the conditioning is projected block by block."""
    batch, _, steps = noise.shape
    x, before = noise.new_zeros(batch, 1, steps), noise.new_zeros(batch, 1, 1)
    state = network.init_state(batch)
    previous = noise.new_zeros(batch, law.input_channels)
    for start in range(0, steps, BLOCK):
        stop = min(start + BLOCK, steps)
        projected = network.project(cond[..., start:stop], speaker)
        rows = None if projected is None else projected.permute(2, 0, 1).contiguous()
        for t in range(start, stop):
            share = None if rows is None else rows[t - start if len(rows) > 1 else 0]
            outputs, state = network.step(state, previous, share)
            here = level[..., t : t + 1]
            params = law.at_level(outputs[..., None], here)
            sample, before = _draw(law, params, noise[..., t : t + 1], temperature, preemphasis * before)
            x[..., t : t + 1] = before
            previous = law.network_input(sample, here)[..., 0]
        if progress is not None:
            progress(stop - start)
    return x


def _draw(
    law: OutputLaw, params: Tensor, noise: Tensor, temperature: float, predicted: Tensor
) -> tuple[Tensor, Tensor]:
    """A sample of the emphasised signal and of the audio, which is ``predicted`` more."""
    # Audio beyond full scale cannot be written, and would be fed back as something never seen in training.
    audio = (law.sample(params, noise, temperature) + predicted).clamp(-1.0, 1.0)
    return audio - predicted, audio


ENGINES: dict[str, Engine] = {"cached": sample_cached, "naive": sample_naive}
