"""Times our engines beside other projects' code, with the same weights where the architecture is the same.

    python -m benchmarks.peers [--jobs wavenet glow waveflow griffin-lim hifigan] [--hifigan-onnx FILE] [--threads 1]
                               [--rounds 5] [--json FILE]

Every contender of a job takes its turn in every round, in one process, and the median counts. The weights are random:
that changes the sound, not the speed. The packages are those that ``make test`` installs. A HiFi-GAN is timed where
onnxruntime is installed and a file is named: an ONNX model from a mel [1, M, F] in float32 to audio.
"""

import argparse
import json
import statistics
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numba import njit
from torch.nn import functional

from audioflow.audio import PRESETS
from audioflow.evaluation.baselines import griffin_lim
from audioflow.imports import FORMATS, read_checkpoint, read_settings
from audioflow.sampling.cpu.places import aligned
from audioflow.sampling.cpu.vectors import multiply
from audioflow.sampling.cpu.weights import sizes_of
from audioflow.vocoders import Vocoder, build
from audioflow.vocoders.wavenet import WaveNet
from benchmarks.timing import all_turns, in_turns, machine

WAVENET = {"layers": 20, "stacks": 2, "residual_channels": 64, "gate_channels": 128, "skip_out_channels": 64}
WAVEGLOW = {
    "n_mel_channels": 80,
    "n_flows": 12,
    "n_group": 8,
    "n_early_every": 4,
    "n_early_size": 2,
    "WN_config": {"n_layers": 8, "n_channels": 256, "kernel_size": 3},
}


@dataclass(frozen=True)
class Contender:
    """One way to do a job.

    Attributes:
        name: whose code, which engine.
        run: does it.
        samples: audio samples that one run makes, of all utterances together.
    """

    name: str
    run: Callable[[], object]
    samples: int


