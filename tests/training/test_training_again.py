"""Runs that are opened again: after a kill, after their end, by two at once, with figures that are none."""

import json
import math
import zipfile

import pytest
import torch

from audioflow.corpora.prepared import PreparedCorpus
from audioflow.errors import CheckpointError, CorpusError, OutputError, RecipeError
from audioflow.training import RunDirectory, parse_recipe, train
from audioflow.training.loop import Loop
from audioflow.training.processes import make_fabric
from audioflow.training.speech import ensure_prepared
from audioflow.training.validation import HeldOut
from audioflow.vocoders import read_header


def make_loop(recipe, out):
    fabric = make_fabric(out, recipe.train.precision, "cpu")
    fabric.launch()
    return Loop(fabric, recipe, RunDirectory(out), PreparedCorpus(recipe.data.directory), resumed=False)


@pytest.fixture
def run(tmp_path):
    return RunDirectory(tmp_path / "run")


def test_a_finished_run_is_left_as_it_is(tiny, run):
    recipe = tiny(train={"steps": 2, "sample_every": "2", "sample_seconds": 0.05})
    first = train(recipe, run.path, "cpu")
    files = (run.history, run.last, run.best, run.state, run.samples / "step-0000002.wav")
    before = [file.read_bytes() for file in files]
    again = train(recipe, run.path, "cpu")
    assert [file.read_bytes() for file in files] == before
    assert again.valid_nats_per_sample == pytest.approx(first.valid_nats_per_sample, rel=1e-7)
    assert (again.step, again.best_nats_per_sample) == (2, first.best_nats_per_sample)


def test_a_run_killed_before_its_last_figure_is_measured(tiny, run):
    train(tiny(train={"steps": 2}), run.path, "cpu")
    lines = [record for record in run.read_history() if "valid_nats_per_sample" not in record]
    run.history.write_text("".join(json.dumps(record) + "\n" for record in lines))
    report = train(tiny(train={"steps": 2}), run.path, "cpu")
    assert run.measured(2, "valid_nats_per_sample")["valid_nats_per_sample"] == pytest.approx(
        report.valid_nats_per_sample
    )


def test_a_kill_between_best_and_state_loses_no_best(tiny, run, monkeypatch):
    train(tiny(train={"steps": 2}), run.path, "cpu")
    old = run.state.read_bytes()
    better = train(tiny(train={"steps": 4}), run.path, "cpu")
    assert better.best_step == 4
    run.state.write_bytes(old)
    best = run.best.read_bytes()
    worse = better.best_nats_per_sample - 0.001
    monkeypatch.setattr(HeldOut, "nats_per_sample", lambda *_, **__: worse)
    report = train(tiny(train={"steps": 5}), run.path, "cpu")
    assert (report.valid_nats_per_sample, report.best_step) == (worse, 4)
    assert report.best_nats_per_sample == better.best_nats_per_sample
    assert run.best.read_bytes() == best


def test_a_damaged_best_checkpoint_is_replaced(tiny, run, caplog):
    train(tiny(train={"steps": 1, "learning_rate": 1e-4}), run.path, "cpu")
    run.best.write_bytes(b"junk")
    state = torch.load(run.state, weights_only=True)
    state["progress"]["best_score"] = -math.inf
    torch.save(state, run.state)
    report = train(tiny(train={"steps": 2, "learning_rate": 1e-4}), run.path, "cpu")
    assert "best.safetensors cannot be read" in caplog.text
    assert read_header(run.best).provenance["valid_nats_per_sample"] == report.valid_nats_per_sample


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_likelihood_that_is_no_number_is_never_the_best(bad, tiny, run, monkeypatch, caplog):
    monkeypatch.setattr(HeldOut, "nats_per_sample", lambda *_, **__: bad)
    report = train(tiny(train={"steps": 1}), run.path, "cpu")
    assert f"valid_nats_per_sample at step 1 is {bad:g}" in caplog.text
    assert not run.best.exists()
    assert (report.valid_nats_per_sample, report.best_nats_per_sample) == (None, None)

    def refuse(word):
        raise AssertionError(word)

    lines = [json.loads(line, parse_constant=refuse) for line in run.history.read_text().splitlines()]
    assert lines[-1]["valid_nats_per_sample"] is None
    assert read_header(run.last).provenance["valid_nats_per_sample"] is None


