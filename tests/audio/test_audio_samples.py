"""Companding, dequantisation, checks of recordings, and torchaudio's import."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audioflow.audio import (
    AudioLimits,
    check_audio,
    dequantize,
    mu_law_decode,
    mu_law_encode,
    quantize,
    read_audio,
    torchaudio,
)

SPEECH = sorted((Path(__file__).parents[2] / "data" / "speech").glob("*.flac"))


@pytest.mark.parametrize("classes", [2, 3, 16, 256, 1024, 65_536])
def test_every_class_decodes_and_encodes_to_itself(classes):
    index = torch.arange(classes)
    values = mu_law_decode(index.double(), classes)
    assert torch.equal(mu_law_encode(values, classes), index)
    assert [float(values[0]), float(values[-1])] == pytest.approx([-1, 1])
    assert values.abs().max() <= 1
    assert (values.diff() > 0).all()


@given(st.floats(-1, 1), st.sampled_from([16, 256, 1024]))
def test_companding_is_off_by_half_a_class_at_most(x, classes):
    index = mu_law_encode(torch.tensor([x], dtype=torch.float64), classes)
    borders = mu_law_decode((index + torch.tensor([-0.5, 0.5])).double().clamp(0, classes - 1), classes)
    assert borders[0] - 1e-12 <= x <= borders[1] + 1e-12


def test_companding_equals_torchaudio():
    x = torch.linspace(-1, 1, 4001)
    assert torch.equal(mu_law_encode(x), torchaudio().functional.mu_law_encoding(x, 256))
    index = torch.arange(256)
    torch.testing.assert_close(mu_law_decode(index), torchaudio().functional.mu_law_decoding(index, 256))


def test_companding_clamps_and_keeps_its_types():
    assert mu_law_encode(torch.tensor([-7.0, 7.0])).tolist() == [0, 255]
    assert mu_law_decode(torch.arange(256)).dtype == torch.float32


def test_dequantised_samples_spread_evenly_over_their_step():
    wav = quantize(torch.rand(100_000, dtype=torch.float64) * 1.9 - 0.95)
    spread = dequantize(wav, torch.Generator().manual_seed(1))
    offset = (spread - wav) * 2**15
    assert offset.min() >= -0.5
    assert offset.max() < 0.5
    assert abs(offset.mean()) < 0.005
    assert offset.var() == pytest.approx(1 / 12, rel=0.02)
    assert torch.equal(quantize(spread), wav)


def test_dequantisation_repeats_with_its_seed():
    wav = torch.zeros(2, 50)
    one, same, other = (dequantize(wav, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert not torch.equal(dequantize(wav), dequantize(wav))


def test_quantize_keeps_the_grid_and_its_ends():
    grid = torch.from_numpy(np.arange(-32768, 32768, dtype=np.int32)).float() / 32768
    assert torch.equal(quantize(grid), grid)
    assert quantize(torch.tensor([-2.0, 1.0])).tolist() == [-1.0, 1 - 2**-15]


@pytest.mark.parametrize("path", SPEECH, ids=lambda path: path.stem)
def test_the_bundled_speech_is_fit_for_use(path):
    assert check_audio(*read_audio(path)) == []


def loud(seconds=1.0):
    return 0.5 * torch.sin(torch.arange(int(16_000 * seconds)) * 0.1)


@pytest.mark.parametrize(
    ("wav", "kinds"),
    [
        (loud(), []),
        (loud(0.1), ["too-short"]),
        (torch.zeros(0), ["too-short"]),
        (torch.zeros(16_000), ["silent"]),
        (5e-4 * loud() / 0.5, ["silent"]),
        (torch.zeros(100), ["too-short", "silent"]),
        ((4 * loud()).clamp(-1, 1), ["clipped"]),
        (loud().index_fill(0, torch.tensor([3]), float("nan")), ["nan"]),
        (loud().index_fill(0, torch.tensor([3]), float("inf")), ["nan"]),
    ],
)
def test_checks_find_what_is_wrong(wav, kinds):
    found = check_audio(wav, 16_000)
    assert [problem.kind for problem in found] == kinds
    assert all(problem.detail.endswith(".") for problem in found)


def test_a_few_samples_at_full_scale_are_let_through():
    wav = loud().index_fill(0, torch.arange(16), 1.0)
    assert check_audio(wav, 16_000) == []
    assert [problem.kind for problem in check_audio(wav, 16_000, AudioLimits(clipped_share=5e-4))] == ["clipped"]


def test_torchaudio_imports_lazily_and_completely():
    code = (
        "import sys, audioflow.audio as audio\n"
        "assert 'torchaudio' not in sys.modules and 'librosa' not in sys.modules\n"
        "t = audio.torchaudio()\n"
        "assert t is audio.torchaudio() is sys.modules['torchaudio']\n"
        "t.datasets.LJSPEECH, t.transforms.MelSpectrogram, t.functional.melscale_fbanks\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


FAKE = {
    "cause": "raise OSError('Could not load this library: x.so') from OSError('libc10_cuda.so: cannot open')",
    "message": "raise OSError('libcudart.so.12: cannot open shared object file')",
    "other": "raise OSError('disk on fire')",
}


@pytest.mark.parametrize("failure", list(FAKE))
def test_only_a_missing_cuda_library_gets_a_stand_in(tmp_path, monkeypatch, failure):
    package = tmp_path / "torchaudio"
    (package / "_extension").mkdir(parents=True)
    (package / "__init__.py").write_text(
        "from . import _extension\nfrom torchaudio._extension import fail_if_no_align\n"
    )
    (package / "_extension" / "__init__.py").write_text(FAKE[failure])
    code = (
        "from audioflow.audio import torchaudio\n"
        "t = torchaudio()\n"
        "assert t._extension._IS_TORCHAUDIO_EXT_AVAILABLE is False\n"
        "assert t.fail_if_no_align(len) is len\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (failure != "other"), done.stderr
    assert ("disk on fire" in done.stderr) == (failure == "other")
