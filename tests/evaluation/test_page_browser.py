"""The report in a real browser: it complains of nothing, asks the network for nothing, and every player plays.

Where the environment variable AUDIOFLOW_SCREENSHOT names a file, the picture of the page is kept there.
"""

import base64
import os
import shutil
from pathlib import Path

import pytest
from browser import Browser

from audioflow.evaluation.comparison import compare
from audioflow.evaluation.page import write_page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium in PATH (Debian: apt-get install chromium)")

PLAYERS = """
Promise.all([...document.querySelectorAll("audio")].map(async audio => {
  if (audio.readyState < 2)
    await new Promise((done, fail) => { audio.onloadeddata = done; audio.onerror = fail; });
  await audio.play();
  const began = audio.currentTime;
  for (let waited = 0; audio.currentTime <= began && !audio.ended && waited < 10000; waited += 20)
    await new Promise(done => setTimeout(done, 20));
  const moved = audio.currentTime > began || audio.ended;
  audio.pause();
  return {ready: audio.readyState, seconds: audio.duration, moved, error: audio.error && audio.error.message};
}))
"""
PICTURES = """
[...document.querySelectorAll("img")].map(img => [img.complete, img.naturalWidth, img.getBoundingClientRect().width])
"""


@pytest.fixture(scope="module")
def comparison(speech, toy_class):
    return compare({"toy": toy_class()}, {"first": speech, "second": speech[:8000]}, stretch_seconds=0.1, runs=1)


@pytest.fixture(scope="module")
def browser(comparison, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    page = write_page(folder / "page.html", comparison, command="audioflow compare toy", speech="A licence line.")
    with Browser(CHROMIUM, folder / "profile") as browser:
        browser.send("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
        browser.open(page.as_uri())
        yield browser


def test_every_player_plays(browser, comparison):
    players = browser.evaluate(PLAYERS)
    lengths = [wav.shape[0] / 16_000 for name in comparison.inputs for wav in sounds_of(comparison, name)]
    assert len(players) == len(lengths) == 19  # ten rows, of which the stretch has one input only
    for player, seconds in zip(players, lengths, strict=True):
        assert player["error"] is None
        assert player["ready"] >= 2
        assert player["moved"]
        assert player["seconds"] == pytest.approx(seconds, abs=0.01)


def sounds_of(comparison, name):
    return [row.audio[name] for row in comparison.rows if name in row.audio]


def test_every_picture_shows(browser):
    pictures = browser.evaluate(PICTURES)
    assert len(pictures) == 1 + 38  # the plot, and two for each sound
    assert all(complete and width > 100 and shown > 100 for complete, width, shown in pictures)


def test_nothing_is_complained_of_or_fetched(browser):
    assert browser.complaints() == []
    assert [address for address in browser.requests() if not address.startswith(("file:", "data:"))] == []


def test_complaints_would_be_heard(browser):
    """What the test above relies on: an error on the console and one thrown are both seen."""
    heard = len(browser.events)
    browser.evaluate("console.error('wrong'); setTimeout(() => { throw new Error('thrown') }, 0); null")
    browser.evaluate("new Promise(done => setTimeout(done, 50))")
    assert len(browser.complaints()) >= 2
    del browser.events[heard:]


@pytest.mark.parametrize("width", [1280, 420])
def test_it_fits_the_window_and_is_pictured(browser, tmp_path, width):
    browser.send("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    shot = base64.b64decode(browser.send("Page.captureScreenshot", captureBeyondViewport=True)["data"])
    target = Path(os.environ.get("AUDIOFLOW_SCREENSHOT", tmp_path / "page.png"))
    if width == 1280:
        target.write_bytes(shot)
    assert shot.startswith(b"\x89PNG")
    assert len(shot) > 50_000
