"""What the weights' precision of the compiled loop costs a trained WaveNet, in nats per sample of held-out speech.

    python benchmarks/engine_likelihood.py prepared/festvox-ru runs/grouped --seconds 4 --limit 22

An engine of lower precision is a model of its own: its likelihood is that of the laws which the loop works out for each
step when the samples before it are those of the recording.
"""

import argparse
import json
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from audioflow.audio import dequantize
from audioflow.corpora import PreparedCorpus
from audioflow.nets.group_head import grouped
from audioflow.nets.upsample import lowest_rate
from audioflow.sampling.autoregressive import Precision
from audioflow.sampling.cpu.forced import outputs_given
from audioflow.vocoders import load
from audioflow.vocoders.wavenet import WaveNet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    torch.set_num_threads(1)
    corpus, model = PreparedCorpus(options.prepared), load(options.checkpoint)
    if not isinstance(model, WaveNet):
        parser.error(f"{options.checkpoint} holds a {model.name}, but only a wavenet runs in the compiled loop")
    totals, samples = dict.fromkeys(("network", *get_args(Precision)), 0.0), 0
    for index, entry in enumerate(sorted(corpus.entries("test"), key=lambda entry: entry.id)[: options.limit]):
        wav, mel = corpus.load(entry)
        frames = min(mel.shape[1], int(options.seconds * corpus.contract.sample_rate) // corpus.contract.hop_length)
        wav, mel = wav[None, : frames * corpus.contract.hop_length], mel[None, :, :frames]
        noisy = dequantize(wav, torch.Generator().manual_seed(index))
        for name, nats in _nats(model, noisy, mel).items():
            totals[name] += nats
        samples += wav.shape[1]
    rows = {name: nats / samples for name, nats in totals.items()}
    print(json.dumps({name: round(nats, 5) for name, nats in rows.items()}, indent=1))


@torch.inference_mode()
def _nats(model: WaveNet, wav: Tensor, mel: Tensor) -> dict[str, float]:
    """Log-likelihood of a recording by the network itself and by the loop in each precision."""
    whole = float(model.log_prob(wav, mel))
    u = model.seen_of(wav, mel)[:, None]
    x, given = grouped(u, model.samples_per_step), model._given(mel, None, None)
    inside = float(model._log_prob(u, given))
    cond = lowest_rate(model.upsampler, given.mel)
    found = {"network": whole}
    for precision in get_args(Precision):
        outputs = outputs_given(model.network, model.law, cond, given.level, x, precision)
        nats = model.law.log_prob(model.law.at_level(outputs, given.level), x).sum()
        found[precision] = whole - inside + float(nats)
    return found


if __name__ == "__main__":
    main()
