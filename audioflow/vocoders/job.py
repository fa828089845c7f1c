"""What is asked of a vocoder: speech of how, and given what."""

from dataclasses import dataclass

from torch import Tensor

from audioflow.vocoders.voiced_noise import Noise


@dataclass(frozen=True)
class Given:
    """What a vocoder is told about a batch of utterances.

    Attributes:
        mel: each band brought to mean 0 and variance 1, ``[B, M, F]``.
        level: log standard deviation of the speech, ``[B, 1, F * hop_length]``; zeros, ``steps_per_frame`` of them for
            each frame, for a model with a front, which works on excitation of unit variance.
        frame_mask: ``[B, 1, F]``, or ``None`` where all are whole.
        speaker: embeddings ``[B, S]``, for models that have speakers.
    """

    mel: Tensor
    level: Tensor
    frame_mask: Tensor | None
    speaker: Tensor | None


@dataclass(frozen=True)
class Job:
    """How speech is to be made.

    Attributes:
        noise: of the utterances.
        temperature: how much of it is used.
        voiced_temperature: how much where speech is periodic, or ``None`` for the same everywhere.
        engine: one of the vocoder's.
        speaker: speaker numbers ``[B]``.
        frames: mel frames of a piece, or ``None`` for as many as suit the model.
        streams: whether pieces are wanted as early as can be.
        match_mel: rounds in which the audio is moved to its mel.
    """

    noise: Noise
    temperature: float
    voiced_temperature: float | None
    engine: str
    speaker: Tensor | None
    frames: int | None
    streams: bool
    match_mel: int
