"""What a recipe may say: the data, the mel front-end, the model and the training, with ranges and defaults."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from audioflow.audio import PRESETS, MelContract
from audioflow.names import did_you_mean
from audioflow.training.schedule import Budget, Cadence, LearningRate, Schedule


def _check_cadence(value: Any) -> Any:
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        Cadence.parse(value)
        return str(value)
    raise ValueError("should be a number of steps such as 500, or a time such as 30s, 5m or 1h")


def _contract_of(value: Any) -> Any:
    """A preset by name, or a mapping whose ``preset`` gives the fields that it leaves out."""
    preset = value.get("preset") if isinstance(value, dict) else value
    if not isinstance(preset, str):
        return value
    if preset not in PRESETS:
        raise ValueError(f"should be one of the presets or a mapping of fields{did_you_mean(preset, PRESETS)}")
    fields = {key: field for key, field in value.items() if key != "preset"} if isinstance(value, dict) else {}
    return {**PRESETS[preset].model_dump(), **fields}


Every = Annotated[str, BeforeValidator(_check_cadence)]
Mel = Annotated[MelContract, BeforeValidator(_contract_of)]
Positive = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0)]
PathText = Annotated[Path, PlainSerializer(str, return_type=str)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataConfig(_Section):
    """Which speech is learned from, and in what pieces.

    Attributes:
        corpus: name of a corpus, such as ``sample`` or ``festvox-ru``.
        root: the corpus's own directory, for a corpus that lies on the disk already.
        prepared: directory of the prepared corpus; ``prepared/<corpus>`` when left out. Made when missing.
        train_minutes: how much of the training speech is used, in utterances that their ids choose; null for all of it.
        segment_frames: length of a training segment in mel frames.
        batch_size: segments in a batch of one process.
        workers: processes that load segments; 0 loads them in the training process.
        valid_utterances: held-out utterances that are measured; fewer where the corpus has fewer.
        valid_seconds: longest stretch of a held-out utterance that is measured, in seconds from its start.
    """

    corpus: str
    root: PathText | None = None
    prepared: PathText | None = None
    train_minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    segment_frames: Positive = 64
    batch_size: Positive = 8
    workers: Annotated[int, Field(ge=0)] = 0
    valid_utterances: Positive = 16
    valid_seconds: Annotated[float, Field(gt=0)] = 10.0

    @property
    def directory(self) -> Path:
        """Where the prepared corpus lies."""
        return self.prepared or Path("prepared") / self.corpus


class ModelConfig(_Section):
    """Which vocoder is trained; every further field is an argument of its constructor.

    Attributes:
        name: the vocoder's name in the registry.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @property
    def fields(self) -> dict[str, Any]:
        """The fields that go to the vocoder's constructor."""
        return dict(self.model_extra or {})


