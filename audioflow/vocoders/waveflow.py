"""The WaveFlow vocoder: row by row of squeezed audio, by a network over rows and time."""

from typing import Annotated, ClassVar

from pydantic import Field

from audioflow.audio import MelContract
from audioflow.flows import MAF, Chain
from audioflow.flows.kernels import KernelName, kernel_named
from audioflow.nets.row_order import RowOrder, row_orders
from audioflow.nets.row_wavenet import RowWaveNet
from audioflow.nets.upsample import UpsamplerName
from audioflow.sampling.slots import SLOT_ENGINES
from audioflow.vocoders.base import settings_of
from audioflow.vocoders.excitation import CORRECTION, Correction, FrontOrder
from audioflow.vocoders.flow import BaseName, CondRate, Count, FlowVocoder, Positive, Speakers


class WaveFlow(FlowVocoder):
    r"""WaveFlow: audio folded into ``squeeze`` rows, each made of the rows before it.

    Row ``i`` of ``h`` holds every ``h``-th sample from the ``i``-th on. With ``s_i, b_i`` from a
    :class:`audioflow.nets.row_wavenet.RowWaveNet` that sees the rows before ``i`` at all of time around,

    .. math:: z_i = x_i\,e^{s_i} + b_i \qquad x_i = (z_i - b_i)\,e^{-s_i} \qquad i = 0 \ldots h-1

    Scoring is one pass for each of the ``flows``; synthesis goes row by row, ``h`` steps for each flow whatever the
    length. With ``squeeze`` as long as the audio it would be a WaveNet, with two rows a coupling layer like WaveGlow's.

    Differs from the paper: the first row is transformed too, as the mel alone says, unless ``first_row_passes``; the
    audio is first divided by the loudness that the mel says it has (with ``follow_level=False``, by a constant); the
    log-scales are bounded smoothly (``log_scale_limit``); any rate and hop length works.

    Args:
        contract: mel front-end.
        squeeze: rows ``h``.
        flows: maps, one after another.
        channels: residual and skip channels of each network.
        layers: layers of each network; dilations in time 1, 2, 4, ...
        kernel_size: their taps along time; odd.
        row_kernel_size: their taps along rows.
        row_dilations: per layer, rows from tap to tap. By default the paper's for 32, 64 and 128 rows; otherwise 1,
            with which a row sees ``(row_kernel_size - 1) * layers + 1`` rows before it.
        row_order: in which order the flows visit the rows, see :func:`audioflow.nets.row_order.row_orders`.
        first_row_passes: whether each flow leaves the row that it visits first as it is, as in the paper.
        upsampler: from mel frames to samples: ``transposed2d`` as in the paper, ``interpolate``, ``transposed`` or
            ``stretch``.
        upsample_taps: mel frames that reach each conditioning sample of ``transposed``.
        cond_channels: conditioning features; 0 for as many as mel bands.
        cond_rate: ``sample``: each row is told the features of its own samples, as in the paper; ``group``: one set of
            features for each group of ``squeeze`` samples, which costs ``squeeze`` times less.
        kernel: what is done to each value: ``affine``, ``additive``, ``spline`` or ``mixture``.
        log_scale_limit: bound of each flow's log-scales; 0 for none, as in the paper.
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
        Ping, Peng, Zhao and Song, "WaveFlow: A Compact Flow-based Model for Raw Audio", 2019,
        https://arxiv.org/abs/1912.01219
    """

    name: ClassVar[str] = "waveflow"
    engines: ClassVar[tuple[str, ...]] = tuple(SLOT_ENGINES)

    def __init__(
        self,
        contract: MelContract,
        *,
        squeeze: Annotated[int, Field(ge=2, le=1024)] = 16,
        flows: Annotated[int, Field(ge=1, le=512)] = 8,
        channels: Positive = 64,
        layers: Annotated[int, Field(ge=1, le=16)] = 8,
        kernel_size: Annotated[int, Field(ge=3, le=31)] = 3,
        row_kernel_size: Annotated[int, Field(ge=1, le=31)] = 3,
        row_dilations: list[Annotated[int, Field(ge=1, le=1024)]] | None = None,
        row_order: RowOrder = "bipartite",
        first_row_passes: bool = False,
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
        dilations = published_row_dilations(squeeze, layers) if row_dilations is None else row_dilations
        if len(dilations) != layers:
            raise ValueError(f"row_dilations = {dilations} names {len(dilations)} layers, but layers = {layers}")
        law = kernel_named(kernel, limit=log_scale_limit or None)

        def network(order: list[int]) -> RowWaveNet:
            return RowWaveNet(
                squeeze,
                law.parameters,
                self._cond_channels,
                channels,
                dilations,
                (row_kernel_size, kernel_size),
                order,
                shared_cond=cond_rate == "group",
                first_row_passes=first_row_passes,
            )

        self._assemble(Chain(MAF(network(order), law) for order in row_orders(squeeze, flows, row_order)))


def published_row_dilations(rows: int, layers: int) -> list[int]:
    """Per layer, rows from tap to tap: the paper's for 32 or more rows, which a row does not see all of otherwise.

    >>> published_row_dilations(64, 8)
    [1, 2, 4, 8, 16, 1, 2, 4]
    """
    cycle = {32: [1, 2, 4], 64: [1, 2, 4, 8, 16], 128: [1, 2, 4, 8, 16, 32, 64]}.get(rows, [1])
    return [cycle[layer % len(cycle)] for layer in range(layers)]
