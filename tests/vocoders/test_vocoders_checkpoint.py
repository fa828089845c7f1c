"""Checkpoint files: what goes in comes out; what is not one is refused in a sentence; nothing is half written."""

import json
import pickle
import struct
from pathlib import Path

import pytest
import torch
from laws.models import VOCODERS, make_vocoder
from safetensors.torch import load_file, save_file

from audioflow.errors import CheckpointError, OutputError
from audioflow.vocoders import checkpoint, load, locate, read_header

KINDS = ["wavenet-gaussian-kernel-2", "wavenet-mu_law-kernel-3-speakers", "glow", "glow-speakers"]


def small(name="glow"):
    return make_vocoder(name).float()


def material(vocoder):
    generator = torch.Generator().manual_seed(0)
    mel = torch.randn(2, 3, 4, generator=generator)
    return 0.1 * torch.randn(2, 4 * vocoder.contract.hop_length, generator=generator), mel


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.safetensors"
    small().save(path, {"corpus": "sample", "steps": 3})
    return path


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("folded_before", [False, True])
@pytest.mark.parametrize("fold", [False, True])
def test_what_was_saved_comes_back(name, folded_before, fold, tmp_path):
    vocoder = small(name)
    if folded_before:
        vocoder.fold_weight_norm()
    vocoder.save(tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors", fold=fold)
    wav, mel = material(vocoder)
    torch.testing.assert_close(again.log_prob(wav, mel), vocoder.log_prob(wav, mel))
    torch.testing.assert_close(again.synthesize(mel), vocoder.synthesize(mel), atol=1e-5, rtol=1e-4)
    assert again.contract == vocoder.contract
    assert again.config == vocoder.config
    assert not again.training
    assert any("parametrizations" in key for key in again.state_dict()) == (not fold and not folded_before)


@pytest.mark.parametrize("name", VOCODERS)
def test_the_header_tells_all_without_the_weights(name, tmp_path):
    vocoder = small(name)
    vocoder.fold_weight_norm()
    vocoder.save(tmp_path / "m.safetensors", {"steps": 3})
    header = read_header(tmp_path / "m.safetensors")
    assert header.vocoder == vocoder.name
    assert header.config == vocoder.config
    assert header.contract == vocoder.contract
    assert header.provenance == {"steps": 3}
    assert header.folded
    assert header.parameters >= sum(parameter.numel() for parameter in vocoder.parameters())


def test_a_run_directory_stands_for_its_best_weights(tmp_path, saved):
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        load(run)
    (run / "last.safetensors").write_bytes(saved.read_bytes())
    assert locate(run).name == "last.safetensors"
    (run / "best.safetensors").write_bytes(saved.read_bytes())
    assert read_header(run).path.name == "best.safetensors"


class Malicious:
    """Unpickling it makes a file."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def with_metadata(path, **changes):
    """The same weights under another header; a value of ``None`` takes a field away."""
    header = read_raw_header(path)["__metadata__"] | changes
    save_file(load_file(path), path, {key: value for key, value in header.items() if value is not None})


def read_raw_header(path):
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + size])


def change_config(path, **changes):
    config = json.loads(read_raw_header(path)["__metadata__"]["config"])
    with_metadata(path, config=json.dumps({**config, **changes}))


def spoil_header(path):
    data = bytearray(path.read_bytes())
    data[8:20] = b"{{{{{{{{{{{{"
    path.write_bytes(data)


DAMAGES = {
    "missing": (lambda path: path.unlink(), "does not exist"),
    "empty": (lambda path: path.write_bytes(b""), "not a whole safetensors file"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-100]), "not a whole safetensors file"),
    "only-a-header": (lambda path: path.write_bytes(path.read_bytes()[:20]), "not a whole safetensors file"),
    "text": (lambda path: path.write_text("these are no weights\n" * 9), "not a whole safetensors file"),
    "torch-pickle": (lambda path: torch.save({"a": torch.ones(2)}, path), "pickled checkpoints are not read"),
    "spoilt-header": (spoil_header, "not a whole safetensors file"),
    "foreign": (lambda path: save_file({"w": torch.ones(3)}, path), "another program"),
    "newer-format": (lambda path: with_metadata(path, version="9"), "format version 9"),
    "broken-config": (lambda path: with_metadata(path, config="{not json"), "damaged header"),
    "config-of-another-kind": (lambda path: with_metadata(path, config="[1, 2]"), "damaged header"),
    "no-config": (lambda path: with_metadata(path, config=None), "damaged header"),
    "broken-contract": (lambda path: with_metadata(path, mel='{"n_mels": -1}'), "damaged header"),
    "unknown-vocoder": (lambda path: with_metadata(path, vocoder="wavenext"), "cannot be built"),
    "unknown-setting": (lambda path: change_config(path, chanels=3), "chanels"),
    "setting-out-of-range": (lambda path: change_config(path, flows=-1), "glow.flows"),
    "weights-of-another-shape": (lambda path: change_config(path, channels=5), "do not fit its own config"),
    "weights-missing": (lambda path: change_config(path, layers=3), "do not fit its own config"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_checkpoint_is_refused_in_a_sentence(damage, saved):
    spoil, words = DAMAGES[damage]
    spoil(saved)
    with pytest.raises(CheckpointError) as caught:
        load(saved)
    assert words in str(caught.value)
    assert str(saved) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nothing_in_a_file_is_executed(tmp_path):
    target = tmp_path / "executed"
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Malicious(target)))
    with pytest.raises(CheckpointError, match="pickled checkpoints are not read"):
        load(path)
    assert not target.exists()
    pickle.loads(path.read_bytes())  # noqa: S301  (the trap does work)
    assert target.exists()


@pytest.mark.parametrize("moment", ["while writing", "while renaming"])
def test_a_failed_save_leaves_the_old_file_whole(moment, saved, monkeypatch):
    before = saved.read_bytes()

    def half_written(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    def not_renamed(self, target):
        raise OSError(13, "Permission denied")

    if moment == "while writing":
        monkeypatch.setattr(checkpoint, "save_file", half_written)
    else:
        monkeypatch.setattr(Path, "replace", not_renamed)
    with pytest.raises(OutputError, match="cannot be written"):
        small().save(saved)
    monkeypatch.undo()
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_checkpoint_cannot_be_a_directory(tmp_path):
    with pytest.raises(OutputError, match="is a directory"):
        small().save(tmp_path)
