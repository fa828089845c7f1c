r"""The front: speech as excitation, by a filter that the mel spectrogram alone decides on.

Nine tenths of what a vocoder has to learn of the spectral envelope, its mel says already. The front takes that out as
the first map from speech to noise, exactly invertible and with nothing trained but a constant:

.. math::
    u_t = \Bigl(x_t - \sum_{i=1}^{p} a_i(t)\, x_{t-i}\Bigr) / \sigma_t \qquad
    x_t = \sigma_t u_t + \sum_{i=1}^{p} a_i(t)\, x_{t-i} \qquad
    \log|\det \partial u / \partial x| = -\sum_t \log \sigma_t
"""

from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from audioflow.audio import MelContract
from audioflow.flows.base import Bijection, Direction
from audioflow.flows.envelope_filter import EnvelopeFilter, Filter, blocks_per_frame
from audioflow.flows.filtering import predict, resonate
from audioflow.nets.level import ROUNDING
from audioflow.nets.masks import full_precision, masked, repeat_mask, wide


class Around(NamedTuple):
    """What lies around a segment that was cut out of an utterance.

    Attributes:
        samples: those before it, ``[B, P]``; as many as the front's order, or more.
        mel_before: the frame before it, ``[B, M, 1]``.
        mel_after: the frame after it, ``[B, M, 1]``.
    """

    samples: Tensor
    mel_before: Tensor
    mel_after: Tensor


