"""The WaveGlow vocoder: the whole waveform at once, by invertible maps of squeezed audio."""

import math
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from audioflow.audio import MelContract
from audioflow.flows import AffineCoupling, Bijection, Chain, FactorOut, InvertibleConv1x1, Squeezed
from audioflow.flows.base import no_log_det
from audioflow.nets.masks import full_precision, mask_of, masked, repeat_mask, valid_steps, wide
from audioflow.nets.upsample import TransposedUpsampler
from audioflow.nets.wavenet import WaveNetConditioner
from audioflow.sampling import Progress
from audioflow.vocoders.base import Given, Vocoder

Positive = Annotated[int, Field(ge=1, le=4096)]


class Glow(Vocoder):
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
        channels: residual and skip channels of the WaveNets in the couplings.
        layers: their layers; dilations 1, 2, 4, ...
        kernel_size: their taps; odd.
        upsample_taps: mel frames that reach each conditioning sample.
        log_scale_limit: bound of each coupling's log-scale; 0 for none, as in the paper.
        follow_level: whether the flow works on speech divided by the loudness that its mel says it has.
        speakers: number of speakers; 0 for a model of one voice.
        speaker_channels: size of a speaker's embedding.

    References:
        Prenger, Valle and Catanzaro, "WaveGlow", 2018, https://arxiv.org/abs/1811.00002
    """

    name: ClassVar[str] = "glow"
    engines: ClassVar[tuple[str, ...]] = ("parallel",)

    def __init__(
        self,
        contract: MelContract,
        *,
        squeeze: Annotated[int, Field(ge=2, le=1024, multiple_of=2)] = 8,
        flows: Annotated[int, Field(ge=1, le=512)] = 12,
        early_every: Positive = 4,
        early_channels: Annotated[int, Field(ge=0, le=1024, multiple_of=2)] = 2,
        channels: Positive = 256,
        layers: Annotated[int, Field(ge=1, le=16)] = 8,
        kernel_size: Annotated[int, Field(ge=3, le=31)] = 3,
        upsample_taps: Annotated[int, Field(ge=1, le=64)] = 4,
        log_scale_limit: Annotated[float, Field(ge=0)] = 5.0,
        follow_level: bool = True,
        speakers: Annotated[int, Field(ge=0, le=1_000_000)] = 0,
        speaker_channels: Positive = 16,
    ) -> None:
        super().__init__(
            contract,
            {
                "squeeze": squeeze,
                "flows": flows,
                "early_every": early_every,
                "early_channels": early_channels,
                "channels": channels,
                "layers": layers,
                "kernel_size": kernel_size,
                "upsample_taps": upsample_taps,
                "log_scale_limit": log_scale_limit,
                "follow_level": follow_level,
                "speakers": speakers,
                "speaker_channels": speaker_channels,
            },
        )
        self.squeeze = squeeze
        self.speaker_embedding = nn.Embedding(speakers, speaker_channels) if speakers else None
        self.voice = nn.Linear(speaker_channels, contract.n_mels) if speakers else None
        self.upsampler = TransposedUpsampler(contract.n_mels, contract.hop_length, upsample_taps)

        def step(width: int) -> list[Bijection]:
            net = WaveNetConditioner(width // 2, width, contract.n_mels * squeeze, channels, layers, kernel_size)
            return [InvertibleConv1x1(width), AffineCoupling(net, width // 2, log_scale_limit or None)]

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
                bijections += step(width)
            return Chain(bijections)

        self.flow = Squeezed(squeeze, steps(0, squeeze))

    @property
    def context_frames(self) -> int:
        """Mel frames on each side that reach one sample: what exact synthesis in pieces has to carry.

        Pieces begin at multiples of ``squeeze`` samples, so that groups are cut where the whole has them.
        """
        groups = sum(module.context for module in self.modules() if isinstance(module, WaveNetConditioner))
        samples = groups * self.squeeze + self.squeeze - 1
        return math.ceil(samples / self.contract.hop_length) + self.upsampler.frame_context

    @override
    def scored_samples(self, frames: int) -> int:
        """Whole groups only: of an utterance that ``squeeze`` does not divide, the last few samples are left out."""
        return frames * self.contract.hop_length // self.squeeze * self.squeeze

    @override
    def _log_prob(self, x: Tensor, given: Given) -> Tensor:
        steps = self.scored_samples(given.mel.shape[-1])
        if steps == 0:
            return no_log_det(x)
        mask = self._group_mask(given.frame_mask, steps, round_up=False)
        cond = masked(self._cond(given)[..., :steps], mask)
        level = masked(given.level[..., :steps], mask)
        with full_precision(x):
            x = wide(x[..., :steps]) * torch.exp(-level)
        z, log_det = self.flow.to_noise(masked(x, mask), cond, mask)
        with full_precision(x):
            squares = wide(z).square().sum(dim=(1, 2))
            log_normal = -0.5 * squares - 0.5 * math.log(2 * math.pi) * valid_steps(z, mask)
            return log_normal + log_det - level.sum(dim=(1, 2))

    @override
    def _generate(
        self, noise: Tensor, given: Given, temperature: float, engine: str, progress: Progress | None
    ) -> Tensor:
        cond = self._cond(given)
        beyond = noise.shape[-1] - cond.shape[-1]
        mask = self._group_mask(given.frame_mask, noise.shape[-1], round_up=True)
        x, _ = self.flow.to_data(masked(noise * temperature, mask), functional.pad(cond, (0, beyond)), mask)
        return wide(x)[..., : cond.shape[-1]] * torch.exp(given.level)

    def _noise_steps(self, frames: int) -> int:
        return math.ceil(frames * self.contract.hop_length / self.squeeze) * self.squeeze

    def _cond(self, given: Given) -> Tensor:
        cond: Tensor = self.upsampler(given.mel, given.frame_mask)
        if self.voice is None or given.speaker is None:
            return cond
        voiced = cond + self.voice(given.speaker)[..., None]
        return masked(voiced, repeat_mask(given.frame_mask, self.contract.hop_length))

    def _group_mask(self, frame_mask: Tensor | None, steps: int, *, round_up: bool) -> Tensor | None:
        """Mask ``[B, 1, steps]`` of whole groups of ``squeeze`` samples; ``round_up`` counts a group cut by the end."""
        if frame_mask is None:
            return None
        samples = frame_mask.sum(dim=(1, 2)).long() * self.contract.hop_length
        whole = (samples + (self.squeeze - 1 if round_up else 0)) // self.squeeze * self.squeeze
        return mask_of(whole, steps, frame_mask.dtype)
