"""Audio whose mel is a given one: the spectrum of what there is, scaled band by band until it has that mel."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from audioflow.audio.band_levels import Bands
from audioflow.audio.contract import MelContract
from audioflow.audio.envelope import band_magnitudes
from audioflow.errors import AudioError, MelError

MOMENTUM = 0.7
"""How much further than it came a round goes; at 1 and above, magnitudes swing about those that are asked for."""

LEAST_OVERLAP = 0.1
"""Sums of squared windows below this count as this: where hardly a frame looks, hardly anything is changed."""

LOUDEST = 1e6
"""Audio beyond this amplitude is clipped to it, so that no spectrum overflows."""

# Frames of a block, all rows together: its spectra stay in a CPU's cache; a GPU has to be kept busy.
_BLOCK_ON_CPU, _BLOCK_ELSEWHERE = 128, 8192
# Samples before a frame's first one that its mirror image beyond the end can show.
_MIRROR_MARGIN = 2
# Frames of an utterance whose end is not known yet.
_FAR = 2**40


class MelMatcher:
    """Move audio to the mel that it should have, and keep its phases.

    With ``M_b`` the mean magnitude within band ``b`` that the mel tells of, and ``m_b(y)`` that of the audio, measured
    as the contract's front-end measures it, each round does for every frame::

        g_b = clip(log(M_b / m_b(y)), -3, 3)
        x'  = y + iSTFT(STFT(y) * (exp(G) - 1)),    G = the gains g_b, interpolated linearly over frequency
        y <- x' + a (x' - x),    x <- x'

    where the inverse transform overlaps and adds windowed frames, over the sum of squared windows, and ``a`` is the
    momentum, 0 in the first round. At first ``x = y`` is the audio; what is given is ``x'`` of the last round. Both
    ``M_b`` and ``m_b`` count as no less than the contract's floor and no more than its ceiling, so audio that has the
    mel already stays as it is. Above the highest band, bins follow that band's gain.

    There are the frames of the mel and no others (one more at the end, like the last, made speech worse), and beyond
    the ends of the utterance they see what those of the front-end do.

    It computes in float64, as the front-end does (float32 on Apple's GPUs, which have none), also under autocast, and
    is differentiable with respect to the audio. Nothing keeps the result within [-1, 1].

    Args:
        contract: of the mel.
        rounds: how often everything is done; 8 are enough, after 0 the audio is what it was.
        momentum: ``a``, at least 0 and less than 1; 0 with a ceiling, beyond which no round would take anything back.

    Raises:
        ValueError: ``rounds`` is negative, or ``momentum`` out of its range.

    References:
        D. Griffin, J. Lim: Signal estimation from modified short-time Fourier transform, 1984. The inverse transform,
        and the idea of projecting again and again onto what has a given spectrum; here the bands of a mel are given.
        N. Perraudin, P. Balazs, P. Sondergaard: A fast Griffin-Lim algorithm, 2013. The momentum.

    Example:
        >>> from audioflow.audio import PRESETS
        >>> matcher = MelMatcher(PRESETS["speech-16k"], rounds=8)
        >>> matcher(torch.randn(2, 1600), torch.full((2, 80, 8), -6.0)).shape
        torch.Size([2, 1600])
    """

    def __init__(self, contract: MelContract, rounds: int = 8, momentum: float = MOMENTUM) -> None:
        if rounds < 0:
            raise ValueError(f"{rounds} rounds of mel matching cannot be done; give 0 or more")
        if not 0 <= momentum < 1:
            raise ValueError(f"a momentum of {momentum} does not settle; give 0 or more, and less than 1")
        self.contract = contract
        self.rounds = rounds
        self.momentum = momentum if contract.ceiling is None else 0.0
        self._bands: dict[torch.device, Bands] = {}

    def __call__(self, wav: Tensor, mel: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Match a batch.

        Args:
            wav: ``[B, T]`` with ``T = F * hop_length``.
            mel: ``[B, M, F]``, as the contract's front-end gives it.
            lengths: ``[B]``, valid **frames** of each utterance; ``None`` when all are whole.

        Returns:
            ``[B, T]`` of the type of ``wav``; each utterance as if it were alone, and zeros after it.

        Raises:
            AudioError: ``wav`` is not [B, T], or not as long as the mel says.
            MelError: the mel does not fit the contract or the batch, or a length lies outside 1..F.
        """
        stream = self.stream(wav.shape[0], lengths)
        stream.check(wav, mel)
        hop, frames = self.contract.hop_length, mel.shape[-1]
        if wav.shape[1] != frames * hop:
            raise AudioError(f"{wav.shape[1]} samples do not go with {frames} frames; give {frames * hop}.")
        if lengths is not None and (min(stream.frames) < 1 or max(stream.frames) > frames):
            found = f"{min(stream.frames)}..{max(stream.frames)}"
            raise MelError(f"Lengths of {found} frames do not fit a mel of {frames}; give 1 to {frames}.")
        out, done = torch.empty_like(wav), 0  # pieces that wait to be joined would be scattered over the memory
        for piece in self._pieces(stream, wav, mel):
            out[:, done : done + piece.shape[1]] = piece
            done += piece.shape[1]
        return out

    def _pieces(self, stream: "MatchingStream", wav: Tensor, mel: Tensor) -> Iterator[Tensor]:
        size = max(8, (_BLOCK_ON_CPU if wav.device.type == "cpu" else _BLOCK_ELSEWHERE) // max(1, wav.shape[0]))
        samples = size * self.contract.hop_length
        for block, frames in zip(wav.split(samples, dim=1), mel.split(size, dim=2), strict=True):
            yield stream.push(block, frames)
        yield stream.finish()

    def stream(self, batch: int, lengths: Tensor | None = None) -> "MatchingStream":
        """Begin to match audio that comes piece by piece.

        Args:
            batch: utterances.
            lengths: ``[B]``, valid frames of each where that is known already; ``None``: all end together.
        """
        return MatchingStream(self, batch, None if lengths is None else lengths.tolist())

    @property
    def lookahead_samples(self) -> int:
        """Samples after a sample that have to be known, at most, before a stream gives it.

        ``win_length - 1`` for the first round, and for each other one the hops that a window reaches beyond its first.
        """
        framing = _Framing.of(self.contract)
        if self.rounds == 0:
            return 0
        # The first frame waits for its mirror image too; where hops are so long, that can be later than anything else.
        late = self.rounds * framing.hop if framing.hop > framing.before else 0
        return (self.rounds - 1) * (framing.cells - 1) * framing.hop + framing.window - 1 + late

    @property
    def lookahead_frames(self) -> int:
        """Mel frames after the one that a sample lies in which have to be known before a stream gives it, at most."""
        framing = _Framing.of(self.contract)
        if self.rounds == 0:
            return 0
        return (self.rounds - 1) * (framing.cells - 1) + -(-framing.before // framing.hop)

    def bands(self, device: torch.device) -> "Bands":
        """What one round computes with, where the audio is."""
        if device not in self._bands:
            with torch.inference_mode(mode=False):  # what is made here serves training too
                self._bands[device] = Bands.of(self.contract, device)
        return self._bands[device]


class MatchingStream:
    """Audio and mel come in pieces of any size, and finished audio goes out as early as it can.

    All that has been given out is, together, what `MelMatcher` gives for the whole, to the rounding of products. The
    memory does not grow with the stream. ``MelMatcher.stream`` makes one.

    Attributes:
        frames: valid frames of each utterance, as far as they are known.

    Example:
        >>> from audioflow.audio import PRESETS
        >>> stream = MelMatcher(PRESETS["speech-16k"], rounds=2).stream(batch=1)
        >>> wav, mel = torch.randn(1, 4000), torch.full((1, 80, 20), -6.0)
        >>> [stream.push(wav[:, at : at + 1000], mel if at == 0 else None).shape[1] for at in range(0, 4000, 1000)]
        [0, 800, 1000, 1000]
        >>> stream.finish().shape
        torch.Size([1, 1200])
    """

    def __init__(self, matcher: MelMatcher, batch: int, frames: list[int] | None) -> None:
        self.frames = frames or []
        self._matcher = matcher
        self._framing = _Framing.of(matcher.contract)
        self._batch = batch
        self._samples = 0
        self._ends = _Ends.of(self.frames or [_FAR], torch.device("cpu"))
        self._goals: _Goals | None = None
        self._rounds: list[_Round] = []
        self._dtype = torch.float32
        self._finished = False

    def push(self, wav: Tensor, mel: Tensor | None = None) -> Tensor:
        """Take what has come, in time order; neither has to keep step with the other.

        Args:
            wav: ``[B, n]``, the samples after those of the last call.
            mel: ``[B, M, m]``, the frames after those of the last call; ``None`` for none.

        Returns:
            ``[B, k]`` of the type of ``wav``: the samples that are finished by now and were not before.

        Raises:
            AudioError: ``wav`` is not [B, n].
            MelError: the mel does not fit the contract or the batch.
            ValueError: the stream has been finished.
        """
        if self._finished:
            raise ValueError("this stream of mel matching has been finished; begin another one")
        self.check(wav, mel)
        with torch.autocast(wav.device.type, enabled=False):
            goals = self._started(wav)
            if mel is not None:
                goals.append(mel, self._ends.frames)
            arrived = self._working(wav)
            self._samples += wav.shape[1]
            return self._through(arrived, goals, None).to(wav.dtype)

    def finish(self) -> Tensor:
        """Say that nothing more comes.

        Returns:
            ``[B, k]``: the rest.

        Raises:
            AudioError: the samples that have come are not ``hop_length`` for each frame.
            ValueError: the stream has been finished before, or nothing was ever given to it.
        """
        if self._finished or self._goals is None:
            raise ValueError("there is nothing in this stream of mel matching that could be finished")
        frames, hop = self._goals.end, self._framing.hop
        if self._samples != frames * hop:
            raise AudioError(f"{self._samples} samples do not go with {frames} frames; give {frames * hop}.")
        self._finished = True
        if not self.frames:
            self._ends = _Ends.of([frames], self._goals.device)
        with torch.autocast(self._goals.device.type, enabled=False):
            nothing = self._goals.values.new_zeros(self._batch, 0)
            rest = self._through(nothing, self._goals, frames) if frames else nothing
            return rest.to(self._dtype)

    def check(self, wav: Tensor, mel: Tensor | None) -> None:
        """Refuse what is not audio [B, n] and mel [B, M, m] of this stream."""
        if wav.dim() != 2 or wav.shape[0] != self._batch:
            raise AudioError(f"Audio to be matched has shape {list(wav.shape)}, but [{self._batch}, T] is needed.")
        bands = self._matcher.contract.n_mels
        if mel is not None and (mel.dim() != 3 or mel.shape[:2] != (self._batch, bands)):
            found = list(mel.shape)
            raise MelError(f"The mel to be matched has shape {found}, but [{self._batch}, {bands}, F] is needed.")
        if self.frames and len(self.frames) != self._batch:
            raise MelError(f"There are lengths for {len(self.frames)} utterances, but the batch has {self._batch}.")

    def _started(self, wav: Tensor) -> "_Goals":
        if self._goals is None:
            bands = self._matcher.bands(wav.device)
            self._ends = _Ends.of(self.frames or [_FAR], wav.device)
            self._goals = _Goals(bands, self._batch)
            empty = bands.window.new_zeros(self._batch, 0)
            zeros_outside = self._matcher.contract.pad_mode == "zeros"
            self._rounds = [_Round(bands, self._framing, empty, zeros_outside) for _ in range(self._matcher.rounds)]
        self._dtype = wav.dtype
        return self._goals

    def _working(self, wav: Tensor) -> Tensor:
        """Bring samples that have just come to the type of the computation; zeros after the end of an utterance."""
        arrived = wav.to(self._matcher.bands(wav.device).window.dtype).clamp(-LOUDEST, LOUDEST)
        return self._ends.silent_after(arrived, self._samples, self._framing.hop)

    def _through(self, wav: Tensor, goals: "_Goals", frames: int | None) -> Tensor:
        done = wav
        for turn, one in enumerate(self._rounds):
            before, done = done, one.push(wav, goals, self._ends, frames)
            # What the first round changes is mostly the level, beyond which there is nothing to be found.
            wav = one.carried_on(before, done, self._matcher.momentum) if turn > 0 else done
        goals.forget(self._rounds[-1].frame if self._rounds else goals.end)
        return done


class _Framing(NamedTuple):
    """Where frames lie: frame ``k`` looks at ``window`` samples from ``k * hop - before`` on.

    Time is cut into cells of one hop; cell ``k`` begins where frame ``k`` does, and a frame reaches over ``cells``.
    """

    hop: int
    window: int
    before: int
    cells: int

    @classmethod
    def of(cls, contract: MelContract) -> "_Framing":
        hop, window = contract.hop_length, contract.win_length
        later = hop if contract.framing == "half_hop" else 0
        before = (contract.n_fft - later) // 2 - (contract.n_fft - window) // 2
        return cls(hop, window, before, -(-window // hop))

    def start(self, frame: int) -> int:
        return frame * self.hop - self.before

    def heard(self, samples: int) -> int:
        """Frames whose samples are all among the first so many, also those of the mirror image before the start."""
        return 0 if samples <= self.before else max(0, (samples + self.before - self.window) // self.hop + 1)


class _Ends(NamedTuple):
    """Frames of each utterance, ``[B, 1]`` or ``[1, 1]``, and the least of them; a huge number when unknown."""

    frames: Tensor
    least: int

    @classmethod
    def of(cls, frames: list[int], device: torch.device) -> "_Ends":
        return cls(torch.tensor(frames, device=device)[:, None], min(frames))

    def silent_after(self, wav: Tensor, first: int, hop: int) -> Tensor:
        """Put zeros after the ends of utterances; ``first`` is the place of the first sample of ``wav [B, n]``."""
        if first + wav.shape[1] <= self.least * hop:
            return wav
        position = torch.arange(first, first + wav.shape[1], device=wav.device)
        return wav.masked_fill(position >= self.frames * hop, 0.0)


class _Goals:
    """What the bands should come to, ``[B, n, M]``: logarithms of mean magnitudes, from ``first`` to ``end - 1``."""

    def __init__(self, bands: Bands, batch: int) -> None:
        self.values = bands.least.new_zeros(batch, 0, len(bands.least))
        self.device = self.values.device
        self.first = 0
        self._bands = bands

    @property
    def end(self) -> int:
        return self.first + self.values.shape[1]

    def append(self, mel: Tensor, ends: Tensor) -> None:
        """Take frames ``[B, M, m]``; what comes after the end of an utterance does not count."""
        frame = torch.arange(self.end, self.end + mel.shape[-1], device=self.device)
        mel = mel.masked_fill((frame >= ends)[:, None], 0.0)
        where = mel.cpu() if mel.device.type == "mps" else mel  # magnitudes are float64, which is not there
        magnitudes = band_magnitudes(where, self._bands.contract).to(self.values)
        new = magnitudes.transpose(1, 2).clamp(self._bands.least, self._bands.most).log()
        self.values = torch.cat([self.values, new], dim=1)

    def cut(self, start: int, stop: int) -> Tensor:
        return self.values[:, start - self.first : stop - self.first]

    def forget(self, before: int) -> None:
        self.values = self.values[:, before - self.first :]
        self.first = before


class _Round:
    """One round of a stream: samples come in, and go out as soon as all frames that they lie in are done.

    Attributes:
        frame: the next frame; samples before its start are given out.
    """

    def __init__(self, bands: Bands, framing: _Framing, empty: Tensor, zeros_outside: bool) -> None:
        self.frame = 0
        self._bands = bands
        self._framing = framing
        self._zeros_outside = zeros_outside
        self._wav = empty
        self._first = 0  # place of the first sample that is kept
        self._before = empty
        self._pending = empty.new_zeros(len(empty), framing.cells - 1, framing.hop)

    def push(self, wav: Tensor, goals: _Goals, ends: _Ends, frames: int | None) -> Tensor:
        """Take ``[B, n]``, give what is finished; ``frames`` of the utterance once they are known and all is there."""
        self._wav = torch.cat([self._wav, wav], dim=1)
        there = self._first + self._wav.shape[1]
        begin = self.frame
        self.frame = goals.end if frames is not None else max(begin, min(goals.end, self._framing.heard(there)))
        cells = self.frame - begin
        if frames is not None:
            cells += -(-self._framing.before // self._framing.hop)  # to the end
        if cells == 0:
            return self._wav[:, :0]
        added = self._pending
        if self.frame > begin:
            done = self._bands.corrections(self._frames(begin, ends), goals.cut(begin, self.frame))
            if self.frame > ends.least:
                done = done * self._exists(begin, self.frame, ends)[..., None]
            added = self._overlapped(done)
        if frames is not None:  # where frames do not overlap, not even the last one reaches the end
            added = torch.nn.functional.pad(added, (0, 0, 0, 1))
        added, self._pending = added[:, :cells], added[:, cells:]
        change = (added / self._overlap(begin, cells, ends)).flatten(1)
        start = self._framing.start(begin)
        first = max(start, 0)
        last = max(first, min(start + cells * self._framing.hop, there))
        out = self._wav[:, first - self._first : last - self._first] + change[:, first - start : last - start]
        self._forget(self._framing.start(self.frame) - _MIRROR_MARGIN)
        return ends.silent_after(out, first, self._framing.hop)

    def carried_on(self, before: Tensor, done: Tensor, momentum: float) -> Tensor:
        """Go on as the round has gone: ``done + momentum (done - before)``, ``[B, k]``.

        Args:
            before: what the round before this one gives meanwhile, ``[B, n]``; it may run ahead.
            done: what this round gives, ``[B, k]``.
            momentum: how far.
        """
        self._before = torch.cat([self._before, before], dim=1)
        then, self._before = self._before[:, : done.shape[1]], self._before[:, done.shape[1] :]
        return done + momentum * (done - then)

    def _frames(self, begin: int, ends: _Ends) -> Tensor:
        """Samples that the frames ``begin`` to ``self.frame - 1`` look at, ``[B, n, win_length]``."""
        framing, there = self._framing, self._first + self._wav.shape[1]
        start, stop = framing.start(begin), framing.start(self.frame - 1) + framing.window
        if start >= 0 and stop <= min(there, ends.least * framing.hop):
            return self._wav[:, start - self._first : stop - self._first].unfold(1, framing.window, framing.hop)
        position = torch.arange(start, stop, device=self._wav.device)[None]
        last = ends.frames * framing.hop
        index = _mirrored(position, last).clamp(self._first, there - 1) - self._first
        seen = self._wav.gather(1, index.expand(len(self._wav), -1))
        if self._zeros_outside:
            seen = seen.masked_fill((position < 0) | (position >= last), 0.0)
        return seen.unfold(1, framing.window, framing.hop)

    def _exists(self, begin: int, end: int, ends: _Ends) -> Tensor:
        """Which of some frames each utterance has, ``[B or 1, n]``, as 0 and 1."""
        frame = torch.arange(begin, end, device=self._wav.device)
        return ((frame >= 0) & (frame < ends.frames)).to(self._wav.dtype)

    def _overlapped(self, done: Tensor) -> Tensor:
        """Add frames ``[B, n, win_length]`` to what is pending: ``[B, n + cells - 1, hop]``."""
        count, cells, hop = done.shape[1], self._framing.cells, self._framing.hop
        parts = torch.nn.functional.pad(done, (0, -done.shape[2] % hop)).unflatten(2, (cells, hop))
        added = torch.nn.functional.pad(self._pending, (0, 0, 0, count))
        for cell in range(cells):
            added[:, cell : cell + count] += parts[:, :, cell]
        return added

    def _overlap(self, begin: int, cells: int, ends: _Ends) -> Tensor:
        """Sum of squared windows over the frames that each sample lies in, ``[B or 1, cells or 1, hop]``."""
        if begin >= self._framing.cells - 1 and begin + cells <= ends.least:
            return self._bands.cells.sum(dim=0)[None, None].clamp(min=LEAST_OVERLAP)
        exists = self._exists(begin - self._framing.cells + 1, begin + cells, ends)
        return (exists.unfold(1, self._framing.cells, 1).flip(2) @ self._bands.cells).clamp(min=LEAST_OVERLAP)

    def _forget(self, before: int) -> None:
        keep = min(max(before, self._first), self._first + self._wav.shape[1])
        self._wav = self._wav[:, keep - self._first :]
        self._first = keep


def _mirrored(position: Tensor, ends: Tensor) -> Tensor:
    """Where in 0..end-1 the mirror image shows at ``position``, as in the front-end."""
    period = (2 * (ends - 1)).clamp(min=1)
    folded = position.remainder(period)
    return torch.minimum(folded, period - folded)
