"""Reading what torch.save wrote: nothing runs, and what cannot be read is refused in a sentence."""

import io
import pickle
import random
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from audioflow.errors import CheckpointError
from audioflow.imports import read_checkpoint
from audioflow.imports.pickle_machine import Made, PickleError, PickleMachine


class Net(nn.Module):
    """A module that only this file knows, with all that a state dict can hold."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv1d(2, 3, 1), nn.BatchNorm1d(3)])
        self.register_buffer("table", torch.arange(6).reshape(2, 3).t())
        self.unused = None
        self.settings = {"names": {"a", "b"}, "sizes": (1, 2.5, b"x"), "kind": Net}


class Malicious:
    """Unpickling it makes a file."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


FORMATS = {"zip": True, "legacy": False}


def save(thing, path, how="zip"):
    torch.save(thing, path, _use_new_zipfile_serialization=FORMATS[how])
    return path


@pytest.mark.parametrize("how", FORMATS)
@pytest.mark.parametrize("wrap", [lambda net: net, lambda net: {"model": net, "step": 3}, lambda net: net.state_dict()])
def test_a_module_and_its_state_dict_give_the_same(wrap, how, tmp_path):
    net = Net().double()
    read = read_checkpoint(save(wrap(net), tmp_path / "net.pt", how))
    assert read.weights.keys() == net.state_dict().keys()
    for name, tensor in net.state_dict().items():
        assert read.weights[name].dtype == tensor.dtype
        assert torch.equal(read.weights[name], tensor)


@pytest.mark.parametrize("how", FORMATS)
def test_the_class_is_named_but_not_needed(how, tmp_path, monkeypatch):
    path = save({"model": Net()}, tmp_path / "net.pt", how)
    monkeypatch.delattr(f"{__name__}.Net")
    read = read_checkpoint(path)
    assert read.kind == f"{__name__}.Net"
    assert len(read.weights) == 8
    if how == "legacy":
        assert "def __init__" in read.sources[read.kind]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int8, torch.int32, torch.uint8, torch.bool])
@pytest.mark.parametrize("how", FORMATS)
def test_every_kind_of_number_is_read(dtype, how, tmp_path):
    net = Net()
    net.register_buffer("numbers", torch.ones(3, 2).to(dtype))
    assert torch.equal(read_checkpoint(save(net, tmp_path / "n.pt", how)).weights["numbers"], net.numbers)


@pytest.mark.parametrize("how", FORMATS)
def test_shared_and_sliced_storages_are_read(how, tmp_path):
    net, whole = Net(), torch.arange(12.0).reshape(3, 4)
    net.register_buffer("slice", whole[1:, ::2])
    net.register_buffer("empty", torch.zeros(0, 4))
    net.layers[0].bias = nn.Parameter(whole[:, 1])
    read = read_checkpoint(save(net, tmp_path / "n.pt", how)).weights
    assert read["slice"].tolist() == [[4, 6], [8, 10]]
    assert read["layers.0.bias"].tolist() == [1, 5, 9]
    assert read["empty"].shape == (0, 4)


@pytest.mark.parametrize("how", FORMATS)
@pytest.mark.parametrize("place", ["alone", "beside", "inside"])
def test_nothing_in_a_file_is_executed(place, how, tmp_path):
    target = tmp_path / "executed"
    net = Net()
    saved = {"alone": Malicious(target), "beside": {"a": Malicious(target), "model": net}, "inside": net}[place]
    net.trap = Malicious(target) if place == "inside" else None
    path = save(saved, tmp_path / "net.pt", how)
    if place == "alone":
        with pytest.raises(CheckpointError, match="holds no model"):
            read_checkpoint(path)
    else:
        assert len(read_checkpoint(path).weights) == 8
    assert not target.exists()
    torch.load(path, weights_only=False)  # the trap does work
    assert target.exists()


def plain_pickle(path):
    path.write_bytes(pickle.dumps(Malicious(path.with_name("executed"))))


def cut(path, how):
    save(Net(), path, how)
    path.write_bytes(path.read_bytes()[:-100])


def test_a_file_of_old_torch_is_refused_wherever_it_is_cut(tmp_path):
    whole = save(Net(), tmp_path / "whole.pt", "legacy").read_bytes()
    path = tmp_path / "cut.pt"
    storages = 8 * 8 + sum(tensor.numel() * tensor.element_size() for tensor in Net().state_dict().values())
    for size in range(len(whole) - storages, len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError) as caught:
            read_checkpoint(path)
        assert "reaches beyond the end of the file" in str(caught.value), size


