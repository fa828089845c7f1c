"""The errors a user can cause: each message is one sentence that says what, where and what to do.

The command line prints the sentence and exits with code 2; a traceback means a bug of ours.
"""


class AudioflowError(Exception):
    """Base of every error that the user, not the program, can repair."""


class AudioError(AudioflowError):
    """A recording is missing, unreadable, silent, too short or otherwise unfit."""


class MelError(AudioflowError):
    """A mel file is malformed, or was made by another front-end than the one a model needs."""


class CorpusError(AudioflowError):
    """A corpus is unknown, cannot be fetched, or has nothing fit for use in it."""


class RecipeError(AudioflowError):
    """A recipe is missing, misspelt or out of range."""


class CheckpointError(AudioflowError):
    """A checkpoint is missing, foreign, truncated, or of another format version."""


class OutputError(AudioflowError):
    """An output cannot be written: occupied, not writable, or the disk is full."""


class TrainingError(AudioflowError):
    """Training cannot start or go on: no data, a loss that is not finite."""


class DeviceError(AudioflowError):
    """The device asked for is not there."""


class OptionError(AudioflowError):
    """An option is out of range, or does not go with the others."""
