"""A checkpoint of another project, brought over into a directory that every command takes."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from audioflow.errors import CheckpointError, RecipeError
from audioflow.files import check_output, keep_apart
from audioflow.imports import get_format, read_checkpoint, read_settings
from audioflow.vocoders.checkpoint import RUN_FILES


@dataclass(frozen=True)
class Imported:
    """What was brought over.

    Attributes:
        path: the new checkpoint.
        source: the file it was made of.
        format: name of the format.
        layout: which of the format's layouts the file had.
        vocoder: name of our vocoder.
        parameters: number of trainable values.
        notes: sentences about what differs from the project that the weights come from.
    """

    path: Path
    source: Path
    format: str
    layout: str
    vocoder: str
    parameters: int
    notes: tuple[str, ...]


def import_checkpoint(
    name: str, source: str | Path, out: str | Path, given: Iterable[str] = (), *, overwrite: bool = False
) -> Imported:
    """Convert a foreign checkpoint and write it as the best one of the directory ``out``.

    Args:
        name: of the format, see :data:`audioflow.imports.FORMATS`.
        source: the foreign checkpoint; nothing in it is executed.
        out: directory.
        given: settings that the weights do not tell, as ``field=value``.
        overwrite: whether a checkpoint that is there already may be replaced.

    Raises:
        CheckpointError: the file is no checkpoint, or not of this format.
        OptionError: an unknown format or setting.
        OutputError: the checkpoint cannot be written.
    """
    chosen = get_format(name)
    settings = read_settings(chosen.settings, given, name)
    source, target = Path(source), Path(out) / RUN_FILES[0]
    keep_apart(target, [source])
    check_output(target, overwrite=overwrite)
    checkpoint = read_checkpoint(source)
    try:
        converted = chosen.convert(checkpoint, settings)
    except RecipeError as error:
        raise CheckpointError(f"{source} describes a model that cannot be built: {error}") from error
    vocoder = converted.vocoder
    vocoder.save(
        target,
        {
            "imported_from": name,
            "file": source.name,
            "sha256": _sha256(source),
            "layout": converted.layout,
            "settings": settings.model_dump(),
        },
    )
    return Imported(
        path=target,
        source=source,
        format=name,
        layout=converted.layout,
        vocoder=vocoder.name,
        parameters=sum(parameter.numel() for parameter in vocoder.parameters()),
        notes=converted.notes,
    )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