@dataclass(frozen=True)
class Row:
    """One line: the median of the rounds, and its ratio to the first contender of the job."""

    job: str
    contender: str
    samples_per_second: float
    ratio: float
    spread: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--hifigan-onnx", type=Path, metavar="FILE", help="a HiFi-GAN for the job hifigan")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the rows there too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(machine())
    print(f"- median of {options.rounds} rounds, in turns\n")
    print("| job | contender | samples/s | ratio to the first | spread |\n|---|---|--:|--:|--:|")
    rows: list[Row] = []
    jobs: dict[str, Callable[[], Iterator[Job]]] = {**JOBS, "hifigan": partial(hifigan_jobs, options.hifigan_onnx)}
    for name in options.jobs:
        for title, contenders, notes in jobs[name]():
            for row in timed(title, contenders, options.rounds):
                rows.append(row)
                print(
                    f"| {row.job} | {row.contender} | {row.samples_per_second:,.0f} | {row.ratio:.2f} | "
                    f"{100 * row.spread:.0f} % |",
                    flush=True,
                )
            for note in notes:
                print(f"| {title} | {note} | | | |", flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


def timed(job: str, contenders: list[Contender], rounds: int) -> Iterator[Row]:
    """Let each contender run once unmeasured, then all of them in turns."""
    with torch.inference_mode():
        seconds = all_turns({contender.name: contender.run for contender in contenders}, rounds, warm_up=1)
    speeds = {c.name: c.samples / statistics.median(seconds[c.name]) for c in contenders}
    first = speeds[contenders[0].name]
    for contender in contenders:
        taken = seconds[contender.name]
        spread = (max(taken) - min(taken)) / statistics.median(taken)
        yield Row(job, contender.name, speeds[contender.name], speeds[contender.name] / first, spread)


Job = tuple[str, list[Contender], list[str]]


def wavenet_jobs() -> Iterator[Job]:
    """Cached sampling of a WaveNet: 20 layers of 64 channels, kernel 2, a mixture of ten logistics."""
    torch.manual_seed(0)
    peer = published_wavenet().eval()
    ours = imported("r9y9-wavenet", peer.state_dict(), "stacks=2")
    assert isinstance(ours, WaveNet)  # noqa: S101
    difference = _wavenet_difference(peer, ours)
    peer.make_generation_fast_()
    ours.fold_weight_norm().eval()
    mel = torch.rand(1, 80, 8)

    def theirs() -> object:
        return peer.incremental_forward(c=mel[..., :4], T=1024, softmax=False, quantize=False)

    contenders = [Contender("wavenet-vocoder 0.1.1, incremental_forward", theirs, 1024)]
    lengths = {"cached": 4, "cpu": 80, "cpu-int16": 80}
    for engine, frames in lengths.items():
        contenders.append(_synthesis(f"audioflow, {engine}", ours, frames, 1, engine))
    alike = f"largest difference of the networks' outputs, weights alike: {difference:.1e}"
    yield "WaveNet 20 x 64, batch 1", contenders, [alike, *_wavenet_shares(ours, 1)]
    small, large = (build("wavenet", PRESETS["nvidia-22k"], {"layers": layers}).eval() for layers in (20, 30))
    cases = [(engine, batch) for engine in ("cpu", "cpu-int16") for batch in (1, 4, 16)]
    together = [
        _synthesis(f"audioflow, {engine}, batch {n}", small.fold_weight_norm(), 40, n, engine) for engine, n in cases
    ]
    yield "WaveNet 20 x 64, Gaussian, all utterances together", together, _wavenet_shares(ours, 16)
    alone = [_synthesis(f"audioflow, {e}", large.fold_weight_norm(), 80, 1, e) for e in ("cpu", "cpu-int16")]
    yield "WaveNet 30 x 64, Gaussian, at 22,050 Hz", alone, []


def published_wavenet(**changes: object) -> Any:
    """The module of ``wavenet-vocoder`` of `WAVENET`'s sizes: kernel 2, ten logistics, a hop of 256 samples."""
    from wavenet_vocoder.wavenet import WaveNet as Published  # noqa: PLC0415 - a development dependency

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Published(
            out_channels=30,
            **{**WAVENET, **changes},
            kernel_size=2,
            cin_channels=80,
            scalar_input=True,
            upsample_conditional_features=True,
            upsample_scales=[16, 16],
        )


def _wavenet_difference(peer: Any, ours: WaveNet) -> float:
    """Between what both networks say of the same speech."""
    wav, mel = 0.1 * torch.randn(1, 256 * 4), torch.rand(1, 80, 4)
    with torch.inference_mode():
        wanted = peer(functional.pad(wav[:, None, :-1], (1, 0)), mel)
        found = ours.predict(wav, mel).params
    return float((wanted - found).abs().max())


def _wavenet_shares(vocoder: WaveNet, batch: int) -> list[str]:
    """The speed that the weights' bytes, or the arithmetic, would allow by themselves, measured in this run."""
    notes = []
    for precision, kind in (("float32", np.float32), ("int16", np.int32)):
        sizes = sizes_of(vocoder.network, vocoder.law, precision)  # type: ignore[arg-type]
        per_layer = (sizes.taps * sizes.channels * sizes.conv_width + sizes.gates * sizes.out_width) // 128
        rows = per_layer * sizes.layers // 128 * 128
        weights = aligned(rows * 128 // sizes.packed, kind)
        passes = partial(_only_products, weights, rows, sizes.packed, aligned(128 * 16), aligned(128 * 16), batch, 200)
        seconds = in_turns({precision: passes}, rounds=5, warm_up=1)[precision] / 200
        rate = 2 * rows * 128 * batch / seconds / 1e9
        notes.append(
            f"the gated layers' products alone, {precision}: {batch / seconds:,.0f} samples/s "
            f"({weights.nbytes / seconds / 1e9:.0f} GB/s, {rate:.0f} GFLOP/s)"
        )
    return notes


@njit
def _only_products(weights, rows, packed, x, sums, batch, times):  # type: ignore[no-untyped-def]
    for _ in range(times):
        for row in range(0, rows, 128):
            multiply(weights, row * 128 // packed, 128, 128, x, 0, 128, sums, 0, 128, batch)


def glow_jobs() -> Iterator[Job]:
    """Synthesis by WaveGlow with 256 channels, 1 s and 10 s."""
    from waveglow.glow import WaveGlow  # noqa: PLC0415 - a development dependency

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = WaveGlow(**WAVEGLOW).eval()
    ours = imported("nvidia-waveglow", peer.state_dict()).eval()
    ours.fold_weight_norm()
    peer = WaveGlow.remove_weightnorm(peer)
    # The package draws its noise on a GPU.
    vars(torch.cuda)["FloatTensor"] = torch.FloatTensor
    for seconds in (1.0, 10.0):
        frames = round(seconds * 22_050 / 256)
        mel = torch.randn(1, 80, frames) - 5

        def theirs(mel: torch.Tensor = mel) -> object:
            return peer.infer(mel)

        contenders = [Contender("waveglow 22.12.28, infer", theirs, frames * 256)]
        contenders += [_synthesis(f"audioflow, {engine}", ours, frames, 1, engine) for engine in ours.usable_engines]
        yield f"WaveGlow-256, {seconds:g} s", contenders, []


def waveflow_jobs() -> Iterator[Job]:
    """Row by row, with and without a memory of the rows before."""
    vocoder = build("waveflow", PRESETS["nvidia-22k"], {"squeeze": 16, "channels": 64}).eval().fold_weight_norm()
    contenders = [_synthesis(f"audioflow, {engine}", vocoder, 43, 1, engine) for engine in ("naive", "cached")]
    yield "WaveFlow h16 r64, 0.5 s", contenders, []


def griffin_lim_jobs() -> Iterator[Job]:
    """The old default, from the same mels."""
    contract = PRESETS["nvidia-22k"]
    frames = 86
    mel = torch.randn(80, frames) - 5
    run = lambda: griffin_lim(mel, contract)  # noqa: E731
    yield "Griffin-Lim, 1 s", [Contender("librosa, 32 iterations", run, frames * 256)], []


def _synthesis(name: str, vocoder: Vocoder, frames: int, batch: int, engine: str) -> Contender:
    mel = torch.rand(batch, vocoder.contract.n_mels, frames) - 3
    return Contender(name, lambda: vocoder.synthesize(mel, engine=engine), batch * frames * vocoder.contract.hop_length)


def imported(name: str, state: dict[str, torch.Tensor], *settings: str) -> Vocoder:
    """Ours with the weights of another project's module."""
    chosen = FORMATS[name]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.pt"
        torch.save({"state_dict": state}, path)
        return chosen.convert(read_checkpoint(path), read_settings(chosen.settings, settings, name)).vocoder


def hifigan_jobs(path: Path | None) -> Iterator[Job]:
    """One second by a HiFi-GAN in onnxruntime, by Griffin-Lim and by our parallel engines, at 22,050 Hz."""
    contract = PRESETS["nvidia-22k"]
    frames = 86
    mel = torch.randn(80, frames) - 5
    contenders = [Contender("librosa, Griffin-Lim, 32 iterations", lambda: griffin_lim(mel, contract), frames * 256)]
    notes = []
    try:
        run = onnx_vocoder(path, torch.get_num_threads())
    except (ImportError, ValueError) as error:
        notes.append(f"HiFi-GAN is absent: {error}")
    else:
        made = run(mel[None])
        contenders.append(Contender(f"{path and path.name}, onnxruntime", lambda: run(mel[None]), made.size))
        notes.append(f"{path and path.name} makes {made.size / frames:g} samples of each mel frame")
    for name in ("glow", "nice"):
        ours = build(name, contract, {}).eval().fold_weight_norm()
        contenders += [_synthesis(f"audioflow {name}, {one}", ours, frames, 1, one) for one in ours.usable_engines]
    yield "HiFi-GAN, Griffin-Lim, flows, 1 s", contenders, notes


def onnx_vocoder(path: Path | None, threads: int) -> Callable[[torch.Tensor], np.ndarray]:
    """A model in an ONNX file as a function from mel [1, M, F] to audio.

    Raises:
        ImportError: onnxruntime is not installed.
        ValueError: no file is named, or it has several inputs.
    """
    if path is None:
        raise ValueError("no file was named by --hifigan-onnx")
    try:
        # Nothing else here needs it.
        import onnxruntime  # type: ignore[import-not-found]  # noqa: PLC0415
    except ImportError:
        raise ImportError("onnxruntime is not installed") from None
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    if len(session.get_inputs()) != 1:
        raise ValueError(f"{path.name} has {len(session.get_inputs())} inputs; one, the mel, was expected")
    name = session.get_inputs()[0].name
    return lambda mel: np.asarray(session.run(None, {name: mel.float().numpy()})[0])


JOBS: dict[str, Callable[[], Iterator[Job]]] = {
    "wavenet": wavenet_jobs,
    "glow": glow_jobs,
    "waveflow": waveflow_jobs,
    "griffin-lim": griffin_lim_jobs,
}
NAMES = (*JOBS, "hifigan")

if __name__ == "__main__":
    main()
