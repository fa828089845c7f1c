"""The command ``audioflow``: its verbs, and how errors look."""

import errno
import importlib
import keyword
from typing import Any

import click
from typing_extensions import override

from audioflow import __version__
from audioflow.errors import AudioflowError
from audioflow.names import did_you_mean

COMMANDS = {
    "prepare": "Check and resample recordings and compute their mels.",
    "train": "Train a vocoder as a recipe says, or go on with a run.",
    "distill": "Train a parallel student from a WaveNet teacher.",
    "synthesize": "Turn mels, or recordings by way of their mels, into speech.",
    "score": "Give the exact log-likelihood of recordings under a vocoder.",
    "evaluate": "Judge vocoders on held-out speech, with intervals.",
    "compare": "Put vocoders and their engines side by side, with sound.",
    "import": "Bring the weights of another project over.",
    "info": "Say what a checkpoint, recording, mel or recipe is.",
    "demo": "Train two small vocoders on bundled speech and compare them.",
}


class UserError(click.ClickException):
    """An error that the user can repair: one sentence, exit code 2, no traceback."""

    exit_code = 2


class Verbs(click.Group):
    """The group of all commands; a command's module is imported when it is called, so that help is quick."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        command: click.Command = getattr(importlib.import_module(f"audioflow.cli.{module}"), module)
        return command

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            raise UserError(f"There is no command {args[0]!r}{did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    @override
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AudioflowError as error:
            raise UserError(str(error)) from error
        except OSError as error:  # the disk is full or a file is not ours to read: nothing that a traceback would help
            if error.errno == errno.EPIPE:
                raise
            where = f"{error.filename}: " if error.filename else ""
            raise UserError(
                f"{where}{error.strerror or error}; check the file, its permissions and the disk."
            ) from error
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            raise UserError(
                "The device has too little free memory for this: lower --batch-size (synthesize) or data.batch_size "
                "(train), give shorter recordings, or take --device cpu."
            ) from error


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Say so by name and message: torch is slow to import, and its CPU has no error class of its own for this."""
    return type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="audioflow")
def main() -> None:
    """Neural vocoders built from WaveNets and normalizing flows: mel spectrograms to speech.

    Start with: audioflow demo --out demo
    """
