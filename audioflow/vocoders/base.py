"""What every vocoder offers, whatever is inside."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import chain, tee
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from audioflow.audio import MelContract, MelFrontEnd
from audioflow.audio.matching import MelMatcher
from audioflow.errors import MelError
from audioflow.flows.front import Around, Front
from audioflow.nets.level import MelLevel
from audioflow.nets.masks import full_precision, mask_of, masked, repeat_mask, wide
from audioflow.nets.periodicity import CONTEXT, Periodicity
from audioflow.nets.upsample import MelNormalizer, Upsampler
from audioflow.nets.weight_norm import fold_weight_norm
from audioflow.sampling import NoiseWindow, Progress, seeds_of
from audioflow.vocoders.excitation import CORRECTION, make_front, matched, sounded
from audioflow.vocoders.job import Given, Job
from audioflow.vocoders.pieces import MelWindow
from audioflow.vocoders.voiced_noise import VoicedNoise


class Vocoder(nn.Module, ABC):
    """A model of ``p(wav | mel)`` that can be asked for audio and for likelihoods.

    ``mel [B, M, F]`` is in the units of the model's own mel contract, ``wav [B, T]`` in [-1, 1] with
    ``T = F * hop_length``; ``lengths [B]`` are numbers of mel frames, for batches of unequal length.

    Args:
        contract: the mel front-end that the model is trained with.
        config: the constructor's other arguments, from which :func:`audioflow.vocoders.build` makes the model again.

    Attributes:
        name: the name in recipes and checkpoints.
        engines: ways to synthesise, the fastest first.
        upsampler: from the mel to features at the rate of the model's steps.
        front: from speech to excitation, on which all else works; ``None`` for a model of the speech itself.
        periodicity: reads off a mel how periodic the speech is; ``None`` for a model that does without.
    """

    name: ClassVar[str]
    engines: ClassVar[tuple[str, ...]]
    upsampler: Upsampler
    front: Front | None
    periodicity: Periodicity | None

    def __init__(self, contract: MelContract, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.contract = contract
        self.config = dict(config)
        self.front_end = MelFrontEnd(contract)
        self.normalizer = MelNormalizer(contract.n_mels)
        correction = float(config.get("front_correction", CORRECTION))
        self.front = make_front(contract, config.get("front", "none"), correction)
        self.level = MelLevel(contract, follow=bool(config["follow_level"]) and self.front is None)
        units = int(config.get("periodicity", 0))
        self.periodicity = Periodicity(contract.n_mels, units) if units else None

    @property
    def noise_channels(self) -> int:
        """Standard normal numbers that one step consumes."""
        return 1

    @property
    def steps_per_frame(self) -> int:
        """Steps that are made one after another, or at once, for a frame: samples, or groups of them."""
        return self.contract.hop_length

    @property
    def usable_engines(self) -> tuple[str, ...]:
        """Engines for the device and the dtype that the model is on; ``"auto"`` is the first of them."""
        return self.engines

    @property
    def recommended_match_mel(self) -> int:
        """Rounds of mel matching for listening: 8 with a front, none without, where the audio is the papers'."""
        return 0 if self.front is None else 8

    @property
    def scales_noise(self) -> bool:
        """Whether a temperature is a factor on the noise, so that it can be another one at each step."""
        return True

    @property
    def scores_step_by_step(self) -> bool:
        """Whether :meth:`log_prob` goes sample by sample, so that many recordings are best scored together."""
        return False

    @abstractmethod
    def _log_prob(self, x: Tensor, given: Given) -> Tensor:
        """Log-density ``[B]`` of ``x [B, 1, T]``."""

    @abstractmethod
    def _generate(
        self, noise: Tensor, given: Given, temperature: float, engine: str, progress: Progress | None
    ) -> Tensor:
        """Audio ``[B, 1, T]`` from standard normal noise ``[B, noise_channels, T]``."""

    def log_prob(
        self,
        wav: Tensor,
        mel: Tensor,
        lengths: Tensor | None = None,
        speaker: Tensor | None = None,
        around: Around | None = None,
    ) -> Tensor:
        """Log-likelihood of each recording: a density over amplitudes in [-1, 1].

        Args:
            wav: ``[B, F * hop_length]``.
            mel: ``[B, M, F]``.
            lengths: frames of each utterance, ``[B]``; all of them by default.
            speaker: speaker numbers ``[B]``, for models that have speakers.
            around: what lies around segments that were cut out of utterances, for models with a front.

        Returns:
            Nats per utterance, ``[B]``, in float32 or wider.

        Raises:
            MelError: the shapes do not fit together or do not fit the model.
        """
        self._check_mel(mel)
        if wav.ndim != 2 or wav.shape != (mel.shape[0], mel.shape[2] * self.contract.hop_length):
            raise MelError(
                f"wav {list(wav.shape)} does not belong to mel {list(mel.shape)}: "
                f"[{mel.shape[0]}, {mel.shape[2] * self.contract.hop_length}] was expected."
            )
        wav, mel = self._own_dtype(wav), self._own_dtype(mel)
        frame_mask = self._frame_mask(lengths, mel)
        x = masked(wav[:, None], repeat_mask(frame_mask, self.contract.hop_length))
        given = self._given(mel, frame_mask, speaker)
        if self.front is None:
            return self._log_prob(x, given)
        u, log_det = self._excitation(self.front, x, mel, frame_mask, around)
        return self._log_prob(u, given) + log_det

    def _excitation(
        self, front: Front, x: Tensor, mel: Tensor, frame_mask: Tensor | None, around: Around | None
    ) -> tuple[Tensor, Tensor]:
        """Excitation of speech ``[B, 1, T]``, and the log-determinant of that map over the samples that are scored."""
        filter_ = front.filter(mel, frame_mask, around)
        mask = repeat_mask(frame_mask, self.contract.hop_length)
        u = masked(front.whiten(x, filter_, None if around is None else around.samples), mask)
        steps, scored = self._scored_mask(frame_mask, mel.shape[-1])
        return u, front.log_det(filter_, steps, scored).to(wide(x).dtype)

    def _scored_mask(self, frame_mask: Tensor | None, frames: int) -> tuple[int, Tensor | None]:
        """Samples of ``frames`` mel frames that the likelihood counts, and the mask ``[B, 1, samples]`` of each."""
        return frames * self.contract.hop_length, repeat_mask(frame_mask, self.contract.hop_length)

    def scored_samples(self, frames: int) -> int:
        """Number of samples that :meth:`log_prob` counts of an utterance of ``frames`` mel frames."""
        return frames * self.contract.hop_length

    @torch.no_grad()
    def synthesize(
        self,
        mel: Tensor,
        lengths: Tensor | None = None,
        temperature: float = 1.0,
        seed: int | Sequence[int] = 0,
        engine: str = "auto",
        speaker: Tensor | None = None,
        progress: Progress | None = None,
        match_mel: int = 0,
        voiced_temperature: float | None = None,
    ) -> Tensor:
        """Turn mel spectrograms into speech.

        Args:
            mel: ``[B, M, F]``.
            lengths: frames of each utterance, ``[B]``; what lies after them comes out as zeros.
            temperature: how much of the noise is used; 0 gives the most likely path, 1 the model's own law.
            seed: utterance ``b`` is made with the noise of ``seed + b``, or of ``seed[b]`` where a list is given.
            engine: one of :attr:`engines`, or ``"auto"``.
            speaker: speaker numbers ``[B]``, for models that have speakers.
            progress: called now and then with the number of samples done, by engines that go sample by sample.
            match_mel: rounds in which the audio is moved to the mel it was made from, see
                :class:`audioflow.audio.matching.MelMatcher`; 0 leaves it a draw of the model's own law.
            voiced_temperature: temperature of speech that is wholly periodic, by what :attr:`periodicity` reads off the
                mel; ``temperature`` then is that of speech that is not at all, and what is between has one between.

        Returns:
            ``[B, F * hop_length]`` in [-1, 1]; each row as if it had been made alone with its seed.

        Raises:
            MelError: the mel does not fit the model, is not finite, or is shorter than its length says.
            ValueError: an unknown engine, a temperature or a number of rounds below zero, or a ``voiced_temperature``
                for a model that reads no periodicity, or whose law has no temperature of each step.
        """
        self._check_mel(mel)
        frames = self._frames(lengths, mel)
        samples = mel.shape[-1] * self.contract.hop_length
        seeds = seeds_of(seed, len(frames))
        steps = [self._noise_steps(n) for n in frames]
        job = self._job(temperature, voiced_temperature, engine, speaker, seeds, steps, match_mel=match_mel)
        source = [self._finite(mel[..., : max(frames)])]
        rows = None if lengths is None else torch.tensor(frames, device=mel.device)
        # Pieces that are kept among what is freed again would leave the memory in tatters.
        x, done = mel.new_zeros(len(frames), 1, max(frames) * self.contract.hop_length, dtype=job.noise.dtype), 0
        for piece in self._sound(source, rows, job, progress):
            x[..., done : done + piece.shape[-1]] = piece
            done += piece.shape[-1]
        mask = repeat_mask(mask_of(rows, max(frames), x.dtype), self.contract.hop_length)
        if mask is not None:
            # Not a product: what a model feeds itself after an utterance's end need not be finite.
            x.masked_fill_(mask == 0, 0.0)
        # In place: an hour of audio is large.
        wav, missing = x[:, 0].clamp_(-1.0, 1.0), samples - x.shape[-1]
        return functional.pad(wav, (0, missing)) if missing else wav

    @torch.no_grad()
    def stream(
        self,
        mel: Tensor | Iterable[Tensor],
        *,
        temperature: float = 1.0,
        seed: int = 0,
        engine: str = "auto",
        speaker: Tensor | None = None,
        frames: int | None = None,
        match_mel: int = 0,
        voiced_temperature: float | None = None,
    ) -> Iterator[Tensor]:
        """Turn mel spectrograms into speech piece by piece, each as soon as the frames that it needs are there.

        Together the pieces are what :meth:`synthesize` gives. A piece of ``n`` frames needs :attr:`lookahead_frames`
        frames after it; a model that has to see all of them (``None``) gives one piece at the end. Matching the mel
        needs more of them, :attr:`audioflow.audio.matching.MelMatcher.lookahead_frames`.

        Args:
            mel: ``[B, M, F]``, or pieces ``[B, M, n]`` that come one after another.
            temperature: see :meth:`synthesize`.
            seed: see :meth:`synthesize`.
            engine: see :meth:`synthesize`.
            speaker: see :meth:`synthesize`.
            frames: mel frames of a piece of audio; :attr:`piece_frames` by default. Models that work in groups of
                samples round it up to whole groups.
            match_mel: see :meth:`synthesize`.
            voiced_temperature: see :meth:`synthesize`.

        Yields:
            ``[B, n]`` in [-1, 1].

        Raises:
            MelError: the mel does not fit the model, or is not finite.
            ValueError: see :meth:`synthesize`.
        """
        if frames is not None and frames < 1:
            raise ValueError(f"a piece of {frames} frames holds nothing; at least one is needed")
        pieces = iter([mel] if isinstance(mel, Tensor) else mel)
        first = next(pieces, None)
        if first is None:
            raise MelError("There is no mel to be turned into speech.")
        source = self._checked(chain([first], pieces), first.shape[0])
        seeds, temperatures = seeds_of(seed, first.shape[0]), (temperature, voiced_temperature)
        job = self._job(*temperatures, engine, speaker, seeds, None, frames, True, match_mel)
        for x in self._sound(source, None, job, None):
            yield x[:, 0].clamp(-1.0, 1.0)

    @property
    def lookahead_frames(self) -> int | None:
        """Mel frames after a piece that have to be known to make it: the latency of :meth:`stream`; ``None``: all."""
        return None

    @property
    def neighbour_frames(self) -> int:
        """Mel frames on each side that decide on the conditioning of a frame's samples, and on their loudness."""
        return max(1, self.upsampler.frame_context, 0 if self.periodicity is None else CONTEXT + 1)

    @property
    def piece_frames(self) -> int:
        """Mel frames of a piece of :meth:`stream` by default: a twentieth of a second, or growing from there."""
        return max(1, round(0.05 * self.contract.sample_rate / self.contract.hop_length))

    def _checked(self, pieces: Iterable[Tensor], batch: int) -> Iterator[Tensor]:
        for piece in pieces:
            self._check_mel(piece)
            if piece.shape[0] != batch:
                raise MelError(f"A piece of the mel has {piece.shape[0]} utterances, the first one had {batch}.")
            yield self._finite(piece)

    def _finite(self, mel: Tensor) -> Tensor:
        if not bool(torch.isfinite(mel).all()):
            raise MelError("The mel holds values that are not finite numbers; make it again from the recording.")
        return self._own_dtype(mel)

    def _job(
        self,
        temperature: float,
        voiced_temperature: float | None,
        engine: str,
        speaker: Tensor | None,
        seeds: Sequence[int],
        steps: Sequence[int] | None,
        frames: int | None = None,
        streams: bool = False,
        match_mel: int = 0,
    ) -> Job:
        if match_mel < 0:
            raise ValueError(f"match_mel is a number of rounds, 0 or more, but is {match_mel}")
        for one in (temperature, voiced_temperature):
            if one is not None and not one >= 0:
                raise ValueError(f"temperature must not be negative, but is {one}")
        if voiced_temperature is not None:
            self._require_periodicity()
        mean = self.normalizer.mean
        noise = NoiseWindow(seeds, self.noise_channels, steps, mean.dtype, mean.device)
        temperatures = temperature, voiced_temperature
        return Job(noise, *temperatures, self._engine(engine), speaker, frames, streams, match_mel)

    def _require_periodicity(self) -> None:
        if self.periodicity is None:
            raise ValueError(
                "this model reads no periodicity off the mel, which a voiced temperature needs; train it with "
                "model.periodicity=48"
            )
        if not self.scales_noise:
            raise ValueError("the law of this model has no temperature of each step; leave the voiced one out")

    def _periodicity_of(self, mel: Tensor, frame_mask: Tensor | None) -> Tensor:
        """How periodic the speech of ``mel [B, M, F]`` is, ``[B, 1, F]``."""
        assert self.periodicity is not None  # noqa: S101
        periodicity: Tensor = self.periodicity(self.normalizer(mel, frame_mask), frame_mask)
        return periodicity

    def _sound(
        self, mel: Iterable[Tensor], lengths: Tensor | None, job: Job, progress: Progress | None
    ) -> Iterator[Tensor]:
        """Audio ``[B, 1, n]``, piece by piece, of a mel in pieces."""
        own, for_front, for_matching, for_voicing = tee(mel, 4)
        if job.voiced_temperature is not None:
            temperatures, source = (job.temperature, job.voiced_temperature), MelWindow(for_voicing)
            context = (lengths, temperatures, self.contract, self.steps_per_frame)
            job = replace(job, noise=VoicedNoise(job.noise, source, self._periodicity_of, *context), temperature=1.0)
        made = self._pieces(MelWindow(own), lengths, job, progress)
        if self.front is not None:
            made = sounded(self.front, made, MelWindow(for_front), lengths)
        if job.match_mel:
            matcher = MelMatcher(self.contract, job.match_mel)
            made = matched(matcher, made, MelWindow(for_matching), len(job.noise), lengths)
        yield from made

    def _pieces(
        self, source: MelWindow, lengths: Tensor | None, job: Job, progress: Progress | None
    ) -> Iterator[Tensor]:
        """Audio, or excitation, ``[B, 1, n]``, piece by piece; all at once unless a subclass knows better."""
        yield self._piece(source, lengths, job, progress, 0, source.reach_end())

    def _piece(
        self, source: MelWindow, lengths: Tensor | None, job: Job, progress: Progress | None, start: int, stop: int
    ) -> Tensor:
        """Audio, or excitation, of the frames ``start`` to ``stop - 1``, as if there were no others."""
        mel = source.cut(start, stop)
        hop, first = self.contract.hop_length, start * self.steps_per_frame
        frame_mask = None if lengths is None else mask_of((lengths - start).clamp(min=0), stop - start, mel.dtype)
        noise = job.noise.cut(first, first + self._noise_steps(stop - start))
        given = self._given(mel, frame_mask, job.speaker)
        with self._precision(job.engine, mel):
            x = self._generate(noise, given, job.temperature, job.engine, progress)
        return x[..., : (stop - start) * hop]

    def forward(self, mel: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``(mel, lengths) -> (wav, lengths in samples)``: the shape of torchaudio's text-to-speech vocoders."""
        if lengths is None:
            lengths = torch.full((mel.shape[0],), mel.shape[-1], device=mel.device)
        return self.synthesize(mel, lengths), lengths * self.contract.hop_length

    @torch.no_grad()
    def mel(self, wav: Tensor) -> Tensor:
        """The mel of ``wav [B, T]`` by the model's own front-end: ``[B, M, ceil(T / hop_length)]``."""
        mel: Tensor = self.front_end(wav)
        return mel

    @torch.no_grad()
    def initialize(self, wav: Tensor, mel: Tensor, lengths: Tensor | None = None, around: Around | None = None) -> None:
        """Fit whatever starts from statistics of data, over valid steps; called once, before training.

        Args:
            wav: ``[B, F * hop_length]``.
            mel: ``[B, M, F]``.
            lengths: frames of each utterance.
            around: what lies around segments that were cut out of utterances, for models with a front.
        """
        frame_mask = self._frame_mask(lengths, mel)
        self.normalizer.fit(mel, frame_mask)
        if self.front is None:
            self.level.fit(wav, mel, frame_mask)
        else:
            self.front.fit(wav, mel, frame_mask, around)

    def fold_weight_norm(self) -> "Vocoder":
        """Work out weight normalisation in every layer, for synthesis; the audio stays the same. Returns itself."""
        fold_weight_norm(self)
        return self

    def save(self, path: str | Path, provenance: Mapping[str, Any] | None = None) -> None:
        """Write weights, config and mel contract to a ``.safetensors`` file; see :mod:`audioflow.vocoders.checkpoint`.

        Raises:
            OutputError: the file cannot be written.
        """
        # The file format knows the vocoders, not the other way round.
        from audioflow.vocoders.checkpoint import save  # noqa: PLC0415

        save(self, path, provenance)

    def _given(self, mel: Tensor, frame_mask: Tensor | None, speaker: Tensor | None) -> Given:
        if self.front is None:
            with full_precision(mel):
                level = self.level(mel, frame_mask)
        else:
            level = wide(mel).new_zeros(mel.shape[0], 1, mel.shape[2] * self.steps_per_frame)
        voices = self._voices(speaker, mel.shape[0])
        return Given(self.normalizer(mel, frame_mask), level, frame_mask, voices)

    def _noise_steps(self, frames: int) -> int:
        """Steps of noise that an utterance of ``frames`` consumes, at least ``frames * steps_per_frame``."""
        return frames * self.steps_per_frame

    def _own_dtype(self, x: Tensor) -> Tensor:
        """Half precision would lose audio, and double precision does not go with float32 weights."""
        return x.to(self.normalizer.mean.dtype)

    def _check_mel(self, mel: Tensor) -> None:
        if mel.ndim != 3 or mel.shape[1] != self.contract.n_mels or mel.shape[2] == 0:
            raise MelError(
                f"mel {list(mel.shape)} does not fit this model: "
                f"[batch, {self.contract.n_mels} bands, at least one frame] was expected."
            )

    def _frame_mask(self, lengths: Tensor | None, mel: Tensor) -> Tensor | None:
        """Mask ``[B, 1, F]`` of the valid frames of ``mel [B, M, F]``, on its device and in its dtype."""
        if lengths is None:
            return None
        if lengths.shape != mel.shape[:1]:
            raise MelError(
                f"lengths {list(lengths.shape)} do not fit mel {list(mel.shape)}: one number each is needed."
            )
        return mask_of(lengths.to(mel.device), mel.shape[-1], mel.dtype)

    def _frames(self, lengths: Tensor | None, mel: Tensor) -> list[int]:
        """Number of frames of each utterance."""
        frames = [mel.shape[-1]] * mel.shape[0] if lengths is None else [int(n) for n in lengths]
        if min(frames) < 1 or max(frames) > mel.shape[-1]:
            raise MelError(f"lengths {frames} do not fit mel {list(mel.shape)}: 1 to {mel.shape[-1]} was expected.")
        return frames

    def _precision(self, engine: str, x: Tensor) -> AbstractContextManager[object]:
        """Context in which an engine makes audio on the device of ``x``."""
        return nullcontext()

    def _engine(self, engine: str) -> str:
        if engine == "auto":
            return self.usable_engines[0]
        if engine not in self.engines:
            raise ValueError(f"{self.name} has no engine {engine!r}, but {', '.join(self.engines)}")
        return engine

    def _voices(self, speaker: Tensor | None, batch: int) -> Tensor | None:
        """Speaker embeddings ``[B, S]``; the first speaker where none is named."""
        embedding = getattr(self, "speaker_embedding", None)
        if embedding is None:
            if speaker is not None:
                raise ValueError(f"this {self.name} was trained without speakers, but speaker numbers were given")
            return None
        if speaker is None:
            speaker = torch.zeros(batch, dtype=torch.long, device=embedding.weight.device)
        if bool((speaker < 0).any()) or bool((speaker >= embedding.num_embeddings).any()):
            raise ValueError(f"speaker numbers go from 0 to {embedding.num_embeddings - 1}, unlike {speaker.tolist()}")
        voices: Tensor = embedding(speaker)
        return voices


def settings_of(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The settings among a constructor's arguments, from ``locals()`` in its first line."""
    return {key: value for key, value in arguments.items() if key not in ("self", "contract", "__class__")}
