import math

import pytest
import torch

from audioflow.audio import quantize
from audioflow.evaluation.store import Record, Store

KEY = {"weights": "abc", "temperature": 0.7, "speaker": None}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store", 16_000)


def test_what_was_written_is_read_to_the_bit(store, speech):
    audio = quantize(speech)
    store.write(KEY, Record({"pesq": 2.5, "stoi": math.nan}, 0.25, audio))
    found = store.read(dict(reversed(KEY.items())), sounding=True)
    assert torch.equal(found.audio, audio)
    assert (found.figures["pesq"], found.seconds) == (2.5, 0.25) and math.isnan(found.figures["stoi"])
    assert store.read(KEY, sounding=False).audio is None


def test_another_key_has_another_record(store):
    store.write(KEY, Record({"pesq": 2.5}))
    assert store.read({**KEY, "temperature": 1.0}, sounding=False) is None
    assert math.isnan(store.read(KEY, sounding=False).seconds)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"figures": {"pesq": "x"}, "seconds": 1}', b"\xff\xfe"])
def test_a_damaged_record_counts_as_absent(store, damage, caplog):
    store.write(KEY, Record({"pesq": 2.5}))
    (path,) = store.directory.rglob("*.json")
    path.write_bytes(damage)
    assert store.read(KEY, sounding=False) is None
    assert "so it is made again" in caplog.text


@pytest.mark.parametrize("damage", ["missing", "cut", "other"])
def test_sound_that_is_damaged_is_made_again(store, speech, damage):
    store.write(KEY, Record(audio=quantize(speech)))
    (path,) = store.directory.rglob("*.flac")
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:2000])
    else:
        store.write({"other": 1}, Record(audio=quantize(speech[:100])))
        path.write_bytes(next(one for one in store.directory.rglob("*.flac") if one != path).read_bytes())
    assert store.read(KEY, sounding=True) is None
    assert store.read(KEY, sounding=False) is not None


def test_without_a_directory_nothing_is_kept(speech):
    store = Store(None, 16_000)
    store.write(KEY, Record({"pesq": 2.5}, audio=speech))
    assert store.read(KEY, sounding=False) is None
