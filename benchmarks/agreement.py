"""How far the engines of a model agree on real speech: audio, and the likelihood of it under the model.

    python -m benchmarks.agreement CHECKPOINT [--recording data/speech/ru_0235.flac] [--seconds 2]

All engines are given the same noise. An autoregressive model feeds its errors of rounding back, so differences of
samples grow with time; what counts is whether the model holds one audio for less likely than the other.
"""

import argparse
from pathlib import Path

import torch

from audioflow.audio import read_audio
from audioflow.vocoders import load
from benchmarks.timing import machine

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--recording", type=Path, default=ROOT / "data" / "speech" / "ru_0235.flac")
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    vocoder = load(options.checkpoint).eval()
    vocoder.fold_weight_norm()
    contract = vocoder.contract
    wav, _ = read_audio(options.recording, contract.sample_rate)
    frames = round(options.seconds * contract.sample_rate / contract.hop_length)
    mel = vocoder.mel(wav[None])[..., :frames]
    print(machine(), end="\n\n")
    engines = [engine for engine in reversed(vocoder.usable_engines) if engine != "naive"]
    first, early = None, contract.sample_rate // 10
    print(
        "| engine | nats per sample of its audio | less the first's | largest diff., 0.1 s | all |\n"
        "|---|--:|--:|--:|--:|"
    )
    for engine in engines:
        made = vocoder.synthesize(mel, engine=engine)
        with torch.inference_mode():
            nats = float(vocoder.log_prob(made, mel)) / made.shape[1]
        if first is None:
            first = nats, made
        difference = (made - first[1]).abs()[0]
        cells = f"{nats:.4f} | {nats - first[0]:+.4f} | {difference[:early].max():.1e} | {difference.max():.1e}"
        print(f"| {engine} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
