"""The whole main job on the bundled speech: prepare, train two vocoders, synthesise, compare, write a page."""

import json
import math
from collections.abc import Callable
from pathlib import Path

from audioflow.bundle import bundled
from audioflow.devices import DeviceName, pick_device
from audioflow.errors import OptionError, OutputError
from audioflow.evaluation.results import Comparison
from audioflow.files import ensure_directory, is_leftover
from audioflow.jobs.side_by_side import compare_checkpoints
from audioflow.training import load_recipe, train

MODELS = ("wavenet", "glow")
PAGE = "index.html"


def demo(
    out: str | Path,
    *,
    minutes: float = 3.0,
    seconds: float = 4.0,
    device: DeviceName = "auto",
    command: str = "audioflow demo",
    progress_bar: bool = False,
    progress: Callable[[str], object] = lambda _: None,
) -> Comparison:
    """Train a WaveNet and a flow for a few minutes each and put all ways of sampling side by side.

    Args:
        out: directory of the runs, the prepared speech and the page ``index.html``. A demo that was stopped goes on.
        minutes: training time of each model.
        seconds: length of the held-out utterance that is synthesised.
        device: where everything runs.
        command: printed on the page.
        progress_bar: whether training shows a bar.
        progress: told what is done next.

    Raises:
        OptionError: a time is not above zero.
        DeviceError: the device is not there.
        OutputError: the directory holds something else, or cannot be written to.
    """
    if not 0 < minutes < math.inf or not 0 < seconds < math.inf:
        raise OptionError("The times of a demo must be above zero and finite.")
    where = pick_device(device)
    out = Path(out)
    _refuse_foreign(out)
    ensure_directory(out)
    for name in MODELS:
        progress(f"training {name} for {minutes:g} min")
        speech = json.dumps(str(out / "speech"))  # quoted: overrides are read as YAML
        recipe = load_recipe(recipe_path(name), [f"train.minutes={minutes}", f"data.prepared={speech}"])
        train(recipe, out / name, device, progress_bar=progress_bar)
    return compare_checkpoints(
        [out / name for name in MODELS],
        seconds=seconds,
        page=out / PAGE,
        command=command,
        device=where,
        stretch_seconds=0.05,
        progress=progress,
    )


def recipe_path(name: str) -> Path:
    """The recipe of a model for the bundled speech.

    Raises:
        OptionError: the installation lacks its recipes.
    """
    recipes = bundled("recipes", "recipes")
    if recipes is None or not (recipes / "sample" / f"{name}.yaml").is_file():
        raise OptionError("The bundled recipes are missing; install audioflow again.")
    return recipes / "sample" / f"{name}.yaml"


def _refuse_foreign(out: Path) -> None:
    """Go on in a directory of a demo, start in an empty one, touch no other."""
    known = {*MODELS, "speech"}
    if any((out / name).is_dir() for name in known):
        known.add(PAGE)  # a page without any run beside it is not ours
    found = [path for path in out.iterdir() if not is_leftover(path, [PAGE])] if out.is_dir() else []
    foreign = sorted(path.name for path in found if path.name not in known)
    if foreign:
        raise OutputError(f"{out} holds other things ({', '.join(foreign[:3])}); name an empty directory with --out.")
