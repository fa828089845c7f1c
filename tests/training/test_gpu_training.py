"""The script that trains on a GPU for some minutes, in small and on a CPU: packing, cutting, trials, runs, results."""

import json
import os
import shutil
import subprocess
import sys
import time
import wave
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from audioflow import load
from audioflow.audio import PRESETS, read_audio
from audioflow.corpora import PreparedCorpus, get_corpus, prepare
from audioflow.errors import CheckpointError, CorpusError, OutputError, RecipeError, TrainingError
from audioflow.files import atomic_path
from audioflow.training import recipe_text
from audioflow.vocoders import read_header
from benchmarks.gpu_training import shelf, steps
from benchmarks.gpu_training.encoding import ENCODINGS, decode, encode
from benchmarks.gpu_training.loop import HOPELESS, DeviceMeter
from benchmarks.gpu_training.manifest import MANIFEST, read_manifest
from benchmarks.gpu_training.pack import pack
from benchmarks.gpu_training.packed import PackedCorpus
from benchmarks.gpu_training.run import Request, scaled_rate, train
from benchmarks.gpu_training.speech import DeviceSpeech
from benchmarks.gpu_training.steps import Setup, Stepper
from benchmarks.gpu_training.trials import Options, TooLongError, Trials, time_limit

ROOT = Path(__file__).parents[2]
MANY = 1_000_000
FIXED = Options(batch=2, precision="32-true", compiled="off", graphs="off")
# Stands where Python looks for modules, and finds none of those that are named first.
WITHOUT = """
import runpy, sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in sys.missing else super().find_spec(name, path, target)

sys.missing = sys.argv[1].split(",")
sys.meta_path[sys.meta_path.index(PathFinder)] = Without
sys.argv = ["gpu_training", *sys.argv[2:]]
runpy.run_module("benchmarks.gpu_training", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    directory = tmp_path_factory.mktemp("gpu") / "prepared"
    prepare(get_corpus("sample"), directory, PRESETS["speech-16k"])
    return PreparedCorpus(directory)


@pytest.fixture(scope="session")
def packed_dir(prepared, tmp_path_factory):
    directory = tmp_path_factory.mktemp("gpu") / "pack"
    pack([prepared.directory], directory, encoding="xz")
    return directory


@pytest.fixture(scope="session")
def packed(packed_dir):
    return PackedCorpus(packed_dir)


@pytest.fixture
def request_for(recipe_data, packed_dir, tmp_path):
    """A run of a tiny model: ``request_for(steps=9, recipe={"train": {"seed": 1}})``."""
    from audioflow.training import parse_recipe

    def make(recipe=None, steps=6, overrides=("train.log_every=5",), **changes):
        file = tmp_path / "recipe.yaml"
        file.write_text(recipe_text(parse_recipe(recipe_data(**(recipe or {})))), encoding="utf-8")
        out = changes.pop("out", tmp_path / "out")
        work = out.with_name(f"{out.name}-work")
        given = {"minutes": 10.0, "device": "cpu", "options": FIXED, "sample_seconds": 0.05, **changes}
        return Request(packed_dir, file, (*overrides, f"train.steps={steps}"), out, work, **given)

    return make


def files_in(directory):
    return {str(path.relative_to(directory)): path.stat().st_size for path in directory.rglob("*") if path.is_file()}


# Packing


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_encoded_samples_are_the_same(encoding):
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(-32768, 32768, (1001,), generator=generator).to(torch.int16).numpy()
    for samples in (noise, noise // 1000, noise[:1]):
        assert (decode(encode(samples, 16000, encoding), encoding) == samples).all()


def test_a_pack_gives_what_was_prepared(prepared, packed, packed_dir, tmp_path):
    shutil.copytree(packed_dir, tmp_path / "elsewhere")
    moved = PackedCorpus(tmp_path / "elsewhere")
    kept = [entry for entry in prepared.entries() if entry.split != "test"]
    assert {entry.id for entry in packed.entries()} == {entry.id for entry in kept}
    assert (packed.contract, packed.speakers, packed.name) == (prepared.contract, prepared.speakers, "sample")
    for entry in kept:
        (wav, mel), (right_wav, right_mel) = moved.load(entry), prepared.load(entry)
        assert torch.equal(wav, right_wav)
        torch.testing.assert_close(mel, right_mel, atol=1e-5, rtol=0)
        for here, there in zip(
            packed.load_around(entry, 3, 5, 300), prepared.load_around(entry, 3, 5, 300), strict=True
        ):
            torch.testing.assert_close(here, there, atol=1e-5, rtol=0)


def test_a_pack_keeps_its_size_and_a_larger_one_begins_with_it(prepared, tmp_path):
    small, large = (pack([prepared.directory], tmp_path / name, size) for name, size in (("a", 0.5), ("b", 0.7)))
    for report, size in ((small, 0.5), (large, 0.7)):
        assert report.bytes == sum(files_in(Path(report.directory)).values()) <= size * MANY
        assert report.valid == len(prepared.entries("valid"))
    ids = [[spoken.id for spoken in read_manifest(tmp_path / name).utterances] for name in ("a", "b")]
    assert 0 < small.train < large.train
    assert ids[1][: len(ids[0])] == ids[0]
    assert small.train + small.left_out == len(prepared.entries("train"))


def test_packing_says_what_is_wrong(prepared, packed_dir, tmp_path):
    with pytest.raises(CorpusError, match="held-out speech alone"):
        pack([prepared.directory], tmp_path / "a", 0.05)
    with pytest.raises(CorpusError, match="both have an utterance"):
        pack([prepared.directory, prepared.directory], tmp_path / "b")
    with pytest.raises(OutputError, match="not empty"):
        pack([prepared.directory], packed_dir)


def test_a_damaged_pack_is_seen(packed_dir, tmp_path):
    with pytest.raises(CorpusError, match="no pack"):
        PackedCorpus(tmp_path)
    directory = tmp_path / "pack"
    shutil.copytree(packed_dir, directory)
    first, second = (directory / spoken.file for spoken in read_manifest(directory).utterances[:2])
    shutil.copy(second, first)
    with pytest.raises(CorpusError, match="not those that were packed"):
        PackedCorpus(directory)
    first.write_bytes(b"nothing")
    with pytest.raises(CorpusError, match="gone or damaged"):
        PackedCorpus(directory)
    (directory / MANIFEST).write_text("{}")
    with pytest.raises(CorpusError, match="pack the speech again"):
        PackedCorpus(directory)


# Cutting


@pytest.mark.parametrize("samples_before", [0, 300])
def test_segments_are_cut_as_the_corpus_cuts_them(packed, samples_before):
    entries, frames = packed.entries("train"), 6
    speech = DeviceSpeech(packed, entries, frames, samples_before, torch.device("cpu"), voiced=True)
    places = [(number, start) for number in (0, 2) for start in (0, 1, 7, entries[number].frames - frames)]
    batch = speech.cut(*(torch.tensor(column) for column in zip(*places, strict=True)))
    for row, (number, start) in enumerate(places):
        right = packed.load_around(entries[number], start, frames, samples_before)
        for found, wanted in zip((batch.wav, batch.mel, *batch.around), right, strict=True):
            assert torch.equal(found[row], wanted)
        assert batch.speaker[row] == packed.speaker_index(entries[number])


def test_batches_are_drawn_from_all_speech_by_their_seed(packed):
    entries = packed.entries("train")
    speech = DeviceSpeech(packed, entries, 4, 0, torch.device("cpu"), voiced=False)
    first, again, other = (speech.batch(500, seed) for seed in (1, 1, 2))
    assert torch.equal(first.wav, again.wav)
    assert not torch.equal(first.wav, other.wav)
    assert first.wav.shape == (500, 4 * packed.contract.hop_length)
    assert len(first.ids) == 500
    assert first.speaker is None


# Steps


def stepper_of(tiny, packed, setup, rate=1e-2):
    from audioflow.training.objectives import Likelihood
    from audioflow.vocoders import build

    recipe = tiny()
    torch.manual_seed(0)
    vocoder = build(recipe.model.name, recipe.mel, recipe.model.fields)
    optimizer = steps.optimizer_for(vocoder, recipe.train)
    optimizer.param_groups[0]["lr"] = rate
    objective = Likelihood(vocoder.scored_samples(4), noisy=True)
    speech = DeviceSpeech(packed, packed.entries("train"), 4, 0, torch.device("cpu"), voiced=False)
    return vocoder, Stepper(vocoder, objective, optimizer, 1.0, setup), speech


def test_a_step_that_is_not_finite_changes_nothing(tiny, packed):
    vocoder, stepper, speech = stepper_of(tiny, packed, Setup(2, "32-true"))
    assert float(stepper.step(speech.batch(2, 0))[2]) == 0
    before = {name: value.clone() for name, value in vocoder.state_dict().items()}
    bad = replace(speech.batch(2, 1), wav=torch.full_like(speech.batch(2, 1).wav, float("nan")))
    assert float(stepper.step(bad)[2]) == 1
    assert all(torch.equal(value, before[name]) for name, value in vocoder.state_dict().items())
    assert float(stepper.step(speech.batch(2, 2))[2]) == 0
    assert not all(torch.equal(value, before[name]) for name, value in vocoder.state_dict().items())


def test_a_recorded_step_reads_the_new_batch(tiny, packed, monkeypatch):
    """Where there is no GPU, a recording is what it stands for: the passes over the tensors that it was made with."""

    def fake(passes, first, weights):
        static = steps._mapped(first, torch.clone)

        def replay(batch):
            steps.forget_gradients(weights)
            for place, x in zip(steps._tensors(static), steps._tensors(batch), strict=True):
                place.copy_(x)
            return passes(static)

        return replay

    monkeypatch.setattr(steps, "record", fake)
    plain, recorded = (stepper_of(tiny, packed, Setup(2, "32-true", graphed=graphed)) for graphed in (False, True))
    for seed in range(3):
        losses = [stepper.step(speech.batch(2, seed))[0] for _, stepper, speech in (plain, recorded)]
        assert torch.equal(*losses)
    for one, other in zip(plain[0].parameters(), recorded[0].parameters(), strict=True):
        assert torch.equal(one, other)


def test_compiled_steps_are_the_same(tiny, packed, monkeypatch):
    """The compiler itself takes a minute; here it gives back what it is given."""
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda function: compiled.append(function) or function)
    plain, other = (stepper_of(tiny, packed, Setup(2, "bf16-mixed", compiled=way)) for way in (False, True))
    losses = [stepper.step(speech.batch(2, 0))[0] for _, stepper, speech in (plain, other)]
    assert torch.equal(*losses)
    assert compiled == [other[0].log_prob]


class Traffic(TorchDispatchMode):
    """Notes what goes between the host and a device; the device ``meta`` has no numbers, and refuses to give any."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, _types, args=(), kwargs=None):
        kwargs = kwargs or {}
        kinds = {x.device.type for x in args if isinstance(x, torch.Tensor)}
        if "_to_copy" in str(function) and kwargs.get("device") is not None:
            kinds.add(torch.device(kwargs["device"]).type)
        if len(kinds) > 1 and ("copy" in str(function)):
            self.seen.append(str(function))
        return function(*args, **kwargs)


