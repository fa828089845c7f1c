"""Runs in processes of their own: killed at any moment, or two at once."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from lightning_fabric.utilities.rank_zero import rank_zero_only

from audioflow.errors import TrainingError
from audioflow.training import RunDirectory, recipe_text
from audioflow.training.processes import make_fabric
from audioflow.vocoders import load, read_header

SCRIPT = """
import sys, torch
torch.set_num_threads(1)
from audioflow.training import load_recipe, train
from audioflow.training.loop import Loop

recipe, out, devices = sys.argv[1:]
if devices != "1":  # say what each process saw and ended with
    import hashlib, json, os
    from pathlib import Path
    step, save = Loop._step, Loop._finish

    def look(self, batches):
        def seen():
            for batch in batches:
                self.wavs.append(hashlib.sha256(batch.wav.numpy().tobytes()).hexdigest())
                yield batch
        self.wavs = getattr(self, "wavs", [])
        return step(self, seen())

    def tell(self):
        save(self)
        weights = b"".join(value.detach().numpy().tobytes() for value in self.vocoder.parameters())
        told = {"weights": hashlib.sha256(weights).hexdigest(), "wavs": self.wavs, "loss": self.meter.loss,
                "valid": self.valid["valid_nats_per_sample"], "world": self.fabric.world_size}
        Path(f"{out}-rank{self.fabric.global_rank}.json").write_text(json.dumps(told))

    Loop._step, Loop._finish = look, tell
train(load_recipe(recipe), out, "cpu", devices=int(devices) if devices.isdigit() else None)
"""


@pytest.fixture
def command(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)

    def make(recipe, devices="1", launcher=()):
        (tmp_path / "recipe.yaml").write_text(recipe_text(recipe))
        start = [sys.executable, *launcher, str(tmp_path / "script.py")]
        return [*start, str(tmp_path / "recipe.yaml"), str(tmp_path / "run"), devices]

    return make


@pytest.fixture
def clean_environment():
    return {
        key: value
        for key, value in os.environ.items()
        if not {"RANK", "WORLD", "SLURM", "MASTER"} & set(key.split("_"))
    } | {"OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_a_killed_run_leaves_a_checkpoint_and_goes_on(tiny, command, tmp_path, clean_environment):
    recipe = tiny(train={"steps": 100_000, "checkpoint_every": 1, "validate_every": 2})
    run, reached = RunDirectory(tmp_path / "run"), -1
    for extra in (0.0, 0.13, 0.31):  # somewhere in the writing of one of the files
        process = subprocess.Popen(command(recipe), env=clean_environment, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if run.state.is_file() and read_header(run.last).provenance["step"] > reached + 3:
                break
            time.sleep(0.01)
        time.sleep(extra)
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
        assert process.returncode == -signal.SIGKILL, errors.decode()
        load(run.last)
        load(run.best)
        assert read_header(run.last).provenance["step"] > reached + 3
        reached = read_header(run.last).provenance["step"]
    steps = [record["step"] for record in run.read_history() if "loss" in record]
    assert steps[:reached] == list(range(1, reached + 1))


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["fabric", "torchrun"])
def test_two_processes_share_the_data_and_agree(launcher, tiny, command, tmp_path, clean_environment):
    recipe = tiny(train={"steps": 3, "accumulate": 2})
    if launcher == "fabric":
        arguments = command(recipe, devices="2")
    else:
        torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
        arguments = command(recipe, devices="torchrun", launcher=torchrun)
    done = subprocess.run(arguments, env=clean_environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    told = [json.loads((tmp_path / f"run-rank{rank}.json").read_text()) for rank in (0, 1)]
    assert [rank["world"] for rank in told] == [2, 2]
    assert told[0]["weights"] == told[1]["weights"]
    assert told[0]["loss"] == told[1]["loss"]
    assert told[0]["valid"] == told[1]["valid"]
    assert abs(told[0]["loss"]) < 100
    wavs = [wav for rank in told for wav in rank["wavs"]]
    assert len(set(wavs)) == len(wavs) == 2 * 3 * 2
    assert load(tmp_path / "run").name == "wavenet"


@pytest.fixture
def slurm(monkeypatch, tmp_path):
    """Give the rank and the number of processes as one task of Slurm's sees them."""
    monkeypatch.setattr(rank_zero_only, "rank", rank_zero_only.rank, raising=False)  # Fabric keeps it for the process

    def make(variables, **options):
        monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
        monkeypatch.delenv("SLURM_NTASKS_PER_NODE", raising=False)
        for key, value in variables.items():
            monkeypatch.setenv(f"SLURM_{key}", value)
        monkeypatch.setenv("SLURM_NTASKS_PER_NODE", variables.get("NTASKS_PER_NODE", ""))  # so that it is undone
        if "NTASKS_PER_NODE" not in variables:
            del os.environ["SLURM_NTASKS_PER_NODE"]
        fabric = make_fabric(tmp_path, "32-true", "cpu", **options)
        return fabric.global_rank, fabric.local_rank, fabric.world_size

    return make


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"NTASKS": "2", "PROCID": "1", "LOCALID": "1"}, (1, 1, 2)),
        ({"NTASKS": "2", "NNODES": "1", "NTASKS_PER_NODE": "2", "PROCID": "0", "LOCALID": "0"}, (0, 0, 2)),
        ({"NTASKS": "4", "NNODES": "2", "PROCID": "3", "LOCALID": "1", "NODEID": "1"}, (3, 1, 4)),
        ({"NTASKS": "1", "PROCID": "0", "LOCALID": "0"}, (0, 0, 1)),
        ({"NTASKS": "4", "PROCID": "0", "LOCALID": "0", "JOB_NAME": "interactive"}, (0, 0, 1)),
    ],
    ids=["tasks", "tasks-per-node", "nodes", "one", "interactive"],
)
def test_slurm_says_how_many_processes_there_are(variables, expected, slurm):
    assert slurm({"NODEID": "0", **variables}) == expected


def test_other_processes_than_slurm_has_started_are_refused(slurm):
    task = {"NTASKS": "2", "NNODES": "1", "PROCID": "0", "LOCALID": "0", "NODEID": "0"}
    with pytest.raises(TrainingError, match=r"Slurm started 2 process.* but 3 on each of 1 node"):
        slurm(task, devices=3)
    with pytest.raises(TrainingError, match=r"Slurm started 3 process"):
        slurm({**task, "NTASKS": "3", "NNODES": "2"})
