"""PESQ, STOI, pitch and voicing of noisy speech, DistillMOS, and what is said where a package is missing."""

import importlib.util
import math
import sys

import pytest
import torch

from audioflow.audio import resample
from audioflow.errors import OptionError
from audioflow.evaluation import hearing as module
from audioflow.evaluation import opinion
from audioflow.evaluation.hearing import hearing
from audioflow.evaluation.pitch import contour


def test_more_noise_is_worse_in_all_of_them(speech):
    reference = speech[: 2 * 16_000]
    noise = torch.randn(reference.shape, generator=torch.Generator().manual_seed(0))
    same, little, much = (hearing(reference, reference + level * noise, 16_000) for level in (0.0, 0.003, 0.05))
    assert same["pesq"] == pytest.approx(4.644, abs=0.01)
    assert (same["f0_cents"], same["voicing_error"]) == (0, 0)
    assert same["pesq"] > little["pesq"] > much["pesq"]
    assert same["stoi"] > little["stoi"] > much["stoi"]
    assert same["voicing_error"] < much["voicing_error"]


def test_other_rates_are_resampled(speech):
    wav = resample(speech[None, :32_000], 16_000, 22_050)[0]
    assert hearing(wav, wav, 22_050)["pesq"] == pytest.approx(4.644, abs=0.01)


def test_silence_has_no_pesq(speech):
    found = hearing(speech[:16_000], torch.zeros(16_000), 16_000)
    assert math.isnan(found["pesq"])


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A package of DistillMOS's name that gives the length of what it hears."""
    lines = (
        "import torch",
        "class ConvTransformerSQAModel(torch.nn.Module):",
        "    def __init__(self):",
        "        super().__init__()",
        "        print('weights loaded')",
        "    def forward(self, wav):",
        "        assert not self.training and wav.dtype == torch.float32",
        "        return torch.tensor([float(wav.shape[1])])",
    )
    (tmp_path / "distillmos.py").write_text("\n".join(lines))
    (tmp_path / "xls_r_sqa.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "distillmos", raising=False)
    opinion._distillmos.cache_clear()
    yield
    sys.modules.pop("distillmos", None)
    opinion._distillmos.cache_clear()


def test_distillmos_is_heard_at_16_khz_where_it_is_installed(stand_in, speech, capsys):
    assert hearing(speech[:16_000], speech[:16_000], 16_000)["distillmos"] == 16_000
    wav = resample(speech[None, :16_000], 16_000, 22_050)[0]
    assert hearing(wav, wav, 22_050)["distillmos"] == pytest.approx(16_000, abs=2)
    assert capsys.readouterr().out == ""  # figures may be printed there as JSON


def test_distillmos_is_left_out_where_it_is_not(monkeypatch, speech):
    whole = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "distillmos" else whole(name))
    left = {"pesq", "stoi", "dnsmos", "mcd_db", "f0_cents", "voicing_error"}
    assert set(hearing(speech[:16_000], speech[:16_000], 16_000)) == left


def test_a_missing_package_is_named(monkeypatch, speech):
    whole = importlib.util.find_spec
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None if name == "pesq" else whole(name))
    with pytest.raises(OptionError, match=r"pesq must be installed for this: pip install"):
        hearing(speech[:16_000], speech[:16_000], 16_000)


def test_dnsmos_is_that_of_its_package(speech):
    package = pytest.importorskip("speechmos.dnsmos")
    wanted = package.run(speech.numpy(), 16_000)["ovrl_mos"]
    assert hearing(speech, speech, 16_000)["dnsmos"] == pytest.approx(wanted, abs=1e-4)
    noise = 0.02 * torch.randn(speech.shape, generator=torch.Generator().manual_seed(0))
    assert hearing(speech, speech + noise, 16_000)["dnsmos"] < wanted


def test_a_known_contour_is_not_looked_for_again(speech):
    wanted = contour(speech, 16_000)
    found = hearing(speech, speech, 16_000, wanted + 50)
    assert found["f0_cents"] > 100
