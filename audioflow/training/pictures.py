"""A picture of what the model says now, above what was really said."""

from matplotlib.figure import Figure
from torch import Tensor


def mel_figure(mels: dict[str, Tensor], seconds: float) -> Figure:
    """Draw log-mel spectrograms one below the other, on one colour scale.

    Args:
        mels: ``[M, F]`` by title.
        seconds: their length, for the time axis.
    """
    figure = Figure(figsize=(8, 2.4 * len(mels)), layout="constrained")
    low = min(float(mel.min()) for mel in mels.values())
    high = max(float(mel.max()) for mel in mels.values())
    rows = figure.subplots(len(mels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (title, mel) in zip(rows, mels.items(), strict=True):
        extent = (0.0, seconds, 0.0, float(mel.shape[0]))
        image = axes.imshow(mel.cpu().numpy(), origin="lower", aspect="auto", extent=extent, vmin=low, vmax=high)
        axes.set(title=title, ylabel="mel band")
    rows[-1].set_xlabel("seconds")
    figure.colorbar(image, ax=list(rows), label="log mel")
    return figure
