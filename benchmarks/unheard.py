"""Speech from mels that no recording has: smoothed, shifted, noisy, empty, far too loud, and of a speaker never heard.

    python benchmarks/unheard.py prepared/festvox-ru runs/grouped --stranger stranger.wav --picture unheard.png

Prints loudness and, where there is a recording to compare with, PESQ and ESTOI; draws a spectrogram of each.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from audioflow.audio import MelFrontEnd, read_audio
from audioflow.corpora import PreparedCorpus
from audioflow.evaluation.hearing import hearing
from audioflow.evaluation.pictures import figure_png, spectrogram_figure
from audioflow.vocoders import load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--stranger", type=Path, help="a recording of somebody whom the model never heard")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--match", type=int, default=8)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = load(options.checkpoint)
    sounds = {}
    print(f"{'mel':<34}{'rms':>9}{'peak':>8}{'PESQ':>7}{'ESTOI':>8}")
    for name, mel, wav in _mels(options, model.contract.silence):
        made = model.synthesize(mel[None], match_mel=options.match, temperature=options.temperature, seed=1)[0]
        if not bool(torch.isfinite(made).all()):
            raise SystemExit(f"the mel {name} made audio that is not finite")
        heard = {} if wav is None else hearing(wav, made, model.contract.sample_rate)
        figures = "".join(f"{heard[key]:>{width}.3f}" for key, width in (("pesq", 7), ("stoi", 8)) if key in heard)
        print(f"{name:<34}{made.square().mean().sqrt():>9.4f}{made.abs().max():>8.3f}{figures}", flush=True)
        sounds[name] = made
    if options.picture is not None:
        options.picture.write_bytes(figure_png(spectrogram_figure(sounds, model.contract.sample_rate), dpi=70))


def _mels(options: argparse.Namespace, silence: float) -> Iterator[tuple[str, Tensor, Tensor | None]]:
    """Name, mel ``[M, F]`` and what it should sound like, if that is known."""
    corpus = PreparedCorpus(options.prepared)
    contract = corpus.contract
    entry = min(corpus.entries("test"), key=lambda entry: entry.id)
    frames = int(options.seconds * contract.sample_rate) // contract.hop_length
    wav, mel = corpus.load(entry)
    wav, mel = wav[: frames * contract.hop_length], mel[:, :frames]
    generator = torch.Generator().manual_seed(0)
    yield "recorded", mel, wav
    yield "smoothed over 5 bands, 5 frames", functional.avg_pool2d(mel[None, None], 5, 1, 2, False, False)[0, 0], wav
    yield "moved up by 1 (9 dB)", mel + 1, (wav * torch.e).clamp(-1, 1)
    yield "moved down by 4 (35 dB)", mel - 4, wav / torch.e**4
    yield "with noise of 1.6", mel + 1.6 * torch.randn(mel.shape, generator=generator), wav
    yield "all at the floor", torch.full_like(mel, silence), None
    yield "+10 in all bands", torch.full_like(mel, 10.0), None
    if options.stranger is not None:
        other, _ = read_audio(options.stranger, contract.sample_rate)
        other = other[: frames * contract.hop_length // contract.hop_length * contract.hop_length]
        other = other[: len(other) // contract.hop_length * contract.hop_length]
        yield "of a speaker never heard", MelFrontEnd(contract)(other[None])[0], other


if __name__ == "__main__":
    main()
