"""Recorded graphs: when there is a new one, and on a GPU that they sound like what they were recorded from."""

import copy
import pickle

import pytest
import torch
from laws.models import make_vocoder

from audioflow.sampling.graphs import GraphReplay
from audioflow.vocoders.flow import GRAPHS

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class Recorder:
    """Keeps the function instead of a graph, and counts."""

    def __init__(self):
        self.recorded = 0

    def __call__(self, function, inputs):
        self.recorded += 1
        return lambda given: function(*given)


def test_a_graph_is_recorded_for_each_shape_key_and_state_of_the_weights():
    recorder, weight = Recorder(), torch.ones(3)
    replay = GraphReplay(kept=2, record=recorder)

    def run(steps=3, key="a", mask=None):
        x = torch.rand(2, steps)
        made = replay(lambda x, mask: x * weight.sum() if mask is None else x * mask, (x, mask), key, [weight])
        assert torch.equal(made, x * (weight.sum() if mask is None else mask))
        return recorder.recorded

    assert [run(), run(), run(4), run(4), run()] == [1, 1, 2, 2, 2]
    assert [run(key="b"), run(key="b"), run()] == [3, 3, 3]
    assert [run(4), run(key="b")] == [4, 5], "the one that was used longest ago is gone"
    assert len(replay) == 2
    assert [run(3, mask=torch.ones(1)), run(3, mask=torch.zeros(1))] == [6, 6]
    weight.add_(1)
    assert [run(), run()] == [7, 7]
    weight.data = torch.zeros(3)
    assert [run(), run()] == [8, 8]
    with torch.inference_mode():
        weight = torch.ones(3)
    assert [run(), run()] == [8, 8], "weights that are not counted"


def test_a_copy_has_no_graphs_of_its_original():
    replay = GraphReplay(kept=3)
    replay._recorded["x"] = [], lambda given: given
    for twin in (copy.deepcopy(replay), pickle.loads(pickle.dumps(replay))):  # noqa: S301 - our own
        assert len(twin) == 0
        assert twin._kept == 3


def test_graphs_are_for_gpus():
    vocoder = make_vocoder("glow").float()
    assert not set(GRAPHS) & set(vocoder.usable_engines)
    with pytest.raises(ValueError, match="needs the model on an NVIDIA GPU; use parallel"):
        vocoder.synthesize(torch.zeros(1, 3, 2), engine="parallel-graph")


@needs_cuda
@pytest.mark.parametrize("engine", GRAPHS)
@pytest.mark.parametrize("name", ["glow", "student", "flowavenet", "iaf", "realnvp", "nice"])
def test_a_graph_sounds_like_the_engine_that_it_is_of(name, engine):
    vocoder = make_vocoder(name, spread=0.05).float().cuda()
    generator = torch.Generator().manual_seed(0)
    for frames, lengths in ((6, None), (6, [6, 2]), (3, None), (6, [1, 6])):
        mel = torch.randn(2, vocoder.contract.n_mels, frames, generator=generator).cuda()
        told = None if lengths is None else torch.tensor(lengths)
        for seed in (0, 3):
            made, wanted = (vocoder.synthesize(mel, told, seed=seed, engine=e) for e in (engine, GRAPHS[engine]))
            torch.testing.assert_close(made, wanted, atol=1e-5, rtol=1e-4)
    assert len(vocoder._graphs) == 3
    with torch.no_grad():
        for parameter in vocoder.parameters():
            parameter.mul_(1.01)
    made, wanted = (vocoder.synthesize(mel, engine=e) for e in (engine, GRAPHS[engine]))
    torch.testing.assert_close(made, wanted, atol=1e-5, rtol=1e-4)