@pytest.mark.parametrize("name", ["wavenet", "waveflow", "nice", "realnvp", "flowavenet"])
def test_passes_take_nothing_from_the_host(name, monkeypatch):
    """So they can be recorded, and the host can go ahead; checked on a device that is none."""
    from audioflow.training import load_recipe
    from audioflow.vocoders import build

    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)  # it does not know this device
    fields = load_recipe(ROOT / "recipes" / "sample" / f"{name}.yaml").model.fields
    left = {key: value for key, value in fields.items() if key not in ("front", "samples_per_step")}
    vocoder = build(name, PRESETS["speech-16k"], left).to("meta")
    wav, mel = torch.empty(2, 1600, device="meta"), torch.empty(2, 80, 8, device="meta")
    with Traffic() as traffic:
        vocoder.log_prob(wav, mel).sum().backward()
    assert traffic.seen == []


def test_the_meter_leaves_out_what_was_skipped():
    meter = DeviceMeter()
    for loss, skipped in ((1.0, 0.0), (float("nan"), 1.0), (3.0, 0.0)):
        meter.note(torch.tensor(loss), torch.tensor(skipped), 10, 0.1)
    figures = meter.take()
    assert (figures["loss"], figures["skipped"]) == (2.0, 1.0)
    for _ in range(HOPELESS):
        meter.note(torch.tensor(float("nan")), torch.tensor(1.0), 10, 0.1)
    with pytest.raises(TrainingError, match="not finite"):
        meter.take()


