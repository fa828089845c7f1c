"""How held-out speech sounds: PESQ, ESTOI, pitch, voicing, spectra and DistillMOS, as it is and with its mel matched.

    python benchmarks/heard.py prepared/festvox-ru runs/grouped --split test --seconds 4 --match 0 8 16 --temperature 1 0.7

One row for each checkpoint, temperature and number of matching rounds, over the first seconds of every utterance of the
split, next to the recordings, Griffin-Lim and the training-free pulses. DistillMOS is taken where its package is
installed (pip install --no-deps distillmos xls-r-sqa==0.1.0).
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from audioflow.audio import MelContract, torchaudio
from audioflow.audio.matching import MelMatcher
from audioflow.corpora import PreparedCorpus
from audioflow.evaluation.baselines import griffin_lim
from audioflow.evaluation.hearing import hearing
from audioflow.evaluation.metrics import multi_resolution_stft
from audioflow.vocoders import load

Clip = tuple[Tensor, Tensor]
NAMES = ("pesq", "stoi", "f0_cents", "voicing_error", "m_stft", "distillmos")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("checkpoints", nargs="*", type=Path)
    parser.add_argument("--split", choices=("valid", "test"), default="valid")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--limit", type=int, help="utterances, in the order of their ids")
    parser.add_argument("--match", type=int, nargs="+", default=[0, 8])
    parser.add_argument("--temperature", type=float, nargs="+", default=[1.0])
    parser.add_argument("--baselines", action="store_true")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    corpus = PreparedCorpus(options.prepared)
    clips = list(_clips(corpus, options.split, options.seconds, options.limit))
    makers: list[tuple[str, Callable[[int, Tensor], Tensor]]] = []
    if options.baselines:
        makers.append(("recording", lambda index, _: clips[index][0]))
        makers.append(("Griffin-Lim", lambda index, mel: griffin_lim(mel, corpus.contract, seed=index)))
    for path in options.checkpoints:
        for temperature in options.temperature:
            makers.append((f"{path.name}, T {temperature:g}", _model(path, temperature)))
    rows: dict[str, dict[str, float]] = {}
    for name, make in makers:
        begun = time.perf_counter()
        made = [make(index, mel) for index, (_, mel) in enumerate(clips)]
        spent = time.perf_counter() - begun
        for rounds in options.match if name != "recording" else [0]:
            rows[f"{name}, K {rounds}"] = _judged(clips, made, rounds, corpus.contract, options.workers)
            print(_line(f"{name}, K {rounds}", rows[f"{name}, K {rounds}"]), f"({spent:.1f} s)", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps({"split": options.split, "clips": len(clips), "rows": rows}, indent=1))


def _clips(corpus: PreparedCorpus, split: Any, seconds: float, limit: int | None) -> Any:
    hop = corpus.contract.hop_length
    for entry in sorted(corpus.entries(split), key=lambda entry: entry.id)[:limit]:
        wav, mel = corpus.load(entry)
        frames = min(mel.shape[1], int(seconds * corpus.contract.sample_rate) // hop)
        yield wav[: frames * hop], mel[:, :frames]


def _model(path: Path, temperature: float) -> Callable[[int, Tensor], Tensor]:
    vocoder = load(path)
    return lambda index, mel: vocoder.synthesize(mel[None], seed=index, temperature=temperature)[0]


def _judged(
    clips: Sequence[Clip], made: Sequence[Tensor], rounds: int, contract: MelContract, workers: int
) -> dict[str, float]:
    matcher = MelMatcher(contract, rounds)
    audio = [matcher(wav[None], mel[None])[0].clamp(-1, 1) for wav, (_, mel) in zip(made, clips, strict=True)]
    pairs = [(wav, one) for one, (wav, _) in zip(audio, clips, strict=True)]
    judge = partial(_distances, rate=contract.sample_rate)
    if workers > 1:
        with ProcessPoolExecutor(workers) as pool:
            each = list(pool.map(judge, pairs))
    else:
        each = [judge(pair) for pair in pairs]
    return {name: fmean([one[name] for one in each if one[name] == one[name]] or [float("nan")]) for name in NAMES}


def _distances(pair: Clip, rate: int) -> dict[str, float]:
    wav, made = pair
    return {
        **hearing(wav, made, rate),
        "m_stft": multi_resolution_stft(wav, made),
        "distillmos": _distillmos(made, rate),
    }


_judge: list[Any] = []


def _distillmos(wav: Tensor, rate: int) -> float:
    """No-reference mean opinion score; NaN where the package is missing, or at other rates than 16 kHz."""
    if rate != 16_000:
        return float("nan")
    if not _judge:
        _judge.append(_distillmos_judge())
    if _judge[0] is None:
        return float("nan")
    with torch.inference_mode():
        return float(_judge[0](wav[None].float()))


def _distillmos_judge() -> Any:
    """The judge; ``None`` where the package is missing."""
    torchaudio()  # complete, also where its compiled part cannot load
    try:
        import distillmos  # noqa: PLC0415
    except ImportError:
        return None
    return distillmos.ConvTransformerSQAModel().eval()


def _line(name: str, row: dict[str, float]) -> str:
    return f"{name:<34}" + "  ".join(f"{key} {row[key]:.3f}" for key in NAMES)


if __name__ == "__main__":
    main()
