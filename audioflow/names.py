"""Names that nearly exist, for errors that help."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of ``names`` that is most like ``name``, or None where none is alike."""
    return next(iter(get_close_matches(name, names, n=1, cutoff=0.5)), None)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The end of a sentence that refuses ``name``: the nearest of ``names``, or else all of them.

    Example:
        >>> "There is no vocoder 'wavnet'" + did_you_mean("wavnet", ["glow", "wavenet"])
        "There is no vocoder 'wavnet'; did you mean 'wavenet'?"
        >>> did_you_mean("x", ["glow", "wavenet"])
        '; there are glow, wavenet.'
    """
    names = list(names)
    near = nearest(name, names)
    if near is not None:
        return f"; did you mean {near!r}?"
    return f"; there are {', '.join(names)}." if names else "."
