"""``audioflow evaluate``: models judged on held-out speech."""

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

from audioflow.cli.options import SEED, FiniteRange, device_option, json_option, speaker_option, verbose_option

if TYPE_CHECKING:
    from audioflow.devices import DeviceName
    from audioflow.evaluation.contenders import Temperature
    from audioflow.jobs.evaluation import HeldOutSplit, Protocol

EPILOG = """\b
Examples:
  audioflow evaluate runs/voice --on prepared/festvox-ru
  audioflow evaluate runs/a runs/b --on prepared/festvox-ru --split valid --temperature 1,0.7 --match-mel 0,8
  audioflow evaluate runs/voice --on prepared/festvox-ru --no-sound
"""


class Pair(click.ParamType[Any]):
    """A number, or two with a slash between them."""

    name = "number"

    def __init__(self, each: click.ParamType[Any]) -> None:
        self.each = each

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        """Convert one number to itself and two to a pair."""
        parts = [self.each.convert(part, param, ctx) for part in str(value).split("/")]
        if len(parts) > 2:
            self.fail(f"{value} is more than two numbers.", param, ctx)
        return parts[0] if len(parts) == 1 else tuple(parts)


class Listed(click.ParamType[Any]):
    """Values with commas between them, each of one type."""

    name = "list"

    def __init__(self, each: click.ParamType[Any], words: tuple[str, ...] = ()) -> None:
        self.each, self.words = each, words

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[object, ...]:
        """Convert them one by one; a word that stands for itself becomes None."""
        if not isinstance(value, str):
            return value  # type: ignore[return-value]
        parts = [part.strip() for part in value.split(",")]
        return tuple(None if part in self.words else self.each.convert(part, param, ctx) for part in parts)


