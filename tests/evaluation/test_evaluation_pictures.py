import io
import math
import subprocess
import sys

import matplotlib.image
import pytest
import torch

from audioflow.evaluation.pictures import (
    compare_figure,
    decibels,
    figure_png,
    highest_peak,
    loudest_decibels,
    spectrogram_figure,
)


@pytest.fixture
def tone():
    """Half a second of 2 kHz at half of full scale."""
    return 0.5 * torch.sin(2 * math.pi * 2000 * torch.arange(8000) / 16_000)


def test_a_tone_is_a_line_at_its_frequency_and_level(tone):
    picture = decibels(tone, 16_000)[:, 20:-20]
    bins = picture.argmax(dim=0)
    assert (bins == round(2000 * 512 / 16_000)).all()
    # A sinusoid of amplitude A stands at A / 2 in its bin.
    assert picture.max() == pytest.approx(20 * math.log10(0.25), abs=0.05)


@pytest.mark.parametrize("figure_of", [spectrogram_figure, compare_figure])
def test_all_rows_have_one_scale(figure_of, tone):
    figure = figure_of({"loud": tone, "soft": tone / 10, "short": tone[:800]}, 16_000)
    images = [axes.images[0] for axes in figure.axes if axes.images]
    assert len(images) == 3
    assert len({image.get_clim() for image in images}) == 1
    assert images[0].get_clim()[1] == pytest.approx(loudest_decibels([tone], 16_000))
    waves = [axes for axes in figure.axes if not axes.images]
    assert {axes.get_ylim() for axes in waves} <= {(-highest_peak([tone]), highest_peak([tone]))}


def test_png_shows_the_rows(tone):
    figures = [spectrogram_figure(dict.fromkeys(names, tone), 16_000) for names in ("a", "ab")]
    one, two = (matplotlib.image.imread(io.BytesIO(figure_png(figure))) for figure in figures)
    assert two.shape[0] > 1.5 * one.shape[0]
    assert two.shape[1] == one.shape[1]


def test_silence_and_single_samples_can_be_drawn():
    for wav in (torch.zeros(1600), torch.zeros(1), torch.tensor([0.5])):
        assert figure_png(compare_figure({"it": wav}, 16_000)).startswith(b"\x89PNG")


def test_pyplot_is_left_alone():
    script = "import sys, audioflow.evaluation.page; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
