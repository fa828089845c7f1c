"""Where speech comes from, how it is prepared, and what training reads."""

from audioflow.corpora.base import Corpus, Utterance
from audioflow.corpora.checks import PROBLEMS
from audioflow.corpora.dataset import Item, SegmentDataset
from audioflow.corpora.prepare import prepare
from audioflow.corpora.prepared import PreparedCorpus
from audioflow.corpora.records import Entry, Rejected
from audioflow.corpora.registry import CORPORA, get_corpus
from audioflow.corpora.report import PrepareReport
from audioflow.corpora.splits import SPLITS, Split, split_of

__all__ = [
    "CORPORA",
    "PROBLEMS",
    "SPLITS",
    "Corpus",
    "Entry",
    "Item",
    "PrepareReport",
    "PreparedCorpus",
    "Rejected",
    "SegmentDataset",
    "Split",
    "Utterance",
    "get_corpus",
    "prepare",
    "split_of",
]
