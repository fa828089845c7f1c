"""A model that reads periodicity off its mel learns it before it is trained, and keeps it."""

import torch

from audioflow.corpora.prepared import PreparedCorpus
from audioflow.evaluation.tracking import pitch_track
from audioflow.training import train
from audioflow.vocoders import load

MODEL = {
    "name": "wavenet",
    "layers": 2,
    "cycle": 2,
    "residual_channels": 4,
    "skip_channels": 4,
    "front": 8,
    "periodicity": 24,
}


def test_a_trained_model_hears_voices_in_speech_that_it_has_not_seen(tiny, tmp_path):
    recipe = tiny(model=MODEL, train={"steps": 2})
    train(recipe, tmp_path / "run", device="cpu")
    vocoder, corpus = load(tmp_path / "run"), PreparedCorpus(recipe.data.directory)
    right, counted = 0, 0
    for entry in [*corpus.entries("test"), *corpus.entries("valid")]:
        wav, mel = corpus.load(entry)
        wanted = pitch_track(wav, 16_000).periodicity
        nearest = (torch.arange(mel.shape[1]) * 200 / 160).round().long().clamp(max=len(wanted) - 1)
        found = vocoder.periodicity(vocoder.normalizer(mel[None], None))[0, 0]
        right += int(((found > 0.4) == (wanted[nearest] > 0.4)).sum())
        counted += mel.shape[1]
    assert right / counted > 0.88
    loud, quiet = (
        vocoder.synthesize(mel[None, :, :80], voiced_temperature=voiced, temperature=1.0) for voiced in (1.0, 0.2)
    )
    assert quiet.square().mean() < loud.square().mean()


def test_going_on_leaves_it_as_it_was(tiny, tmp_path):
    recipe = tiny(model=MODEL, train={"steps": 2})
    whole = tmp_path / "whole"
    train(recipe, whole, device="cpu")
    again = load(whole).periodicity.state_dict()
    train(tiny(model=MODEL, train={"steps": 4}), whole, device="cpu")
    for name, value in load(whole).periodicity.state_dict().items():
        assert torch.equal(value, again[name])
