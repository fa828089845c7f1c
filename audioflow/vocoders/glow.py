"""The WaveGlow vocoder: the whole waveform at once, by invertible maps of squeezed audio."""

from typing import Annotated, ClassVar

from pydantic import Field

from audioflow.audio import MelContract
from audioflow.flows import Bijection, Chain, ChannelSplit, Coupling, FactorOut, InvertibleConv1x1
from audioflow.flows.kernels import KernelName, kernel_named
from audioflow.nets.upsample import UpsamplerName
from audioflow.nets.wavenet import WaveNetConditioner
from audioflow.vocoders.base import settings_of
from audioflow.vocoders.excitation import CORRECTION, Correction, FrontOrder
from audioflow.vocoders.flow import BaseName, CondRate, Count, FlowVocoder, Positive, Speakers


class Glow(FlowVocoder):
    r"""WaveGlow: squeeze, then ``flows`` steps of an invertible 1x1 convolution and an affine coupling.

    .. math::
        \log p(x | \text{mel}) = \log N(z; 0, I) + \log|\det \partial z / \partial x|, \qquad
        z = f(x e^{-\ell}; \text{mel})

    Every ``early_every`` steps ``early_channels`` channels leave as noise. Both directions take one pass.

    Differs from the paper: the audio is first divided by the loudness :math:`e^\ell` that the mel says it has (with
    ``follow_level=False``, by a constant), and the log-scales are bounded smoothly (``log_scale_limit``); any rate and
    hop length works.

    Args:
        contract: mel front-end.
        squeeze: samples folded into channels; even.
        flows: steps.
        early_every: steps after which channels leave.
        early_channels: how many leave; even, 0 for none.
        alternating: whether every second coupling maps the first half of the channels, told about the second; otherwise
            all map the second, as in the paper.
        channels: residual and skip channels of the WaveNets in the couplings.
        layers: their layers; dilations 1, 2, 4, ...
        kernel_size: their taps; odd.
        upsampler: from mel frames to samples: ``transposed`` as in the paper, ``interpolate``, ``transposed2d`` or
            ``stretch``.
        upsample_taps: mel frames that reach each conditioning sample of ``transposed``.
        cond_channels: conditioning features; 0 for as many as mel bands.
        cond_rate: ``sample``: a coupling is told the features of every sample, folded, as in the paper; ``group``: one
            set of features for each group of ``squeeze`` samples.
        kernel: what a coupling does to each value: ``affine``, ``additive``, ``spline`` or ``mixture``.
        base: law of the noise: ``normal``, ``diagonal``, ``logistic``, or ``mel`` for one whose scale follows the mel.
        log_scale_limit: bound of each coupling's log-scale; 0 for none, as in the paper.
        follow_level: whether the flow works on speech divided by the loudness that its mel says it has.
        front: order of the filter that turns speech into excitation, on which the model then works, see
            :class:`audioflow.flows.Front`; ``none`` for the speech itself. ``follow_level`` says nothing then.
        front_correction: how much of the envelope's range the filter leaves, see there.
        periodicity: units of a network that reads off the mel how periodic the speech is, see
            :class:`audioflow.nets.periodicity.Periodicity`, for a temperature by voicing; 0 for none.
        speakers: number of speakers; 0 for a model of one voice.
        speaker_channels: size of a speaker's embedding.

    References:
        Prenger, Valle and Catanzaro, "WaveGlow", 2018, https://arxiv.org/abs/1811.00002
    """

    name: ClassVar[str] = "glow"

    def __init__(
        self,
        contract: MelContract,
        *,
        squeeze: Annotated[int, Field(ge=2, le=1024, multiple_of=2)] = 8,
        flows: Annotated[int, Field(ge=1, le=512)] = 12,
        early_every: Positive = 4,
        early_channels: Annotated[int, Field(ge=0, le=1024, multiple_of=2)] = 2,
        alternating: bool = False,
        channels: Positive = 256,
        layers: Annotated[int, Field(ge=1, le=16)] = 8,
        kernel_size: Annotated[int, Field(ge=3, le=31)] = 3,
        upsampler: UpsamplerName = "transposed",
        upsample_taps: Annotated[int, Field(ge=1, le=64)] = 4,
        cond_channels: Count = 0,
        cond_rate: CondRate = "sample",
        kernel: KernelName = "affine",
        base: BaseName = "normal",
        log_scale_limit: Annotated[float, Field(ge=0)] = 5.0,
        follow_level: bool = True,
        front: FrontOrder = "none",
        front_correction: Correction = CORRECTION,
        periodicity: Count = 0,
        speakers: Speakers = 0,
        speaker_channels: Positive = 16,
    ) -> None:
        super().__init__(contract, settings_of(locals()))
        law = kernel_named(kernel, limit=log_scale_limit or None)

        def step(number: int, width: int) -> list[Bijection]:
            outputs = law.parameters * (width // 2)
            net = WaveNetConditioner(width // 2, outputs, self.folded_cond_channels, channels, layers, kernel_size)
            split = ChannelSplit(width // 2, swapped=alternating and number % 2 == 1)
            return [InvertibleConv1x1(width), Coupling(net, law, split)]

        def steps(first: int, width: int) -> Chain:
            """The steps from number ``first`` on; those after an early output lie inside it."""
            bijections: list[Bijection] = []
            for number in range(first, flows):
                if early_channels and number > first and number % early_every == 0:
                    if width - early_channels < 2:
                        raise ValueError(
                            f"early outputs of {early_channels} channels every {early_every} of {flows} flows leave "
                            f"nothing of squeeze = {squeeze} channels; lower early_channels or raise squeeze"
                        )
                    inner = steps(number, width - early_channels)
                    return Chain([*bijections, FactorOut(early_channels, inner)])
                bijections += step(number, width)
            return Chain(bijections)

        self._assemble(steps(0, squeeze))
