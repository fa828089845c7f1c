import base64
import io
import re

import matplotlib.image
import pytest
import soundfile
import torch

from audioflow.errors import OutputError
from audioflow.evaluation.comparison import compare
from audioflow.evaluation.environment import describe_machine, processor_name
from audioflow.evaluation.page import AGREEMENT_NOTE, EXPLANATIONS, clips, render_page, wav_bytes, write_page
from audioflow.evaluation.results import COLUMNS, MATCHED_NOTE, Comparison, Row


@pytest.fixture(scope="module")
def comparison(speech):
    rows = [
        Row("recording", "-", {"first": speech, "second": speech[:4000]}),
        Row("<b>loud</b> & co", "cached", {"first": 2 * speech, "second": speech[:4000]}, parameters=1_234_567),
        Row("loud", "naive", {"first": speech[:1600]}, note="a stretch"),
    ]
    return Comparison(rows, 16_000, 0, 1.0, True, describe_machine())


@pytest.fixture(scope="module")
def page(comparison):
    return render_page(comparison, title="Speech & more", command="audioflow compare <it>", speech="Licence: <X>")


def test_every_sound_is_inside_as_16_bit_wav(page, comparison, speech):
    sounds = re.findall(r'<audio [^>]*src="data:audio/wav;base64,([^"]+)"', page)
    assert len(sounds) == 5
    wav, rate = soundfile.read(io.BytesIO(base64.b64decode(sounds[0])), dtype="float32")
    assert rate == 16_000
    assert torch.allclose(torch.from_numpy(wav), speech, atol=2**-15)


def test_each_sound_has_two_pictures_inside(page):
    pictures = re.findall(r'<img src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) == 10
    for picture in pictures:
        pixels = matplotlib.image.imread(io.BytesIO(base64.b64decode(picture)))
        assert pixels.shape[0] > 100
        assert pixels.shape[1] > 400
        assert pixels.std() > 0.05  # something is drawn


def test_nothing_outside_is_needed(page):
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page) + re.findall(r"url\(([^)]*)\)", page)
    assert addresses
    assert all(address.startswith("data:") for address in addresses)
    assert "<script" not in page
    assert "@import" not in page


def test_speed_against_quality_is_pictured_where_there_are_both(page, speech, toy):
    assert 'class="chart"' not in page
    whole = render_page(compare({"toy": toy}, {"it": speech[:4000]}, runs=1))
    (chart,) = re.findall(r'<img class="chart" src="data:image/png;base64,([^"]+)"', whole)
    pixels = matplotlib.image.imread(io.BytesIO(base64.b64decode(chart)))
    assert pixels.shape[1] > 2 * pixels.shape[0]  # two panels
    assert pixels[..., 3].std() > 0.05
    for heading in ("first sample, ms", "peak MB", "of ceiling", "rel. diff.", "nats diff."):
        assert f">{heading}</th>" in whole
    assert AGREEMENT_NOTE in whole and MATCHED_NOTE in whole
    assert "<td>parallel, matched 8</td>" in whole and "<span>parallel, matched 8</span>" in whole
    assert AGREEMENT_NOTE not in page


def test_text_is_escaped(page):
    assert "<b>loud" not in page
    assert "&lt;b&gt;loud&lt;/b&gt; &amp; co" in page
    assert "audioflow compare &lt;it&gt;" in page
    assert "Licence: &lt;X&gt;" in page
    assert "Speech &amp; more" in page


def test_figures_conditions_and_machine_are_there(page, comparison):
    assert "1,234,567" in page
    assert comparison.conditions() in page
    assert "a stretch" in page
    for name, fact in comparison.machine.items():
        assert f"<dt>{name}</dt><dd>{fact}</dd>" in page


def test_every_column_is_explained():
    assert list(EXPLANATIONS) == list(COLUMNS)


def test_pictures_of_one_utterance_share_their_scales(comparison, speech):
    """The same sound looks the same beside a louder one, and other than where it is alone."""
    first, loud, _ = clips(comparison, "first")
    assert first.waveform != loud.waveform
    assert first.spectrogram != loud.spectrogram
    same = Row("same", "-", {"first": speech})
    pair = clips(Comparison([*comparison.rows, same], 16_000, 0, 1.0, True, {}), "first")
    assert (pair[0].waveform, pair[0].spectrogram) == (pair[3].waveform, pair[3].spectrogram)
    alone = clips(Comparison([same], 16_000, 0, 1.0, True, {}), "first")
    assert alone[0].waveform != first.waveform


def test_samples_beyond_the_range_are_clipped():
    wav, _ = soundfile.read(io.BytesIO(wav_bytes(torch.tensor([2.0, -2.0, 0.5]), 8000)), dtype="int16")
    assert wav.tolist() == [32767, -32768, 16384]


def test_an_occupied_output_stays(comparison, tmp_path):
    path = tmp_path / "page.html"
    path.write_text("mine")
    with pytest.raises(OutputError, match="is there already"):
        write_page(path, comparison, overwrite=False)
    assert path.read_text() == "mine"
    assert write_page(path, comparison).read_text(encoding="utf-8").startswith("<!doctype html>")
    assert list(tmp_path.iterdir()) == [path]


def test_the_processor_has_a_name(tmp_path):
    told = tmp_path / "cpuinfo"
    told.write_text("processor\t: 0\nmodel name\t: Fast One\nprocessor\t: 1\nmodel name\t: Fast One\n")
    assert processor_name(told) == "Fast One"
    assert processor_name(tmp_path / "none") != ""
