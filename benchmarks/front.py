"""How long the front takes: the filter from a mel, excitation from speech, speech from excitation.

    python benchmarks/front.py [--seconds 4] [--preset speech-16k] [--order 32]

One thread, one utterance, the best of several runs.
"""

import argparse
import json
import time
from collections.abc import Callable

import torch

from audioflow.audio import PRESETS
from audioflow.flows import Front


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--preset", choices=PRESETS, default="speech-16k")
    parser.add_argument("--order", type=int, default=32)
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    contract = PRESETS[options.preset]
    front = Front(contract, options.order)
    frames = round(options.seconds * contract.sample_rate / contract.hop_length)
    generator = torch.Generator().manual_seed(0)
    mel = torch.randn(1, contract.n_mels, frames, generator=generator) - 5
    u = torch.randn(1, 1, frames * contract.hop_length, generator=generator)
    with torch.inference_mode():
        filter_ = front.filter(mel)
        seconds = {
            "filter of the mel": _best(lambda: front.filter(mel), options.runs),
            "excitation to speech": _best(lambda: front.sound(u, filter_), options.runs),
            "speech to excitation": _best(lambda: front.whiten(u, filter_), options.runs),
        }
    rows = {name: {"ms": 1e3 * each, "share of real time": each / options.seconds} for name, each in seconds.items()}
    print(json.dumps({"seconds": options.seconds, "preset": options.preset, "order": options.order, **rows}, indent=1))


def _best(work: Callable[[], object], runs: int) -> float:
    work()
    times = []
    for _ in range(runs):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return min(times)


if __name__ == "__main__":
    main()
