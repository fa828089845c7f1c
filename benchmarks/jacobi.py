r"""Does fixed-point iteration pay for sequential sampling? Sweeps per sample of a WaveNet, and per row of a MAF.

    python -m benchmarks.jacobi --wavenet CHECKPOINT [--maf CHECKPOINT ...] [--samples 600] [--plot FILE]

Every sample is a function of those before it, :math:`x_t = f_t(x_{<t})`. A sweep puts a guess of a whole window into
the right side, which is one parallel pass. The first sample of the window is exact after it, since all before it are,
so no more sweeps are needed than there are samples; samples that a sweep leaves where they were need no other one, and
the window moves on with its guesses as a warm start. Sampling one by one needs one step per sample, so it pays only if
there are far fewer sweeps than samples.

- ``plain``: the guess goes into the right side.
- ``filter p``: a Newton-type sweep that takes the dependence on the last ``p`` samples for a linear filter, fitted to
  the exact samples before the window, and solves that part exactly by a recursive filter.
- ``newton``: the whole Jacobian of the window, by automatic differentiation, and a triangular solution: the best that
  a linearisation can do, at the price of as many backward passes as the window has samples.

References:
    Song et al., "Accelerating Feedforward Computation via Parallel Nonlinear Equation Solving", 2021
    Lim et al., "Parallelizing non-linear sequential models over the sequence length", 2024
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from matplotlib.figure import Figure
from scipy.signal import lfilter
from torch import Tensor

from audioflow.audio import read_audio
from audioflow.flows import MAF
from audioflow.nets.conditioning import Conditioning
from audioflow.vocoders import Vocoder, load
from audioflow.vocoders.wavenet import WaveNet
from benchmarks.timing import machine

ROOT = Path(__file__).parents[1]
FITTED_TO = 512
"""Exact samples before the window that a filter is fitted to."""
WINDOWS, TOLERANCES = (16, 64, 256), (1e-2, 1e-4)
LAGS, LAGS_AT = (0, 1, 2, 4, 8, 16, 32), 64
"""Lags that filters are fitted to, and the window for which all of them are tried."""
COLOURS = {0: "#3f7fbf", LAGS[3]: "#d9822b", -1: "#3a9b5c"}


@dataclass(frozen=True)
class Material:
    """What a WaveNet is given: conditioning of all layers ``[1, R, T]``, log loudness and noise ``[1, 1, T]``."""

    network: WaveNet
    projected: Tensor
    level: Tensor
    noise: Tensor

    @classmethod
    def read(cls, vocoder: WaveNet, mel: Tensor, samples: int) -> "Material":
        """Of a mel ``[1, M, F]``, from its middle."""
        given = vocoder._given(mel, None, None)
        projected = vocoder.network.project(Conditioning(vocoder.upsampler(given.mel)))
        assert projected is not None  # noqa: S101
        start = (projected.shape[-1] - samples) // 2
        noise = torch.randn(1, 1, samples, generator=torch.Generator().manual_seed(0))
        return cls(vocoder, projected[..., start:][..., :samples], given.level[..., start:][..., :samples], noise)

    def sweep(self, x: Tensor, first: int, stop: int) -> Tensor:
        """``f`` of the samples ``first`` to ``stop - 1``, given ``x [1, 1, stop - first]`` there."""
        here = slice(first, stop)
        law, level = self.network.law, self.level[..., here]
        outputs = self.network.network(law.network_input(x, level), self.projected[..., here])
        return law.sample(law.at_level(outputs, level), self.noise[..., here]).clamp(-1.0, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wavenet", type=Path, help="checkpoint with one amplitude as input, without pre-emphasis")
    parser.add_argument("--maf", type=Path, nargs="*", default=[], help="checkpoints of maf or waveflow")
    parser.add_argument("--samples", type=int, default=600)
    parser.add_argument("--newton-samples", type=int, default=128)
    parser.add_argument("--plot", type=Path, help="draw a WaveNet's sweeps against window and lag there")
    options = parser.parse_args()
    torch.manual_seed(0)
    print(machine())
    if options.wavenet:
        print("\n| window | tolerance | sweep | sweeps per sample |\n|--:|--:|---|--:|")
        rows = []
        for row in wavenet_rows(options.wavenet, options.samples, options.newton_samples):
            rows.append(row)
            print(f"| {row.window} | {row.tolerance:g} | {row.sweep} | {row.per_sample:.2f} |", flush=True)
        if options.plot:
            figure(rows).savefig(options.plot, dpi=110)
    if options.maf:
        print("\n| model | tolerance | sweeps per flow | rows |\n|---|--:|--:|--:|")
        for path in options.maf:
            for cells in maf_rows(path):
                print(f"| {cells} |", flush=True)


def speech(vocoder: Vocoder) -> Tensor:
    """The mel ``[1, M, F]`` of a second in the middle of a test utterance."""
    rate = vocoder.contract.sample_rate
    wav, _ = read_audio(ROOT / "data" / "speech" / "ru_0235.flac", rate)
    return vocoder.mel(wav[None, rate : 2 * rate])


@dataclass(frozen=True)
class Row:
    """How many sweeps a WaveNet's samples needed.

    Attributes:
        window: samples that are guessed at a time.
        tolerance: share of the loudness.
        taps: lag up to which the dependence is taken for a filter; 0 for none, -1 for the whole Jacobian.
        per_sample: sweeps for each sample.
    """

    window: int
    tolerance: float
    taps: int
    per_sample: float

    @property
    def sweep(self) -> str:
        """Name of the kind of sweep."""
        return {0: "plain", -1: "newton"}.get(self.taps, f"filter {self.taps}")


def wavenet_rows(path: Path, samples: int, newton_samples: int) -> Iterator[Row]:
    """Lines of the table for a WaveNet."""
    vocoder = load(path)
    assert isinstance(vocoder, WaveNet)  # noqa: S101
    vocoder.fold_weight_norm()
    with torch.no_grad():
        whole = Material.read(vocoder, speech(vocoder), samples)
    for window in WINDOWS:
        for tolerance in TOLERANCES:
            for taps in LAGS if window == LAGS_AT else LAGS[::3]:
                yield Row(window, tolerance, taps, sweeps(whole, window, tolerance, taps) / samples)
    for window in WINDOWS[:-1]:
        for tolerance in TOLERANCES:
            count = newton_sweeps(whole, window, tolerance, newton_samples)
            yield Row(window, tolerance, -1, count / newton_samples)


def figure(rows: list[Row]) -> Figure:
    """Sweeps against the window, and against the lag of the filter."""
    drawn = Figure(figsize=(9, 3.6), layout="constrained")
    by_window, by_lag = drawn.subplots(1, 2, sharey=True)
    for taps in (0, LAGS[3], -1):
        for tolerance in TOLERANCES:
            own = [row for row in rows if (row.taps, row.tolerance) == (taps, tolerance)]
            style = "-" if tolerance == TOLERANCES[-1] else ":"
            label = f"{own[0].sweep}, {tolerance:g}"
            windows = [row.window for row in own]
            by_window.plot(windows, [row.per_sample for row in own], f"o{style}", label=label, color=COLOURS[taps])
    for tolerance in TOLERANCES:
        own = [row for row in rows if (row.window, row.tolerance) == (LAGS_AT, tolerance) and row.taps >= 0]
        style = "-" if tolerance == TOLERANCES[-1] else ":"
        label = f"window {LAGS_AT}, {tolerance:g}"
        lags = [row.taps for row in own]
        by_lag.plot(lags, [row.per_sample for row in own], f"s{style}", label=label, color="#555555")
    for axes, name in ((by_window, "window, samples"), (by_lag, "lag of the fitted filter, samples (0: plain)")):
        axes.axhline(1, color="black", linewidth=0.5)
        axes.set_xlabel(name)
        axes.legend(fontsize=7, loc="lower right")
    by_window.set_xscale("log", base=2)
    by_window.set_ylabel("sweeps per sample")
    by_window.set_ylim(0, 1.1)
    return drawn


@torch.no_grad()
def sweeps(given: Material, window: int, tolerance: float, taps: int) -> int:
    """Sweeps until all samples are there, each to a share ``tolerance`` of the loudness."""
    steps, field = given.noise.shape[-1], given.network.network.receptive_field
    x, loudness = torch.zeros_like(given.noise), torch.exp(given.level)
    done = count = 0
    while done < steps:
        first, stop = max(0, done - field - FITTED_TO * bool(taps)), min(done + window, steps)
        old = x[..., first:stop]
        made = given.sweep(old, first, stop)
        if taps and done - first > 4 * taps:
            made = corrected(old, made, loudness[..., first:stop], done - first, taps)
        moved = (made - old)[0, 0, done - first :].abs() > tolerance * loudness[0, 0, done:stop]
        x[..., done:stop] = made[..., done - first :]
        restless = torch.nonzero(moved)
        done += max(1, int(restless[0])) if len(restless) else stop - done
        count += 1
    return count


def corrected(old: Tensor, made: Tensor, loudness: Tensor, done: int, taps: int) -> Tensor:
    """From ``f(old)`` in the window, which begins at ``done``, to the solution for an ``f`` that is a linear filter."""
    before, after = (old / loudness)[0, 0], (made / loudness)[0, 0]
    known = before[:done]
    past = known.unfold(0, taps, 1)[:-1].flip(-1)
    gram = past.t() @ past + 1e-4 * past.square().mean() * len(past) * torch.eye(taps)
    coefficients = torch.linalg.solve(gram, past.t() @ known[taps:])
    # x = f + A (x - old)  <=>  (1 - A) (x - old) = f - old
    change = lfilter([1.0], [1.0, *(-coefficients).tolist()], (after - before)[done:].numpy())
    solved = (before[done:] + torch.as_tensor(change, dtype=old.dtype)) * loudness[0, 0, done:]
    # A filter that is not stable would run away: a plain sweep there.
    good = torch.isfinite(solved) & (solved.abs() <= 1)
    return torch.cat([made[..., :done], torch.where(good, solved, made[0, 0, done:])[None, None]], dim=-1)


def newton_sweeps(given: Material, window: int, tolerance: float, steps: int) -> int:
    """The same by Newton's method, window after window."""
    field = given.network.network.receptive_field
    x, count = torch.zeros_like(given.noise), 0

    def f(first: int, start: int, stop: int, w: Tensor) -> Tensor:
        return given.sweep(torch.cat([x[..., first:start], w[None, None]], dim=-1), first, stop)[0, 0, start - first :]

    for start in range(0, steps, window):
        stop, first = min(start + window, steps), max(0, start - field)
        w, loudness = torch.zeros(stop - start), torch.exp(given.level[0, 0, start:stop])
        function = partial(f, first, start, stop)
        for _ in range(window):
            jacobian = torch.func.jacrev(function)(w).detach()
            residual = function(w).detach() - w
            step = torch.linalg.solve_triangular(
                torch.eye(len(w)) - jacobian, residual[:, None], upper=False, unitriangular=True
            )[:, 0]
            new = (w + step).clamp(-1, 1)
            moved = ((new - w).abs() / loudness).max()
            w, count = new, count + 1
            if moved < tolerance:
                break
        x[..., start:stop] = w
    return count


