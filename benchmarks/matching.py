"""What it costs to move audio to the mel that it should have, and how near it comes.

    python -m benchmarks.matching [--contracts speech-16k nvidia-22k] [--rounds 2 8 24] [--seconds 4 30] [--device cuda]

For each contract and number of rounds: samples after a sample that a stream waits for; the share of real time that
audio of each length takes as a whole, and 4 s of it as a stream of pieces of a twentieth of a second, and with
gradients with respect to the audio; the mean distance of the mel from the one that is wanted, in its own units. The
audio is a recording with noise as loud as itself on top, its mel that of the recording.
"""

import argparse
from collections.abc import Callable
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import torch
from torch import Tensor

from audioflow.audio import PRESETS, MelContract, MelFrontEnd, read_audio
from audioflow.audio.matching import MelMatcher
from audioflow.evaluation.speed import measure
from benchmarks.timing import machine

SPEECH = Path(__file__).parents[1] / "data" / "speech"
PIECE, STREAMED = 0.05, 4.0
"""Seconds of a piece of a stream, and of the whole stream."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contracts", nargs="+", choices=list(PRESETS), default=["speech-16k", "nvidia-22k"])
    parser.add_argument("--rounds", nargs="+", type=int, default=[2, 8, 24])
    parser.add_argument("--seconds", nargs="+", type=float, default=[4.0, 30.0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(machine(options.device), end="\n\n")
    lengths = "".join(f" {seconds:g} s |" for seconds in options.seconds)
    print(f"| contract | rounds | lookahead, ms |{lengths} stream | with gradients | distance of the mel |")
    print("|---|--:|--:|" + "--:|" * (len(options.seconds) + 3))
    for name in options.contracts:
        for rounds in options.rounds:
            cells = row(PRESETS[name], rounds, options.seconds, options.device, options.runs)
            print(f"| {name} | {rounds} | {' | '.join(cells)} |", flush=True)


def row(contract: MelContract, rounds: int, lengths: list[float], device: str, runs: int) -> list[str]:
    """The figures of one line of the table, after contract and rounds."""
    matcher = MelMatcher(contract, rounds)
    wholes = [material(contract, seconds, device) for seconds in lengths]
    wav, mel, _ = material(contract, STREAMED, device)
    jobs: list[tuple[Callable[[], object], float]] = [
        *((partial(whole, matcher, *given[:2]), seconds) for given, seconds in zip(wholes, lengths, strict=True)),
        (partial(streamed, matcher, wav, mel), STREAMED),
        (partial(with_gradients, matcher, wav, mel), STREAMED),
    ]
    front_end, (start, wanted, _) = MelFrontEnd(contract).to(device), wholes[0]
    far = float((front_end(whole(matcher, start, wanted)) - wanted).abs().mean())
    shares = [share_of_real_time(job, seconds, runs) for job, seconds in jobs]
    ahead = 1e3 * matcher.lookahead_samples / contract.sample_rate
    return [f"{ahead:.0f}", *(f"{share:.4f}" for share in shares), f"{far:.4f}"]


def material(contract: MelContract, seconds: float, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Audio ``[1, T]`` to be matched, the mel ``[1, M, F]`` that it should have, the recording that this is of."""
    frames = round(seconds * contract.sample_rate / contract.hop_length)
    recordings = [read_audio(path, contract.sample_rate)[0] for path in sorted(SPEECH.glob("*.flac"))]
    enough = islice(cycle(recordings), 1 + int(seconds))
    wav = torch.cat(list(enough))[None, : frames * contract.hop_length].to(device)
    noise = torch.randn(wav.shape, generator=torch.Generator().manual_seed(0)).to(device)
    return wav + wav.std() * noise, MelFrontEnd(contract).to(device)(wav), wav


def whole(matcher: MelMatcher, wav: Tensor, mel: Tensor) -> Tensor:
    """All at once."""
    with torch.inference_mode():
        return matcher(wav, mel)


def streamed(matcher: MelMatcher, wav: Tensor, mel: Tensor) -> Tensor:
    """Piece by piece."""
    frames = max(1, round(PIECE * matcher.contract.sample_rate / matcher.contract.hop_length))
    stream = matcher.stream(len(wav))
    with torch.inference_mode():
        pieces = zip(wav.split(frames * matcher.contract.hop_length, 1), mel.split(frames, 2), strict=True)
        return torch.cat([*(stream.push(*piece) for piece in pieces), stream.finish()], dim=1)


def with_gradients(matcher: MelMatcher, wav: Tensor, mel: Tensor) -> Tensor:
    """All at once, and the gradient of its energy with respect to the audio."""
    heard = wav.clone().requires_grad_()
    return torch.autograd.grad(matcher(heard, mel).square().sum(), heard)[0]


def share_of_real_time(job: Callable[[], object], seconds: float, runs: int) -> float:
    """Seconds that a job takes for each second of audio: the median of some runs, after one that does not count."""
    return measure(job, samples=1, sample_rate=1, runs=runs, warm_up=job)[0].seconds / seconds


if __name__ == "__main__":
    main()
