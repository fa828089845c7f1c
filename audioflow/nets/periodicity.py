"""What a mel says of voicing: a small network, fitted to pitch tracks before a model is trained."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from audioflow.nets.masks import masked

CONTEXT = 2
"""Frames on each side that are looked at."""

SECOND = 32
"""Units of the second hidden layer."""


class Periodicity(nn.Module):
    """From a normalised mel to how periodic the speech is, 0 (noise) to 1 (one period like the next).

    It is a function of the mel alone, so whatever depends on it leaves likelihoods exact. Its weights are fitted once
    (:meth:`fit`) and are no part of the training of a vocoder.

    Args:
        n_mels: bands.
        hidden: units of the first hidden layer.
    """

    def __init__(self, n_mels: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(n_mels, hidden, 2 * CONTEXT + 1, padding=CONTEXT),
            nn.ReLU(),
            nn.Conv1d(hidden, SECOND, 1),
            nn.ReLU(),
            nn.Conv1d(SECOND, 1, 1),
        )
        self.requires_grad_(False)

    @override
    def forward(self, mel: Tensor, mask: Tensor | None = None) -> Tensor:
        """``mel [B, M, F]``, normalised, zero beside the utterance -> ``[B, 1, F]`` from 0 to 1."""
        periodicity: Tensor = torch.sigmoid(self.layers(masked(mel, mask)))
        return periodicity

    @torch.enable_grad()
    def fit(self, mels: list[Tensor], wanted: list[Tensor], steps: int = 1500, frames: int = 512) -> float:
        """Fit the weights to pitch tracks by cross-entropy; gives its mean over the last tenth of the steps.

        Args:
            mels: normalised, ``[M, F]`` each.
            wanted: periodicity of each frame, ``[F]``.
            steps: of Adam, with rates that fall from 2e-3 to 0.
            frames: of all mels together in a step.
        """
        seen = torch.cat([_windows(mel) for mel in mels])
        target = torch.cat(wanted).to(seen)
        generator = torch.Generator().manual_seed(0)
        self.requires_grad_(True)
        optimizer = torch.optim.Adam(self.parameters(), fused=True)
        losses = []
        for step in range(steps):
            rows = torch.randint(len(seen), (frames,), generator=generator).to(seen.device)
            # A window is what one frame sees: the middle of its own output.
            outputs = self.layers(seen[rows])[:, 0, CONTEXT]
            loss = functional.binary_cross_entropy_with_logits(outputs, target[rows])
            optimizer.param_groups[0]["lr"] = 2e-3 * (1 - step / steps)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        self.requires_grad_(False)
        last = losses[-max(1, steps // 10) :]
        return sum(last) / len(last)


def _windows(mel: Tensor) -> Tensor:
    """``[M, F]`` -> what each frame sees, ``[F, M, 2 CONTEXT + 1]``, zeros beside the utterance."""
    windows = functional.pad(mel, (CONTEXT, CONTEXT)).unfold(1, 2 * CONTEXT + 1, 1)
    return windows.permute(1, 0, 2)