class Front(Bijection):
    r"""Speech ``x`` to excitation ``u``, white and of unit variance as far as a mel can tell.

    The equations are those of this module. ``a`` and ``sigma`` are constant over blocks of about a quarter of a frame
    and come from the mel by :class:`~audioflow.flows.envelope_filter.EnvelopeFilter`. Data to noise is a filter of
    finite length, parallel in time; noise to data a recursion of ``order`` products a sample. Of order 0 the front
    divides by the loudness alone.

    ``x`` and ``u`` are ``[B, 1, F * hop_length]``; ``cond`` is the mel ``[B, M, F]`` in the contract's units, ``mask``
    that of the samples. Everything is computed in float64 and returned in the dtype of the input, float32 at least.

    Args:
        contract: what mel values mean.
        order: ``p``.
        correction: added to the autocorrelation's lag 0, as a share of it: 1e-9 keeps 90 dB of range, and 1e-4
            40 dB.

    References:
        Makhoul, "Linear Prediction: A Tutorial Review", Proceedings of the IEEE, 1975
        Valin and Skoglund, "LPCNet", 2018, https://arxiv.org/abs/1810.11846 (prediction from an envelope of bands)

    >>> from audioflow.audio import PRESETS
    >>> front = Front(PRESETS["speech-16k"], order=4)
    >>> mel, x = torch.zeros(1, 80, 2), torch.randn(1, 1, 400)
    >>> u, log_det = front.to_noise(x, mel)
    >>> bool(torch.allclose(front.to_data(u, mel)[0], x, atol=1e-5))
    True
    """

    def __init__(self, contract: MelContract, order: int = 32, correction: float = 1e-9) -> None:
        super().__init__()
        self.order = order
        self.hop_length = contract.hop_length
        self.envelope = EnvelopeFilter(contract, order, correction)

    @property
    @override
    def time_multiple(self) -> int:
        return self.hop_length

    @property
    @override
    def constant_log_det(self) -> bool:
        return True  # given the mel

    @override
    def reach(self, direction: Direction) -> int | None:
        # The neighbouring frames decide on a block's filter.
        return self.order + 2 * self.hop_length if direction == "to_noise" else None

    def filter(self, mel: Tensor, frame_mask: Tensor | None = None, around: Around | None = None) -> Filter:
        """The filter of ``mel [B, M, F]``; after an utterance's end it is that of its last frame.

        Args:
            mel: in the contract's units.
            frame_mask: ``[B, 1, F]``.
            around: frames around a segment; the outermost frames stand for them by default.
        """
        with full_precision(mel):
            whole: Filter
            if around is None:
                whole = self.envelope(mel, frame_mask)
                return whole
            wider = torch.cat([around.mel_before, mel, around.mel_after], dim=-1)
            per_frame = blocks_per_frame(self.hop_length)
            own = slice(per_frame, -per_frame)
            whole = self.envelope(wider, None)
            return Filter(whole.coefficients[:, own], whole.log_scale[:, own], whole.block)

    def whiten(self, x: Tensor, filter_: Filter, before: Tensor | None = None) -> Tensor:
        """Excitation ``[B, 1, T]`` of speech ``x [B, 1, T]``.

        Args:
            x: speech.
            filter_: of its mel.
            before: samples before the first, ``[B, P]``; silence by default.
        """
        with full_precision(x):
            speech = x[:, 0].double()
            past = _past(before, speech, self.order)
            residual = speech - predict(torch.cat([past, speech], dim=1), filter_.coefficients, filter_.block)
            return _like(residual / filter_.scale_of_samples(x.shape[-1]), x)[:, None]

    def sound(self, u: Tensor, filter_: Filter, before: Tensor | None = None, offset: int = 0) -> tuple[Tensor, Tensor]:
        """Speech ``[B, 1, T]`` of excitation ``u [B, 1, T]``, and its last samples, for what comes after it.

        Args:
            u: excitation.
            filter_: of the mel.
            before: samples before the first, ``[B, order]``, float64; silence by default.
            offset: of the first sample in the filter's first block.
        """
        with full_precision(u):
            drive = u[:, 0].double() * filter_.scale_of_samples(u.shape[-1], offset)
            past = _past(before, drive, self.order)
            speech = resonate(drive, past, filter_.coefficients, filter_.block, offset)
            last = speech[:, max(0, speech.shape[1] - self.order) :]
            after = torch.cat([past[:, last.shape[1] :], last], dim=1)
            return _like(speech, u)[:, None], after

    def log_det(self, filter_: Filter, steps: int, mask: Tensor | None = None) -> Tensor:
        """Log-determinant ``[B]`` from speech to excitation, over valid samples."""
        scales = filter_.log_scale_of_samples(steps)
        return -masked(scales[:, None], mask).sum(dim=(1, 2))

    @override
    def to_noise(self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        filter_ = self._filter(cond, mask)
        u = self.whiten(masked(x, mask), filter_)
        return masked(u, mask), self.log_det(filter_, x.shape[-1], mask).to(wide(x).dtype)

    @override
    def to_data(self, z: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        filter_ = self._filter(cond, mask)
        x, _ = self.sound(masked(z, mask), filter_)
        return masked(x, mask), -self.log_det(filter_, z.shape[-1], mask).to(wide(z).dtype)

    def _filter(self, mel: Tensor | None, mask: Tensor | None) -> Filter:
        if mel is None:
            raise ValueError("a front is nothing without a mel: give it as cond")
        return self.filter(mel, None if mask is None else mask[..., :: self.hop_length])

    @torch.no_grad()
    def fit(self, wav: Tensor, mel: Tensor, frame_mask: Tensor | None = None, around: Around | None = None) -> None:
        """Choose what a mel does not say: bands above its highest, and the constant that gives ``u`` unit variance.

        Args:
            wav: ``[B, F * hop_length]``.
            mel: ``[B, M, F]``.
            frame_mask: ``[B, 1, F]``.
            around: what lies around segments.
        """
        self.envelope.fit_upper_bands(wav, mel, frame_mask)
        self.envelope.offset.zero_()
        mask = repeat_mask(frame_mask, self.hop_length)
        filter_ = self.filter(mel, frame_mask, around)
        u = self.whiten(masked(wav[:, None], mask), filter_, None if around is None else around.samples)
        # Where the level is that of rounding, it stays.
        follows = filter_.log_scale_of_samples(wav.shape[-1])[:, None] > ROUNDING
        counted = follows if mask is None else follows & (mask > 0)
        if bool(counted.any()):
            self.envelope.offset.copy_(0.5 * torch.log(u.double()[counted].square().mean().clamp(min=1e-12)))


def _past(before: Tensor | None, x: Tensor, order: int) -> Tensor:
    if before is None:
        return x.new_zeros(x.shape[0], order)
    return before[:, before.shape[1] - order :].to(x.dtype)


def _like(x: Tensor, given: Tensor) -> Tensor:
    return x.to(wide(given).dtype)
