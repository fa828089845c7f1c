"""Probability density distillation: the student's law of each sample against the teacher's, and what helps it."""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from audioflow.distributions import Gaussian
from audioflow.errors import TrainingError
from audioflow.evaluation.pitch import contour, voicing_error
from audioflow.flows import Around
from audioflow.nets.masks import full_precision
from audioflow.training.batches import Batch
from audioflow.training.objectives.alignment import Alignment
from audioflow.training.objectives.base import Figures, Objective, Seeded
from audioflow.training.objectives.contrast import contrast, others
from audioflow.training.objectives.gaussian_kl import floored, gaussian_kl, scale_difference
from audioflow.training.objectives.perceptual import feature_distance, gram_distance
from audioflow.training.objectives.sampled_kl import cross_entropy, draws, entropy
from audioflow.training.objectives.spectral import SHORTEST, multi_resolution_stft_loss, power_loss
from audioflow.training.processes import summed
from audioflow.training.recipe import DistillConfig
from audioflow.training.seeds import generator_for
from audioflow.training.teacher import require_student, take_over
from audioflow.training.validation import HeldOut
from audioflow.vocoders import Vocoder
from audioflow.vocoders.student import Draw
from audioflow.vocoders.wavenet import Prediction, WaveNet

HEARD = ("stft", "power", "loudness", "offset", "voicing")
"""What is measured of audio against the recording: two spectral distances, its standard deviation and mean in units of
the recording's standard deviation, and the share of frames that only one of the two is voiced in."""

LOUDEST = 30.0
"""So many times the recordings' standard deviation, and the student has run away."""


class HasDraw(Protocol):
    """A student, or a wrapper around it."""

    def draw(
        self,
        noise: Tensor,
        mel: Tensor,
        speaker: Tensor | None = None,
        hidden: list[Tensor] | None = None,
        around: Around | None = None,
    ) -> Draw:
        """See :meth:`audioflow.vocoders.student.Student.draw`."""