# Trials


class Machine:
    """Makes so many samples a second as a table says; batches that are not in it do not fit."""

    def __init__(self, rates):
        self.rates = rates

    def trials(self, options, seconds=100.0):
        trials = Trials(None, None, torch.device("cpu"), seconds, options)
        trials._rate = self.rate
        return trials

    def rate(self, setup):
        return self.rates[(setup.batch, setup.precision, setup.graphed, setup.compiled)]


def test_trials_take_the_batch_from_which_on_little_is_won():
    rates = {(batch, "32-true", False, False): rate for batch, rate in ((2, 10), (4, 19), (8, 35), (16, 38), (32, 60))}
    machine = Machine({**rates, (8, "bf16-mixed", False, False): 30})
    trials = machine.trials(Options())
    assert trials.choose(Setup(2, "32-true")) == Setup(8, "32-true")
    assert [trial.setup.batch for trial in trials.done] == [2, 4, 8, 16, 8]


def test_trials_go_down_where_a_batch_does_not_fit():
    machine = Machine({(2, "32-true", False, False): 10})
    trials = machine.trials(Options(precision="32-true"))
    assert trials.choose(Setup(8, "32-true")) == Setup(2, "32-true")
    assert [bool(trial.problem) for trial in trials.done] == [True, True, False, True]


