"""The mel front-end: recordings in, log-mel spectrograms out, as one contract says."""

import torch
from torch import Tensor, nn

from audioflow.audio.contract import MelContract
from audioflow.audio.filterbank import mel_filterbank
from audioflow.errors import AudioError


def frames_of(samples: int, hop_length: int) -> int:
    """Frames of a recording: ``ceil(samples / hop_length)``.

    Example:
        >>> frames_of(512, 256), frames_of(513, 256)
        (2, 3)
    """
    return -(-samples // hop_length)


class MelFrontEnd(nn.Module):
    """Log-mel spectrograms of a batch, differentiable, on any device.

    A recording of ``T`` samples has ``F = ceil(T / hop_length)`` frames under every framing, so that a vocoder's
    ``F * hop_length`` samples cover it. Centred framing elsewhere gives one frame more when the hop divides ``T``:
    the one whose middle is the first sample after the end. It is left out.

    Beyond its ends a recording goes on as its mirror image (or as silence, see `MelContract`). One shorter than the
    padding is mirrored again and again, so that any length from one sample up works.

    A padded batch gives what single recordings give: each is mirrored at its own end.

    The transform runs in float64. In float32 its rounding, relative to the loudest bin, drowns the quiet bands, and the
    logarithm shows it: errors of 1e-3 with a floor of 1e-5, of more than 1 with a floor of 1e-7.

    Args:
        contract: what to compute.

    Example:
        >>> from audioflow.audio import PRESETS
        >>> front_end = MelFrontEnd(PRESETS["speech-16k"])
        >>> front_end(torch.zeros(2, 1600)).shape
        torch.Size([2, 80, 8])
    """

    filterbank: Tensor

    def __init__(self, contract: MelContract) -> None:
        super().__init__()
        self.contract = contract
        self.register_buffer("filterbank", mel_filterbank(contract).float(), persistent=False)

    def forward(self, wav: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Compute the spectrograms; the result is float32 or, where ``wav`` is, float64, also under autocast.

        Args:
            wav: ``[B, T]`` in [-1, 1].
            lengths: ``[B]``, valid **samples** of each recording; ``None`` when all are whole.

        Returns:
            mel ``[B, M, F]`` with ``F = ceil(T / hop_length)``; frames past a recording's own
            ``ceil(length / hop_length)`` are 0.

        Raises:
            AudioError: ``wav`` is not [B, T] or has no samples, or a length lies outside 1..T.
        """
        _require_batch(wav, lengths)
        with torch.autocast(wav.device.type, enabled=False):
            mel = compress(self.linear(wav, lengths), self.contract)
        if lengths is None:
            return mel
        frames = -(-lengths.to(wav.device) // self.contract.hop_length)
        valid = torch.arange(mel.shape[-1], device=wav.device) < frames[:, None]
        return mel.masked_fill(~valid[:, None, :], 0.0)

    def linear(self, wav: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Mel spectrogram before floor and logarithm: ``wav [B, T]`` to ``[B, M, F]``; frames are not masked."""
        contract = self.contract
        working = torch.float32 if wav.device.type == "mps" else torch.float64  # Apple's GPUs have no float64
        window = torch.hann_window(contract.win_length, periodic=True, dtype=working, device=wav.device)
        spectrum = torch.stft(
            self._extended(wav.to(working), lengths),
            contract.n_fft,
            contract.hop_length,
            contract.win_length,
            window,
            center=False,
            return_complex=True,
        )
        linear = self.filterbank.to(working) @ _magnitude(spectrum, contract)
        return linear.to(torch.promote_types(wav.dtype, torch.float32))

    def _extended(self, wav: Tensor, lengths: Tensor | None) -> Tensor:
        """Continue each recording beyond its ends by as much as its frames reach, ``[B, (F - 1) * hop + n_fft]``.

        With 5 samples ``a b c d e`` and a reach of 3, mirrored: ``d c b | a b c d e | d c b``.
        """
        contract = self.contract
        batch, samples = wav.shape
        later = contract.hop_length if contract.framing == "half_hop" else 0
        reach = (contract.n_fft - later) // 2
        total = (frames_of(samples, contract.hop_length) - 1) * contract.hop_length + contract.n_fft
        position = torch.arange(total, device=wav.device)[None] - reach
        ends = torch.full((1, 1), samples, device=wav.device) if lengths is None else lengths.to(wav.device)[:, None]
        if contract.pad_mode == "zeros":
            index = position.clamp(0, samples - 1).expand(batch, -1)
            return wav.gather(1, index).masked_fill((position < 0) | (position >= ends), 0.0)
        return wav.gather(1, _mirrored(position, ends).expand(batch, -1))


def compress(linear: Tensor, contract: MelContract) -> Tensor:
    """Linear mel values to mel values: floor, logarithm, gain, offset and ceiling of the contract; any shape."""
    floored = linear + contract.floor if contract.floor_law == "add" else linear.clamp(min=contract.floor)
    mel = contract.gain / contract.log_base * floored.log() + contract.offset
    return mel if contract.ceiling is None else mel.clamp(max=contract.ceiling)


def decompress(mel: Tensor, contract: MelContract) -> Tensor:
    """Mel values to linear mel values (magnitude or power, see ``contract.power``).

    Undoes `compress` between floor and ceiling; what was louder than the ceiling comes back as loud as that.
    """
    linear = ((mel - contract.offset) * (contract.log_base / contract.gain)).exp()
    return (linear - contract.floor).clamp(min=0) if contract.floor_law == "add" else linear


def _magnitude(spectrum: Tensor, contract: MelContract) -> Tensor:
    if contract.power == 1 and contract.magnitude_epsilon == 0:
        return spectrum.abs()  # its gradient at 0 is 0, that of a square root is not finite
    squared = spectrum.real.square() + spectrum.imag.square() + contract.magnitude_epsilon
    return squared.sqrt() if contract.power == 1 else squared


def _mirrored(position: Tensor, ends: Tensor) -> Tensor:
    """Where in 0..end-1 the mirror image shows at ``position``; with end 4: -1 -> 1, 4 -> 2, 6 -> 0, 7 -> 1."""
    period = (2 * (ends - 1)).clamp(min=1)
    folded = position.remainder(period)
    return torch.minimum(folded, period - folded)


def _require_batch(wav: Tensor, lengths: Tensor | None) -> None:
    if wav.dim() != 2:
        raise AudioError(f"Audio for the mel front-end has shape {list(wav.shape)}, but [B, T] is needed.")
    if wav.shape[1] == 0:
        raise AudioError("The recording has no samples, so it has no mel spectrogram; leave it out.")
    if lengths is not None and (lengths.min() < 1 or lengths.max() > wav.shape[1]):
        found = f"{int(lengths.min())}..{int(lengths.max())}"
        raise AudioError(f"Lengths of {found} samples do not fit a batch of {wav.shape[1]}; give 1 to {wav.shape[1]}.")