@click.command(epilog=EPILOG)
@click.argument("checkpoints", nargs=-1, type=click.Path(path_type=Path), metavar="[CHECKPOINT]...")
@click.option(
    "--on", "prepared", required=True, type=click.Path(path_type=Path), help="Directory of audioflow prepare."
)
@click.option(
    "--split", type=click.Choice(["test", "valid"]), default="test", show_default=True, help="Held-out speech."
)
@click.option("--seconds", type=FiniteRange(min=0.3), help="Length that is used of each utterance.")
@click.option("--limit", type=click.IntRange(min=1), help="Utterances, in the order of their ids.")
@click.option(
    "--engines", default="auto", show_default=True, metavar="auto|all|NAME,...", help="That each model is run by."
)
@click.option(
    "--temperature",
    "temperatures",
    type=Listed(Pair(FiniteRange(min=0))),
    default="1",
    show_default=True,
    metavar="NUMBER,...",
    help="How much of the noise is used; a row for each. Of 1/0.5 the second is for speech that is periodic.",
)
@click.option(
    "--match-mel",
    type=Listed(click.IntRange(min=0, max=1000), ("recommended",)),
    default="recommended",
    show_default=True,
    metavar="ROUNDS,...",
    help="Rounds of mel matching; a row for each. What is recommended is 8 with a front, and 0 without.",
)
@click.option(
    "--baselines/--no-baselines", default=True, show_default=True, help="Recording, Griffin-Lim and the like."
)
@click.option("--likelihood/--no-likelihood", default=True, show_default=True, help="Whether recordings are scored.")
@click.option("--sound/--no-sound", default=True, show_default=True, help="Whether audio is made and judged.")
@click.option(
    "--protocol",
    type=click.Choice(["audioflow", "nanoflow"]),
    default="audioflow",
    show_default=True,
    help="nanoflow: the first tenth of the corpus, whole clips, no dequantisation noise.",
)
@click.option(
    "--recognizer",
    type=click.Path(path_type=Path),
    help="Directory of a Whisper model of CTranslate2, for error rates.",
)
@click.option("--language", help="Of the speech, for the recognizer, such as ru; it guesses where none is named.")
@click.option(
    "--without",
    type=Listed(click.Choice(["distillmos", "dnsmos"])),
    default=(),
    metavar="NAME,...",
    help="Opinion scores to leave out: distillmos, dnsmos, which take longest.",
)
@click.option("--page", type=click.Path(path_type=Path), help="HTML page with tables, distributions and players.")
@click.option(
    "--heard", type=click.IntRange(min=0), default=3, show_default=True, help="Utterances to hear on the page."
)
@click.option(
    "--export", type=click.Choice(["versa"]), help="Also write the audio as another project takes it, to --out."
)
@click.option("--out", type=click.Path(path_type=Path), help="New directory for --export.")
@click.option(
    "--cache", type=click.Path(path_type=Path), help="Where audio and figures are kept; else the user's cache."
)
@click.option("--keep/--no-keep", default=True, show_default=True, help="Whether they are kept for the next time.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes that judge.")
@click.option("--overwrite", is_flag=True, help="Replace a page that is there already.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the noise.")
@speaker_option
@device_option
@json_option
@verbose_option
def evaluate(
    *,
    checkpoints: tuple[Path, ...],
    prepared: Path,
    split: "HeldOutSplit",
    seconds: float | None,
    limit: int | None,
    engines: str,
    temperatures: "tuple[Temperature, ...]",
    match_mel: tuple[int | None, ...],
    baselines: bool,
    likelihood: bool,
    sound: bool,
    protocol: "Protocol",
    recognizer: Path | None,
    language: str | None,
    without: tuple[str, ...],
    page: Path | None,
    heard: int,
    export: str | None,
    out: Path | None,
    cache: Path | None,
    keep: bool,
    workers: int,
    overwrite: bool,
    seed: int,
    speaker: int | None,
    device: "DeviceName",
    as_json: bool,
) -> None:
    """Judge each CHECKPOINT on the held-out speech of a prepared corpus, beside baselines.

    Prints means over utterances with 95 % intervals: exact likelihood; PESQ, ESTOI, opinion scores, spectral and
    cepstral distances, pitch and voicing of what it makes of their mels; and differences from the first model. Needs
    audioflow[evaluate]. Audio and figures are kept, so that the next time only what is new is made.
    """
    from audioflow.devices import pick_device  # noqa: PLC0415 - torch is slow to import, and --help shall be quick
    from audioflow.evaluation.contenders import Settings  # noqa: PLC0415
    from audioflow.evaluation.evaluation import Plan  # noqa: PLC0415
    from audioflow.evaluation.recognition import Recognizer  # noqa: PLC0415
    from audioflow.files import check_output, keep_apart  # noqa: PLC0415
    from audioflow.jobs.evaluation import Selection, evaluate_checkpoints  # noqa: PLC0415

    if (export is None) != (out is None):
        raise click.UsageError("--export and --out belong together.")
    if not (likelihood or sound):
        raise click.UsageError("With --no-likelihood and --no-sound there is nothing to find out.")
    if page is not None:
        keep_apart(page, [*checkpoints, prepared])
        check_output(page, overwrite=overwrite)
    plan = Plan(
        engines=engines if engines in ("auto", "all") else engines.split(","),
        settings=Settings(temperatures, match_mel, speaker, seed),
        baselines=baselines,
        scored=likelihood,
        sounded=sound,
        recognizer=None if recognizer is None else Recognizer(recognizer, language),
        without=without,
        workers=workers,
    )
    with steps_bar() as progress:
        found = evaluate_checkpoints(
            checkpoints,
            prepared,
            Selection(split, seconds, limit, protocol),
            plan,
            device=pick_device(device),
            cache=cache,
            keep=keep,
            progress=progress,
        )
    click.echo(found.to_json() if as_json else found.table())
    if page is not None:
        from audioflow.evaluation.evaluation_page import write_evaluation_page  # noqa: PLC0415 - draws

        command = shlex.join(["audioflow", *sys.argv[1:]])
        write_evaluation_page(page, found, heard=heard, command=command, overwrite=overwrite)
        click.echo(f"Page: {page}", err=as_json)
    if out is not None:
        from audioflow.evaluation.versa import export as write_versa  # noqa: PLC0415

        for command in write_versa(out, found):
            click.echo(command, err=as_json)


@contextmanager
def steps_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar over steps, on a terminal only; gives the function that says what is done next."""
    with tqdm(disable=None, leave=False, unit="step") as bar:

        def show(what: str, done: int, total: int) -> None:
            bar.total, bar.n = total, done
            bar.set_description(what)

        yield show
