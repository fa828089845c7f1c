"""A stack of inverse autoregressive flows over time: the body of a parallel student, and a vocoder by itself."""

from typing import Annotated, ClassVar

from pydantic import Field
from typing_extensions import override

from audioflow.audio import MelContract
from audioflow.flows import IAF, Chain
from audioflow.flows.kernels import KernelName, kernel_named
from audioflow.nets.causal import CausalConditioner
from audioflow.nets.upsample import UpsamplerName
from audioflow.nets.wavenet import CausalWaveNet
from audioflow.vocoders.base import settings_of
from audioflow.vocoders.excitation import CORRECTION, Correction, FrontOrder
from audioflow.vocoders.flow import BaseName, Count, FlowVocoder, Positive, Speakers


class IafVocoder(FlowVocoder):
    r"""Causal IAF: each sample is noise, scaled and shifted by what a causal WaveNet makes of the noise before it.

    .. math::
        x^{(k+1)}_t = x^{(k)}_t\,e^{s_t} + \mu_t \qquad (\mu_t, s_t) = \text{net}_k(x^{(k)}_{<t}, c_t) \qquad
        x^{(0)} = z, \quad x = x^{(K)}

    Synthesis is one pass, for all samples at once. Scoring is the slow side: it recovers the noise sample by sample,
    with gradients, so training by likelihood takes short segments (one or two mel frames) in large batches.
    Distillation from a teacher needs the fast side only.

    The order of time is kept from flow to flow, so audio up to ``t`` depends on noise up to ``t``.

    Args:
        contract: mel front-end.
        flows: ``K``.
        layers: gated layers of each network.
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
        kernel: what is done to each value: ``affine``, ``additive``, ``spline`` or ``mixture``.
        log_scale_limit: bound of each flow's log-scale; 0 for none.
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
        Kingma et al., "Improving Variational Inference with Inverse Autoregressive Flow", 2016,
        https://arxiv.org/abs/1606.04934
        van den Oord et al., "Parallel WaveNet", 2017, https://arxiv.org/abs/1711.10433
        Ping, Peng and Chen, "ClariNet", 2018, https://arxiv.org/abs/1807.07281
    """

    name: ClassVar[str] = "iaf"

    def __init__(
        self,
        contract: MelContract,
        *,
        flows: Annotated[int, Field(ge=1, le=64)] = 6,
        layers: Annotated[int, Field(ge=1, le=512)] = 10,
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

        def network() -> CausalConditioner:
            channels = (1, law.parameters, self.folded_cond_channels)
            return CausalConditioner(CausalWaveNet.from_settings(self.config, *channels, layers))

        # A chain is written from data to noise, so its last member is the flow that sees the noise first.
        self._assemble(Chain(IAF(network(), law) for _ in range(flows)))

    @property
    @override
    def lookahead_frames(self) -> int | None:
        # No value sees noise after its own, and all flows go forward in time.
        return None if super().lookahead_frames is None else self.neighbour_frames
