"""What the vocoders that are one normalizing flow have in common: folded audio, conditioning, likelihood, sampling."""

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from audioflow.audio import MelContract
from audioflow.flows import ActNorm, Base, Bijection, DiagonalNormal, Flow, Logistic, MelNormal, StandardNormal
from audioflow.flows.base import no_log_det
from audioflow.flows.front import Around
from audioflow.flows.reshape import squeeze, unsqueeze
from audioflow.nets.masks import full_precision, mask_of, masked, repeat_mask, wide
from audioflow.nets.upsample import make_upsampler
from audioflow.sampling import Progress
from audioflow.sampling.graphs import GraphReplay
from audioflow.sampling.slots import SLOT_ENGINES
from audioflow.vocoders.base import Vocoder
from audioflow.vocoders.job import Given, Job
from audioflow.vocoders.pieces import LONGEST_PIECE, MelWindow, stretches

Positive = Annotated[int, Field(ge=1, le=4096)]
Count = Annotated[int, Field(ge=0, le=4096)]
Speakers = Annotated[int, Field(ge=0, le=1_000_000)]
BaseName = Literal["normal", "diagonal", "logistic", "mel"]
CondRate = Literal["sample", "group"]

BF16 = "parallel-bf16"
"""The engine whose layers work in bfloat16; audio and log-determinants stay in float32."""

GRAPHS = {"parallel-graph": "parallel", "parallel-bf16-graph": BF16}
"""Engines that a GPU runs as one recorded graph for each shape of the mel, and what they run."""

TOGETHER = 16_000
"""Samples of all utterances together that a CPU works on at a time: more do not go faster, but leave its caches."""

_FIRST_UTTERANCES = 8
"""From so many of the first utterances the layers of a flow start that start from data."""


