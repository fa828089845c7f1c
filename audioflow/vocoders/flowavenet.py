"""The FloWaveNet vocoder: blocks of couplings, each block at half the rate of the one before."""

from typing import Annotated, ClassVar

from pydantic import Field

from audioflow.audio import MelContract
from audioflow.flows import ActNorm, Bijection, Chain, ChannelSplit, Coupling, FactorOut, Permutation, Squeezed
from audioflow.flows.kernels import Inverted, KernelName, kernel_named
from audioflow.nets.front_wavenet import FrontWaveNet
from audioflow.nets.upsample import UpsamplerName
from audioflow.vocoders.base import settings_of
from audioflow.vocoders.excitation import CORRECTION, Correction, FrontOrder
from audioflow.vocoders.flow import BaseName, CondRate, Count, FlowVocoder, Positive, Speakers


class FloWaveNet(FlowVocoder):
    r"""FloWaveNet: ``blocks`` blocks, each folding signal and conditioning by two, of ``flows`` flows.

    A flow normalises each channel (:class:`audioflow.flows.ActNorm`) and maps one half by the other,

    .. math:: z_a = x_a \qquad z_b = (x_b - \mu)\,e^{-s} \qquad (\mu, s) = \text{net}(x_a, c_a)

    with the halves of signal and conditioning exchanged from flow to flow: the network sees as much of the conditioning
    as of the signal. The halves of the conditioning are its lower and its upper bands. After every ``early_every``
    blocks, the last excepted, half of the channels leave as noise, under a normal law whose mean and scale the rest
    predicts. Both directions take one pass.

    Differs from the paper: the audio is first divided by the loudness that the mel says it has (with
    ``follow_level=False``, by a constant), and the log-scales are bounded smoothly (``log_scale_limit``); the last
    layer of a network has no residual output, which nothing would read; any rate and hop length works, in whole groups
    of ``squeeze * 2 ** (blocks - 1)`` samples.

    Args:
        contract: mel front-end.
        squeeze: samples folded into channels in the first block; even, 2 in the paper.
        blocks: how often the signal is looked at, each time at half the rate.
        flows: in each block.
        early_every: blocks after which channels leave; 0 for never.
        channels: channels of the WaveNets in couplings and priors.
        layers: their layers; dilations 1, 2, 4, ...
        kernel_size: their taps; odd.
        upsampler: from mel frames to samples: ``transposed2d`` as in the paper, ``interpolate``, ``transposed`` or
            ``stretch``.
        upsample_taps: mel frames that reach each conditioning sample of ``transposed``.
        cond_channels: conditioning features; 0 for as many as mel bands. Their number in the first block must be even.
        cond_rate: ``sample``: the first block is told the features of every sample, folded, as in the paper; ``group``:
            one set of features for each group of ``squeeze`` samples. Later blocks fold on.
        kernel: what a coupling does to each value: ``affine``, ``additive`` as in one of the paper's models, ``spline``
            or ``mixture``.
        log_scale_limit: bound of each coupling's log-scale; 0 for none, as in the paper.
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
        Kim, Lee, Song, Kim and Yoon, "FloWaveNet: A Generative Flow for Raw Audio", 2018,
        https://arxiv.org/abs/1811.02155
    """

    name: ClassVar[str] = "flowavenet"

    def __init__(
        self,
        contract: MelContract,
        *,
        squeeze: Annotated[int, Field(ge=2, le=1024, multiple_of=2)] = 2,
        blocks: Annotated[int, Field(ge=1, le=16)] = 8,
        flows: Annotated[int, Field(ge=2, le=64)] = 6,
        early_every: Annotated[int, Field(ge=0, le=16)] = 4,
        channels: Positive = 256,
        layers: Annotated[int, Field(ge=1, le=16)] = 2,
        kernel_size: Annotated[int, Field(ge=3, le=31)] = 3,
        upsampler: UpsamplerName = "transposed2d",
        upsample_taps: Annotated[int, Field(ge=1, le=64)] = 4,
        cond_channels: Count = 0,
        cond_rate: CondRate = "sample",
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
        law = Inverted(kernel_named(kernel, limit=log_scale_limit or None))
        if self.folded_cond_channels % 2:
            raise ValueError(
                f"the first block has {self.folded_cond_channels} channels of conditioning, which cannot be halved; "
                "choose an even cond_channels"
            )

        def flow(number: int, width: int, cond: int) -> list[Bijection]:
            half, second = width // 2, number % 2 == 1
            first_cond = cond // 2 if second else 0
            net = FrontWaveNet(half, law.parameters * half, cond // 2, channels, layers, kernel_size, first_cond)
            return [ActNorm(width), Coupling(net, law, ChannelSplit(half, swapped=second))]

        def block(number: int, width: int, cond: int) -> Chain:
            """Block ``number`` on ``width`` channels and ``cond`` of conditioning; the next ones lie inside it."""
            maps = [layer for i in range(flows) for layer in flow(i, width, cond)]
            if number == blocks - 1:
                return Chain(maps)
            if early_every == 0 or (number + 1) % early_every:
                return Chain([*maps, Squeezed(2, block(number + 1, 2 * width, 2 * cond))])
            half = width // 2
            prior = FrontWaveNet(half, width, cond, channels, layers, kernel_size)
            inner = Squeezed(2, block(number + 1, width, 2 * cond))
            # The second half leaves.
            second_first = Permutation([*range(half, width), *range(half)])
            return Chain([*maps, second_first, FactorOut(half, inner, prior)])

        self._assemble(block(0, squeeze, self.folded_cond_channels))
