"""The corpora by name."""

import inspect
from typing import Any, Final

from audioflow.corpora.base import Corpus
from audioflow.corpora.festvox import FestvoxRu
from audioflow.corpora.folder import Folder
from audioflow.corpora.ljspeech import LJSpeech
from audioflow.corpora.sample import Sample
from audioflow.errors import CorpusError
from audioflow.names import did_you_mean

CORPORA: Final[dict[str, type[Corpus]]] = {kind.name: kind for kind in (Sample, Folder, FestvoxRu, LJSpeech)}


def get_corpus(name: str, **options: Any) -> Corpus:
    """Make the corpus called ``name``.

    Args:
        name: one of ``CORPORA``.
        options: passed to the corpus, for example ``root`` for a folder; those that are None are left out.

    Raises:
        CorpusError: no such corpus, an option it does not have, or one that it needs.

    Example:
        >>> [utterance.id for utterance in get_corpus("sample").utterances()][:2]
        ['ru_0003', 'ru_0012']
    """
    if name not in CORPORA:
        raise CorpusError(f"There is no corpus called {name!r}{did_you_mean(name, CORPORA)}")
    given = {key: value for key, value in options.items() if value is not None}
    known = inspect.signature(CORPORA[name]).parameters
    for key in given:
        if key not in known:
            has = f"its options are {', '.join(known)}" if known else "it has none"
            raise CorpusError(f"The corpus {name} has no option {key!r}; {has}.")
    for key, parameter in known.items():
        if parameter.default is parameter.empty and key not in given:
            raise CorpusError(
                f"The corpus {name} needs the option {key!r}; give {key}=... "
                f"(--{key} on the command line, data.{key} in a recipe)."
            )
    return CORPORA[name](**given)
