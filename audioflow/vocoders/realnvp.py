"""The RealNVP vocoder: couplings between neighbouring values at several scales, with batch norm between them."""

from collections.abc import Iterator
from typing import Annotated, ClassVar

from pydantic import Field

from audioflow.audio import MelContract
from audioflow.flows import BatchNorm, Bijection, Chain, ChannelSplit, Checkerboard, Coupling, FactorOut, Squeezed
from audioflow.flows.coupling import Split
from audioflow.flows.kernels import KernelName, kernel_named
from audioflow.nets.upsample import UpsamplerName
from audioflow.nets.wavenet import WaveNetConditioner
from audioflow.vocoders.base import settings_of
from audioflow.vocoders.excitation import CORRECTION, Correction, FrontOrder
from audioflow.vocoders.flow import BaseName, CondRate, Count, FlowVocoder, Positive, Speakers


class RealNvp(FlowVocoder):
    r"""RealNVP carried from images to sound: checkerboards, squeezing, couplings of channels, factoring out, again.

    A coupling of values that pass, ``x_a``, and values that are mapped, ``x_b``, is

    .. math:: z_a = x_a \qquad z_b = x_b\,e^{s} + b \qquad (b, s) = \text{net}(x_a, c)

    Audio is folded into ``C = squeeze`` channels. Each scale has ``couplings`` couplings whose halves alternate in time
    like the fields of a chess board, is squeezed by two, has as many couplings of one half of the channels by the
    other, and lets half of the channels leave as noise; the last has checkerboards only, and one more of them. Shapes,
    with two scales and ``T`` groups of samples::

        [C, T]  checkerboards  ->  [2 C, T / 2]  couplings of channels  ->  C channels leave
                                                                            [C, T / 2]  checkerboards

    Both directions take one pass.

    Differs from the paper, which is about images: one dimension, WaveNets in the couplings, as in WaveGlow, told about
    the mel (and without batch norm of their own); the audio is first divided by the loudness that the mel says it has
    (with ``follow_level=False``, by a constant); the batch norm's running statistics are not used in training.

    Args:
        contract: mel front-end.
        squeeze: samples folded into channels before the first scale.
        scales: how often the signal is looked at, each time at half the rate.
        couplings: of each kind in each scale; three in the paper.
        batch_norm: whether batch norm follows each coupling.
        learned_prior: whether what leaves is first brought to the normal law by what stays, as in Glow, by another
            WaveNet.
        channels: residual and skip channels of the WaveNets.
        layers: their layers; dilations 1, 2, 4, ...
        kernel_size: their taps; odd.
        upsampler: from mel frames to samples: ``transposed``, ``interpolate``, ``transposed2d`` or ``stretch``.
        upsample_taps: mel frames that reach each conditioning sample of ``transposed``.
        cond_channels: conditioning features; 0 for as many as mel bands.
        cond_rate: ``sample``: a coupling is told the features of every sample, folded; ``group``: one set of features
            for each group of ``squeeze`` samples (folded as the signal is squeezed on).
        kernel: what a coupling does to each value: ``affine``, ``additive``, ``spline`` or ``mixture``.
        log_scale_limit: bound of each coupling's log-scale; 0 for none.
        base: law of the noise: ``normal``, ``diagonal``, ``logistic``, or ``mel`` for one whose scale follows the mel.
        follow_level: whether the flow works on speech divided by the loudness that its mel says it has.
        front: order of the filter that turns speech into excitation, on which the model then works, see
            :class:`audioflow.flows.Front`; ``none`` for the speech itself. ``follow_level`` says nothing then.
        front_correction: how much of the envelope's range the filter leaves, see there.
        periodicity: units of a network that reads off the mel how periodic the speech is, see
            :class:`audioflow.nets.periodicity.Periodicity`, for a temperature by voicing; 0 for none.
        speakers: number of speakers; 0 for a model of one voice.
        speaker_channels: size of a speaker's embedding.

    References:
        Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP", 2016, https://arxiv.org/abs/1605.08803
    """

    name: ClassVar[str] = "realnvp"

    def __init__(
        self,
        contract: MelContract,
        *,
        squeeze: Annotated[int, Field(ge=1, le=1024)] = 4,
        scales: Annotated[int, Field(ge=1, le=16)] = 3,
        couplings: Annotated[int, Field(ge=2, le=64)] = 3,
        batch_norm: bool = True,
        learned_prior: bool = False,
        channels: Positive = 256,
        layers: Annotated[int, Field(ge=1, le=16)] = 6,
        kernel_size: Annotated[int, Field(ge=3, le=31)] = 3,
        upsampler: UpsamplerName = "transposed",
        upsample_taps: Annotated[int, Field(ge=1, le=64)] = 4,
        cond_channels: Count = 0,
        cond_rate: CondRate = "group",
        kernel: KernelName = "affine",
        log_scale_limit: Annotated[float, Field(ge=0)] = 5.0,
        base: BaseName = "normal",
        follow_level: bool = True,
        front: FrontOrder = "none",
        front_correction: Correction = CORRECTION,
        periodicity: Count = 0,
        speakers: Speakers = 0,
        speaker_channels: Positive = 16,
    ) -> None:
        super().__init__(contract, settings_of(locals()))
        law = kernel_named(kernel, limit=log_scale_limit or None)

        def network(outputs: int, cond: int) -> WaveNetConditioner:
            return WaveNetConditioner(squeeze, outputs * squeeze, cond, channels, layers, kernel_size)

        def coupled(split: Split, cond: int) -> Iterator[Bijection]:
            yield Coupling(network(law.parameters, cond), law, split)
            if batch_norm:
                yield BatchNorm(squeeze if isinstance(split, Checkerboard) else 2 * squeeze)

        def checkerboards(count: int, cond: int) -> list[Bijection]:
            # The two steps that a checkerboard makes a pair of are told the conditioning of both.
            return [
                layer for number in range(count) for layer in coupled(Checkerboard(swapped=number % 2 == 1), 2 * cond)
            ]

        def scale(number: int, cond: int) -> Chain:
            """Scale ``number`` on ``squeeze`` channels and ``cond`` of conditioning; the next ones lie inside it."""
            if number == scales - 1:
                return Chain(checkerboards(couplings + 1, cond))
            halves = [
                layer
                for half in range(couplings)
                for layer in coupled(ChannelSplit(squeeze, swapped=half % 2 == 1), 2 * cond)
            ]
            prior = network(2, 2 * cond) if learned_prior else None
            leaving = FactorOut(squeeze, scale(number + 1, 2 * cond), prior)
            return Chain([*checkerboards(couplings, cond), Squeezed(2, Chain([*halves, leaving]))])

        self._assemble(scale(0, self.folded_cond_channels))
