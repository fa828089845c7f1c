"""Whole runs of a tiny model: what they leave, how they end, and how they go on."""

import json
import math
import os
import resource
import signal

import pytest
import soundfile
import torch

from audioflow.audio import dequantize
from audioflow.corpora.dataset import SegmentDataset
from audioflow.corpora.prepared import PreparedCorpus
from audioflow.errors import CheckpointError, CorpusError, OutputError, RecipeError, TrainingError
from audioflow.training import RunDirectory, reporting, train
from audioflow.training import batches as batches_module
from audioflow.training import loop as loop_module
from audioflow.training.batches import endless_batches
from audioflow.training.loop import Loop
from audioflow.training.processes import StopRequest, make_fabric
from audioflow.vocoders import build, load, read_header


def losses(run):
    return {record["step"]: record["loss"] for record in RunDirectory(run).read_history() if "loss" in record}


def make_loop(recipe, out, *, resumed=False):
    fabric = make_fabric(out, recipe.train.precision, "cpu")
    fabric.launch()
    return Loop(fabric, recipe, RunDirectory(out), PreparedCorpus(recipe.data.directory), resumed=resumed)


@pytest.fixture
def interrupt_at(monkeypatch):
    """Send this process a signal in the middle of a step."""

    def arrange(step, number):
        whole = Loop._step

        def interrupted(self, batches):
            if self.progress.step == step - 1:
                os.kill(os.getpid(), number)
            return whole(self, batches)

        monkeypatch.setattr(Loop, "_step", interrupted)

    yield arrange
    monkeypatch.undo()


WAVENET = {"name": "wavenet", "layers": 2, "cycle": 2, "residual_channels": 4, "skip_channels": 4}
GLOW = {"name": "glow", "squeeze": 4, "flows": 2, "early_channels": 0, "channels": 4, "layers": 2, "upsample_taps": 1}
BOTH = pytest.mark.parametrize("model", [WAVENET, GLOW], ids=["wavenet", "glow"])


@BOTH
def test_a_run_leaves_all_its_files(model, tiny, tmp_path):
    recipe = tiny(model=model, train={"sample_every": "3", "sample_seconds": 0.05})
    report = train(recipe, tmp_path / "run", "cpu")
    run = RunDirectory(tmp_path / "run")
    assert (report.step, report.stopped_by, report.dequantized) == (6, "budget", True)
    assert set(losses(run.path)) == set(range(1, 7))
    assert report.loss == pytest.approx(losses(run.path)[6])
    assert report.valid_bits_per_sample == pytest.approx(15 - report.valid_nats_per_sample / math.log(2))
    fresh = build(recipe.model.name, recipe.mel, recipe.model.fields)
    assert report.parameters == sum(parameter.numel() for parameter in fresh.parameters())
    assert load(run.last).config == recipe.model.fields
    header = read_header(run.last)
    assert (header.provenance["step"], header.provenance["recipe"], header.provenance["corpus"]) == (
        6,
        "tiny",
        "sample",
    )
    assert header.provenance["valid_nats_per_sample"] == pytest.approx(report.valid_nats_per_sample)
    assert read_header(run.best).provenance["valid_nats_per_sample"] == pytest.approx(report.best_nats_per_sample)
    wav, rate = soundfile.read(run.samples / "step-0000006.wav")
    assert (rate, len(wav)) == (16_000, 800)
    assert (run.samples / "step-0000003.png").stat().st_size > 1000
    assert any((run.path / "tensorboard").iterdir())
    assert not [file for file in run.path.rglob(".*") if file.is_file()]


def test_samples_are_taken_where_someone_speaks():
    mel = torch.full((3, 10), -5.0)
    mel[:, 6:8] = 1.0
    assert [reporting._loudest(mel, frames) for frames in (1, 2, 10)] == [6, 6, 0]


def test_training_makes_the_likelihood_better(tiny, tmp_path):
    recipe = tiny(train={"steps": 60, "learning_rate": 0.02, "ema_decay": 0.5, "validate_every": 60})
    first = make_loop(recipe, tmp_path / "first")
    before = first.held_out.nats_per_sample(first.average.module, first.fabric, noisy=True)
    report = train(recipe, tmp_path / "run", "cpu")
    assert report.valid_nats_per_sample > before + 0.1
    assert losses(tmp_path / "run")[60] < losses(tmp_path / "run")[1] - 0.1


