"""Reading a prepared corpus: whole, in segments, in batches."""

import logging
import pickle
from collections import Counter

import pytest
import torch
from torch.utils.data import DataLoader

from audioflow.audio import PRESETS
from audioflow.corpora import PreparedCorpus, SegmentDataset, get_corpus, prepare
from audioflow.errors import CorpusError

CONTRACT = PRESETS["speech-16k"]
HOP = CONTRACT.hop_length


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    directory = tmp_path_factory.mktemp("prepared")
    prepare(get_corpus("sample"), directory, CONTRACT)
    return PreparedCorpus(directory)


def same(one, other):
    return one["id"] == other["id"] and torch.equal(one["wav"], other["wav"]) and torch.equal(one["mel"], other["mel"])


def test_whole_utterances(prepared):
    for entry in prepared.entries():
        wav, mel = prepared.load(entry)
        assert wav.shape == (entry.frames * HOP,)
        assert mel.shape == (CONTRACT.n_mels, entry.frames)
        assert 0 <= entry.samples - entry.frames * HOP < HOP
    assert [entry.id for entry in prepared.entries("valid")] == ["ru_0184"]
    assert prepared.speakers == ["msu_ru_nsh"]


@pytest.mark.parametrize("minutes", [0.01, 0.2, 0.5, 100.0])
def test_part_of_the_training_speech(prepared, minutes):
    part, rate = PreparedCorpus(prepared.directory, train_minutes=minutes), CONTRACT.sample_rate
    every, kept = prepared.entries("train"), part.entries("train")
    assert kept == [entry for entry in every if entry in kept]
    assert sum(entry.samples for entry in kept) >= min(60 * minutes * rate, sum(entry.samples for entry in every))
    assert len(kept) == 1 or sum(entry.samples for entry in kept) - max(e.samples for e in kept) < 60 * minutes * rate
    assert all(part.entries(split) == prepared.entries(split) for split in ("valid", "test"))
    more = PreparedCorpus(prepared.directory, train_minutes=2 * minutes).entries("train")
    assert {entry.id for entry in kept} <= {entry.id for entry in more}
    assert part.speakers == prepared.speakers
    segments = SegmentDataset(part, "train", 40)
    assert {segments[index]["id"] for index in range(len(segments))} <= {entry.id for entry in kept}


def test_segments_lie_on_the_whole(prepared):
    data = SegmentDataset(prepared, "train", 40, seed=3)
    whole = {entry.id: (entry, *prepared.load(entry)) for entry in prepared.entries("train")}
    for index in range(20):
        drawn, start = data.draw(0, index)
        item = data[index]
        entry, wav, mel = whole[item["id"]]
        assert entry == drawn
        assert torch.equal(item["wav"], wav[start * HOP : (start + 40) * HOP])
        assert torch.equal(item["mel"], mel[:, start : start + 40])
        assert item["speaker"] == 0


def test_an_epoch_is_about_the_split(prepared):
    data = SegmentDataset(prepared, "train", 40)
    assert len(data) == sum(entry.frames for entry in prepared.entries("train")) // 40
    with pytest.raises(IndexError):
        data[len(data)]


def test_draws_follow_from_seed_epoch_and_index(prepared):
    data = SegmentDataset(prepared, "train", 40, seed=3)
    draws = [data.draw(0, index) for index in range(len(data))]
    assert draws == [SegmentDataset(prepared, "train", 40, seed=3).draw(0, index) for index in range(len(data))]
    assert draws != [data.draw(1, index) for index in range(len(data))]
    assert draws != [SegmentDataset(prepared, "train", 40, seed=4).draw(0, index) for index in range(len(data))]
    data.set_epoch(1)
    assert same(data[5], data.segment(1, 5))
    assert not same(data[5], data.segment(0, 5))


def test_draws_in_proportion_to_length_from_end_to_end(prepared):
    data = SegmentDataset(prepared, "train", 40)
    count = 6000
    draws = [data.draw(0, index) for index in range(count)]
    drawn = Counter(entry.id for entry, _ in draws)
    frames = sum(entry.frames for entry in data.entries)
    for entry in data.entries:
        assert drawn[entry.id] / count == pytest.approx(entry.frames / frames, rel=0.2)
        starts = [start for one, start in draws if one == entry]
        assert min(starts) < 20
        assert max(starts) > entry.frames - 60
        assert max(starts) <= entry.frames - 40


def test_pickled_and_in_loader_processes(prepared):
    data = SegmentDataset(prepared, "train", 40, seed=3)
    data.set_epoch(2)
    copy = pickle.loads(pickle.dumps(data))  # noqa: S301 - our own bytes
    assert same(copy[7], data[7])
    batches = list(DataLoader(data, batch_size=4, num_workers=1))
    items = [data[index] for index in range(4)]
    assert list(batches[0]["id"]) == [item["id"] for item in items]
    assert torch.equal(batches[0]["wav"], torch.stack([item["wav"] for item in items]))
    assert torch.equal(batches[0]["mel"], torch.stack([item["mel"] for item in items]))


def test_short_utterances_are_left_out_not_padded(prepared, caplog):
    frames = sorted(entry.frames for entry in prepared.entries("train"))
    with caplog.at_level(logging.WARNING):
        data = SegmentDataset(prepared, "train", frames[2])
    assert data.left_out == 2
    assert "2 of 6 utterances in the split train" in caplog.text
    assert min(entry.frames for entry in data.entries) == frames[2]
    assert SegmentDataset(prepared, "train", frames[-1]).draw(0, 0)[1] == 0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda prepared: SegmentDataset(prepared, "train", 10_000), "segment_frames = 10000 frames, the longest has"),
        (lambda prepared: SegmentDataset(prepared, "train", 0), "segment_frames is 0"),
        (lambda prepared: prepared.entries("dev"), "no split called 'dev'"),
        (lambda prepared: prepared.load_segment(prepared.entries()[0], 480, 40), "frames 480 to 520"),
        (lambda prepared: PreparedCorpus(prepared.directory / "wav"), "holds no prepared corpus"),
    ],
)
def test_errors(prepared, make, words):
    with pytest.raises(CorpusError, match=words):
        make(prepared)


def test_files_that_are_gone_or_damaged(tmp_path):
    prepare(get_corpus("sample"), tmp_path, CONTRACT)
    prepared = PreparedCorpus(tmp_path)
    first, second = prepared.entries()[:2]
    (tmp_path / "wav" / f"{first.id}.wav").unlink()
    mel = tmp_path / "mel" / f"{second.id}.safetensors"
    mel.write_bytes(mel.read_bytes()[:1000])
    for read in (
        lambda: prepared.load(first),
        *(lambda one=one: prepared.load_segment(one, 0, 9) for one in (first, second)),
    ):
        with pytest.raises(CorpusError, match=r"gone or damaged.*prepare the corpus again"):
            read()
