"""Making a vocoder by its name."""

import pytest
import torch

from audioflow.audio import PRESETS
from audioflow.errors import RecipeError
from audioflow.vocoders import VOCODERS, Vocoder, build


class Vast(Vocoder):
    """A model that is more than there is memory for, whatever the machine."""

    def __init__(self, contract, *, error: str):
        if error == "torch":
            torch.empty(2**60)
        raise {"memory": MemoryError, "overflow": OverflowError}[error]

    def _log_prob(self, x, given):
        raise NotImplementedError

    def _generate(self, noise, given, temperature, engine, progress):
        raise NotImplementedError


@pytest.mark.parametrize("error", ["torch", "memory", "overflow"])
def test_a_model_that_is_too_large_is_refused(error, monkeypatch):
    monkeypatch.setitem(VOCODERS, "vast", Vast)
    with pytest.raises(RecipeError, match="A vast of this size cannot be made; give it fewer channels or layers"):
        build("vast", PRESETS["speech-16k"], {"error": error})