def test_the_checkpoint_scores_what_validation_said(tiny, tmp_path):
    recipe = tiny(train={"dequantize": False})
    report = train(recipe, tmp_path / "run", "cpu")
    prepared = PreparedCorpus(recipe.data.directory)
    entry = sorted(prepared.entries("valid"), key=lambda entry: entry.id)[0]
    wav, mel = prepared.load(entry)
    frames = int(0.2 * 16_000 / 200)
    with torch.no_grad():
        nats = load(tmp_path / "run").log_prob(wav[None, : frames * 200], mel[None, :, :frames]) / (frames * 200)
    assert report.valid_nats_per_sample == pytest.approx(float(nats), rel=1e-5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_goes_on_exactly(number, tiny, tmp_path, interrupt_at):
    recipe = tiny(train={"steps": 7, "accumulate": 2})
    train(recipe, tmp_path / "whole", "cpu")
    before = signal.getsignal(number)
    interrupt_at(3, number)
    stopped = train(recipe, tmp_path / "parts", "cpu")
    assert (stopped.step, stopped.stopped_by) == (3, signal.Signals(number).name)
    assert signal.getsignal(number) == before
    train(recipe, tmp_path / "parts", "cpu")
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    states = [torch.load(RunDirectory(tmp_path / run).state, weights_only=True) for run in ("whole", "parts")]
    for name in ("vocoder", "average"):
        for key, value in states[0]["modules"][name].items():
            assert torch.equal(value, states[1]["modules"][name][key]), key
    assert states[0]["progress"]["samples"] == states[1]["progress"]["samples"] == 7 * 2 * 2 * 4 * 200


def test_a_budget_in_minutes_counts_all_parts(tiny, tmp_path):
    recipe = tiny(train={"steps": None, "minutes": 0.02})
    first = train(recipe, tmp_path / "run", "cpu")
    assert first.seconds >= 1.2
    assert train(recipe, tmp_path / "run", "cpu").step == first.step
    longer = tiny(train={"steps": None, "minutes": 0.04})
    second = train(longer, tmp_path / "run", "cpu")
    assert second.step > first.step
    assert second.seconds >= 2.4


def test_another_recipe_does_not_continue_a_run(tiny, tmp_path):
    train(tiny(train={"steps": 1}), tmp_path / "run", "cpu")
    before = (tmp_path / "run" / "recipe.yaml").read_text()
    with pytest.raises(RecipeError, match=r"train.learning_rate: 0.001 -> 0.5.*new directory"):
        train(tiny(train={"steps": 2, "learning_rate": 0.5}), tmp_path / "run", "cpu")
    with pytest.raises(OutputError, match="holds a run already"):
        train(tiny(train={"steps": 2}), tmp_path / "run", "cpu", resume=False)
    assert (tmp_path / "run" / "recipe.yaml").read_text() == before
    assert train(tiny(train={"steps": 2}), tmp_path / "run", "cpu").step == 2


def test_an_occupied_directory_is_left_alone(tiny, tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(OutputError, match="holds other files and no run"):
        train(tiny(), tmp_path, "cpu")
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(OutputError, match="is a file"):
        train(tiny(), tmp_path / "thesis.txt", "cpu")


def test_history_after_the_state_is_forgotten(tiny, tmp_path):
    recipe = tiny(train={"steps": 2})
    train(recipe, tmp_path / "run", "cpu")
    run = RunDirectory(tmp_path / "run")
    run.append_history({"step": 5, "loss": 99.0})
    with run.history.open("a") as file:
        file.write('{"step": 6, "lo')
    train(tiny(train={"steps": 4}), tmp_path / "run", "cpu")
    assert set(losses(run.path)) == {1, 2, 3, 4}
    assert all(json.loads(line) for line in run.history.read_text().splitlines())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_names_the_batch(bad, tiny, tmp_path, monkeypatch):
    recipe = tiny(train={"checkpoint_every": 1, "validate_every": 100})
    calls = []

    def poisoned(wav, generator):
        calls.append(wav)
        wav = dequantize(wav, generator)
        return wav * bad if len(calls) == 4 else wav  # the first call is the initialisation

    monkeypatch.setattr(batches_module, "dequantize", poisoned)
    monkeypatch.setattr(loop_module, "_INITIAL_SEGMENTS", 1)
    with pytest.raises(TrainingError) as caught:
        train(recipe, tmp_path / "run", "cpu")
    segments = SegmentDataset(PreparedCorpus(recipe.data.directory), "train", 4, 0)
    ids = {segments.draw(0, index)[0].id for index in (4, 5)}
    message = str(caught.value)
    assert "at step 2" in message
    assert all(name in message for name in ids)
    assert str(tmp_path / "run") in message
    assert read_header(tmp_path / "run").provenance["step"] == 2
    assert all(torch.isfinite(parameter).all() for parameter in load(tmp_path / "run").parameters())


def test_gradient_clipping_acts(tiny, tmp_path, monkeypatch):
    norms = []
    for limit in (None, 1e-3):
        loop = make_loop(tiny(train={"steps": 1, "gradient_clip": limit}), tmp_path / str(limit))
        whole = loop.optimizer.step

        def look(whole=whole, loop=loop):
            norms.append(float(torch.nn.utils.get_total_norm(p.grad for p in loop.vocoder.parameters())))
            whole()

        monkeypatch.setattr(loop.optimizer, "step", look)
        loop.run(StopRequest())
    assert norms[0] > 0.1
    assert norms[1] == pytest.approx(1e-3, rel=1e-3)


@BOTH
def test_training_in_bfloat16_stays_close_to_float32(model, tiny, tmp_path, monkeypatch):
    runs, autocast = {}, []
    for precision in ("32-true", "bf16-mixed"):
        loop = make_loop(tiny(model=model, train={"steps": 4, "precision": precision}), tmp_path / precision)
        whole = loop.vocoder.log_prob

        def look(*inputs, whole=whole):
            autocast.append(torch.is_autocast_enabled("cpu"))
            return whole(*inputs)

        monkeypatch.setattr(type(loop.vocoder), "log_prob", lambda self, *inputs, look=look: look(*inputs))
        loop.run(StopRequest())
        monkeypatch.undo()
        runs[precision] = losses(tmp_path / precision)
    assert set(autocast[: len(autocast) // 2]) == {False}
    assert True in autocast[len(autocast) // 2 :]
    assert list(runs["bf16-mixed"].values()) == pytest.approx(list(runs["32-true"].values()), abs=0.05)
    assert {value.dtype for value in load(tmp_path / "bf16-mixed").parameters()} == {torch.float32}


def test_batches_are_dealt_out_and_resumed(tiny):
    segments = SegmentDataset(PreparedCorpus(tiny().data.directory), "train", 4, 7)

    def deal(count, **options):
        batches = endless_batches(segments, **options)
        return [next(batches) for _ in range(count)]

    alone = deal(4, batch_size=2)
    resumed = deal(2, batch_size=2, first=2)
    ranks = [deal(2, batch_size=2, rank=rank, world_size=2) for rank in (0, 1)]
    loaded = deal(4, batch_size=2, workers=1)
    assert [batch.ids for batch in loaded] == [batch.ids for batch in alone]
    for expected, found in zip(alone, [ranks[0][0], ranks[1][0], ranks[0][1], ranks[1][1]], strict=True):
        assert torch.equal(expected.wav, found.wav)
    assert all(torch.equal(a.mel, b.mel) for a, b in zip(alone[2:], resumed, strict=True))
    late = deal(1, batch_size=2, first=len(segments))[0]  # two epochs later
    assert not torch.equal(late.wav, alone[0].wav)


def test_a_full_disk_leaves_the_old_checkpoint(tiny, tmp_path):
    train(tiny(train={"steps": 1}), tmp_path / "run", "cpu")
    before = {
        path: path.read_bytes() for path in (RunDirectory(tmp_path / "run").last, RunDirectory(tmp_path / "run").state)
    }
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OutputError, match="cannot be written"):
            train(tiny(train={"steps": 2}), tmp_path / "run", "cpu")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path: path.read_bytes() for path in before} == before
    assert train(tiny(train={"steps": 2}), tmp_path / "run", "cpu").step == 2


@pytest.mark.parametrize("content", [b"", b"not a state", None], ids=["empty", "foreign", "truncated"])
def test_a_damaged_state_is_refused(content, tiny, tmp_path):
    train(tiny(train={"steps": 1}), tmp_path / "run", "cpu")
    state = RunDirectory(tmp_path / "run").state
    state.write_bytes(state.read_bytes()[:5000] if content is None else content)
    with pytest.raises(CheckpointError, match=r"last.pt is not a readable training state"):
        train(tiny(train={"steps": 2}), tmp_path / "run", "cpu")


def test_a_state_that_would_run_code_is_refused(tiny, tmp_path):
    train(tiny(train={"steps": 1}), tmp_path / "run", "cpu")
    torch.save({"format": print}, RunDirectory(tmp_path / "run").state)
    with pytest.raises(CheckpointError, match="not a readable training state"):
        train(tiny(train={"steps": 2}), tmp_path / "run", "cpu")


def test_prepared_speech_must_fit_the_recipe(tiny, tmp_path):
    tiny()
    with pytest.raises(CorpusError, match="holds the corpus sample"):
        train(tiny().model_copy(update={"data": tiny().data.model_copy(update={"corpus": "ljspeech"})}), tmp_path / "a")
    with pytest.raises(CorpusError, match=r"another mel front-end .*f_max"):
        train(tiny().model_copy(update={"mel": tiny().mel.model_copy(update={"f_max": 7000.0})}), tmp_path / "b")


def test_a_device_that_is_not_there_is_refused(tiny, tmp_path):
    count = torch.cuda.device_count()
    with pytest.raises(TrainingError, match=f"torch sees {count}"):
        train(tiny(), tmp_path / "run", "cuda", devices=count + 1)
    assert not (tmp_path / "run").exists()
