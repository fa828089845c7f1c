"""The parallel student: causal inverse autoregressive flows, distilled from a WaveNet teacher."""

import math
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from audioflow.audio import MelContract
from audioflow.flows import IAF, Bijection, Chain, TimeReversal
from audioflow.flows.front import Around
from audioflow.flows.kernels import Affine
from audioflow.flows.reshape import reversed_in_time
from audioflow.nets.causal import CausalConditioner
from audioflow.nets.conditioning import Conditioning
from audioflow.nets.masks import full_precision, masked, repeat_mask, wide
from audioflow.nets.upsample import UpsamplerName, lowest_rate
from audioflow.nets.wavenet import CausalWaveNet, WaveNetConditioner
from audioflow.vocoders.base import settings_of
from audioflow.vocoders.excitation import CORRECTION, Correction, FrontOrder
from audioflow.vocoders.flow import Count, FlowVocoder, Positive, Speakers
from audioflow.vocoders.job import Given

Layers = Annotated[int, Field(ge=1, le=512)]
CLARINET = (10, 10, 10, 10, 10, 10)


class Draw(NamedTuple):
    r"""A sample of the student, with the law that it was drawn from.

    Attributes:
        wav: what the flows make, ``[B, T]``, with gradients: speech, or with a front excitation.
        sound: what is heard: the speech of it, or of what the denoiser leaves of it.
        mean: location of each sample given the noise before it, ``[B, T]``; ``None`` where flows run backwards in time,
            since no sample has a law of one dimension then.
        log_scale: log-scale of each sample, ``[B, T]``; its sum is the log-determinant from noise to audio either way.
    """

    wav: Tensor
    sound: Tensor
    mean: Tensor | None
    log_scale: Tensor


