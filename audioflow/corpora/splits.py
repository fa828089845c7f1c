"""Which utterances are for training and which are held out: decided by the utterance's id alone."""

import hashlib
from typing import Final, Literal

Split = Literal["train", "valid", "test"]
SPLITS: Final[tuple[Split, ...]] = ("train", "valid", "test")

VALID_SHARE: Final = 0.05
TEST_SHARE: Final = 0.05


def split_of(utterance_id: str) -> Split:
    """Say which split an utterance belongs to.

    The first eight bytes of the SHA-256 of the id, read as a fraction in [0, 1), fall into the valid, the test or the
    train share. Adding, removing or reordering utterances therefore never moves another one to a different split.

    Example:
        >>> split_of("ru_0002"), split_of("ru_0013")
        ('train', 'train')
    """
    fraction = fraction_of(utterance_id)
    if fraction < VALID_SHARE:
        return "valid"
    return "test" if fraction < VALID_SHARE + TEST_SHARE else "train"


def fraction_of(utterance_id: str) -> float:
    """A number in [0, 1) that an utterance's id decides: the first eight bytes of its SHA-256."""
    digest = hashlib.sha256(utterance_id.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