def compressed(path):
    save(Net(), path)
    inside = {name: zipfile.ZipFile(path).read(name) for name in zipfile.ZipFile(path).namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in inside.items():
            archive.writestr(name, data)


def rewritten(path, change, thing=None):
    """The zip file with ``change`` applied to the dict of its members."""
    save(Net() if thing is None else thing, path)
    inside = {name: zipfile.ZipFile(path).read(name) for name in zipfile.ZipFile(path).namelist()}
    change(inside)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in inside.items():
            archive.writestr(name, data)


def without(inside, part):
    for name in [name for name in inside if part in name]:
        del inside[name]


def shorter(inside):
    name = next(name for name in inside if name.endswith("data/0"))
    inside[name] = inside[name][:-4]


def set_byteorder(inside):
    inside[next(name for name in inside if name.endswith("byteorder"))] = b"big"


def with_nan(how):
    net = Net()
    net.layers[0].weight.data[1, 1] = torch.nan
    return lambda path: save(net if how == "module" else net.state_dict(), path)


BAD = {
    "missing": (lambda path: None, "does not exist"),
    "directory": (lambda path: path.mkdir(), "is a directory"),
    "empty": (lambda path: path.touch(), "is empty (0 bytes)"),
    "text": (lambda path: path.write_text("weights of gold"), "is not a file that torch.save wrote"),
    "safetensors": (lambda path: save_file({"w": torch.ones(2)}, path), "is not a file that torch.save wrote"),
    "plain-pickle": (plain_pickle, "is not a file that torch.save wrote"),
    "truncated-zip": (lambda path: cut(path, "zip"), "is truncated"),
    "truncated-legacy": (lambda path: cut(path, "legacy"), "reaches beyond the end of the file"),
    "only-a-start": (lambda path: path.write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."), "cannot be read"),
    "compressed": (compressed, "is a compressed zip file"),
    "other-zip": (lambda path: zipfile.ZipFile(path, "w").writestr("a/b.txt", "text"), "holds no data.pkl"),
    "no-storage": (lambda path: rewritten(path, lambda inside: without(inside, "/data/0")), "data/0"),
    "short-storage": (lambda path: rewritten(path, shorter), "but more are needed"),
    "big-endian": (lambda path: rewritten(path, set_byteorder), "big-endian"),
    "compiled": (lambda path: torch.jit.script(nn.Linear(2, 2)).save(path), "TorchScript"),
    "nan-in-module": (with_nan("module"), "layers.0.weight holds NaN or infinite values"),
    "nan-in-weights": (with_nan("state dict"), "layers.0.weight holds NaN or infinite values"),
    "no-model": (
        lambda path: save({"loss": 3.0, "step": 7}, path),
        "neither weights by name nor a module, but loss, step",
    ),
    "only-a-tensor": (lambda path: save(torch.ones(3), path), "holds no model"),
    "nothing": (lambda path: save({}, path), "but nothing"),
    "circle": (lambda path: save(circle(), path), "holds no model"),
}


def circle():
    found = {"model": Net}
    found["model"] = found
    return found


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("case", BAD)
def test_what_is_no_checkpoint_is_refused_in_a_sentence(case, tmp_path):
    make, words = BAD[case]
    path = tmp_path / "model.pt"
    make(path)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "executed").exists()


class Swollen:
    """Pickled, a view that claims a terabyte of a storage of one number."""

    def __reduce__(self):
        return torch._utils._rebuild_tensor_v2, (torch.ones(1).storage(), 0, (1 << 38,), (0,), False, OrderedDict())


@pytest.mark.parametrize("how", FORMATS)
@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_a_tensor_cannot_be_larger_than_its_file(plain, how, tmp_path):
    saved = {"state_dict": {"weight": Swollen()}, "rest": None if plain else Net()}
    with pytest.raises(CheckpointError, match="does not fit into"):
        read_checkpoint(save(saved, tmp_path / "net.pt", how))


@pytest.mark.parametrize("how", FORMATS)
def test_any_damage_is_refused_or_harmless(how, tmp_path):
    """One byte of the file is changed, everywhere in turn; no other error than ours may come out."""
    path = save({"model": Net(), "trap": Malicious(tmp_path / "executed")}, tmp_path / "net.pt", how)
    whole, chance = path.read_bytes(), random.Random(0)
    for _ in range(400):
        spoilt = bytearray(whole)
        spoilt[chance.randrange(len(whole))] = chance.randrange(256)
        path.write_bytes(spoilt)
        try:
            read_checkpoint(path)
        except CheckpointError as error:
            assert "\n" not in str(error)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("protocol", range(6))
def test_the_machine_gives_what_pickle_gives(protocol):
    shared = [1]
    thing = {
        "numbers": [0, -1, 255, 70000, 2**70, -(2**40), 1.5, True, False, None],
        "texts": ["", "ä", "a" * 300, b"", b"\x00\xff"],
        "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
        "shared": [shared, shared],
        "many": list(range(2000)),
        "ordered": OrderedDict(a=1, b=2),
    }
    got = PickleMachine().run(io.BytesIO(pickle.dumps(thing, protocol)))
    plain = {key: value for key, value in got.items() if protocol > 2 or key != "texts"}
    assert plain == {key: thing[key] for key in plain}
    assert got["shared"][0] is got["shared"][1]


@pytest.mark.parametrize("protocol", range(6))
def test_the_machine_gives_a_record_of_what_it_does_not_make(protocol):
    got = PickleMachine().run(io.BytesIO(pickle.dumps([Net(), Malicious(Path("executed")), {1, 2}], protocol)))
    assert isinstance(got[0], Made)
    assert got[0].kind == f"{__name__}.Net"
    assert list(got[0].state["_modules"]) == ["layers"]
    assert isinstance(got[1], Made)
    assert not Path("executed").exists()


@pytest.mark.parametrize(
    "data", [b"", b".", b"\x80\x02", b"(.", b"R.", b"a.", b"]]R.", b"h\x05.", b"\x82\x01.", b"Pabc\n."]
)
def test_a_malformed_pickle_is_refused(data):
    with pytest.raises(PickleError):
        PickleMachine().run(io.BytesIO(data))
