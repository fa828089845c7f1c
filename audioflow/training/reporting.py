"""Where a run says how it is doing: progress bar, log, history file, TensorBoard, audio and pictures."""

import logging
import math
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers.tensorboard import TensorBoardLogger
from torch.nn import functional
from tqdm import tqdm

from audioflow.audio import write_audio
from audioflow.evaluation.pictures import spectrogram_figure
from audioflow.files import atomic_path
from audioflow.training.batches import Batch
from audioflow.training.run_directory import RunDirectory
from audioflow.training.state import Progress
from audioflow.vocoders import Vocoder, build

log = logging.getLogger(__name__)


class Reporter:
    """Reports of the first process; in the others every method does nothing.

    Args:
        fabric: processes and TensorBoard logger.
        directory: the run directory.
        bar: whether a progress bar is shown.
        used: share of the budget that is used already.
    """

    def __init__(self, fabric: Fabric, directory: RunDirectory, *, bar: bool, used: float) -> None:
        self.fabric, self.directory = fabric, directory
        self.active = fabric.is_global_zero
        self.board = cast(TensorBoardLogger, fabric.logger)
        layout = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
        self.bar = tqdm(
            total=1.0,
            initial=used,
            bar_format=layout,
            desc=directory.path.name,
            smoothing=0,  # the time left by the mean speed: a step and a validation differ too much for a recent one
            disable=not (bar and self.active),
        )
        self.shown: dict[str, str] = {}

    def figures(self, progress: Progress, figures: dict[str, float]) -> None:
        """Write figures to the log, the history and TensorBoard.

        Args:
            progress: where the run is.
            figures: by name, such as ``loss`` in nats per sample.
        """
        if not self.active:
            return
        # JSON has no word for a figure that is not finite.
        rounded = {name: float(f"{value:.8g}") if math.isfinite(value) else None for name, value in figures.items()}
        record: dict[str, Any] = {"step": progress.step, "seconds": round(progress.elapsed, 3), **rounded}
        self.directory.append_history(record)
        self.fabric.log_dict(figures, step=progress.step)
        shown = {"step": progress.step, "seconds": progress.elapsed, **figures}
        log.info("%s", ", ".join(f"{name} {value:.6g}" for name, value in shown.items()))
        for name in ("loss", "samples_per_second", "valid_nats_per_sample"):
            if name in figures:
                self.shown[name.replace("_per_", "/").replace("valid_nats", "held-out nats")] = f"{figures[name]:.5g}"

    def advance(self, step: int, used: float) -> None:
        """Move the progress bar to the share of the budget that is used."""
        if self.active:
            self.bar.set_postfix({"step": step, **self.shown}, refresh=False)
            self.bar.update(min(used, 1.0) - self.bar.n)

    def sample(self, step: int, vocoder: Vocoder, batch: Batch, seconds: float) -> None:
        """Let the model speak the loudest stretch of a held-out utterance; keep audio and a picture of both.

        Args:
            step: where the run is.
            vocoder: the averaged model.
            batch: one held-out utterance.
            seconds: length of the stretch.
        """
        if not self.active:
            return
        contract = vocoder.contract
        frames = min(batch.mel.shape[-1], max(1, int(seconds * contract.sample_rate / contract.hop_length)))
        start = _loudest(batch.mel[0], frames)
        here = batch.to(self.fabric.device)
        speaker = _folded(vocoder)
        with torch.no_grad():
            made = speaker.synthesize(here.mel[..., start : start + frames], speaker=here.speaker).float()
        made = torch.nan_to_num(made).clamp(-1, 1)
        real = here.wav[:, start * contract.hop_length :][:, : made.shape[1]]
        self._keep(step, made[0].cpu(), real[0].cpu(), contract.sample_rate)

    def close(self) -> None:
        """Write out what is buffered and end the progress bar."""
        self.bar.close()
        if self.active:
            self.board.finalize("success")

    def _keep(self, step: int, wav: torch.Tensor, recording: torch.Tensor, sample_rate: int) -> None:
        write_audio(self.directory.samples / f"step-{step:07d}.wav", wav, sample_rate, overwrite=True)
        figure = spectrogram_figure({"recording": recording, f"step {step}": wav}, sample_rate)
        with atomic_path(self.directory.samples / f"step-{step:07d}.png") as temporary:
            figure.savefig(temporary, dpi=100)
        board = self.board.experiment
        board.add_audio("sample", wav.numpy(), step, sample_rate)
        board.add_figure("sample", figure, step, close=False)


def _loudest(mel: torch.Tensor, frames: int) -> int:
    """First frame of the stretch of ``frames`` frames whose mel ``[M, F]`` is highest on average."""
    return int(functional.avg_pool1d(mel.mean(0)[None], frames, stride=1).argmax())


def _folded(vocoder: Vocoder) -> Vocoder:
    """A second model with the same weights, weight normalisation worked out.

    Not a deep copy: torch lets copies share the class that carries the normalisation, so folding one breaks the other.
    """
    twin = build(vocoder.name, vocoder.contract, vocoder.config)
    twin.load_state_dict(vocoder.state_dict())
    return twin.to(next(vocoder.parameters()).device).eval().fold_weight_norm()
