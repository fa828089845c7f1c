"""``audioflow info``: what a thing is."""

import json

import click

from audioflow.cli.options import json_option, verbose_option


@click.command(epilog="Example: audioflow info runs/voice")
@click.argument("thing")
@json_option
@verbose_option
def info(thing: str, as_json: bool) -> None:
    """Say what THING is.

    A checkpoint, a training run, a prepared corpus, a recording, a mel file, a recipe; or the name of a mel preset, a
    corpus or a vocoder.
    """
    from audioflow.jobs.inspection import as_text, describe  # noqa: PLC0415 - torch is slow to import

    facts = describe(thing)
    click.echo(json.dumps(facts, indent=2, ensure_ascii=False) if as_json else as_text(facts))
