"""The autoregressive WaveNet vocoder: each sample drawn from a law that the samples before it decide."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from audioflow.audio import MelContract, emphasize
from audioflow.distributions import (
    DiscretizedLogisticMixture,
    Gaussian,
    GaussianMixture,
    LogisticMixture,
    MuLawCategorical,
    OutputLaw,
)
from audioflow.flows import Bijection, CausalAffine, Chain, Preemphasis
from audioflow.flows.front import Around
from audioflow.nets.group_head import GroupLaw, grouped, ungrouped
from audioflow.nets.masks import full_precision, masked, repeat_mask, wide
from audioflow.nets.upsample import UpsamplerName, lowest_rate, make_upsampler
from audioflow.nets.wavenet import CausalWaveNet
from audioflow.sampling import COMPILED_ENGINES, CPU_ENGINES, CUDA_ENGINES, ENGINES, Progress, Sampler, sampler_of
from audioflow.sampling.cpu import int8_works
from audioflow.vocoders.base import Vocoder, settings_of
from audioflow.vocoders.excitation import CORRECTION, Correction, FrontOrder
from audioflow.vocoders.job import Given, Job
from audioflow.vocoders.pieces import LONGEST_PIECE, MelWindow, stretches

Head = Literal["gaussian", "gaussian_mixture", "continuous_logistic_mixture", "logistic_mixture", "mu_law"]
Positive = Annotated[int, Field(ge=1, le=4096)]
Count = Annotated[int, Field(ge=0, le=4096)]


EXCITATION_LIMIT = 64.0
"""What drawn excitation, of unit variance, is held within: a network that feeds itself cannot run away."""


@dataclass(frozen=True)
class Prediction:
    """Laws of the samples of a recording, each given the samples before it.

    Attributes:
        law: which law.
        params: ``[B, P, T]``.
        shift: what is added to a draw of the law, ``[B, 1, T]``: zero without pre-emphasis.
    """

    law: OutputLaw
    params: Tensor
    shift: Tensor


class WaveNet(Vocoder):
    r"""Autoregressive WaveNet with mel conditioning.

    .. math:: \log p(x | \text{mel}) = \sum_t \log p(x_t | \text{net}(x_{<t}, c_t))

    Training sees all samples at once (teacher forcing); synthesis goes sample by sample. With the Gaussian head the
    model is also a flow, see :meth:`bijection`.

    Args:
        contract: mel front-end.
        layers: gated layers.
        cycle: layers after which the dilations start again at 1.
        residual_channels: channels of the residual path.
        gate_channels: channels of each gate; 0 for as many as residual ones.
        skip_channels: channels of the skip path and the head.
        kernel_size: taps of the dilated convolutions.
        front_kernel_size: taps of the first convolution.
        front_relu: whether a ReLU follows it, as in ClariNet.
        linear_taps: past steps that predict the next one linearly, beside the network; 0 for none.
        samples_per_step: ``r``: samples that the network makes at a time, on excitation only. Its step then is a group
            of them, and one sample after another within the group depends on those before, see
            :class:`audioflow.nets.group_head.GroupLaw`.
        group_hidden: units of the hidden layer of the MADE within a group; 0 for a linear dependence alone.
        cond_hidden: channels between two convolutions of the mel, of which there is one alone where this is 0; goes
            with ``interpolate``.
        cond_channels: channels of the conditioning features.
        upsampler: from mel frames to samples: ``interpolate``, ``transposed``, ``transposed2d`` or ``stretch``, see
            :func:`audioflow.nets.upsample.make_upsampler`.
        upsample_scales: factors of ``transposed2d`` and ``stretch``, which multiply to the hop; two by default.
        upsample_taps: mel frames that reach each conditioning sample of ``transposed``.
        upsample_context: frames on each side that the convolution before ``interpolate`` and ``stretch`` sees.
        upsample_overlap: whether the kernels of ``transposed2d`` are twice as long as its factors, or as long.
        upsample_slope: of the leaky ReLUs of ``transposed2d``.
        head: law of a sample: ``gaussian``, ``gaussian_mixture``, ``logistic_mixture`` or ``mu_law``.
        components: components of a mixture.
        classes: classes of mu-law.
        one_hot: whether the network sees of a sample its mu-law class, or its companded amplitude.
        min_log_scale: floor of log-scales.
        preemphasis: ``a``, where the network works on ``x_t - a x_{t-1}``, in which high frequencies count for as much
            as low ones; 0 for none. Likelihoods are those of ``x`` all the same: the filter keeps the volume.
        follow_level: whether the network works on speech divided by the loudness that its mel says it has.
        front: order of the filter that turns speech into excitation, on which the model then works, see
            :class:`audioflow.flows.Front`; ``none`` for the speech itself. ``follow_level`` says nothing then.
        front_correction: how much of the envelope's range the filter leaves, see there.
        periodicity: units of a network that reads off the mel how periodic the speech is, see
            :class:`audioflow.nets.periodicity.Periodicity`, for a temperature by voicing; 0 for none.
        speakers: number of speakers; 0 for a model of one voice.
        speaker_channels: size of a speaker's embedding.

    References:
        van den Oord et al., "WaveNet: A Generative Model for Raw Audio", 2016, https://arxiv.org/abs/1609.03499
        Ping, Peng and Chen, "ClariNet", 2018, https://arxiv.org/abs/1807.07281 (the Gaussian head)
    """

    name: ClassVar[str] = "wavenet"
    engines: ClassVar[tuple[str, ...]] = tuple(ENGINES)

    def __init__(
        self,
        contract: MelContract,
        *,
        layers: Annotated[int, Field(ge=1, le=512)] = 20,
        cycle: Annotated[int, Field(ge=1, le=16)] = 10,
        residual_channels: Positive = 64,
        gate_channels: Count = 0,
        skip_channels: Positive = 64,
        kernel_size: Annotated[int, Field(ge=2, le=3)] = 2,
        front_kernel_size: Positive = 1,
        front_relu: bool = False,
        linear_taps: Annotated[int, Field(ge=0, le=4096)] = 16,
        samples_per_step: Annotated[int, Field(ge=1, le=64)] = 1,
        group_hidden: Count = 0,
        cond_hidden: Count = 0,
        cond_channels: Positive = 80,
        upsampler: UpsamplerName = "interpolate",
        upsample_scales: list[Positive] | None = None,
        upsample_taps: Annotated[int, Field(ge=1, le=64)] = 4,
        upsample_context: Annotated[int, Field(ge=0, le=64)] = 2,
        upsample_overlap: bool = True,
        upsample_slope: Annotated[float, Field(ge=0, le=1)] = 0.4,
        head: Head = "gaussian",
        components: Positive = 10,
        classes: Annotated[int, Field(ge=2, le=65_536)] = 256,
        one_hot: bool = False,
        min_log_scale: Annotated[float, Field(ge=-40, le=0)] = -11.5,
        preemphasis: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        follow_level: bool = True,
        front: FrontOrder = "none",
        front_correction: Correction = CORRECTION,
        periodicity: Count = 0,
        speakers: Annotated[int, Field(ge=0, le=1_000_000)] = 0,
        speaker_channels: Positive = 16,
    ) -> None:
        super().__init__(contract, settings_of(locals()))
        if one_hot and (head != "mu_law" or preemphasis):
            raise ValueError("one_hot goes with head = mu_law, whose classes it shows, and without preemphasis")
        self.samples_per_step = samples_per_step
        self._require_a_front_that_fits(head, preemphasis)
        self.preemphasis = preemphasis
        law = output_law(head, components, classes, min_log_scale, one_hot=one_hot)
        hidden = [group_hidden] if group_hidden else []
        self.law = GroupLaw(law, samples_per_step, hidden) if samples_per_step > 1 else law
        self.speaker_embedding = nn.Embedding(speakers, speaker_channels) if speakers else None
        self.upsampler = make_upsampler(
            upsampler,
            contract,
            cond_channels,
            upsample_taps,
            scales=upsample_scales,
            context=upsample_context,
            overlap=upsample_overlap,
            slope=upsample_slope,
            hidden=cond_hidden,
            samples_per_step=samples_per_step,
        )
        channels = (self.law.input_channels, self.law.parameter_channels, cond_channels)
        voices = speaker_channels if speakers else 0
        self.network = CausalWaveNet.from_settings(self.config, *channels, layers, voices)

    def _require_a_front_that_fits(self, head: Head, preemphasis: float) -> None:
        """Refuse settings that do not go with a front, or need one."""
        hop, group = self.contract.hop_length, self.samples_per_step
        if hop % group:
            raise ValueError(f"samples_per_step = {group} does not divide the hop of {hop} samples")
        if self.front is None and group > 1:
            raise ValueError("samples_per_step goes with a front, whose excitation it groups; set front = 32")
        if self.front is None:
            return
        if preemphasis:
            raise ValueError("a front does what preemphasis does; leave one of them out")
        if head in ("logistic_mixture", "mu_law"):
            raise ValueError(
                f"head = {head} is a law of 16-bit speech, and a front makes excitation of it; use gaussian, "
                "gaussian_mixture or continuous_logistic_mixture, or front = none"
            )

    @property
    @override
    def scales_noise(self) -> bool:
        return bool(self.config["head"] == "gaussian")

    @property
    @override
    def noise_channels(self) -> int:
        return self.law.noise_channels

    @property
    @override
    def steps_per_frame(self) -> int:
        return self.contract.hop_length // self.samples_per_step

    @property
    def limit(self) -> float:
        """What drawn samples are held within: full scale, or far beyond what excitation should be."""
        return 1.0 if self.front is None else EXCITATION_LIMIT

    @property
    @override
    def usable_engines(self) -> tuple[str, ...]:
        weight = self.network.end.weight
        single, elsewhere = weight.dtype == torch.float32, CPU_ENGINES if weight.is_cuda else CUDA_ENGINES
        there = [name for name in self.engines if name not in elsewhere]
        if "cpu-int8" in there and not int8_works():
            there.remove("cpu-int8")
        return tuple(name for name in there if single or name not in COMPILED_ENGINES)

    @property
    @override
    def lookahead_frames(self) -> int | None:
        # The other engines make all in one go.
        return self.neighbour_frames if self.usable_engines[0] in COMPILED_ENGINES else None

    @override
    def _pieces(
        self, source: MelWindow, lengths: Tensor | None, job: Job, progress: Progress | None
    ) -> Iterator[Tensor]:
        size = job.frames or self.piece_frames
        if not job.streams:
            # What can be made in one go is, by several threads; a long utterance by itself shall not fill the memory.
            size = round(LONGEST_PIECE * self.contract.sample_rate / self.contract.hop_length)
        sampler = None
        if job.streams or (len(job.noise) == 1 and source.reach(2 * size) >= 2 * size):
            sampler = self._sampler(job)
        if sampler is None:
            yield from super()._pieces(source, lengths, job, progress)
            return
        hop, around = self.steps_per_frame, self.neighbour_frames
        for start, stop, first, last in stretches(source, size, size, around, around):
            given = self._given(source.cut(first, last), None, None)
            steps = slice((start - first) * hop, (stop - first) * hop)
            cond = lowest_rate(self.upsampler, given.mel)
            noise = job.noise.cut(start * hop, stop * hop)
            for made in sampler.draw(cond, given.level[..., steps], noise, steps.start // cond.hop):
                yield made[:, None]
                if progress is not None:
                    progress(made.shape[1])

    def _sampler(self, job: Job) -> Sampler | None:
        """The engine at the start of a job, if it is one that goes stretch by stretch."""
        self._check_device(job.engine)
        batch = len(job.noise)
        voices = self._voices(job.speaker, batch)
        options = (voices, job.temperature, self.preemphasis, self.limit)
        return sampler_of(job.engine, self.network, self.law, batch, *options)

    def _check_device(self, engine: str) -> None:
        on_gpu = self.network.end.weight.is_cuda
        if engine in (CPU_ENGINES if on_gpu else CUDA_ENGINES):
            place = "CPU" if on_gpu else "GPU"
            raise ValueError(f"the engine {engine} needs the model on a {place}; use {self.usable_engines[0]}")

    @override
    def initialize(self, wav: Tensor, mel: Tensor, lengths: Tensor | None = None, around: Around | None = None) -> None:
        super().initialize(emphasize(wav, self.preemphasis), mel, lengths, around)

    def bijection(self, level: Tensor | None = None, speaker: Tensor | None = None) -> Bijection:
        """The model as a flow over time: the same weights, ``to_noise`` and ``to_data`` given ``cond [B, C, T]``.

        With a front it is the flow of the excitation, ``x [B, 1, T]`` still, and ``cond`` is at the rate of steps.

        Args:
            level: what ``self.level`` says of the mel, ``[B, 1, T]``; 0 by default.
            speaker: speaker numbers ``[B]``, for models that have speakers; the first speaker by default.

        Raises:
            TypeError: the head is not Gaussian; the other laws are no affine maps of noise.
        """
        if self.config["head"] != "gaussian":
            raise TypeError(f"only a Gaussian head makes a WaveNet a flow; this one is {self.config['head']}")
        flow = CausalAffine(self.network, self.law, level, self._voices(speaker, 1))  # type: ignore[arg-type]
        return Chain([Preemphasis(self.preemphasis), flow]) if self.preemphasis else flow

    @override
    def _log_prob(self, x: Tensor, given: Given) -> Tensor:
        with full_precision(x):
            x = grouped(emphasize(x, self.preemphasis), self.samples_per_step)
        params = self._params(x, given)
        with full_precision(x):
            log_prob = self.law.log_prob(params, x)
            return masked(log_prob[:, None], self._step_mask(given)).sum(dim=(1, 2))

    def _step_mask(self, given: Given) -> Tensor | None:
        return repeat_mask(given.frame_mask, self.steps_per_frame)

    def _params(self, x: Tensor, given: Given, hidden: list[Tensor] | None = None) -> Tensor:
        """Parameters of the law of each step of ``x [B, r, T / r]``, which is emphasised already."""
        with full_precision(x):
            inputs = self.law.network_input(x, given.level)
        cond = lowest_rate(self.upsampler, given.mel, given.frame_mask)
        shares = self.network.shares(cond, given.speaker)
        outputs = self.network(inputs, shares, self._step_mask(given), hidden)
        with full_precision(x):
            return self.law.at_level(outputs, given.level)

    def predict(
        self, x: Tensor, mel: Tensor, speaker: Tensor | None = None, hidden: list[Tensor] | None = None
    ) -> "Prediction":
        """Say what the model expects of each sample, given the samples before it; what distillation asks.

        Args:
            x: speech, or with a front excitation (:meth:`seen_of`), ``[B, F * hop_length]``; gradients flow through it.
            mel: ``[B, M, F]``.
            speaker: speaker numbers ``[B]``, for models that have speakers.
            hidden: takes what each gated layer is given, ``[B, residual_channels, T]``.
        """
        x = x[:, None]
        given = self._given(self._own_dtype(mel), None, speaker)
        with full_precision(x):
            emphasized = emphasize(x, self.preemphasis)
        groups = grouped(emphasized, self.samples_per_step)
        params = self._params(groups, given, hidden)
        # The network works on x_t - a x_{t-1}; what is taken off there is added to any location again.
        if not isinstance(self.law, GroupLaw):
            return Prediction(self.law, params, x - emphasized)
        with full_precision(x):
            each = self.law.given_earlier(params, wide(groups))
        return Prediction(self.law.law, each.transpose(2, 3).flatten(2), torch.zeros_like(x))

    def seen_of(self, wav: Tensor, mel: Tensor, around: Around | None = None) -> Tensor:
        """What the network works on of speech ``wav [B, T]``: itself, or its excitation ``[B, T]``."""
        if self.front is None:
            return wav
        return self._excitation(self.front, wav[:, None], self._own_dtype(mel), None, around)[0][:, 0]

    @override
    def _generate(
        self, noise: Tensor, given: Given, temperature: float, engine: str, progress: Progress | None
    ) -> Tensor:
        self._check_device(engine)
        # Errors of one sample feed the next, so all engines stay in float32 also under autocast.
        with full_precision(noise):
            groups = ENGINES[engine](
                self.network,
                self.law,
                lowest_rate(self.upsampler, given.mel, given.frame_mask),
                given.level,
                noise,
                speaker=given.speaker,
                temperature=temperature,
                preemphasis=self.preemphasis,
                progress=progress,
                limit=self.limit,
            )
        return ungrouped(groups)


def output_law(head: Head, components: int, classes: int, min_log_scale: float, *, one_hot: bool = False) -> OutputLaw:
    """The law that a recipe names by ``head``."""
    if head == "gaussian":
        return Gaussian(min_log_scale)
    if head == "gaussian_mixture":
        return GaussianMixture(components, min_log_scale)
    if head == "continuous_logistic_mixture":
        return LogisticMixture(components, min_log_scale)
    if head == "logistic_mixture":
        return DiscretizedLogisticMixture(components, min_log_scale)
    return MuLawCategorical(classes, one_hot=one_hot)