def maf_rows(path: Path) -> Iterator[str]:
    """Cells of the table for a model whose flows go row by row."""
    vocoder = load(path).fold_weight_norm()
    mel = speech(vocoder)
    flows = [module for module in vocoder.modules() if isinstance(module, MAF)]
    rows = int(vocoder.config["squeeze"])
    for tolerance in (1e-2, 1e-4):
        counts: list[int] = []
        with torch.inference_mode():
            exact = vocoder.synthesize(mel)
            for flow in flows:
                flow.to_data = partial(by_sweeps, flow, tolerance, rows, counts)  # type: ignore[method-assign]
            made = vocoder.synthesize(mel)
            for flow in flows:
                del flow.to_data
        difference = float((made - exact).abs().max())
        mean = sum(counts) / len(counts)
        yield f"{path.name} | {tolerance:g} | {mean:.1f} (largest difference {difference:.0e}) | {rows}"


def by_sweeps(
    flow: MAF,
    tolerance: float,
    rows: int,
    counts: list[int],
    z: Tensor,
    cond: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """``flow.to_data`` by sweeps over all rows; their number is added to ``counts``."""
    x, moved, number = torch.zeros_like(z), float("inf"), 0
    log_derivative = x
    while moved >= tolerance and number <= rows:
        new, log_derivative = flow.kernel.to_data(z, flow.network(x, cond, mask))
        moved = float((new - x).abs().max())
        x, number = new, number + 1
    counts.append(number)
    return x, log_derivative.sum(dim=(1, 2))


if __name__ == "__main__":
    main()