class FlowVocoder(Vocoder):
    r"""A normalizing flow of audio folded ``squeeze`` times, told about the mel.

    .. math::
        \log p(x | \text{mel}) = \log p_z(z | c) + \log|\det \partial z / \partial x|, \qquad z = f(x e^{-\ell}; c)

    with :math:`e^\ell` the loudness that the mel says the speech has (see :class:`audioflow.nets.level.MelLevel`).

    A subclass gives its settings to :meth:`Vocoder.__init__`, makes a bijection, and calls :meth:`_assemble`.

    Attributes:
        flow: base and bijection over the folded signal ``[B, squeeze, T / squeeze]``.
        group: samples that are scored and generated together: ``squeeze`` times what the bijection needs.
    """

    engines: ClassVar[tuple[str, ...]] = ("parallel", BF16, *GRAPHS)
    flow: Flow

    def __init__(self, contract: MelContract, config: Mapping[str, Any]) -> None:
        super().__init__(contract, config)
        self.squeeze = int(config.get("squeeze", 1))
        self._graphs = GraphReplay()
        speakers, width = int(config["speakers"]), int(config["speaker_channels"])
        cond_channels = self._cond_channels
        self.speaker_embedding = nn.Embedding(speakers, width) if speakers else None
        self.voice = nn.Linear(width, cond_channels) if speakers else None
        self.upsampler = make_upsampler(
            config.get("upsampler", "transposed"), contract, cond_channels, int(config.get("upsample_taps", 4))
        )

    @property
    def _cond_channels(self) -> int:
        """Features at the sample rate."""
        return int(self.config.get("cond_channels", 0)) or self.contract.n_mels

    @property
    def folded_cond_channels(self) -> int:
        """Conditioning channels that the bijection is given."""
        return self._cond_channels * (self.squeeze if self.config.get("cond_rate", "sample") == "sample" else 1)

    def _assemble(self, bijection: Bijection) -> None:
        """Put the flow together, once the bijection is made."""
        self.group = self.squeeze * bijection.time_multiple
        base = make_base(self.config.get("base", "normal"), self.squeeze, self.folded_cond_channels)
        self.flow = Flow(base, bijection)

    @property
    @override
    def usable_engines(self) -> tuple[str, ...]:
        mean = self.normalizer.mean
        single = mean.dtype == torch.float32
        there = (name for name in self.engines if mean.is_cuda or name not in GRAPHS)
        return tuple(name for name in there if single or GRAPHS.get(name, name) != BF16)

    @property
    @override
    def scales_noise(self) -> bool:
        return not isinstance(self.flow.base, Logistic)

    @property
    @override
    def scores_step_by_step(self) -> bool:
        return self.flow.bijection.sequential == "to_noise"

    @property
    def context_frames(self) -> int | None:
        """Mel frames on each side that reach one sample: what exact synthesis in pieces has to carry.

        ``None``: all that came before. Pieces begin at multiples of ``group`` samples, where the whole has them too.
        """
        groups = self.flow.bijection.reach("to_data")
        if groups is None:
            return None
        samples = (groups + 1) * self.squeeze - 1
        return math.ceil(samples / self.contract.hop_length) + self.neighbour_frames

    @property
    @override
    def lookahead_frames(self) -> int | None:
        context = self.context_frames
        # To compute so much anew around every piece would be no gain.
        too_far = context is None or context > LONGEST_PIECE * self.contract.sample_rate / self.contract.hop_length
        return None if too_far else context

    @property
    @override
    def piece_frames(self) -> int:
        """The longest piece: recomputed around its ends by a sixth at most, but never more than ten seconds."""
        rate = self.contract.sample_rate / self.contract.hop_length
        around = (self.context_frames or 0) + (self.lookahead_frames or 0)
        return max(1, min(max(round(0.05 * rate), 6 * around), round(LONGEST_PIECE * rate)))

    @override
    def _pieces(
        self, source: MelWindow, lengths: Tensor | None, job: Job, progress: Progress | None
    ) -> Iterator[Tensor]:
        context, ahead = self.context_frames, self.lookahead_frames
        if context is None or ahead is None:
            yield from super()._pieces(source, lengths, job, progress)
            return
        hop = self.contract.hop_length
        # A piece begins where the whole has the beginning of a group too.
        whole = math.lcm(hop, self.group) // hop
        behind, largest = (-(-frames // whole) * whole for frames in (context, job.frames or self.piece_frames))
        # The first piece of a stream is the shortest, to be heard soon.
        soon = job.streams and job.frames is None
        size = -(-super().piece_frames // whole) * whole if soon else largest
        for start, stop, first, last in stretches(source, size, largest, behind, ahead):
            x = self._piece(source, lengths, job, progress, first, last)
            yield x[..., (start - first) * hop : (stop - first) * hop]

    @override
    def scored_samples(self, frames: int) -> int:
        """Whole groups only: of an utterance that ``group`` does not divide, the last few samples are left out."""
        return frames * self.contract.hop_length // self.group * self.group

    @override
    def _scored_mask(self, frame_mask: Tensor | None, frames: int) -> tuple[int, Tensor | None]:
        steps = self.scored_samples(frames)
        return steps, self._group_mask(frame_mask, steps, round_up=False)

    @override
    @torch.no_grad()
    def initialize(self, wav: Tensor, mel: Tensor, lengths: Tensor | None = None, around: Around | None = None) -> None:
        super().initialize(wav, mel, lengths, around)
        if not any(isinstance(layer, ActNorm) for layer in self.flow.modules()):
            return
        first = slice(0, _FIRST_UTTERANCES)
        wav, mel, lengths = wav[first], mel[first], None if lengths is None else lengths[first]
        frame_mask = self._frame_mask(lengths, mel)
        x = masked(wav[:, None], repeat_mask(frame_mask, self.contract.hop_length))
        if self.front is not None:
            beside = None if around is None else Around(*(part[first] for part in around))
            x, _ = self._excitation(self.front, x, mel, frame_mask, beside)
        if self.scored_samples(mel.shape[-1]):
            folded, _ = self._scored(x, self._given(mel, frame_mask, None))
            self.flow.bijection.initialize(*folded)

    @override
    def _log_prob(self, x: Tensor, given: Given) -> Tensor:
        if self.scored_samples(given.mel.shape[-1]) == 0:
            return no_log_det(x)
        folded, level = self._scored(x, given)
        log_prob = self.flow.log_prob(*folded)
        with full_precision(x):
            return log_prob - level.sum(dim=(1, 2))

    def _scored(self, x: Tensor, given: Given) -> tuple[tuple[Tensor, Tensor, Tensor | None], Tensor]:
        """What the flow scores, at its rate: speech of loudness one, conditioning, mask; the log of that loudness."""
        steps, mask = self._scored_mask(given.frame_mask, given.mel.shape[-1])
        cond = masked(self._cond(given)[..., :steps], mask)
        level = masked(given.level[..., :steps], mask)
        with full_precision(x):
            x = wide(x[..., :steps]) * torch.exp(-level)
        return self._folded(masked(x, mask), cond, mask), level

    @override
    def _generate(
        self, noise: Tensor, given: Given, temperature: float, engine: str, progress: Progress | None
    ) -> Tensor:
        recorded = GRAPHS.get(engine)
        if recorded is None:
            apart = noise.device.type == "cpu" and len(noise) > 1 and engine not in SLOT_ENGINES
            return (self._make_in_turns if apart else self._make)(noise, given, temperature, engine)
        if not noise.is_cuda:
            raise ValueError(f"the engine {engine} needs the model on an NVIDIA GPU; use {self.usable_engines[0]}")

        def make(noise: Tensor, *parts: Tensor) -> Tensor:
            with self._precision(recorded, noise):
                return self._make(noise, Given(*parts), temperature, recorded)

        inputs = noise, given.mel, given.level, given.frame_mask, given.speaker
        return self._graphs(make, inputs, (engine, temperature), (*self.parameters(), *self.buffers()))

    def _make_in_turns(self, noise: Tensor, given: Given, temperature: float, engine: str) -> Tensor:
        """The same, a few utterances at a time, so that caches hold what they work on, and nothing after their ends."""
        hop, together = self.contract.hop_length, max(1, TOGETHER // noise.shape[-1])
        audio = torch.zeros_like(given.level)
        for start in range(0, len(noise), together):
            rows = slice(start, start + together)
            mask, speaker = (None if x is None else x[rows] for x in (given.frame_mask, given.speaker))
            frames = given.mel.shape[-1] if mask is None else int(mask.sum(dim=(1, 2)).max())
            if frames == 0:
                continue
            mask = None if mask is None else mask[..., :frames]
            part = Given(given.mel[rows, :, :frames], given.level[rows, :, : frames * hop], mask, speaker)
            made = self._make(noise[rows, :, : self._noise_steps(frames)], part, temperature, engine)
            audio[rows, :, : frames * hop] = made
        return audio

    @override
    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Let :func:`torch.compile`, which takes these arguments, fuse what makes the audio.

        That takes up to a minute at the first synthesis, and again for another number of frames or utterances.
        """
        self._make = torch.compile(self._make, *args, **kwargs)  # type: ignore[method-assign]

    def _make(self, noise: Tensor, given: Given, temperature: float, engine: str) -> Tensor:
        """Audio ``[B, 1, T]`` from standard normal noise ``[B, 1, T]``, all of it on the device of the model."""
        cond = self._cond(given)
        beyond = noise.shape[-1] - cond.shape[-1]
        mask = self._group_mask(given.frame_mask, noise.shape[-1], round_up=True)
        folded = self._folded(masked(noise, mask), functional.pad(cond, (0, beyond)), mask)
        x = unsqueeze(self._draw(*folded, temperature=temperature, engine=engine), self.squeeze)
        return wide(x)[..., : cond.shape[-1]] * torch.exp(given.level)

    def _draw(
        self, noise: Tensor, cond: Tensor | None, mask: Tensor | None, *, temperature: float, engine: str
    ) -> Tensor:
        """Folded audio from folded noise; flows that run slot by slot have engines for that."""
        bijection = self.flow.bijection
        if engine in SLOT_ENGINES:
            bijection = SLOT_ENGINES[engine](bijection)
        return Flow(self.flow.base, bijection).sample(noise, cond, mask, temperature)

    @override
    def _precision(self, engine: str, x: Tensor) -> AbstractContextManager[object]:
        if engine != BF16:
            return nullcontext()
        # A weight is read once, and what autocast keeps of it would be gone when a graph is run again.
        return torch.autocast(x.device.type, torch.bfloat16, cache_enabled=False)

    def _noise_steps(self, frames: int) -> int:
        return math.ceil(frames * self.contract.hop_length / self.group) * self.group

    def _folded(self, x: Tensor, cond: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Signal, conditioning and mask at the rate of the flow."""
        if self.config.get("cond_rate", "sample") == "group":
            # The features vary slowly: those in the middle of a group stand for it.
            cond = cond[..., self.squeeze // 2 :: self.squeeze]
        else:
            cond = squeeze(cond, self.squeeze)
        return squeeze(x, self.squeeze), cond, None if mask is None else mask[..., :: self.squeeze]

    def _cond(self, given: Given) -> Tensor:
        cond: Tensor = self.upsampler(given.mel, given.frame_mask)
        if self.voice is None or given.speaker is None:
            return cond
        voiced = cond + self.voice(given.speaker)[..., None]
        return masked(voiced, repeat_mask(given.frame_mask, self.contract.hop_length))

    def _group_mask(self, frame_mask: Tensor | None, steps: int, *, round_up: bool) -> Tensor | None:
        """Mask ``[B, 1, steps]`` of whole groups; ``round_up`` counts a group cut by the end."""
        if frame_mask is None:
            return None
        samples = frame_mask.sum(dim=(1, 2)).long() * self.contract.hop_length
        whole = (samples + (self.group - 1 if round_up else 0)) // self.group * self.group
        return mask_of(whole, steps, frame_mask.dtype)


def make_base(name: BaseName, channels: int, cond_channels: int) -> Base:
    """The base distribution that a recipe names by ``base``."""
    if name == "diagonal":
        return DiagonalNormal(channels)
    if name == "logistic":
        return Logistic()
    if name == "mel":
        return MelNormal(channels, cond_channels)
    return StandardNormal()
