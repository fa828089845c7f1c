"""What a step of training takes beside other projects' modules of the same architecture, with the same weights.

    python -m benchmarks.training_peers [--jobs wavenet waveglow] [--frames 40] [--batches 1 4] [--channels 64]
                                        [--layers 20] [--steps 8] [--threads 1]

A step is the likelihood of a batch of random speech, as each project computes it, its gradient and AdamW, in float32;
batches have so many frames of 256 samples. All take turns in one process, ours first the plain way, with the layers of
PyTorch alone, and then as the library does it by itself. Time is that of the processor, the least of several steps.
The packages are those that ``make test`` installs.
"""

import argparse
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from audioflow.nets import gated_stack
from audioflow.vocoders import Vocoder
from benchmarks.peers import WAVEGLOW, imported, published_wavenet
from benchmarks.timing import machine
from benchmarks.training_step import least

HOP = 256
Step = Callable[[], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", nargs="+", choices=["wavenet", "waveglow"], default=["wavenet", "waveglow"])
    parser.add_argument("--frames", nargs="+", type=int, default=[40], help="lengths of a segment, in frames")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--channels", nargs="+", type=int, default=[64])
    parser.add_argument("--layers", nargs="+", type=int, default=[20], help="of the WaveNet")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(machine(), end="\n\n")
    print("| network | batch | samples each | theirs, samples/s | ours, plain | ours | ratio |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for title, make in networks(options.jobs, options.channels, options.layers):
        for batch in options.batches:
            for frames in options.frames:
                taken = least(step_of(make, batch, frames), ["theirs", "plain", "rows"], options.steps)
                rates = [batch * frames * HOP / taken[way] for way in ("theirs", "plain", "rows")]
                cells = " | ".join(f"{rate:,.0f}" for rate in rates)
                print(f"| {title} | {batch} | {frames * HOP:,} | {cells} | {rates[2] / rates[0]:.2f} |", flush=True)


Pair = tuple[nn.Module, Step, nn.Module, Step]
"""Their module and its loss, ours and its."""


def networks(
    jobs: list[str], channels: list[int], layers: list[int]
) -> Iterator[tuple[str, Callable[[Tensor, Tensor], Pair]]]:
    """Each network that is asked for, and what makes both modules and their losses for some speech."""
    for width in channels:
        if "wavenet" in jobs:
            for depth in layers:
                yield f"WaveNet {depth} x {width}", partial(wavenets, depth, width)
        if "waveglow" in jobs:
            yield f"WaveGlow 12 x 8 x {width}", partial(waveglows, width)


def step_of(make: Callable[[Tensor, Tensor], Pair], batch: int, frames: int) -> Callable[[str], None]:
    """One step of either, on one batch, again and again."""
    torch.manual_seed(0)
    wav, mel = 0.1 * torch.randn(batch, frames * HOP), torch.rand(batch, 80, frames) - 4
    peer, their_loss, vocoder, our_loss = make(wav, mel)
    optimizers = {module: torch.optim.AdamW(module.parameters(), 1e-5) for module in (peer, vocoder)}

    def step(way: str) -> None:
        gated_stack.BY_ROWS = way != "plain"
        module, loss = (peer, their_loss) if way == "theirs" else (vocoder, our_loss)
        optimizers[module].zero_grad()
        loss().backward()
        optimizers[module].step()

    return step


def wavenets(layers: int, channels: int, wav: Tensor, mel: Tensor) -> Pair:
    """A mixture of ten logistics after a WaveNet of kernel 2, and the mixture's loss."""
    from wavenet_vocoder.mixture import discretized_mix_logistic_loss  # noqa: PLC0415 - a development dependency

    sizes = {"residual_channels": channels, "gate_channels": 2 * channels, "skip_out_channels": channels}
    peer = published_wavenet(layers=layers, dropout=0.0, **sizes)
    ours = _trained(imported("r9y9-wavenet", peer.state_dict(), "stacks=2"))

    def their_loss() -> Tensor:
        # What it says at a sample is of the next one.
        said = peer(wav[:, None], mel)
        loss: Tensor = discretized_mix_logistic_loss(said[..., :-1], wav[:, 1:, None], num_classes=65_536)
        return loss

    return peer, their_loss, ours, lambda: _loss(ours, wav, mel)


def waveglows(channels: int, wav: Tensor, mel: Tensor) -> Pair:
    """WaveGlow of 12 flows with networks of eight layers, and its loss."""
    from waveglow.glow import WaveGlow, WaveGlowLoss  # noqa: PLC0415 - a development dependency

    network: dict[str, Any] = {**WAVEGLOW["WN_config"], "n_channels": channels}  # type: ignore[dict-item]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = WaveGlow(**{**WAVEGLOW, "WN_config": network})
    ours, loss = _trained(imported("nvidia-waveglow", peer.state_dict())), WaveGlowLoss()

    def their_loss() -> Tensor:
        found: Tensor = loss(peer((mel, wav)))
        return found

    return peer, their_loss, ours, lambda: _loss(ours, wav, mel)


def _trained(vocoder: Vocoder) -> Vocoder:
    return vocoder.train().requires_grad_()


def _loss(vocoder: Vocoder, wav: Tensor, mel: Tensor) -> Tensor:
    return -vocoder.log_prob(wav, mel).mean() / wav.shape[1]


if __name__ == "__main__":
    main()
