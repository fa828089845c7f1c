"""A masked autoregressive flow over the rows of squeezed audio, by one network with masks over channels and time."""

from typing import Annotated, ClassVar

from pydantic import Field

from audioflow.audio import MelContract
from audioflow.flows import MAF, Bijection, Chain, InvertibleConv1x1
from audioflow.flows.kernels import Inverted, KernelName, kernel_named
from audioflow.nets.masked_wavenet import MaskedWaveNet
from audioflow.nets.upsample import UpsamplerName
from audioflow.sampling.slots import SLOT_ENGINES
from audioflow.vocoders.base import settings_of
from audioflow.vocoders.excitation import CORRECTION, Correction, FrontOrder
from audioflow.vocoders.flow import BaseName, CondRate, Count, FlowVocoder, Positive, Speakers


class MafVocoder(FlowVocoder):
    r"""MAF over the rows of squeezed audio: each row is mapped by what a masked WaveNet makes of the rows before it.

    Audio is folded into ``squeeze`` rows ``x_0 ... x_{h-1}``, row ``i`` holding every ``h``-th sample from the ``i``-th
    on. With ``s, mu`` of row ``i`` from a :class:`audioflow.nets.masked_wavenet.MaskedWaveNet` that sees rows before
    ``i`` at all of time around,

    .. math:: z_i = (x_i - \mu_i)\,e^{-s_i} \qquad x_i = z_i\,e^{s_i} + \mu_i \qquad i = 0 \ldots h-1

    Scoring is one pass for each of the ``flows``; synthesis goes row by row, ``h`` steps for each flow whatever the
    length, each computing the hidden channels of one degree. The order is reversed from flow to flow; with ``mixing``
    an invertible 1x1 convolution stands between them.

    WaveFlow answers the same question with one small network that slides over the rows; here every row has hidden
    channels of its own. This form is the library's own: MAF was published for vectors.

    Args:
        contract: mel front-end.
        squeeze: rows ``h``.
        flows: maps, one after another.
        channels: hidden channels of each network, shared out among the rows.
        layers: layers of each network; dilations 1, 2, 4, ...
        kernel_size: taps; odd.
        mixing: whether invertible 1x1 convolutions stand between the flows.
        upsampler: from mel frames to samples: ``interpolate``, ``transposed``, ``transposed2d`` or ``stretch``.
        upsample_taps: mel frames that reach each conditioning sample of ``transposed``.
        cond_channels: conditioning features; 0 for as many as mel bands.
        cond_rate: ``group``: one set of features for each group of ``squeeze`` samples; ``sample``: those of every
            sample, folded.
        kernel: what is done to each value: ``affine``, ``additive``, ``spline`` or ``mixture``.
        log_scale_limit: bound of the log-scales; 0 for none.
        base: law of the noise: ``normal``, ``diagonal``, ``logistic`` or ``mel``.
        follow_level: whether the flow works on speech divided by the loudness that its mel says it has.
        front: order of the filter that turns speech into excitation, on which the model then works, see
            :class:`audioflow.flows.Front`; ``none`` for the speech itself. ``follow_level`` says nothing then.
        front_correction: how much of the envelope's range the filter leaves, see there.
        periodicity: units of a network that reads off the mel how periodic the speech is, see
            :class:`audioflow.nets.periodicity.Periodicity`, for a temperature by voicing; 0 for none.
        speakers: number of speakers; 0 for a model of one voice.
        speaker_channels: size of a speaker's embedding.

    References:
        Papamakarios, Pavlakou and Murray, "Masked Autoregressive Flow for Density Estimation", 2017,
        https://arxiv.org/abs/1705.07057
    """

    name: ClassVar[str] = "maf"
    engines: ClassVar[tuple[str, ...]] = tuple(SLOT_ENGINES)

    def __init__(
        self,
        contract: MelContract,
        *,
        squeeze: Annotated[int, Field(ge=2, le=1024)] = 16,
        flows: Annotated[int, Field(ge=1, le=512)] = 8,
        channels: Positive = 256,
        layers: Annotated[int, Field(ge=1, le=16)] = 8,
        kernel_size: Annotated[int, Field(ge=3, le=31)] = 3,
        mixing: bool = False,
        upsampler: UpsamplerName = "interpolate",
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
        law = Inverted(kernel_named(kernel, limit=log_scale_limit or None))
        bijections: list[Bijection] = []
        for flow in range(flows):
            order = list(range(squeeze))[:: -1 if flow % 2 else 1]
            net = MaskedWaveNet(
                squeeze, law.parameters, self.folded_cond_channels, channels, layers, kernel_size, order
            )
            if mixing and flow:
                bijections.append(InvertibleConv1x1(squeeze))
            bijections.append(MAF(net, law))
        self._assemble(Chain(bijections))
