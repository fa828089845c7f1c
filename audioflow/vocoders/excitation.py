"""A front as a recipe names it, and what comes after the sampler, in pieces: to speech, and to speech of its mel."""

from collections.abc import Iterable, Iterator
from typing import Annotated

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor

from audioflow.audio import MelContract
from audioflow.audio.matching import MelMatcher
from audioflow.flows.envelope_filter import Filter, blocks_per_frame
from audioflow.flows.front import Front
from audioflow.nets.masks import mask_of
from audioflow.vocoders.pieces import MelWindow


def _front_order(value: object) -> object:
    if value == "none" or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 256):
        return value
    raise ValueError("should be none, or the order of a filter, from 0 to 256")


FrontOrder = Annotated[int | str, BeforeValidator(_front_order)]
"""What a recipe calls ``front``: the order of its filter, or none."""

Correction = Annotated[float, Field(gt=0, le=1)]
CORRECTION = 1e-9
"""What a recipe calls ``front_correction``, and its default."""


def make_front(contract: MelContract, order: int | str, correction: float) -> Front | None:
    """The front that a recipe names by ``front``."""
    return None if order == "none" else Front(contract, int(order), correction)


def sounded(front: Front, excitation: Iterable[Tensor], source: MelWindow, lengths: Tensor | None) -> Iterator[Tensor]:
    """Speech ``[B, 1, n]`` of each piece of excitation ``[B, 1, n]``; together it is that of the whole.

    Args:
        front: makes speech of excitation.
        excitation: pieces of any length, one after another.
        source: the mel. A piece needs the frame after its last one.
        lengths: frames of each utterance.
    """
    done, hop = 0, front.hop_length
    state: Tensor | None = None
    for u in excitation:
        first, last = done // hop, -(-(done + u.shape[-1]) // hop)
        filter_ = _filter_of(front, source, first, last, lengths)
        x, state = front.sound(u, filter_, state, done - first * hop)
        done += u.shape[-1]
        yield x


def matched(
    matcher: MelMatcher, speech: Iterable[Tensor], source: MelWindow, batch: int, lengths: Tensor | None
) -> Iterator[Tensor]:
    """The same speech ``[B, 1, n]``, moved to its mel, in other pieces; together it is the whole, moved to its mel.

    Args:
        matcher: moves it.
        speech: pieces of any length, one after another.
        source: the mel.
        batch: utterances.
        lengths: frames of each utterance.
    """
    stream = matcher.stream(batch, lengths)
    samples, frames, hop = 0, 0, matcher.contract.hop_length
    for x in speech:
        samples += x.shape[-1]
        there = min(source.reach(-(-samples // hop)), -(-samples // hop))
        done = stream.push(x[:, 0], source.cut(frames, there) if there > frames else None)
        frames = there
        if done.shape[1]:
            yield done[:, None]
    rest = stream.finish()
    if rest.shape[1]:
        yield rest[:, None]


def _filter_of(front: Front, source: MelWindow, first: int, last: int, lengths: Tensor | None) -> Filter:
    """The filter of the frames ``first`` to ``last - 1``, to which their neighbours contribute."""
    start, stop = max(0, first - 1), min(last + 1, source.reach(last + 1))
    mel = source.cut(start, stop)
    # An utterance that has ended before goes on with some frame; nobody hears it.
    left = None if lengths is None else (lengths - start).clamp(min=1)
    wider = front.filter(mel, mask_of(left, stop - start, torch.float32))
    per_frame = blocks_per_frame(front.hop_length)
    own = slice((first - start) * per_frame, (last - start) * per_frame)
    return Filter(wider.coefficients[:, own], wider.log_scale[:, own], wider.block)
