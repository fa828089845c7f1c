"""Every flow and every vocoder that the laws are asked of, by name. A new one needs an entry here and nothing else."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn

from audioflow.audio import MelContract
from audioflow.distributions import Gaussian
from audioflow.flows import (
    IAF,
    MAF,
    ActNorm,
    AdditiveCoupling,
    AffineCoupling,
    BatchNorm,
    Bijection,
    CausalAffine,
    Chain,
    ChannelSplit,
    Checkerboard,
    Coupling,
    FactorOut,
    Front,
    Invert,
    InvertibleConv1x1,
    InvertibleConv1x1LU,
    Permutation,
    Preemphasis,
    Squeezed,
    TimeReversal,
)
from audioflow.flows.base import Wrapper
from audioflow.flows.kernels import Affine, Inverted, kernel_named
from audioflow.nets.causal import CausalConditioner
from audioflow.nets.front_wavenet import FrontWaveNet
from audioflow.nets.group_head import GroupLaw
from audioflow.nets.made import MADE
from audioflow.nets.masked_wavenet import MaskedWaveNet
from audioflow.nets.row_wavenet import RowWaveNet
from audioflow.nets.wavenet import CausalWaveNet, WaveNetConditioner
from audioflow.vocoders import Vocoder, build

COND = 2
"""Conditioning channels of the flows under test."""


@dataclass(frozen=True)
class FlowCase:
    """How to make a flow, and how many channels it takes."""

    make: Callable[[], Bijection]
    channels: int
    cond_channels: int = COND


@dataclass(frozen=True)
class VocoderCase:
    """What :func:`build` needs, small enough for tests."""

    vocoder: str
    config: dict[str, object] = field(default_factory=dict)
    hop_length: int = 4
    n_mels: int = 3


def make_flow(name: str, seed: int = 0) -> Bijection:
    """The named flow in float64 with every parameter perturbed."""
    torch.manual_seed(seed)
    return perturb(FLOWS[name].make()).double().eval()


def make_vocoder(name: str, seed: int = 0, spread: float = 0.2) -> Vocoder:
    """The named vocoder in float64 with every parameter and statistic perturbed."""
    torch.manual_seed(seed)
    case = VOCODERS[name]
    vocoder = build(case.vocoder, contract(case.hop_length, case.n_mels), case.config)
    return set_loudness(perturb(vocoder, spread).double().eval(), 0.05)


@torch.no_grad()
def set_loudness(vocoder: Vocoder, spread: float) -> Vocoder:
    """Make a mel of zeros mean speech of standard deviation ``spread``; of excitation, where there is a front."""
    zeros = torch.zeros(1, vocoder.contract.n_mels, 1, dtype=vocoder.level.offset.dtype)
    if vocoder.front is not None:
        offset = vocoder.front.envelope.offset
        offset.add_(math.log(spread) - vocoder.front.filter(zeros).log_scale.mean())
        return vocoder
    vocoder.level.offset.add_(math.log(spread) - vocoder.level(zeros).mean())
    return vocoder


def contract(hop_length: int = 4, n_mels: int = 3) -> MelContract:
    """A mel front-end with a hop of a few samples."""
    return MelContract(
        sample_rate=1000, n_fft=32, win_length=32, hop_length=hop_length, f_min=0, f_max=500, n_mels=n_mels
    )


@torch.no_grad()
def perturb(module: nn.Module, spread: float = 0.2) -> nn.Module:
    """Move every parameter at random, zero-initialised ones too; set the statistics that data would set."""
    for parameter in module.parameters():
        parameter.add_(spread * torch.randn_like(parameter))
    for name, buffer in module.named_buffers():
        if name.endswith("normalizer.mean"):
            buffer.normal_()
        if name.endswith("running_mean"):
            buffer.normal_()
        if name.endswith(("normalizer.std", "running_var")):
            buffer.uniform_(0.5, 2.0)
        if name.endswith("initialized"):
            buffer.fill_(True)
    return module


def causal_net(kernel_size: int, cond_channels: int = COND, **options: int) -> CausalWaveNet:
    """A causal WaveNet from one channel to two."""
    return CausalWaveNet(1, 2, cond_channels, 3, 2, 3, 6, kernel_size, **options)


def sighted(in_channels: int, out_channels: int, cond_channels: int = COND) -> WaveNetConditioner:
    """A WaveNet of two layers that sees both sides."""
    return WaveNetConditioner(in_channels, out_channels, cond_channels, channels=3, layers=2)


def coupling(
    channels: int, passive: int, cond_channels: int = COND, limit: float | None = 5.0, *, swapped: bool = False
) -> AffineCoupling:
    """An affine coupling; the network sees ``passive`` channels."""
    net = sighted(passive, 2 * (channels - passive), cond_channels)
    return AffineCoupling(net, channels - passive if swapped else passive, limit, swapped=swapped)


def checkerboard(channels: int, kernel: str = "affine", *, swapped: bool = False, **options: object) -> Coupling:
    """A coupling of neighbouring values by a named kernel."""
    law = kernel_named(kernel, **options)
    return Coupling(sighted(channels, law.parameters * channels, 2 * COND), law, Checkerboard(swapped=swapped))


class OncePerGroup(Wrapper):
    """A map that is told about every ``time_multiple``-th step, told about all."""

    def to_noise(self, x, cond=None, mask=None):
        return self.inner.to_noise(x, self._fewer(cond), mask)

    def to_data(self, z, cond=None, mask=None):
        return self.inner.to_data(z, self._fewer(cond), mask)

    def _fewer(self, cond):
        return cond[..., :: self.time_multiple]


def front(order: int, hop_length: int = 1, **fields: object) -> Bijection:
    """A front of a small mel; a strong correction keeps its gains within what differences can show."""
    return OncePerGroup(Front(contract(hop_length, COND).model_copy(update=fields), order, correction=0.01))


def grouped(samples: int, hidden: tuple[int, ...] = ()) -> Bijection:
    """A WaveNet over groups of samples."""
    law = GroupLaw(Gaussian(-3.0), samples, hidden)
    return OncePerGroup(CausalAffine(CausalWaveNet(samples, law.parameter_channels, COND, 2, 2, 3, 6, 2), law))


def named_coupling(kernel: str, **options: object) -> Coupling:
    """A coupling of three channels, of which one passes, by a named kernel."""
    law = kernel_named(kernel, **options)
    return Coupling(sighted(1, 2 * law.parameters), law, ChannelSplit(1))


def front_coupling(channels: int) -> Coupling:
    """A coupling with FloWaveNet's network, which sees the second half of the conditioning."""
    law, half = Inverted(Affine()), channels // 2
    net = FrontWaveNet(half, 2 * half, COND // 2, channels=3, layers=2, first_cond=COND // 2)
    return Coupling(net, law, ChannelSplit(half, swapped=True))


def vocoder_flow(name: str, config: dict[str, object]) -> Bijection:
    """The whole flow of a vocoder that is told the conditioning of every sample."""
    vocoder = build(name, contract(n_mels=COND), {**config, "cond_rate": "sample"})
    return Squeezed(vocoder.squeeze, vocoder.flow.bijection)


def made(outputs: int = 2, channels: int = 3, **options: object) -> MADE:
    """A MADE that is told the conditioning."""
    return MADE(channels, outputs, [24, 24], COND, **options)


def causal_conditioner(kernel_size: int = 2, channels: int = 1) -> CausalConditioner:
    """A causal WaveNet that gives shift and log-scale of each channel."""
    return CausalConditioner(CausalWaveNet(channels, 2 * channels, COND, 3, 2, 3, 6, kernel_size))


def row_net(rows: int, row_dilations: list[int], outputs: int = 2, **options: object) -> RowWaveNet:
    """A network of WaveFlow, told the same in every row."""
    return RowWaveNet(rows, outputs, COND, 4, row_dilations, shared_cond=True, **options)


def row_net_told_apart(rows: int, row_dilations: list[int], **options: object) -> RowWaveNet:
    """The same, told one feature for each row."""
    return RowWaveNet(rows, 2, 1, 4, row_dilations, **options)


MAFS: dict[str, FlowCase] = {
    "maf-made": FlowCase(lambda: MAF(made()), 3),
    "maf-made-reversed": FlowCase(lambda: MAF(made(order="reversed")), 3),
    "maf-made-random": FlowCase(lambda: MAF(made(order="random", numbers="random", seed=3)), 3),
    "maf-made-residual": FlowCase(lambda: MAF(made(residual=True)), 3),
    "maf-made-pair": FlowCase(lambda: MAF(made(channels=2)), 2),
    "maf-made-affine": FlowCase(lambda: MAF(made(), Affine(None)), 3),
    "maf-made-additive": FlowCase(lambda: MAF(made(1), kernel_named("additive")), 3),
    "maf-made-spline": FlowCase(lambda: MAF(made(8), kernel_named("spline", bins=3)), 3),
    "maf-made-mixture": FlowCase(lambda: MAF(made(8), kernel_named("mixture", components=2)), 3),
    "maf-masked-wavenet": FlowCase(lambda: MAF(MaskedWaveNet(3, 2, COND, 8, 2, order=[1, 2, 0])), 3),
    "maf-rows": FlowCase(lambda: MAF(row_net(3, [1, 1])), 3),
    "maf-rows-two": FlowCase(lambda: MAF(row_net(2, [1, 1])), 2),
    "maf-rows-dilated": FlowCase(lambda: MAF(row_net(9, [1, 2, 1], kernel_size=(2, 3))), 9),
    "maf-rows-order": FlowCase(lambda: MAF(row_net(4, [2, 1], order=[2, 0, 3, 1]), Affine()), 4),
    "maf-rows-first-passes": FlowCase(lambda: MAF(row_net(4, [1, 2], first_row_passes=True), Affine(None)), 4),
    "maf-rows-told-apart": FlowCase(lambda: MAF(row_net_told_apart(3, [1, 1], order=[2, 1, 0])), 3, 3),
    "maf-rows-told-apart-first-passes": FlowCase(
        lambda: MAF(row_net_told_apart(4, [1, 1], order=[1, 0, 3, 2], first_row_passes=True), Affine()), 4, 4
    ),
    "maf-rows-spline": FlowCase(lambda: MAF(row_net(3, [1], 8), kernel_named("spline", bins=3)), 3),
    "maf-causal": FlowCase(lambda: MAF(causal_conditioner(2)), 1),
    "maf-causal-two-channels": FlowCase(lambda: MAF(causal_conditioner(3, 2)), 2),
}
"""Masked autoregressive flows, of whose order there is a law."""

FLOWS: dict[str, FlowCase] = {
    **MAFS,
    "iaf-made": FlowCase(lambda: IAF(made()), 3),
    "iaf-causal": FlowCase(lambda: IAF(causal_conditioner(3)), 1),
    "time-reversal": FlowCase(lambda: TimeReversal(IAF(causal_conditioner(2))), 1),
    "iaf-made-spline": FlowCase(lambda: IAF(made(8), kernel_named("spline", bins=3)), 3),
    "maf-stack": FlowCase(
        lambda: Chain([MAF(made()), InvertibleConv1x1(3), MAF(made(order="reversed")), Permutation([2, 1, 0])]), 3
    ),
    "front": FlowCase(lambda: front(3), 1),
    "front-level": FlowCase(lambda: front(0), 1),
    "front-hop-4": FlowCase(lambda: front(5, 4), 1),
    "front-hop-6-half": FlowCase(lambda: front(2, 6, framing="half_hop"), 1),
    "front-power-above-the-bands": FlowCase(lambda: front(2, 3, power=2, f_max=200.0, compression="log10"), 1),
    "front-and-causal": FlowCase(lambda: Chain([front(2), CausalAffine(causal_net(2), Gaussian())]), 1),
    "groups": FlowCase(lambda: grouped(3), 1),
    "groups-hidden": FlowCase(lambda: grouped(2, (5,)), 1),
    "preemphasis": FlowCase(lambda: Preemphasis(0.9), 2),
    "permutation": FlowCase(lambda: Permutation([2, 0, 1]), 3),
    "conv1x1": FlowCase(lambda: InvertibleConv1x1(3), 3),
    "conv1x1-pair": FlowCase(lambda: InvertibleConv1x1(2), 2),
    "conv1x1-lu": FlowCase(lambda: InvertibleConv1x1LU(3), 3),
    "conv1x1-lu-pair": FlowCase(lambda: InvertibleConv1x1LU(2), 2),
    "actnorm": FlowCase(lambda: ActNorm(3), 3),
    "batch-norm": FlowCase(lambda: BatchNorm(3), 3),
    "normalized": FlowCase(lambda: Chain([ActNorm(2), coupling(2, 1), Invert(BatchNorm(2)), coupling(2, 1)]), 2),
    "coupling": FlowCase(lambda: coupling(3, 1), 3),
    "coupling-swapped": FlowCase(lambda: coupling(3, 2, swapped=True), 3),
    "coupling-additive": FlowCase(lambda: AdditiveCoupling(sighted(1, 2), 1), 3),
    "coupling-additive-swapped": FlowCase(lambda: AdditiveCoupling(sighted(1, 2), 2, swapped=True), 3),
    "coupling-spline": FlowCase(lambda: named_coupling("spline", bins=3), 3),
    "coupling-mixture": FlowCase(lambda: named_coupling("mixture", components=2), 3),
    "coupling-front-wavenet": FlowCase(lambda: front_coupling(2), 2),
    "checkerboard": FlowCase(lambda: checkerboard(1), 1),
    "checkerboard-swapped": FlowCase(lambda: checkerboard(1, swapped=True), 1),
    "checkerboard-pair": FlowCase(lambda: checkerboard(2), 2),
    "checkerboard-pair-swapped": FlowCase(lambda: checkerboard(2, swapped=True), 2),
    "checkerboard-spline": FlowCase(lambda: checkerboard(2, "spline", bins=3), 2),
    "checkerboard-additive": FlowCase(lambda: checkerboard(2, "additive", swapped=True), 2),
    "coupling-two-pass": FlowCase(lambda: coupling(3, 2), 3),
    "coupling-unbounded": FlowCase(lambda: coupling(2, 1, limit=None), 2),
    "causal-kernel-2": FlowCase(lambda: CausalAffine(causal_net(2), Gaussian()), 1),
    "causal-kernel-3": FlowCase(lambda: CausalAffine(causal_net(3), Gaussian()), 1),
    "causal-front-3": FlowCase(lambda: CausalAffine(causal_net(2, front_kernel_size=3), Gaussian()), 1),
    "causal-speaker": FlowCase(
        lambda: CausalAffine(causal_net(2, speaker_channels=2), Gaussian(), speaker=torch.tensor([[0.3, -1.0]])), 1
    ),
    "causal-linear": FlowCase(lambda: CausalAffine(causal_net(2, linear_taps=7), Gaussian()), 1),
    "causal-level": FlowCase(lambda: CausalAffine(causal_net(2), Gaussian(), level=torch.full((1, 1, 1), -0.7)), 1),
    "causal-tight-floor": FlowCase(lambda: CausalAffine(causal_net(2), Gaussian(min_log_scale=0.0)), 1),
    "chain": FlowCase(lambda: Chain([InvertibleConv1x1(2), coupling(2, 1), Permutation([1, 0])]), 2),
    "chain-empty": FlowCase(lambda: Chain([]), 2),
    "invert-coupling": FlowCase(lambda: Invert(coupling(2, 1)), 2),
    "invert-causal": FlowCase(lambda: Invert(CausalAffine(causal_net(2), Gaussian())), 1),
    "factor-out": FlowCase(lambda: FactorOut(1, coupling(2, 1)), 3),
    "factor-out-prior": FlowCase(lambda: FactorOut(1, coupling(2, 1), sighted(2, 2)), 3),
    "factor-out-prior-norms": FlowCase(lambda: FactorOut(2, Chain([ActNorm(1), BatchNorm(1)]), sighted(1, 4)), 3),
    "squeezed": FlowCase(lambda: Squeezed(3, coupling(6, 3, 3 * COND)), 2),
    "squeezed-causal": FlowCase(
        lambda: Squeezed(2, FactorOut(1, CausalAffine(causal_net(3, cond_channels=2 * COND), Gaussian()))), 1
    ),
    "causal-both-ways": FlowCase(
        lambda: Chain([CausalAffine(causal_net(2), Gaussian()), Invert(CausalAffine(causal_net(3), Gaussian()))]), 1
    ),
    "nested": FlowCase(
        lambda: Chain(
            [
                Invert(Chain([Squeezed(2, Chain([InvertibleConv1x1(4), coupling(4, 2, 2 * COND)])), coupling(2, 1)])),
                Squeezed(2, FactorOut(2, Squeezed(2, Invert(coupling(4, 2, 4 * COND))))),
            ]
        ),
        2,
    ),
    "glow": FlowCase(lambda: vocoder_flow("glow", {**_GLOW, "layers": 1}), 1),
    "realnvp": FlowCase(lambda: vocoder_flow("realnvp", _REALNVP), 1),
    "flowavenet": FlowCase(lambda: vocoder_flow("flowavenet", _FLOWAVENET), 1),
}

_WAVENET = {"layers": 3, "cycle": 2, "residual_channels": 3, "skip_channels": 8, "cond_channels": 3}
_GLOW = {"squeeze": 4, "flows": 2, "early_every": 1, "early_channels": 2, "channels": 3, "layers": 2}
_HEADS = {
    "gaussian": {},
    "gaussian_mixture": {"components": 3},
    "logistic_mixture": {"components": 3},
    "mu_law": {"classes": 16},
}

WAVENETS: dict[str, VocoderCase] = {
    f"wavenet-{head}-kernel-{kernel}{'-speakers' if speakers else ''}": VocoderCase(
        "wavenet", {**_WAVENET, **own, "head": head, "kernel_size": kernel, "speakers": speakers, "speaker_channels": 2}
    )
    for head, own in _HEADS.items()
    for kernel in (2, 3)
    for speakers in (0, 2)
}

GLOWS: dict[str, VocoderCase] = {
    "glow": VocoderCase("glow", _GLOW),
    "glow-no-early-outputs": VocoderCase("glow", {**_GLOW, "early_channels": 0}),
    "glow-speakers": VocoderCase("glow", {**_GLOW, "speakers": 2, "speaker_channels": 2}),
    "glow-unbounded": VocoderCase("glow", {**_GLOW, "log_scale_limit": 0.0}),
    "glow-hop-5": VocoderCase("glow", _GLOW, hop_length=5),
    "glow-hop-7-squeeze-6": VocoderCase("glow", {**_GLOW, "squeeze": 6, "upsample_taps": 2}, hop_length=7),
    "glow-hop-1": VocoderCase("glow", {**_GLOW, "squeeze": 2, "early_channels": 0}, hop_length=1, n_mels=1),
}

_NICE = {"squeeze": 4, "flows": 3, "channels": 3, "layers": 2}
_REALNVP = {"squeeze": 2, "scales": 2, "couplings": 2, "channels": 3, "layers": 1}
_FLOWAVENET = {"blocks": 3, "flows": 2, "early_every": 2, "channels": 8, "layers": 1}

MULTISCALE: dict[str, VocoderCase] = {
    "realnvp": VocoderCase("realnvp", _REALNVP),
    "realnvp-prior-hop-5": VocoderCase(
        "realnvp", {**_REALNVP, "learned_prior": True, "cond_rate": "sample", "base": "diagonal"}, hop_length=5
    ),
    "realnvp-speakers": VocoderCase(
        "realnvp", {**_REALNVP, "speakers": 2, "speaker_channels": 2, "scales": 1, "squeeze": 3, "batch_norm": False}
    ),
    "realnvp-spline-hop-7": VocoderCase("realnvp", {**_REALNVP, "kernel": "spline", "squeeze": 1}, hop_length=7),
    "flowavenet": VocoderCase("flowavenet", _FLOWAVENET),
    "flowavenet-hop-5": VocoderCase("flowavenet", {**_FLOWAVENET, "blocks": 2, "early_every": 1}, hop_length=5),
    "flowavenet-group-rate-hop-7": VocoderCase(
        "flowavenet",
        {
            **_FLOWAVENET,
            "squeeze": 4,
            "early_every": 0,
            "cond_channels": 2,
            "cond_rate": "group",
            "upsampler": "interpolate",
        },
        hop_length=7,
    ),
    "flowavenet-speakers": VocoderCase("flowavenet", {**_FLOWAVENET, "speakers": 2, "speaker_channels": 2}),
}

_MAF = {"squeeze": 3, "flows": 2, "channels": 8, "layers": 2}
_IAF = {"flows": 2, "layers": 2, "cycle": 2, "residual_channels": 8, "skip_channels": 8, "front_kernel_size": 2}
_STUDENT = {**{key: value for key, value in _IAF.items() if key != "layers"}, "flows": [2, 1]}

_WAVEFLOW = {"squeeze": 4, "flows": 2, "channels": 3, "layers": 2}

WAVEFLOWS: dict[str, VocoderCase] = {
    "waveflow": VocoderCase("waveflow", _WAVEFLOW),
    "waveflow-hop-5-group-rate": VocoderCase("waveflow", {**_WAVEFLOW, "cond_rate": "group"}, hop_length=5),
    "waveflow-speakers": VocoderCase("waveflow", {**_WAVEFLOW, "speakers": 2, "speaker_channels": 2}),
    "waveflow-first-row-passes": VocoderCase(
        "waveflow", {**_WAVEFLOW, "squeeze": 3, "flows": 3, "first_row_passes": True, "log_scale_limit": 0.0}
    ),
    "waveflow-dilated-hop-7": VocoderCase(
        "waveflow", {**_WAVEFLOW, "squeeze": 6, "row_dilations": [2, 1], "upsampler": "interpolate"}, hop_length=7
    ),
    "waveflow-spline-8-rows": VocoderCase("waveflow", {**_WAVEFLOW, "squeeze": 8, "kernel": "spline"}, hop_length=8),
    "waveflow-hop-1": VocoderCase("waveflow", {**_WAVEFLOW, "squeeze": 2}, hop_length=1, n_mels=1),
}

_FRONT = {"front": 4, "front_correction": 0.01}
_GROUPS = {**_WAVENET, **_FRONT, "samples_per_step": 2, "min_log_scale": -3.0}

FRONTS: dict[str, VocoderCase] = {
    "wavenet-front-mixture": VocoderCase(
        "wavenet", {**_WAVENET, **_FRONT, "head": "gaussian_mixture", "components": 3}
    ),
    "wavenet-front-level": VocoderCase("wavenet", {**_WAVENET, "front": 0}),
    "wavenet-groups": VocoderCase("wavenet", _GROUPS),
    "wavenet-groups-all-of-a-frame": VocoderCase("wavenet", {**_GROUPS, "samples_per_step": 6}, hop_length=6),
    "wavenet-groups-hidden": VocoderCase("wavenet", {**_GROUPS, "group_hidden": 5, "cond_hidden": 4}),
    "wavenet-groups-speakers": VocoderCase("wavenet", {**_GROUPS, "speakers": 2, "speaker_channels": 2}),
    "wavenet-groups-mixture": VocoderCase("wavenet", {**_GROUPS, "head": "gaussian_mixture", "components": 2}),
    "wavenet-groups-logistic": VocoderCase(
        "wavenet", {**_GROUPS, "head": "continuous_logistic_mixture", "components": 2}, hop_length=6
    ),
    "glow-front": VocoderCase("glow", {**_GLOW, **_FRONT}),
    "glow-front-hop-5": VocoderCase("glow", {**_GLOW, **_FRONT}, hop_length=5),
    "nice-front": VocoderCase("nice", {**_NICE, **_FRONT}),
    "realnvp-front": VocoderCase("realnvp", {**_REALNVP, **_FRONT}),
    "flowavenet-front": VocoderCase("flowavenet", {**_FLOWAVENET, **_FRONT}),
    "maf-front": VocoderCase("maf", {**_MAF, **_FRONT}),
    "waveflow-front": VocoderCase("waveflow", {**_WAVEFLOW, **_FRONT}),
    "iaf-front": VocoderCase("iaf", {**_IAF, **_FRONT}),
    "student-front": VocoderCase("student", {**_STUDENT, **_FRONT}),
}
"""Every model behind a front."""

VOCODERS: dict[str, VocoderCase] = {
    **FRONTS,
    "maf": VocoderCase("maf", _MAF),
    "maf-mixing-sample-rate": VocoderCase("maf", {**_MAF, "mixing": True, "cond_rate": "sample"}, hop_length=5),
    "maf-speakers-mel-base": VocoderCase("maf", {**_MAF, "speakers": 2, "speaker_channels": 2, "base": "mel"}),
    "maf-spline-logistic-base": VocoderCase("maf", {**_MAF, "kernel": "spline", "base": "logistic"}),
    "iaf": VocoderCase("iaf", _IAF),
    "iaf-linear-kernel-2": VocoderCase("iaf", {**_IAF, "linear_taps": 3, "kernel_size": 2, "gate_channels": 4}),
    "iaf-speakers-hop-7": VocoderCase("iaf", {**_IAF, "speakers": 2, "speaker_channels": 2}, hop_length=7),
    "student": VocoderCase("student", _STUDENT),
    "student-logistic": VocoderCase("student", {**_STUDENT, "base": "logistic", "flows": [1, 2, 1], "kernel_size": 2}),
    "student-reversed-hop-7": VocoderCase(
        "student",
        {**_STUDENT, "order": "reversed", "flows": [2, 2, 2], "speakers": 2, "speaker_channels": 2},
        hop_length=7,
    ),
    "iaf-diagonal-base": VocoderCase("iaf", {**_IAF, "base": "diagonal", "upsampler": "transposed2d"}),
    **WAVENETS,
    **GLOWS,
    **WAVEFLOWS,
    **MULTISCALE,
    "nice": VocoderCase("nice", _NICE),
    "nice-speakers-hop-5": VocoderCase(
        "nice", {**_NICE, "squeeze": 6, "speakers": 2, "speaker_channels": 2, "cond_rate": "sample"}, hop_length=5
    ),
    "nice-mel-base": VocoderCase("nice", {**_NICE, "base": "mel", "upsampler": "interpolate"}),
    "glow-alternating": VocoderCase("glow", {**_GLOW, "alternating": True}),
    "glow-constant-level": VocoderCase("glow", {**_GLOW, "follow_level": False}),
    "wavenet-constant-level": VocoderCase("wavenet", {**_WAVENET, "follow_level": False}),
    "wavenet-gaussian-preemphasis": VocoderCase("wavenet", {**_WAVENET, "preemphasis": 0.7}),
    "wavenet-one-hot": VocoderCase(
        "wavenet", {**_WAVENET, "head": "mu_law", "classes": 16, "one_hot": True, "linear_taps": 0}
    ),
    "wavenet-transposed-gates-5": VocoderCase("wavenet", {**_WAVENET, "upsampler": "transposed", "gate_channels": 5}),
    "wavenet-transposed2d-relu-hop-6": VocoderCase(
        "wavenet",
        {**_WAVENET, "cond_channels": 3, "upsampler": "transposed2d", "upsample_scales": [3, 2], "front_relu": True},
        hop_length=6,
    ),
    "wavenet-transposed2d-apart": VocoderCase(
        "wavenet",
        {**_WAVENET, "cond_channels": 3, "upsampler": "transposed2d", "upsample_overlap": False, "upsample_slope": 0.1},
    ),
    "wavenet-stretch-hop-6": VocoderCase(
        "wavenet",
        {**_WAVENET, "upsampler": "stretch", "upsample_scales": [3, 2], "upsample_context": 1},
        hop_length=6,
    ),
    "wavenet-front-3": VocoderCase("wavenet", {**_WAVENET, "front_kernel_size": 3}),
    "wavenet-no-linear": VocoderCase("wavenet", {**_WAVENET, "linear_taps": 0}),
    "wavenet-linear-2-front-3": VocoderCase("wavenet", {**_WAVENET, "linear_taps": 2, "front_kernel_size": 3}),
    "wavenet-hop-7": VocoderCase("wavenet", _WAVENET, hop_length=7),
    "wavenet-hop-1": VocoderCase("wavenet", _WAVENET, hop_length=1, n_mels=1),
}