class TrainConfig(_Section):
    """How the model is trained.

    Attributes:
        steps: budget in optimizer steps. With ``minutes`` too, the run ends at whichever comes first.
        minutes: budget in minutes of training, validation and checkpoints included.
        clock: what ``minutes`` and times such as ``5m`` count: ``wall`` is time passed; ``cpu`` is time that the
            processor worked for this process, all threads together, so that runs on a busy machine can be compared.
        learning_rate: highest learning rate.
        warmup_steps: steps over which the learning rate rises.
        schedule: ``cosine`` over the budget, ``constant``, or ``halving``.
        final_lr_ratio: where the cosine ends, as a share of ``learning_rate``.
        halving_steps: steps from one halving to the next.
        betas: Adam's decay rates of the two moments.
        eps: Adam's denominator offset.
        weight_decay: decoupled weight decay.
        gradient_clip: largest norm of the gradient; None clips nothing.
        ema_decay: decay of the moving average of the weights; 0 keeps the newest weights.
        precision: float32, or bfloat16 autocast around the body of the networks.
        dequantize: whether noise of one 16-bit step is added to the speech, in training and in validation.
        accumulate: batches whose gradients make one step.
        seed: where every random choice of the run comes from.
        validate_every: when the held-out likelihood is measured, in steps (``500``) or time (``30s``, ``5m``).
        sample_every: when audio is synthesised; None for never.
        sample_seconds: length of that audio.
        checkpoint_every: when the checkpoints are written, besides the first and the last step.
        log_every: when figures are logged.
    """

    steps: Positive | None = None
    minutes: Annotated[float, Field(gt=0)] | None = None
    clock: Literal["wall", "cpu"] = "wall"
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    schedule: Schedule = "cosine"
    final_lr_ratio: Annotated[float, Field(ge=0, le=1)] = 0.1
    halving_steps: Positive = 200_000
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    eps: Annotated[float, Field(gt=0)] = 1e-8
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    gradient_clip: Annotated[float, Field(gt=0)] | None = 1.0
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    dequantize: bool = True
    accumulate: Positive = 1
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    validate_every: Every = "1m"
    sample_every: Every | None = "5m"
    sample_seconds: Annotated[float, Field(gt=0)] = 2.0
    checkpoint_every: Every = "1m"
    log_every: Every = "10"

    @model_validator(mode="after")
    def _has_a_budget(self) -> "TrainConfig":
        if self.steps is None and self.minutes is None:
            raise ValueError("has no budget: give steps, minutes or both")
        return self

    @property
    def budget(self) -> Budget:
        """When the run ends."""
        return Budget(self.steps, None if self.minutes is None else 60 * self.minutes)

    @property
    def rate(self) -> LearningRate:
        """How the learning rate moves."""
        return LearningRate(
            self.learning_rate, self.warmup_steps, self.schedule, self.final_lr_ratio, self.halving_steps
        )


class DistillConfig(_Section):
    """How a student is distilled from a teacher; the weights of 0 leave a term out.

    Attributes:
        teacher: checkpoint or run directory of a WaveNet; ``audioflow distill`` takes it as ``teacher=PATH``.
        start: ``fresh`` weights, or those of the ``teacher`` where the shapes of the layers agree.
        conditioning: whether the student has the teacher's upsampler, its weights fixed, or its ``own``.
        kl: weight of the divergence per sample, in nats.
        direction: ``reverse``: from student to teacher; ``forward``: the other way, for Gaussian teachers.
        regulariser: weight of the squared difference of log-scales, within the divergence; ClariNet has 4.
        log_scale_floor: log-scales below it count as it, in the divergence of Gaussians; ClariNet has -7.
        draws: draws per sample, for teachers whose law has no closed form.
        stft: weight of the multi-resolution STFT loss.
        power: weight of the power loss.
        contrast: gamma: how much of the divergence from the teacher under another mel is taken off.
        contrast_bound: largest such divergence of one sample that counts, in nats.
        features: weight of the perceptual loss on the teacher's activations.
        style: weight of the perceptual loss on their Gram matrices.
        alignment: weight of the alignment of the student's layers with the teacher's.
    """

    teacher: PathText | None = None
    start: Literal["fresh", "teacher"] = "fresh"
    conditioning: Literal["own", "teacher"] = "teacher"
    kl: Weight = 1.0
    direction: Literal["reverse", "forward"] = "reverse"
    regulariser: Weight = 4.0
    log_scale_floor: Annotated[float, Field(ge=-20, le=0)] = -7.0
    draws: Positive = 16
    stft: Weight = 1.0
    power: Weight = 0.0
    contrast: Weight = 0.0
    contrast_bound: Annotated[float, Field(gt=0)] = 10.0
    features: Weight = 0.0
    style: Weight = 0.0
    alignment: Weight = 0.0


class Recipe(_Section):
    """A whole training run: what, from what, how.

    Attributes:
        name: what the run is called in logs and provenance.
        description: one line for people.
        data: the speech.
        mel: the front-end: the name of a preset; or all fields; or ``preset`` and the fields that differ from it.
        model: the vocoder.
        train: the training.
        distill: the teacher and the losses of a student, for ``audioflow distill``; None trains by likelihood.
    """

    name: str
    description: str = ""
    data: DataConfig
    mel: Mel
    model: ModelConfig
    train: TrainConfig
    distill: DistillConfig | None = None
