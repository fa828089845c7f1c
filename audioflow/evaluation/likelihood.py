"""Exact log-likelihood of recordings under a vocoder, given their own mels."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from audioflow import audio
from audioflow.errors import AudioError
from audioflow.vocoders import Vocoder

SCORED_TOGETHER = 32
"""Recordings in a batch, for vocoders that score sample by sample."""


@dataclass(frozen=True)
class LogLikelihood:
    """How probable some samples are: a density over amplitudes in [-1, 1], summed over ``samples``.

    Attributes:
        nats_total: natural logarithm of the density of all samples together.
        samples: how many samples were counted.
        dequantized: whether uniform noise of one 16-bit step was added first; without it a density may grow without
            bound on 16-bit audio (silence is a point mass), so figures with and without do not compare.
    """

    nats_total: float
    samples: int
    dequantized: bool

    @property
    def nats_per_sample(self) -> float:
        """Mean log-density of a sample: higher is better."""
        return self.nats_total / self.samples

    @property
    def bits_per_sample(self) -> float:
        """Code length of a 16-bit sample, one step being 2^-15: lower is better."""
        return bits_per_sample(self.nats_per_sample)


def bits_per_sample(nats_per_sample: float) -> float:
    """Turn a mean log-density over [-1, 1] into the bits that one 16-bit sample costs.

    >>> round(bits_per_sample(math.log(1 / 2)), 6)  # uniform over [-1, 1]: all 16 bits
    16.0
    """
    return 15 - nats_per_sample / math.log(2)


def pooled(scores: Iterable[LogLikelihood]) -> LogLikelihood:
    """Put several scores together: each sample, not each recording, counts the same.

    Raises:
        AudioError: there is nothing to pool, or scores with and without dequantisation are mixed.
    """
    scores = list(scores)
    if len({score.dequantized for score in scores}) != 1:
        raise AudioError(
            "Log-likelihoods can be pooled only if there are some, all with or all without dequantisation."
        )
    return LogLikelihood(
        nats_total=math.fsum(score.nats_total for score in scores),
        samples=sum(score.samples for score in scores),
        dequantized=scores[0].dequantized,
    )


def score(
    vocoder: Vocoder,
    wav: Tensor,
    *,
    dequantize: bool = True,
    seed: int = 0,
    draws: int = 1,
    speaker: int | None = None,
) -> LogLikelihood:
    """Give the log-likelihood of one recording under a vocoder, given the recording's own mel.

    The wav is cut to whole frames. The mel is that of the recording as it is; only the samples that are scored get
    the dequantisation noise, as in training.

    Args:
        vocoder: on whatever device it is; the computing happens there.
        wav: [T] in [-1, 1] at the vocoder's rate.
        dequantize: whether to add uniform noise of one 16-bit step.
        seed: of that noise.
        draws: over how many draws of that noise the log-density is averaged.
        speaker: number of the speaker, for a vocoder that knows several; the first where none is named.

    Raises:
        AudioError: the wav is shorter than one frame.
    """
    if draws < 1:
        raise ValueError(f"draws is {draws}; at least one is needed")
    device = device_of(vocoder)
    wav, mel = whole_frames(vocoder, wav.to(device))
    voice = None if speaker is None else torch.tensor([speaker], device=device)
    generator = torch.Generator().manual_seed(seed)
    nats = []
    with torch.no_grad():
        for _ in range(draws if dequantize else 1):
            # The noise is drawn on the CPU, so that one seed is one figure on every device.
            scored = audio.dequantize(wav.cpu(), generator).to(device) if dequantize else wav
            nats.append(float(vocoder.log_prob(scored[None], mel, speaker=voice)))
    return LogLikelihood(math.fsum(nats) / len(nats), vocoder.scored_samples(mel.shape[-1]), dequantize)


def score_many(
    vocoder: Vocoder,
    wavs: Iterable[Tensor],
    *,
    dequantize: bool = True,
    seed: int = 0,
    draws: int = 1,
    speaker: int | Sequence[int] | None = None,
) -> list[LogLikelihood]:
    """Score each wav [T], as one speaker or each as its own; recording ``i`` gets the noise of ``seed + i``.

    ``pooled`` makes one figure of the list. A vocoder that scores sample by sample scores many at once.

    Raises:
        AudioError: a wav is shorter than one frame.
    """
    wavs = list(wavs)
    voices = list(speaker) if isinstance(speaker, Sequence) else [speaker] * len(wavs)
    seeded = list(zip(range(seed, seed + len(wavs)), wavs, voices, strict=True))
    if vocoder.scores_step_by_step and draws == 1:
        parts = [seeded[first : first + SCORED_TOGETHER] for first in range(0, len(seeded), SCORED_TOGETHER)]
        return [one for part in parts for one in _score_together(vocoder, part, dequantize=dequantize)]
    return [
        score(vocoder, wav, dequantize=dequantize, seed=own, draws=draws, speaker=voice) for own, wav, voice in seeded
    ]


def _score_together(
    vocoder: Vocoder, seeded: Sequence[tuple[int, Tensor, int | None]], *, dequantize: bool
) -> list[LogLikelihood]:
    """Score wavs [T] as one padded batch, each with the noise of its own seed, as its own speaker."""
    device = device_of(vocoder)
    wavs, mels = [], []
    for seed, wav, _ in seeded:
        whole, mel = whole_frames(vocoder, wav.to(device))
        generator = torch.Generator().manual_seed(seed)
        wavs.append(audio.dequantize(whole.cpu(), generator).to(device) if dequantize else whole)
        mels.append(mel[0].t())
    lengths = torch.tensor([len(mel) for mel in mels], device=device)
    speakers = [voice for _, _, voice in seeded if voice is not None]
    voice = torch.tensor(speakers, device=device) if speakers else None
    with torch.no_grad():
        batch = pad_sequence(wavs, batch_first=True), pad_sequence(mels, batch_first=True).transpose(1, 2)
        nats = vocoder.log_prob(*batch, lengths, voice).tolist()
    return [
        LogLikelihood(one, vocoder.scored_samples(len(mel)), dequantize) for one, mel in zip(nats, mels, strict=True)
    ]


def whole_frames(vocoder: Vocoder, wav: Tensor) -> tuple[Tensor, Tensor]:
    """Cut wav [T] to whole frames, wav [F * hop], and give its mel [1, M, F]; the mel still sees what was cut off.

    Raises:
        AudioError: the wav is shorter than one frame.
    """
    hop = vocoder.contract.hop_length
    frames = wav.shape[-1] // hop
    if frames == 0:
        raise AudioError(f"A wav of {wav.shape[-1]} samples is shorter than one mel frame of {hop}; give a longer one.")
    mel = vocoder.mel(wav[None])
    return wav[: frames * hop], mel[..., :frames]


def device_of(vocoder: Vocoder) -> torch.device:
    """Give the device where a vocoder's parameters are."""
    return next(vocoder.parameters()).device