def test_trials_with_graphs_take_a_smaller_batch():
    plain = {(batch, "bf16-mixed", False, False): rate for batch, rate in ((4, 10), (8, 20), (16, 22))}
    graphed = {(batch, "bf16-mixed", True, False): rate for batch, rate in ((8, 40), (4, 38), (2, 20))}
    compiled = {(4, "bf16-mixed", True, True): 39}
    options = Options(precision="bf16-mixed", graphs="on", compiled="auto")
    chosen = Machine({**plain, **graphed, **compiled}).trials(options).choose(Setup(4, "bf16-mixed"))
    assert chosen == Setup(4, "bf16-mixed", graphed=True)
    forced = Machine({**plain, **graphed, **compiled}).trials(replace(options, compiled="on"))
    assert forced.choose(Setup(4, "bf16-mixed")) == Setup(4, "bf16-mixed", compiled=True, graphed=True)


def test_nothing_is_tried_where_nothing_is_open_or_no_time_is_left():
    for options, seconds in ((FIXED, 100.0), (Options(), 0.0)):
        trials = Machine({}).trials(options, seconds)
        assert trials.choose(Setup(2, "32-true")) == Setup(2, "32-true")
        assert trials.done == []


def test_what_takes_too_long_is_ended():
    with pytest.raises(TooLongError), time_limit(0.05):
        time.sleep(5)


# The shelf


def test_what_is_too_large_is_cut_and_joined_again(tmp_path):
    work, out, back = (tmp_path / name for name in ("work", "out", "back"))
    contents = {"run.json": b"{}", "best.safetensors": bytes(range(250)), "state/last.pt": b"s" * 300}
    for name, content in contents.items():
        with atomic_path(work / name) as temporary:
            temporary.write_bytes(content)
    out.mkdir()
    (out / "log").write_bytes(b"of somebody else")
    limits = shelf.Limits(files=5, file_bytes=100, bytes=1000)
    assert shelf.publish(work, out, list(contents), limits) == ["state/last.pt"]
    assert len(files_in(out)) == 5
    assert max(files_in(out).values()) <= 100
    (work / "best.safetensors").write_bytes(bytes(250))
    shelf.publish(work, out, list(contents), limits)
    assert len(files_in(out)) == 5
    assert set(shelf.restore(out, back)) == {"log", "run.json", "best.safetensors"}
    assert (back / "best.safetensors").read_bytes() == bytes(250)
    next(out.glob("best*.2of3")).unlink()
    with pytest.raises(CheckpointError, match="2 of 3 parts"):
        shelf.restore(out, back)


def test_the_shelf_has_an_end(tmp_path):
    work, out = tmp_path / "work", tmp_path / "out"
    (work).mkdir()
    for name in ("a", "b", "c"):
        (work / name).write_bytes(b"x" * 40)
    assert shelf.publish(work, out, ["a", "b", "c"], shelf.Limits(8, 100, 90)) == ["c"]
    assert set(files_in(out)) == {"a", "b"}
    shelf.publish(work, out, ["c"], shelf.Limits(8, 100, 90), outdated=["a"])
    assert set(files_in(out)) == {"b", "c"}


# Runs


