"""Files that come with the package: the bundled speech and the recipes, from an installation or a source tree."""

from importlib import resources
from pathlib import Path


def bundled(installed: str, source: str) -> Path | None:
    """The directory ``audioflow/resources/<installed>`` of an installation, or ``<source>`` of a source tree."""
    package = Path(str(resources.files("audioflow")))
    for directory in (package / "resources" / installed, package.parent / source):
        if directory.is_dir():
            return directory
    return None
