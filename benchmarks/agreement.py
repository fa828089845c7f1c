"""How far the engines of a model agree on real speech: audio, and the likelihood of it under the model.

    python -m benchmarks.agreement CHECKPOINT [--recording data/speech/ru_0235.flac] [--seconds 2] [--reference cached]

All engines are given the same noise. An autoregressive model feeds its errors of rounding back, so differences of
samples grow with time; what counts is whether the model holds one audio for less likely than the other.
"""

import argparse
from pathlib import Path

import torch

from audioflow.audio import read_audio
from audioflow.devices import pick_device
from audioflow.evaluation.agreement import nats_per_sample, relative_difference
from audioflow.evaluation.engines import is_slow
from audioflow.vocoders import load
from benchmarks.timing import machine

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--recording", type=Path, default=ROOT / "data" / "speech" / "ru_0235.flac")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--reference", help="engine that is held for right; by default the slowest but naive")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="cpu")
    options = parser.parse_args()
    device = pick_device(options.device)
    vocoder = load(options.checkpoint, device).eval()
    vocoder.fold_weight_norm()
    contract = vocoder.contract
    wav, _ = read_audio(options.recording, contract.sample_rate)
    frames = round(options.seconds * contract.sample_rate / contract.hop_length)
    mel = vocoder.mel(wav[None].to(device))[..., :frames]
    print(machine(device), end="\n\n")
    slowest = [engine for engine in reversed(vocoder.usable_engines) if not is_slow(vocoder, engine)]
    reference = options.reference or slowest[0]
    engines = [reference, *(engine for engine in slowest if engine != reference)]
    right, early = vocoder.synthesize(mel, engine=reference), contract.sample_rate // 10
    nats = nats_per_sample(vocoder, right, mel)
    print(
        "| engine | nats per sample of its audio | less the first's | largest diff., 0.1 s | all | rel. diff., 0.1 s | "
        "all |\n|---|--:|--:|--:|--:|--:|--:|"
    )
    for engine in engines:
        made = right if engine == reference else vocoder.synthesize(mel, engine=engine)
        own = nats_per_sample(vocoder, made, mel)
        largest = [float((made - right)[:, :end].abs().max()) for end in (early, made.shape[1])]
        relative = [relative_difference(made[:, :end], right[:, :end]) for end in (early, made.shape[1])]
        cells = [f"{own:.4f}", f"{own - nats:+.4f}", *(f"{value:.1e}" for value in (*largest, *relative))]
        print(f"| {engine} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    with torch.inference_mode():
        main()
