"""``audioflow prepare``: recordings in, checked wavs and mels out."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import click
from tqdm import tqdm

from audioflow.cli.options import json_option, verbose_option
from audioflow.names import nearest

if TYPE_CHECKING:
    from audioflow.corpora import Corpus, PrepareReport

EPILOG: Final = """\b
Examples:
  audioflow prepare sample --out prepared/sample
  audioflow prepare ~/recordings --out prepared/mine --mel nvidia-22k
  audioflow prepare festvox-ru --out prepared/festvox-ru --workers 2
"""

LISTED: Final = 10
"""So many bad recordings of each kind are shown; the JSON report and corpus.json have them all."""


@click.command(epilog=EPILOG)
@click.argument("corpus")
@click.option("--out", "out_dir", required=True, type=click.Path(path_type=Path), help="Directory to prepare into.")
@click.option(
    "--mel",
    "preset",
    help="Mel preset, such as hifigan-22k; by default speech-16k for corpora at 16 kHz, else nvidia-22k.",
)
@click.option("--root", type=click.Path(path_type=Path), help="Where the recordings of the corpus lie already.")
@click.option(
    "--on-bad",
    type=click.Choice(["skip", "refuse"]),
    default="skip",
    show_default=True,
    help="Leave recordings out that are not fit for use, or refuse the corpus.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Processes; by default all CPUs if there is much to do.")
@json_option
@verbose_option
def prepare(
    *,
    corpus: str,
    out_dir: Path,
    preset: str | None,
    root: Path | None,
    on_bad: Literal["skip", "refuse"],
    workers: int | None,
    as_json: bool,
) -> None:
    """Check, resample and mix down the recordings of CORPUS and compute their mels.

    CORPUS is a directory of audio files, or one of: sample, festvox-ru, ljspeech, folder (with --root). A second run
    continues where the first stopped.
    """
    from audioflow import corpora  # noqa: PLC0415 - torch is slow to import, and --help shall be quick
    from audioflow.audio import get_contract  # noqa: PLC0415

    source = _source(corpus, root)
    chosen = preset or ("speech-16k" if source.sample_rate == 16_000 else "nvidia-22k")
    contract = get_contract(chosen)
    if preset is None and source.sample_rate is None:
        click.echo(f"No --mel given: {chosen}, so everything is resampled to {contract.sample_rate} Hz.", err=True)
    with _bar(f"prepare {source.name}", "file") as progress:
        report = corpora.prepare(source, out_dir, contract, on_bad=on_bad, workers=workers, progress=progress)
    click.echo(json.dumps(report.to_dict(), ensure_ascii=False, indent=2) if as_json else _text(report, chosen))


def _source(name: str, root: Path | None) -> "Corpus":
    from audioflow.corpora import CORPORA, get_corpus  # noqa: PLC0415
    from audioflow.errors import CorpusError  # noqa: PLC0415

    if name not in CORPORA and (Path(name).exists() or "/" in name):
        return get_corpus("folder", root=name)
    if name not in CORPORA and nearest(name, CORPORA) is None:
        raise CorpusError(f"{name} is neither a directory that exists nor one of the corpora {', '.join(CORPORA)}.")
    if name == "ljspeech":
        return get_corpus(name, root=root, progress=_download_bar())
    return get_corpus(name, root=root)


@contextmanager
def _bar(title: str, unit: str) -> Iterator[Callable[[int, int | None], None]]:
    with tqdm(desc=title, unit=unit, disable=None) as bar:  # None: only on a terminal

        def move(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield move


def _download_bar() -> Callable[[int, int | None], None]:
    bar = tqdm(desc="download", unit="B", unit_scale=True, disable=None, leave=False)

    def move(done: int, total: int | None) -> None:
        bar.total = total
        bar.update(done - bar.n)
        if done == total:
            bar.close()

    return move


def _text(report: "PrepareReport", preset: str) -> str:
    splits = ", ".join(f"{count} {split}" for split, count in report.splits.items())
    lines = [
        f"{report.corpus}: {report.utterances} of {report.recordings} recordings fit for use, "
        f"{report.seconds / 60:.1f} min ({splits}); {report.new} dealt with in this run.",
        f"Mel {preset}; {report.resampled} resampled ({report.upsampled} from a lower rate), "
        f"{report.mixed_down} mixed down to mono.",
    ]
    for problem, found in report.rejected.items():
        lines.append(f"Left out, {problem}: {len(found)}")
        lines += [f"  {one.source}: {one.detail}" for one in found[:LISTED]]
    lines.append(f"Prepared in {report.directory}")
    return "\n".join(lines)
