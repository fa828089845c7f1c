"""The nearest valid name, for errors that help."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, valid: Iterable[str]) -> str:
    """Give the end of a sentence: the valid name that is most like ``name``, or else all of them.

    Example:
        >>> nearest("modle", ["data", "model"])
        '; the nearest valid name is model'
    """
    names = sorted(valid)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"; the nearest valid name is {close[0]}"
    return f"; valid names are {', '.join(names)}" if names else ""
