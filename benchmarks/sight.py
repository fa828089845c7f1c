"""Draw what each value may see in every family of models, measured on the networks themselves by their gradients.

python benchmarks/sight.py --out docs/sight.png
"""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import torch
from torch import Tensor

from audioflow.audio import MelContract
from audioflow.flows import Bijection, ChannelSplit, Checkerboard, Coupling
from audioflow.flows.kernels import Affine
from audioflow.flows.reshape import squeeze, unsqueeze
from audioflow.nets.wavenet import WaveNetConditioner
from audioflow.vocoders import WaveNet, build
from audioflow.vocoders.flow import FlowVocoder

ROWS, GROUPS = 4, 6
SAMPLES = ROWS * GROUPS


def contract() -> MelContract:
    return MelContract(sample_rate=1000, n_fft=32, win_length=32, hop_length=ROWS, f_min=0, f_max=500, n_mels=2)


def vocoder_flow(name: str, **config: object) -> Bijection:
    """One map of a small vocoder of the kind."""
    vocoder = build(name, contract(), {"cond_channels": 2, "upsampler": "interpolate", **config})
    assert isinstance(vocoder, FlowVocoder)  # noqa: S101
    return vocoder.flow.bijection


def wavenet() -> Bijection:
    vocoder = WaveNet(contract(), layers=4, cycle=4, cond_channels=2)
    return vocoder.bijection()


def maf() -> Bijection:
    return vocoder_flow("maf", squeeze=ROWS, flows=1, channels=8, layers=2)


def waveflow() -> Bijection:
    return vocoder_flow("waveflow", squeeze=ROWS, flows=1, channels=4, layers=2, cond_rate="group")


def glow_coupling() -> Bijection:
    return Coupling(WaveNetConditioner(ROWS // 2, ROWS, 2, 4, 2), Affine(), ChannelSplit(ROWS // 2))


def checkerboard() -> Bijection:
    return Coupling(WaveNetConditioner(1, 2, 4, 4, 2), Affine(), Checkerboard())


def iaf() -> Bijection:
    return vocoder_flow("iaf", flows=1, layers=4, cycle=4, front_kernel_size=1)


CASES: dict[str, tuple[str, Callable[[], Bijection], int]] = {
    "WaveNet": ("all earlier samples", wavenet, 1),
    "MAF over rows": ("earlier rows, around", maf, ROWS),
    "WaveFlow": ("earlier rows, around", waveflow, ROWS),
    "Glow coupling": ("the first half of a group, around", glow_coupling, ROWS),
    "RealNVP checkerboard": ("every other sample, around", checkerboard, 1),
    "IAF": ("all earlier noise", iaf, 1),
}
"""Name: what a value sees, how the map is made, rows that the signal is folded into."""


def jacobian(flow: Bijection, rows: int, *, of_noise: bool) -> Tensor:
    """Whether each value of the result depends on each value of the input, in order of time, ``[T, T]``."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    direction = flow.to_data if of_noise else flow.to_noise

    def in_time(x: Tensor) -> Tensor:
        cond = torch.zeros(1, 2, SAMPLES // rows)
        return unsqueeze(direction(squeeze(x, rows), cond)[0], rows)

    full: Tensor = torch.autograd.functional.jacobian(in_time, torch.randn(1, 1, SAMPLES))
    return full.reshape(SAMPLES, SAMPLES) != 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    columns = 3
    figure, axes = plt.subplots(math.ceil(len(CASES) / columns), columns, figsize=(11, 7.6), constrained_layout=True)
    for axis, (name, (what, make, rows)) in zip(axes.flat, CASES.items(), strict=False):
        seen = jacobian(make(), rows, of_noise=name == "IAF")
        shown = seen.float() * 0.6
        shown.fill_diagonal_(1.0)
        axis.imshow(shown, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(f"{name}: {what}", fontsize=9)
        axis.set_xticks(range(0, SAMPLES, ROWS))
        axis.set_yticks(range(0, SAMPLES, ROWS))
        axis.tick_params(labelsize=7)
        source, result = ("noise", "audio") if name == "IAF" else ("audio", "noise")
        axis.set_xlabel(f"{source}, sample", fontsize=8)
        axis.set_ylabel(f"{result}, sample", fontsize=8)
    figure.savefig(out, dpi=110)
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