class Distillation(Objective):
    r"""A weighted sum of the divergence from a frozen teacher and of distances from the recording.

    The teacher says what it expects of each sample of the *student's* audio, given the samples before it; the student
    says what law it drew that sample from, given the noise before it. Gradients reach the student through both.

    Args:
        config: weights.
        teacher: frozen.
        vocoder: the student.
    """

    forward_methods: ClassVar[tuple[str, ...]] = ("draw",)
    score: ClassVar[str] = "valid_score"

    def __init__(self, config: DistillConfig, teacher: WaveNet, vocoder: Vocoder) -> None:
        self.config = config
        self.teacher = teacher
        self.student = require_student(vocoder)
        self._contours: dict[tuple[str, ...], np.ndarray] = {}
        self._teacher_figures: Figures | None = None
        if config.alignment:
            network, stack = self.student.networks[-1], teacher.network.stack
            own = (network.stack.channels, len(network.stack.dilations))
            self.helpers = Alignment(own, (stack.channels, len(stack.dilations)))

    @override
    def prepare(self, vocoder: Vocoder) -> None:
        config = self.config
        take_over(
            require_student(vocoder),
            self.teacher,
            conditioning=config.conditioning == "teacher",
            layers=config.start == "teacher",
        )

    @override
    def loss(self, model: nn.Module, batch: Batch, seeded: Seeded) -> tuple[Tensor, Figures]:
        noise = standard_noise(batch.wav, seeded("student"))
        terms = self.terms(cast(HasDraw, model), batch, noise, seeded("draws"))
        total = torch.stack([weight * terms[name] for name, weight in self.weights.items()]).sum()
        figures = {name: float(value.detach()) for name, value in terms.items()}
        if figures["loudness"] > LOUDEST:
            raise TrainingError(
                f"The student is {figures['loudness']:.0f} times as loud as the recordings ({', '.join(batch.ids)}): "
                "it has run away; the last checkpoint is kept. Lower train.learning_rate, or raise distill.stft or "
                "distill.power."
            )
        return total, figures

    @property
    def weights(self) -> dict[str, float]:
        """Of the terms that the loss adds up, by name."""
        config = self.config
        named = {
            "kl": config.kl,
            "scales": config.kl * config.regulariser,
            "stft": config.stft,
            "power": config.power,
            "contrast": -config.kl * config.contrast,
            "features": config.features,
            "style": config.style,
            "alignment": config.alignment,
        }
        return {name: weight for name, weight in named.items() if weight and self._exists(name)}

    def _exists(self, name: str) -> bool:
        """The regulariser compares scales, which a mixture does not have."""
        return name != "scales" or self.closed_form

    @property
    def closed_form(self) -> bool:
        """Whether both laws are Gaussian, sample by sample."""
        student = self.student
        gaussian = self.teacher.config["head"] == "gaussian"
        return student.config["base"] == "normal" and student.keeps_order and gaussian

    def terms(self, model: HasDraw, batch: Batch, noise: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """All terms in use, and ``loudness``: the student's standard deviation as a multiple of the recordings'."""
        config, weights = self.config, self.weights
        mine: list[Tensor] | None = [] if config.alignment else None
        heard: list[Tensor] | None = [] if config.alignment or config.features or config.style else None
        draw = model.draw(noise, batch.mel, batch.speaker, mine, batch.around)
        prediction = self.teacher.predict(draw.wav, batch.mel, batch.speaker, heard)
        with full_precision(draw.wav):
            terms = self._divergence(draw, prediction, generator)
            terms["loudness"] = draw.sound.detach().std() / batch.wav.std().clamp(min=1e-4)
            if config.stft:
                terms["stft"] = multi_resolution_stft_loss(batch.wav, draw.sound)
            if config.power:
                terms["power"] = power_loss(batch.wav, draw.sound)
        if "contrast" in weights:
            speaker = None if batch.speaker is None else others(batch.speaker)
            other = self.teacher.predict(draw.wav, others(batch.mel), speaker)
            with full_precision(draw.wav):
                terms["contrast"] = contrast(self._kl(draw, other, generator), config.contrast_bound)
        if config.features or config.style:
            terms |= self._perceived(batch, heard or [])
        if isinstance(self.helpers, Alignment):
            terms["alignment"] = self.helpers(mine or [], heard or [])
        return terms

    def _divergence(self, draw: Draw, prediction: Prediction, generator: torch.Generator) -> dict[str, Tensor]:
        terms = {"kl": self._kl(draw, prediction, generator).mean()}
        if self.closed_form:
            mine, theirs = self._log_scales(draw, prediction)
            terms["scales"] = scale_difference(mine, theirs).mean()
        return terms

    def _kl(self, draw: Draw, prediction: Prediction, generator: torch.Generator) -> Tensor:
        """Divergence of each sample, ``[B, T]``, in nats."""
        if self.closed_form:
            assert isinstance(prediction.law, Gaussian) and draw.mean is not None  # noqa: S101
            mine, theirs = self._log_scales(draw, prediction)
            mean = prediction.law.mean_and_log_scale(prediction.params)[0] + prediction.shift
            own, other = (draw.mean, mine), (mean[:, 0], theirs)
            return gaussian_kl(*own, *other) if self.config.direction == "reverse" else gaussian_kl(*other, *own)
        base = self.student.config["base"]
        if draw.mean is None:
            drawn = draw.wav[None]
        else:
            shape = (self.config.draws, *draw.wav.shape)
            noise = torch.randn(shape, generator=generator, dtype=draw.wav.dtype).to(draw.wav.device)
            drawn = draws(draw.mean, draw.log_scale, base, noise)
        surprise = cross_entropy(prediction.law, prediction.params, drawn - prediction.shift[:, 0])
        return surprise - entropy(draw.log_scale, base)

    def _log_scales(self, draw: Draw, prediction: Prediction) -> tuple[Tensor, Tensor]:
        """Student's and teacher's, ``[B, T]``, bounded from below."""
        assert isinstance(prediction.law, Gaussian)  # noqa: S101
        theirs = prediction.law.mean_and_log_scale(prediction.params)[1][:, 0]
        floor = self.config.log_scale_floor
        return floored(draw.log_scale, floor), floored(theirs, floor)

    def _perceived(self, batch: Batch, heard: list[Tensor]) -> dict[str, Tensor]:
        wanted: list[Tensor] = []
        with torch.no_grad():
            seen = self.teacher.seen_of(batch.wav, batch.mel, batch.around)
            self.teacher.predict(seen, batch.mel, batch.speaker, wanted)
        terms = {}
        if self.config.features:
            terms["features"] = feature_distance(wanted, heard)
        if self.config.style:
            terms["style"] = gram_distance(wanted, heard)
        return terms

    @override
    @torch.no_grad()
    def validate(self, vocoder: Vocoder, held_out: HeldOut, fabric: Fabric) -> Figures:
        """Mean terms over held-out utterances, the same noise each time; the score is minus their weighted sum.

        The teacher's own audio is judged too, once: ``teacher_stft`` and so on are what the student can hope for.
        """
        student = require_student(vocoder)
        batches = [batch.to(fabric.device) for batch in held_out.batches[fabric.global_rank :: fabric.world_size]]
        judged = [self._judged(student, batch) for batch in batches]
        means = {f"valid_{name}": value for name, value in _means(judged, self._judgements, fabric).items()}
        if self._teacher_figures is None:
            # Its compiled loop is on the CPU.
            teacher = copy.deepcopy(self.teacher).cpu()
            heard = [self._heard(batch, _spoken(teacher, batch).to(fabric.device)) for batch in batches]
            self._teacher_figures = {f"teacher_{name}": value for name, value in _means(heard, HEARD, fabric).items()}
        kept = self.weights.items()
        score = -sum(weight * means[f"valid_{name}"] for name, weight in kept if f"valid_{name}" in means)
        return {self.score: score, **means, **self._teacher_figures}

    @property
    def _judgements(self) -> tuple[str, ...]:
        return ("kl", *(("scales",) if self.closed_form else ()), *HEARD)

    def _judged(self, student: HasDraw, batch: Batch) -> dict[str, float]:
        noise = standard_noise(batch.wav, generator_for("valid", batch.ids[0]))
        draw = student.draw(noise, batch.mel, batch.speaker, None, batch.around)
        prediction = self.teacher.predict(draw.wav, batch.mel, batch.speaker)
        divergence = self._divergence(draw, prediction, generator_for("valid draws", batch.ids[0]))
        return {**{name: float(value) for name, value in divergence.items()}, **self._heard(batch, draw.sound)}

    def _heard(self, batch: Batch, sound: Tensor) -> dict[str, float]:
        """How audio ``[1, T]`` compares with the recording: see :data:`HEARD`."""
        rate = self.teacher.contract.sample_rate
        if batch.ids not in self._contours:
            self._contours[batch.ids] = contour(batch.wav[0], rate)
        spread = batch.wav.std().clamp(min=1e-4)
        # Silence after both, where they are shorter than a window.
        short = max(0, SHORTEST - batch.wav.shape[-1])
        pair = functional.pad(batch.wav, (0, short)), functional.pad(sound, (0, short))
        return {
            "stft": float(multi_resolution_stft_loss(*pair)),
            "power": float(power_loss(*pair)),
            "loudness": float(sound.std() / spread),
            "offset": float(sound.mean() / spread),
            "voicing": voicing_error(self._contours[batch.ids], contour(sound[0], rate)),
        }


def _spoken(teacher: WaveNet, batch: Batch) -> Tensor:
    return teacher.synthesize(batch.mel.cpu(), speaker=None if batch.speaker is None else batch.speaker.cpu())


def _means(rows: Sequence[Mapping[str, float]], names: Sequence[str], fabric: Fabric) -> dict[str, float]:
    """Mean of each figure over the utterances of all processes."""
    totals = torch.tensor([*(math.fsum(row[name] for row in rows) for name in names), len(rows)], dtype=torch.float64)
    *sums, count = summed(fabric, totals)
    return {name: total / count if count else math.nan for name, total in zip(names, sums, strict=True)}


def standard_noise(wav: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers ``[B, 1, T]`` for audio ``[B, T]``, drawn on the CPU, on the device of the audio."""
    return torch.randn(wav[:, None].shape, generator=generator, dtype=wav.dtype).to(wav.device)
