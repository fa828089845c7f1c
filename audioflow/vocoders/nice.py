"""The NICE vocoder: additive couplings between the odd and the even samples of folded audio."""

from typing import Annotated, ClassVar

from pydantic import Field

from audioflow.audio import MelContract
from audioflow.flows import AdditiveCoupling, Bijection, Chain, Permutation
from audioflow.nets.upsample import UpsamplerName
from audioflow.nets.wavenet import WaveNetConditioner
from audioflow.vocoders.base import settings_of
from audioflow.vocoders.excitation import CORRECTION, Correction, FrontOrder
from audioflow.vocoders.flow import BaseName, CondRate, Count, FlowVocoder, Positive, Speakers


class Nice(FlowVocoder):
    r"""NICE: the odd samples are shifted by what the even ones say, then the other way round, and so on.

    Audio is folded into ``squeeze`` channels, channel ``i`` holding every ``squeeze``-th sample from the ``i``-th on.
    With the even channels ``x_e`` and the odd ones ``x_o``,

    .. math:: x_o \leftarrow x_o + m_1(x_e, c), \quad x_e \leftarrow x_e + m_2(x_o, c), \quad \ldots \qquad
        \log p(x | \text{mel}) = \log p_z(z)

    The couplings keep the volume. That some values are less certain than others is said by the base: ``diagonal``, a
    learned mean and scale for each channel, is the scaling by a diagonal matrix at the end of NICE. Both directions
    take one pass.

    Differs from the paper, which is about images: WaveNets over time in the couplings, as in WaveGlow, told about the
    mel; the audio is first divided by the loudness that the mel says it has (with ``follow_level=False``, by a
    constant).

    Args:
        contract: mel front-end.
        squeeze: samples folded into channels; even.
        flows: couplings; four in the paper.
        channels: residual and skip channels of the WaveNets in the couplings.
        layers: their layers; dilations 1, 2, 4, ...
        kernel_size: their taps; odd.
        upsampler: from mel frames to samples: ``transposed``, ``interpolate``, ``transposed2d`` or ``stretch``.
        upsample_taps: mel frames that reach each conditioning sample of ``transposed``.
        cond_channels: conditioning features; 0 for as many as mel bands.
        cond_rate: ``sample``: a coupling is told the features of every sample, folded; ``group``: one set of features
            for each group of ``squeeze`` samples.
        base: law of the noise: ``diagonal`` as in the paper, ``logistic`` as in the paper but of scale one, ``normal``,
            or ``mel`` for one whose scale follows the mel.
        follow_level: whether the flow works on speech divided by the loudness that its mel says it has.
        front: order of the filter that turns speech into excitation, on which the model then works, see
            :class:`audioflow.flows.Front`; ``none`` for the speech itself. ``follow_level`` says nothing then.
        front_correction: how much of the envelope's range the filter leaves, see there.
        periodicity: units of a network that reads off the mel how periodic the speech is, see
            :class:`audioflow.nets.periodicity.Periodicity`, for a temperature by voicing; 0 for none.
        speakers: number of speakers; 0 for a model of one voice.
        speaker_channels: size of a speaker's embedding.

    References:
        Dinh, Krueger and Bengio, "NICE: Non-linear Independent Components Estimation", 2014,
        https://arxiv.org/abs/1410.8516
    """

    name: ClassVar[str] = "nice"

    def __init__(
        self,
        contract: MelContract,
        *,
        squeeze: Annotated[int, Field(ge=2, le=1024, multiple_of=2)] = 8,
        flows: Annotated[int, Field(ge=2, le=512)] = 12,
        channels: Positive = 256,
        layers: Annotated[int, Field(ge=1, le=16)] = 8,
        kernel_size: Annotated[int, Field(ge=3, le=31)] = 3,
        upsampler: UpsamplerName = "transposed",
        upsample_taps: Annotated[int, Field(ge=1, le=64)] = 4,
        cond_channels: Count = 0,
        cond_rate: CondRate = "group",
        base: BaseName = "diagonal",
        follow_level: bool = True,
        front: FrontOrder = "none",
        front_correction: Correction = CORRECTION,
        periodicity: Count = 0,
        speakers: Speakers = 0,
        speaker_channels: Positive = 16,
    ) -> None:
        super().__init__(contract, settings_of(locals()))
        half = squeeze // 2

        def coupling(number: int) -> Bijection:
            net = WaveNetConditioner(half, half, self.folded_cond_channels, channels, layers, kernel_size)
            return AdditiveCoupling(net, half, swapped=number % 2 == 1)

        even_then_odd = Permutation([*range(0, squeeze, 2), *range(1, squeeze, 2)])
        self._assemble(Chain([even_then_odd, *map(coupling, range(flows))]))