class Student(FlowVocoder):
    r"""Parallel student: each sample is noise, scaled and shifted by what causal WaveNets make of the noise before it.

    With ``K`` affine flows the sample given the noise before it has a law of the base's family, in closed form:

    .. math::
        x_t | z_{<t} \sim \text{base}(\mu_t, e^{s_t}) \qquad
        \mu_t = \sum_k \mu^{(k)}_t \prod_{j > k} e^{s^{(j)}_t} \qquad s_t = \sum_k s^{(k)}_t

    which is what probability density distillation compares with the teacher's law of ``x_t`` given ``x_{<t}``. At the
    start all flows are the identity: the mean is 0 and the scale that of the speech, as its mel says.

    Synthesis is one pass. Scoring recovers the noise sample by sample.

    Args:
        contract: mel front-end.
        flows: gated layers of each flow, the first to see the noise first; ClariNet's six times ten by default;
            Parallel WaveNet has 10, 10, 10, 30.
        cycle: layers after which the dilations start again at 1.
        residual_channels: channels of the residual path.
        gate_channels: channels of each gate; 0 for as many as residual ones.
        skip_channels: channels of the skip path and the head.
        kernel_size: taps of the dilated convolutions.
        front_kernel_size: taps of the first convolution.
        front_relu: whether a ReLU follows it, as in ClariNet.
        linear_taps: past values that are added directly, with learned weights; 0 for none, as in the literature.
        upsampler: from mel frames to samples: ``interpolate``, ``transposed``, ``transposed2d`` or ``stretch``.
        upsample_taps: mel frames that reach each conditioning sample of ``transposed``.
        cond_channels: conditioning features; 0 for as many as mel bands.
        denoiser_layers: gated layers of a network that sees the flows' audio on both sides and adds a correction, so
            that noise which no flow can avoid is taken away; 0 for none. It is no flow: likelihoods are those of the
            audio before it.
        log_scale_limit: bound of each flow's log-scale; 0 for none.
        base: law of the noise: ``normal``, or ``logistic`` as in Parallel WaveNet.
        order: ``kept``: every flow runs forwards in time, so that audio up to ``t`` needs noise up to ``t`` and can be
            streamed; ``reversed``: every second one runs backwards.
        follow_level: whether the flow works on speech divided by the loudness that its mel says it has.
        front: order of the filter that turns speech into excitation, on which the model then works, see
            :class:`audioflow.flows.Front`; ``none`` for the speech itself. ``follow_level`` says nothing then.
        front_correction: how much of the envelope's range the filter leaves, see there.
        periodicity: units of a network that reads off the mel how periodic the speech is, see
            :class:`audioflow.nets.periodicity.Periodicity`, for a temperature by voicing; 0 for none.
        speakers: number of speakers; 0 for a model of one voice.
        speaker_channels: size of a speaker's embedding.

    References:
        van den Oord et al., "Parallel WaveNet", 2017, https://arxiv.org/abs/1711.10433
        Ping, Peng and Chen, "ClariNet", 2018, https://arxiv.org/abs/1807.07281
    """

    name: ClassVar[str] = "student"

    def __init__(
        self,
        contract: MelContract,
        *,
        flows: Annotated[list[Layers], Field(min_length=1, max_length=64)] | None = None,
        cycle: Annotated[int, Field(ge=1, le=16)] = 10,
        residual_channels: Positive = 64,
        gate_channels: Count = 0,
        skip_channels: Positive = 64,
        kernel_size: Annotated[int, Field(ge=2, le=3)] = 3,
        front_kernel_size: Positive = 32,
        front_relu: bool = True,
        linear_taps: Annotated[int, Field(ge=0, le=4096)] = 0,
        upsampler: UpsamplerName = "interpolate",
        upsample_taps: Annotated[int, Field(ge=1, le=64)] = 4,
        cond_channels: Count = 0,
        denoiser_layers: Annotated[int, Field(ge=0, le=16)] = 0,
        log_scale_limit: Annotated[float, Field(ge=0)] = 5.0,
        base: Literal["normal", "logistic"] = "normal",
        order: Literal["kept", "reversed"] = "kept",
        follow_level: bool = True,
        front: FrontOrder = "none",
        front_correction: Correction = CORRECTION,
        periodicity: Count = 0,
        speakers: Speakers = 0,
        speaker_channels: Positive = 16,
    ) -> None:
        super().__init__(contract, settings_of(locals()))
        self.kernel = Affine(log_scale_limit or None)
        self.keeps_order = order == "kept"

        def flow(number: int, layers: int) -> Bijection:
            outputs = self.kernel.parameters
            network = CausalWaveNet.from_settings(self.config, 1, outputs, self.folded_cond_channels, layers)
            iaf = IAF(CausalConditioner(network), self.kernel)
            return iaf if self.keeps_order or number % 2 == 0 else TimeReversal(iaf)

        # A chain is written from data to noise, so its last member is the flow that sees the noise first.
        made = [flow(number, layers) for number, layers in enumerate(flows or CLARINET)]
        self._assemble(Chain(made[::-1]))
        self.denoiser = None
        if denoiser_layers:
            self.denoiser = WaveNetConditioner(1, 1, self.folded_cond_channels, residual_channels, denoiser_layers)

    @property
    def networks(self) -> list[CausalWaveNet]:
        """The network of each flow; the first sees the noise first."""
        return [module for module in self.flow.modules() if isinstance(module, CausalWaveNet)][::-1]

    @property
    @override
    def context_frames(self) -> int | None:
        frames = super().context_frames
        if frames is None or self.denoiser is None:
            return frames
        return frames + math.ceil(self.denoiser.context_steps / self.contract.hop_length)

    @property
    @override
    def lookahead_frames(self) -> int | None:
        if not self.keeps_order:
            return self.context_frames
        ahead = self.neighbour_frames
        if self.denoiser is not None:
            ahead += math.ceil(self.denoiser.context_steps / self.contract.hop_length)
        return ahead

    def draw(
        self,
        noise: Tensor,
        mel: Tensor,
        speaker: Tensor | None = None,
        hidden: list[Tensor] | None = None,
        around: Around | None = None,
    ) -> Draw:
        """Draw a sample with gradients, and the law of each of its samples: what distillation needs.

        Args:
            noise: standard normal, ``[B, 1, F * hop_length]``.
            mel: ``[B, M, F]``.
            speaker: speaker numbers ``[B]``, for models that have speakers.
            hidden: takes what each gated layer of the last flow is given, ``[B, residual_channels, T]``.
            around: what lies around segments that were cut out of utterances, for models with a front.
        """
        given = self._given(self._own_dtype(mel), None, speaker)
        cond = self._features(given)
        drawn = self.flow.base.sample(noise)
        x = mean = log_scale = torch.zeros_like(wide(drawn))
        for x, shift, log_factor in self._flows(drawn, cond, hidden=hidden):
            with full_precision(x):
                mean = mean * torch.exp(log_factor) + shift
                log_scale = log_scale + log_factor
        clean = self._clean(x, cond)
        with full_precision(x):
            loudness = torch.exp(given.level)
            law = (mean * loudness)[:, 0] if self.keeps_order else None
            scale = (log_scale + given.level)[:, 0]
            sound = self._speech(clean * loudness, mel, around)
            return Draw((x * loudness)[:, 0], sound[:, 0], law, scale)

    def _speech(self, x: Tensor, mel: Tensor, around: Around | None) -> Tensor:
        """Speech ``[B, 1, T]`` of what the flows make, from the real samples before a segment on."""
        if self.front is None:
            return x
        filter_ = self.front.filter(self._own_dtype(mel), None, around)
        return self.front.sound(x, filter_, None if around is None else around.samples)[0]

    @override
    def _make(self, noise: Tensor, given: Given, temperature: float, engine: str) -> Tensor:
        mask = repeat_mask(given.frame_mask, self.contract.hop_length)
        cond = self._features(given)
        x = drawn = self.flow.base.sample(noise, None, mask, temperature)
        for made, _, _ in self._flows(drawn, cond, mask):
            x = made
        return wide(self._clean(x, cond, mask)) * torch.exp(given.level)

    def _features(self, given: Given) -> Conditioning:
        """Conditioning at the lowest rate."""
        steady = None if self.voice is None or given.speaker is None else self.voice(given.speaker)[..., None]
        return lowest_rate(self.upsampler, given.mel, given.frame_mask, steady)

    def _clean(self, x: Tensor, cond: Conditioning, mask: Tensor | None = None) -> Tensor:
        """What is heard of the flows' audio ``[B, 1, T]``."""
        if self.denoiser is None:
            return x
        correction = self.denoiser.conditioned(x, cond, mask)
        with full_precision(x):
            return wide(x) + wide(correction)

    def _flows(
        self, x: Tensor, cond: Conditioning, mask: Tensor | None = None, hidden: list[Tensor] | None = None
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """The flows one after another, from noise to speech of loudness one: what each makes, its shift and log-scale.

        The same as ``flow.bijection.to_data``, with the conditioning at the lowest rate.

        Args:
            x: noise ``[B, 1, T]``.
            cond: features of the mel.
            mask: of the samples, ``[B, 1, T]``.
            hidden: takes what each gated layer of the last flow is given.
        """
        networks = self.networks
        for number, network in enumerate(networks):
            kept = hidden if number == len(networks) - 1 else None
            if self.keeps_order or number % 2 == 0:
                params = network(x, network.shares(cond), mask, kept)
            else:
                backwards = Conditioning(reversed_in_time(cond.samples(), mask))
                params = network(reversed_in_time(x, mask), network.shares(backwards), mask, kept)
                params = reversed_in_time(params, mask)
            with full_precision(x):
                shift, log_factor = self.kernel.shift_and_log_scale(wide(params))
                x = masked(x * torch.exp(log_factor) + shift, mask)
            yield x, shift, log_factor