def test_what_a_kill_left_does_not_occupy_a_directory(tiny, run):
    run.path.mkdir()
    (run.path / ".recipe-a1b2c3d_.yaml").write_text("na")
    train(tiny(train={"steps": 1}), run.path, "cpu")
    (run.path / "state" / ".last-a1b2c3d4.pt").write_bytes(b"half")
    (run.path / ".best-a1b2c3d4.safetensors").write_bytes(b"half")
    (run.path / ".recipe-mine.yaml").write_text("precious")
    train(tiny(train={"steps": 2}), run.path, "cpu")
    assert [file.name for file in run.path.rglob(".*")] == [".recipe-mine.yaml"]


def test_a_hidden_file_of_someone_else_occupies_a_directory(tiny, run):
    run.path.mkdir()
    (run.path / ".recipe-mine.yaml").write_text("precious")
    with pytest.raises(OutputError, match="holds other files"):
        train(tiny(train={"steps": 1}), run.path, "cpu")


def test_two_do_not_train_in_one_directory(tiny, run):
    recipe = tiny(train={"steps": 1})
    with run.hold():
        with pytest.raises(OutputError, match="is in use: another process trains in it"):
            train(recipe, run.path, "cpu")
        assert list(run.path.iterdir()) == []
    assert train(recipe, run.path, "cpu").step == 1


def test_what_is_held_out_is_fixed_in_a_run(tiny, run):
    train(tiny(train={"steps": 1}), run.path, "cpu")
    for changed in ({"valid_utterances": 2}, {"valid_seconds": 0.3}):
        with pytest.raises(RecipeError, match=f"data.{next(iter(changed))}"):
            train(tiny(train={"steps": 2}, data=changed), run.path, "cpu")


def test_speech_of_another_folder_is_refused(tiny, recipe_data, tmp_path):
    wavs = PreparedCorpus(tiny().data.directory).directory / "wav"
    data = {"corpus": "folder", "root": str(wavs), "prepared": str(tmp_path / "prepared")}
    recipe = parse_recipe(recipe_data(data=data))
    ensure_prepared(recipe)
    assert ensure_prepared(recipe) == tmp_path / "prepared"
    other = recipe.model_copy(update={"data": recipe.data.model_copy(update={"root": tmp_path / "other"})})
    with pytest.raises(CorpusError, match=rf"was prepared from {wavs}, but the recipe's data.root is .*other"):
        ensure_prepared(other)


def test_a_damaged_state_is_never_a_traceback(tiny, run):
    train(tiny(train={"steps": 1}), run.path, "cpu")
    loop = make_loop(tiny(train={"steps": 2}), run.path)
    whole = run.state.read_bytes()
    with zipfile.ZipFile(run.state) as archive:
        pickled = archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
    start, refused = whole.index(pickled), 0
    for place in range(start, start + len(pickled), len(pickled) // 60):
        run.state.write_bytes(whole[:place] + bytes([whole[place] ^ 0xA5]) + whole[place + 1 :])
        try:
            loop.checkpoints.resume()
        except CheckpointError:
            refused += 1
    assert refused > 20


def test_the_loss_counts_the_samples_that_are_scored(tiny, tmp_path):
    glow = {"name": "glow", "squeeze": 48, "flows": 1, "early_channels": 0, "channels": 2, "layers": 1}
    recipe = tiny(model=glow, train={"steps": 1, "dequantize": False})
    loop = make_loop(recipe, tmp_path)
    held_out = loop.held_out.batches[0]
    with torch.no_grad():
        nats = float(loop.vocoder.log_prob(held_out.wav, held_out.mel))
    scored = loop.vocoder.scored_samples(held_out.mel.shape[-1])
    assert scored < held_out.wav.numel()
    found = loop.held_out.nats_per_sample(loop.vocoder, loop.fabric, noisy=False)
    assert found == pytest.approx(nats / scored, rel=1e-6)
    assert loop.objective.scored == 4 * 200 // 48 * 48