def test_a_run_leaves_a_model_that_speaks(request_for, packed):
    request = request_for(options=Options(compiled="off", graphs="off"), share=0.002)
    report = train(request)
    assert report["stopped_by"] == "budget"
    assert report == json.loads((request.out / "run.json").read_bytes())
    assert report["trials"] == [] or report["trials"][0]["batch"] == 2
    assert report["learning_rate"] == pytest.approx(scaled_rate(1e-3, 2, report["batch"]))
    found = files_in(request.out)
    assert len(found) <= 8
    samples = [name for name in found if name.startswith("samples/")]
    assert set(found) == {"run.json", "best.safetensors", "history.jsonl", "recipe.yaml", "state/last.pt", *samples}
    assert len(samples) == min(2, len(packed.entries("valid")))
    assert read_audio(request.out / samples[0])[1] == 16000
    vocoder = load(request.out)
    assert torch.isfinite(vocoder.synthesize(packed.load(packed.entries("valid")[0])[1][None, :, :4])).all()
    said = read_header(request.out).provenance
    assert (said["recipe"], said["corpus"], said["device"], said["batch"]) == ("tiny", "sample", "cpu", report["batch"])
    assert said["samples"] == report["samples"] > 0
    assert said["valid_nats_per_sample"] == pytest.approx(report["best_nats_per_sample"], abs=1e-4)


def test_a_second_call_goes_on(request_for):
    request = request_for()
    first = train(request)
    shutil.rmtree(request.work)
    second = train(request_for(steps=9))
    assert (first["step"], second["step"]) == (6, 9)
    history = [json.loads(line) for line in (request.out / "history.jsonl").read_text().splitlines()]
    assert [line["step"] for line in history] == sorted(line["step"] for line in history)
    with pytest.raises(RecipeError, match="another recipe"):
        train(request_for(overrides=("model.layers=3",)))


def test_weights_that_are_cut_are_joined(request_for, tmp_path):
    request = request_for(limits=shelf.Limits(files=8, file_bytes=50_000, bytes=MANY))
    report = train(request)
    assert report["left_out"] == ["state/last.pt"]
    assert max(files_in(request.out).values()) <= 50_000
    assert len(files_in(request.out)) <= 8
    assert list(request.out.glob("best.safetensors.*"))
    shelf.restore(request.out, tmp_path / "run")
    assert load(tmp_path / "run").name == "wavenet"
    with pytest.raises(OutputError, match="without the state"):
        train(replace(request, work=tmp_path / "other"))


def test_a_run_without_a_hope_ends_and_says_so(request_for):
    request = request_for(steps=1000, overrides=("train.log_every=10",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stepper, "passes", lambda self, batch: torch.tensor(float("nan")))
        report = train(request)
    assert report["stopped_by"] == "loss"
    assert "lower --lr" in report["problem"]
    assert load(request.out).name == "wavenet"


def test_a_run_says_what_is_wrong(request_for):
    with pytest.raises(CorpusError, match="other mels"):
        train(request_for(recipe={"mel": "nvidia-22k"}))
    with pytest.raises(TrainingError, match="give more --minutes"):
        train(request_for(minutes=1e-6))
    assert scaled_rate(1e-3, 2, 8) == pytest.approx(2e-3)
    assert scaled_rate(1e-3, 2, 2000) == pytest.approx(4e-3)


# The program


def run_program(*arguments, missing="nothing", **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", WITHOUT, missing, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True, **options)


def command_of(request, minutes):
    options = ("--batch", 2, "--precision", "32-true", "--sample-seconds", 0.02, "--device", "cpu")
    cadences = ("train.checkpoint_every=1s", "train.validate_every=1s")
    return ("train", request.pack, request.recipe, "--out", request.out, "--minutes", minutes, *options, *cadences)


@pytest.mark.slow
def test_the_program_works_without_audio_packages(request_for):
    request = request_for(steps=MANY)
    missing = "soundfile,soxr,librosa,auraloss,tensorboardX"
    with run_program(*command_of(request, 10), missing=missing) as running:
        wait_for(running, request.out / "state" / "last.pt")
        running.terminate()
        output, _ = running.communicate(timeout=900)
    assert running.returncode == 0
    report = json.loads(output.splitlines()[-1])
    assert (report["stopped_by"], report["problem"]) == ("SIGTERM", "")
    with wave.open(str(next((request.out / "samples").glob("*.wav")))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16000)


@pytest.mark.slow
def test_a_program_that_was_killed_goes_on(request_for):
    request = request_for(steps=MANY)
    with run_program(*command_of(request, 10)) as running:
        wait_for(running, request.out / "best.safetensors")
        running.kill()
    step = json.loads((request.out / "run.json").read_bytes())["step"]
    assert load(request.out).name == "wavenet"
    shutil.rmtree(request.work)
    report = train(replace(request, overrides=(f"train.steps={step + 3}",)))
    assert report["step"] >= step + 3
    assert report["stopped_by"] == "budget"


def wait_for(running, path):
    while not path.is_file():
        assert running.poll() is None, "the program ended too early"
        time.sleep(0.2)
