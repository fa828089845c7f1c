"""What a learned vocoder must beat: Griffin-Lim for sound, Gaussians for likelihood."""

import math

import librosa
import torch
from torch import Tensor

from audioflow.audio import AMPLITUDE_STEP, MelContract, decompress, mel_filterbank
from audioflow.flows import Front

# Standard deviation of the uniform noise of one 16-bit step: no 16-bit recording is known more finely than this.
SMALLEST_SCALE = AMPLITUDE_STEP / math.sqrt(12)


def griffin_lim(mel: Tensor, contract: MelContract, iterations: int = 32, seed: int = 0) -> Tensor:
    """Make a wav from a mel without any learning: least squares for the magnitudes, Griffin-Lim for the phases.

    The compression is undone; the linear spectrum is the non-negative least-squares solution under the mel
    filterbank; phases start at random and are made consistent by the fast Griffin-Lim iteration (momentum 0.99).

    Args:
        mel: [M, F], as the contract's front-end gives it.
        contract: the front-end that made the mel.
        iterations: of Griffin-Lim.
        seed: of the first phases.

    Returns:
        wav [F * hop_length] in float32 on the CPU, clipped to [-1, 1].

    References:
        D. Griffin, J. Lim: Signal estimation from modified short-time Fourier transform, 1984
        N. Perraudin, P. Balazs, P. L. Sondergaard: A fast Griffin-Lim algorithm, 2013
    """
    hop, frames = contract.hop_length, mel.shape[-1]
    # One more frame at each end, because the outermost half hops are covered by frames that the mel does not have; more
    # after a mel that is shorter than a transform.
    after = max(1, -(-contract.n_fft // hop) - frames)
    padded = torch.cat([mel[:, :1], mel, mel[:, -1:].expand(-1, after)], dim=-1)
    wav = librosa.griffinlim(
        linear_magnitude(padded, contract).numpy(),
        n_iter=iterations,
        hop_length=hop,
        win_length=contract.win_length,
        n_fft=contract.n_fft,
        length=(frames + after) * hop,
        random_state=seed,
    )
    # The extra frame in front moved everything one hop later; half-hop framing has its frames half a hop later too.
    start = hop // 2 if contract.framing == "half_hop" else hop
    return torch.from_numpy(wav).float()[start : start + frames * hop].clamp(-1, 1)


def linear_magnitude(mel: Tensor, contract: MelContract) -> Tensor:
    """Give the magnitudes [n_fft / 2 + 1, F] that best explain a mel [M, F], by non-negative least squares."""
    linear = decompress(mel.detach().double().cpu(), contract)
    solution = librosa.util.nnls(mel_filterbank(contract).numpy(), linear.numpy())
    return torch.from_numpy(solution).pow(1 / contract.power)


def energy_gaussian_log_prob(wav: Tensor, hop_length: int) -> float:
    """Give the log-density, in nats per sample, of a Gaussian that knows the recording's own frame energies.

    ``x_t ~ N(0, sigma_f^2)`` independently, where ``sigma_f`` is the root mean square of the frame that ``t`` lies
    in, but no less than that of uniform noise of one 16-bit step. It knows loudness over time and nothing else, no
    pitch and no timbre: whatever a vocoder gains over it, it has learned about the waveform.

    Args:
        wav: [T] in [-1, 1], dequantized exactly as it was for the vocoder's score.
        hop_length: samples per frame; a last frame that is not whole has its own energy.
    """
    scale = frame_scales(wav.double(), hop_length)
    return float(_gaussian_log_density(wav.double(), scale).mean())


def constant_gaussian_log_prob(wav: Tensor) -> float:
    """Give the log-density, in nats per sample, of one Gaussian with the energy of the whole wav [T]."""
    return energy_gaussian_log_prob(wav, hop_length=wav.shape[-1])


def envelope_gaussian_log_prob(wav: Tensor, mel: Tensor, contract: MelContract, order: int = 32) -> float:
    """Give the log-density, in nats per sample, of Gaussian noise through the mel's filter.

    The excitation that :class:`audioflow.flows.Front` finds in the recording is scored as white noise of one variance,
    its own. It knows the spectral envelope over time, and neither pitch nor any sample before: whatever a vocoder with
    a front gains over it, its network has learned.

    Args:
        wav: ``[F * hop_length]`` in [-1, 1], dequantized exactly as it was for the vocoder's score.
        mel: ``[M, F]``.
        contract: of the mel.
        order: of the filter.
    """
    front = Front(contract, order)
    filter_ = front.filter(mel[None])
    u = front.whiten(wav.double()[None, None], filter_)[0, 0]
    scale = u.square().mean().sqrt().clamp_min(SMALLEST_SCALE)
    return float(_gaussian_log_density(u, scale).mean() + front.log_det(filter_, len(wav))[0] / len(wav))


def energy_gaussian_sample(wav: Tensor, hop_length: int, seed: int = 0) -> Tensor:
    """Draw wav [T] from the Gaussian with the frame energies of ``wav`` [T]: what a model of loudness alone says."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(wav.shape[-1], generator=generator)
    return (noise * frame_scales(wav.float().cpu(), hop_length)).clamp(-1, 1)


def frame_scales(wav: Tensor, hop_length: int) -> Tensor:
    """Give each sample of wav [T] the root mean square of its frame, floored at ``SMALLEST_SCALE``, [T]."""
    energies = [frame.square().mean().expand(frame.shape[0]) for frame in wav.split(hop_length)]
    return torch.cat(energies).sqrt().clamp_min(SMALLEST_SCALE)


def _gaussian_log_density(x: Tensor, scale: Tensor) -> Tensor:
    return -0.5 * (x / scale).square() - scale.log() - 0.5 * math.log(2 * math.pi)
