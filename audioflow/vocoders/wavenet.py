"""The autoregressive WaveNet vocoder: each sample drawn from a law that the samples before it decide."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from audioflow.audio import MelContract
from audioflow.distributions import (
    DiscretizedLogisticMixture,
    Gaussian,
    GaussianMixture,
    MuLawCategorical,
    OutputLaw,
)
from audioflow.flows import CausalAffine
from audioflow.nets.masks import full_precision, masked, repeat_mask
from audioflow.nets.upsample import InterpolatingUpsampler
from audioflow.nets.wavenet import CausalWaveNet
from audioflow.sampling import ENGINES, Progress
from audioflow.vocoders.base import Given, Vocoder

Head = Literal["gaussian", "gaussian_mixture", "logistic_mixture", "mu_law"]
Positive = Annotated[int, Field(ge=1, le=4096)]


class WaveNet(Vocoder):
    r"""Autoregressive WaveNet with mel conditioning.

    .. math:: \log p(x | \text{mel}) = \sum_t \log p(x_t | \text{net}(x_{<t}, c_t))

    Training sees all samples at once (teacher forcing); synthesis goes sample by sample. With the Gaussian head the
    model is also a flow, see :meth:`bijection`.

    Args:
        contract: mel front-end.
        layers: gated layers.
        cycle: layers after which the dilations start again at 1.
        residual_channels: channels of the residual path and of each gate.
        skip_channels: channels of the skip path and the head.
        kernel_size: taps of the dilated convolutions.
        front_kernel_size: taps of the first convolution.
        linear_taps: past samples that predict the next one linearly, beside the network; 0 for none.
        cond_channels: channels of the conditioning features.
        head: law of a sample: ``gaussian``, ``gaussian_mixture``, ``logistic_mixture`` or ``mu_law``.
        components: components of a mixture.
        classes: classes of mu-law.
        min_log_scale: floor of log-scales.
        follow_level: whether the network works on speech divided by the loudness that its mel says it has.
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
        skip_channels: Positive = 64,
        kernel_size: Annotated[int, Field(ge=2, le=3)] = 2,
        front_kernel_size: Positive = 1,
        linear_taps: Annotated[int, Field(ge=0, le=4096)] = 16,
        cond_channels: Positive = 80,
        head: Head = "gaussian",
        components: Positive = 10,
        classes: Annotated[int, Field(ge=2, le=65_536)] = 256,
        min_log_scale: Annotated[float, Field(ge=-20, le=0)] = -11.5,
        follow_level: bool = True,
        speakers: Annotated[int, Field(ge=0, le=1_000_000)] = 0,
        speaker_channels: Positive = 16,
    ) -> None:
        super().__init__(
            contract,
            {
                "layers": layers,
                "cycle": cycle,
                "residual_channels": residual_channels,
                "skip_channels": skip_channels,
                "kernel_size": kernel_size,
                "front_kernel_size": front_kernel_size,
                "linear_taps": linear_taps,
                "cond_channels": cond_channels,
                "head": head,
                "components": components,
                "classes": classes,
                "min_log_scale": min_log_scale,
                "follow_level": follow_level,
                "speakers": speakers,
                "speaker_channels": speaker_channels,
            },
        )
        self.law = output_law(head, components, classes, min_log_scale)
        self.speaker_embedding = nn.Embedding(speakers, speaker_channels) if speakers else None
        self.upsampler = InterpolatingUpsampler(
            contract.n_mels,
            cond_channels,
            contract.hop_length,
            frame_centre=contract.hop_length / 2 if contract.framing == "half_hop" else 0.0,
        )
        self.network = CausalWaveNet(
            1,
            self.law.parameter_channels,
            cond_channels,
            layers,
            cycle,
            residual_channels,
            skip_channels,
            kernel_size,
            front_kernel_size,
            linear_taps,
            speaker_channels if speakers else 0,
        )

    @property
    @override
    def noise_channels(self) -> int:
        return self.law.noise_channels

    def bijection(self, level: Tensor | None = None, speaker: Tensor | None = None) -> CausalAffine:
        """The model as a flow over time: the same weights, ``to_noise`` and ``to_data`` given ``cond [B, C, T]``.

        Args:
            level: what ``self.level`` says of the mel, ``[B, 1, T]``; 0 by default.
            speaker: speaker numbers ``[B]``, for models that have speakers; the first speaker by default.

        Raises:
            TypeError: the head is not Gaussian; the other laws are no affine maps of noise.
        """
        if not isinstance(self.law, Gaussian):
            raise TypeError(f"only a Gaussian head makes a WaveNet a flow; this one is {self.config['head']}")
        return CausalAffine(self.network, self.law, level, self._voices(speaker, 1))

    @override
    def _log_prob(self, x: Tensor, given: Given) -> Tensor:
        mask = repeat_mask(given.frame_mask, self.contract.hop_length)
        with full_precision(x):
            inputs = self.law.network_input(x, given.level)
        shares = self.network.shares(self.upsampler(given.mel, given.frame_mask), given.speaker)
        outputs = self.network(inputs, shares, mask)
        with full_precision(x):
            log_prob = self.law.log_prob(self.law.at_level(outputs, given.level), x)
            return masked(log_prob[:, None], mask).sum(dim=(1, 2))

    @override
    def _generate(
        self, noise: Tensor, given: Given, temperature: float, engine: str, progress: Progress | None
    ) -> Tensor:
        # Errors of one sample feed the next, so all engines stay in float32 also under autocast.
        with full_precision(noise):
            return ENGINES[engine](
                self.network,
                self.law,
                self.upsampler(given.mel, given.frame_mask),
                given.level,
                noise,
                speaker=given.speaker,
                temperature=temperature,
                progress=progress,
            )


def output_law(head: Head, components: int, classes: int, min_log_scale: float) -> OutputLaw:
    """The law that a recipe names by ``head``."""
    if head == "gaussian":
        return Gaussian(min_log_scale)
    if head == "gaussian_mixture":
        return GaussianMixture(components, min_log_scale)
    if head == "logistic_mixture":
        return DiscretizedLogisticMixture(components, min_log_scale)
    return MuLawCategorical(classes)
