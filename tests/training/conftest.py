"""A tiny model on the bundled speech: what the tests of training train."""

import pytest
import torch

from audioflow.training import parse_recipe
from audioflow.training.speech import ensure_prepared


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def prepared_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("training") / "prepared"


@pytest.fixture
def recipe_data(prepared_dir):
    """A recipe as a mapping, with the fields of one section changed: ``recipe_data(train={"steps": 3})``."""

    def make(**changes):
        data = {
            "name": "tiny",
            "data": {
                "corpus": "sample",
                "prepared": str(prepared_dir),
                "segment_frames": 4,
                "batch_size": 2,
                "valid_utterances": 1,
                "valid_seconds": 0.2,
            },
            "mel": "speech-16k",
            "model": {"name": "wavenet", "layers": 2, "cycle": 2, "residual_channels": 4, "skip_channels": 4},
            "train": {"steps": 6, "warmup_steps": 2, "log_every": 1, "validate_every": 3, "sample_every": None},
        }
        for section, fields in changes.items():
            merge = section in ("data", "train")
            data[section] = {**data[section], **fields} if merge else fields
        return data

    return make


@pytest.fixture
def tiny(recipe_data):
    """A recipe whose speech is prepared: ``tiny(train={"steps": 3})``."""

    def make(**changes):
        recipe = parse_recipe(recipe_data(**changes))
        ensure_prepared(recipe)
        return recipe

    return make
