"""Mel files: round trips, and every way in which one can be wrong."""

import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from audioflow.audio import PRESETS, load_mel, save_mel
from audioflow.errors import MelError, OutputError

CONTRACT = PRESETS["speech-16k"]
SUFFIXES = pytest.mark.parametrize("suffix", [".npz", ".safetensors"])


def some_mel(bands=80, frames=7):
    return torch.randn(bands, frames, generator=torch.Generator().manual_seed(0))


@SUFFIXES
def test_round_trip(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    save_mel(path, some_mel(), CONTRACT)
    for given in (None, CONTRACT):
        mel, contract = load_mel(path, given)
        assert torch.equal(mel, some_mel())
        assert contract == CONTRACT
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@SUFFIXES
def test_existing_files_stay_unless_overwriting_is_allowed(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    save_mel(path, some_mel(), CONTRACT)
    with pytest.raises(OutputError, match="there already"):
        save_mel(path, 2 * some_mel(), CONTRACT)
    assert torch.equal(load_mel(path)[0], some_mel())
    save_mel(path, 2 * some_mel(), CONTRACT, overwrite=True)
    assert torch.equal(load_mel(path)[0], 2 * some_mel())


def test_slices_and_gradients_can_be_saved(tmp_path):
    mel = some_mel(frames=20).requires_grad_()
    save_mel(tmp_path / "a.safetensors", mel[:, 3:9], CONTRACT)
    assert torch.equal(load_mel(tmp_path / "a.safetensors")[0], mel[:, 3:9].detach())


@SUFFIXES
def test_another_contract_is_refused_with_the_fields_that_differ(tmp_path, suffix):
    save_mel(tmp_path / f"a{suffix}", some_mel(), CONTRACT)
    with pytest.raises(MelError) as error:
        load_mel(tmp_path / f"a{suffix}", PRESETS["nvidia-16k"])
    assert "n_fft 1024 instead of 800" in str(error.value)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_bare_arrays_need_a_contract(tmp_path, dtype):
    path = tmp_path / "a.npy"
    np.save(path, some_mel().numpy().astype(dtype))
    with pytest.raises(MelError, match="--mel PRESET"):
        load_mel(path)
    mel, contract = load_mel(path, CONTRACT)
    assert contract == CONTRACT
    torch.testing.assert_close(mel, some_mel(), atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    ("mel", "words"),
    [
        (some_mel(81), "81 mel bands"),
        (some_mel().T, "transposed"),
        (some_mel()[None], "[1, 80, 7]"),
        (some_mel(frames=0), "no frames"),
        (torch.full((80, 2), float("nan")), "160 NaN"),
        (torch.full((80, 2), float("-inf")), "160 NaN or infinite"),
    ],
)
def test_unfit_spectrograms_are_neither_written_nor_read(tmp_path, mel, words):
    with pytest.raises(MelError) as error:
        save_mel(tmp_path / "a.npz", mel, CONTRACT)
    assert words in str(error.value)
    assert list(tmp_path.iterdir()) == []
    np.save(tmp_path / "b.npy", mel.numpy())
    with pytest.raises(MelError) as error:
        load_mel(tmp_path / "b.npy", CONTRACT)
    assert words in str(error.value)
    assert str(tmp_path / "b.npy") in str(error.value)


def test_complex_and_integer_arrays_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((80, 3), dtype=np.int16))
    with pytest.raises(MelError, match="int16"):
        load_mel(tmp_path / "a.npy", CONTRACT)


@pytest.mark.parametrize("name", ["a.npy", "a.txt", "a"])
def test_formats_without_room_for_a_contract_are_not_written(tmp_path, name):
    with pytest.raises(OutputError, match="cannot carry"):
        save_mel(tmp_path / name, some_mel(), CONTRACT)


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("form", ["object array", "plain pickle", "pickled contract"])
def test_pickles_are_refused_and_never_run(tmp_path, suffix, form):
    path, trace = tmp_path / f"a{suffix}", tmp_path / "executed"
    bomb = np.array([Bomb(trace)], dtype=object)
    if form == "plain pickle":
        path.write_bytes(pickle.dumps(Bomb(trace)))
    elif suffix == ".npy":
        np.save(path, bomb, allow_pickle=True)
    elif form == "object array":
        np.savez(path, mel=bomb)
    else:
        np.savez(path, mel=some_mel().numpy(), mel_contract=bomb)
    with pytest.raises(MelError, match="pickled"):
        load_mel(path, CONTRACT)
    assert not trace.exists()
    pickle.loads(pickle.dumps(bomb))  # noqa: S301
    assert trace.exists()  # so the bomb was live


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
@pytest.mark.parametrize("keep", [0, 5, 60, 0.5, 0.95])
def test_truncated_files_are_refused(tmp_path, suffix, keep):
    whole = tmp_path / f"whole{suffix}"
    np.save(whole, some_mel().numpy()) if suffix == ".npy" else save_mel(whole, some_mel(), CONTRACT)
    data = whole.read_bytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(data[: keep if isinstance(keep, int) else int(keep * len(data))])
    with pytest.raises(MelError) as error:
        load_mel(path, CONTRACT)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
def test_junk_and_other_formats_are_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"RIFF" + bytes(range(256)) * 8)
    with pytest.raises(MelError, match=r"damaged|pickled"):
        load_mel(path, CONTRACT)


@pytest.mark.parametrize("text", ["{", "[]", '{"sample_rate": 16000}', '{"sample_rate": 16000, "evil": 1}'])
@SUFFIXES
def test_a_contract_that_cannot_be_understood_is_refused(tmp_path, suffix, text):
    path = tmp_path / f"a{suffix}"
    if suffix == ".npz":
        np.savez(path, mel=some_mel().numpy(), mel_contract=np.array(text))
    else:
        save_file({"mel": some_mel()}, path, metadata={"mel_contract": text})
    with pytest.raises(MelError, match="cannot be understood"):
        load_mel(path)


@SUFFIXES
def test_archives_without_mel_or_contract(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"

    def write(name):
        if suffix == ".npz":
            np.savez(path, **{name: some_mel().numpy()})
        else:
            save_file({name: some_mel()}, path)

    write("spectrogram")
    with pytest.raises(MelError, match="no array named 'mel'"):
        load_mel(path, CONTRACT)
    write("mel")
    with pytest.raises(MelError, match="--mel PRESET"):
        load_mel(path)
    assert load_mel(path, CONTRACT)[1] == CONTRACT


def test_missing_files_directories_and_other_suffixes(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"x")
    for path, words in [
        (tmp_path / "none.npz", "does not exist"),
        (tmp_path, "is a directory"),
        (tmp_path / "a.pt", ".npy"),
    ]:
        with pytest.raises(MelError, match=words):
            load_mel(path)
