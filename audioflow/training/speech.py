"""The prepared speech that a recipe asks for, made on the spot when it is missing."""

import logging
from pathlib import Path

from audioflow.corpora import get_corpus, prepare
from audioflow.corpora.prepared import PreparedCorpus
from audioflow.corpora.records import CorpusFile, read_corpus_file
from audioflow.errors import CorpusError
from audioflow.training.recipe import Recipe

log = logging.getLogger(__name__)


def ensure_prepared(recipe: Recipe) -> Path:
    """Prepare the recipe's corpus unless that was done before; give its directory.

    Raises:
        CorpusError: the directory holds another corpus or mels of another front-end, or the corpus cannot be had.
    """
    directory = recipe.data.directory
    content = read_corpus_file(directory) if directory.is_dir() else None
    if content is not None:
        _require_fit(directory, content, PreparedCorpus(directory) if content.complete else None, recipe)
    if content is None or not content.complete:
        log.info("preparing %s in %s", recipe.data.corpus, directory)
        report = prepare(get_corpus(recipe.data.corpus, root=recipe.data.root), directory, recipe.mel)
        log.info("%d of %d recordings are fit for use", report.utterances, report.recordings)
    return directory


def _require_fit(directory: Path, content: CorpusFile, prepared: PreparedCorpus | None, recipe: Recipe) -> None:
    if content.corpus != recipe.data.corpus:
        raise CorpusError(
            f"{directory} holds the corpus {content.corpus}, but the recipe's data.corpus is {recipe.data.corpus}; "
            "set data.prepared to another directory."
        )
    root = recipe.data.root
    if root is not None and get_corpus(content.corpus, root=root).origin != content.origin:
        raise CorpusError(
            f"{directory} was prepared from {content.origin}, but the recipe's data.root is {root}; "
            "set data.prepared to another directory, or leave data.root out."
        )
    differences = prepared.contract.differences(recipe.mel) if prepared else []
    if differences:
        raise CorpusError(
            f"{directory} was prepared with another mel front-end than the recipe's ({', '.join(differences)}); "
            "set data.prepared to another directory."
        )
