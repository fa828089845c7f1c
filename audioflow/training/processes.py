"""One process or many: Fabric, work that only the first process does, and stopping politely."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any, Literal, TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers.tensorboard import TensorBoardLogger
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor

from audioflow.errors import AudioflowError, TrainingError

Device = Literal["auto", "cpu", "cuda"]
Result = TypeVar("Result")

# Long enough for the first process to fetch and prepare a corpus while the others wait for it.
_PATIENCE = timedelta(hours=2)


def make_fabric(
    out_dir: Path, precision: str, device: Device = "auto", devices: int | None = None, nodes: int | None = None
) -> Fabric:
    """Set up the engine that places the model on devices and joins processes.

    Under torchrun and Slurm the processes are there already and Fabric takes its place among them; otherwise it
    starts them.

    Args:
        out_dir: the run directory, for the TensorBoard log.
        precision: ``32-true`` or ``bf16-mixed``.
        device: where to train; ``auto`` takes a GPU when there is one.
        devices: processes on each node; what torchrun or Slurm says when left out, or 1.
        nodes: number of nodes; what torchrun or Slurm says when left out, or 1.

    Raises:
        TrainingError: the device is not there, or Slurm started other processes than were asked for.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    devices, nodes = _layout(devices, nodes)
    if device == "cuda" and torch.cuda.device_count() < devices:
        raise TrainingError(
            f"{devices} CUDA device(s) were asked for, but torch sees {torch.cuda.device_count()}; use --device cpu."
        )
    return Fabric(
        accelerator=device,
        devices=devices,
        num_nodes=nodes,
        strategy=DDPStrategy(timeout=_PATIENCE) if devices * nodes > 1 else "auto",
        precision=precision,  # type: ignore[arg-type]
        loggers=TensorBoardLogger(out_dir, name="tensorboard", version=""),
    )


def _layout(devices: int | None, nodes: int | None) -> tuple[int, int]:
    """Say how many processes there are on each node, and how many nodes: those asked for, or those started already."""
    if "LOCAL_WORLD_SIZE" in os.environ:  # torchrun goes first: it may itself run under Slurm
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        return devices or local, nodes or max(1, int(os.environ.get("WORLD_SIZE", "1")) // local)
    if SLURMEnvironment.detect():
        return _slurm_layout(devices, nodes)
    return devices or 1, nodes or 1


def _slurm_layout(devices: int | None, nodes: int | None) -> tuple[int, int]:
    tasks, slurm_nodes = int(os.environ["SLURM_NTASKS"]), int(os.environ.get("SLURM_NNODES", "1"))
    local = int(os.environ.get("SLURM_NTASKS_PER_NODE", max(1, tasks // slurm_nodes)))
    if local * slurm_nodes != tasks or (devices or local, nodes or slurm_nodes) != (local, slurm_nodes):
        asked = f"{devices or local} on each of {nodes or slurm_nodes} node(s)"
        raise TrainingError(
            f"Slurm started {tasks} process(es), {local} on each of {slurm_nodes} node(s), but {asked} are needed; "
            "give srun the same number of tasks on each node (--nodes and --ntasks-per-node), and "
            "leave out --devices and --nodes."
        )
    # Fabric refuses several tasks without this variable, which Slurm sets only where the option of that name is given.
    os.environ.setdefault("SLURM_NTASKS_PER_NODE", str(local))
    return local, slurm_nodes


@dataclass(frozen=True)
class _Outcome:
    value: object = None
    error: AudioflowError | None = None


def summed(fabric: Fabric, values: Tensor) -> list[float]:
    """Give the sums over all processes of a vector of figures."""
    if fabric.world_size == 1:
        return values.tolist()  # type: ignore[no-any-return]
    return fabric.all_reduce(values.to(fabric.device), reduce_op="sum").tolist()  # type: ignore[union-attr,no-any-return]


def on_first_process(fabric: Fabric, work: Callable[[], Result]) -> Result:
    """Do something in the first process only; all get its result, or its error."""
    outcome = _Outcome()
    if fabric.is_global_zero:
        try:
            outcome = _Outcome(value=work())
        except AudioflowError as error:
            outcome = _Outcome(error=error)
    outcome = fabric.broadcast(outcome) if fabric.world_size > 1 else outcome
    if outcome.error is not None:
        raise outcome.error
    return outcome.value  # type: ignore[return-value]


@dataclass
class StopRequest:
    """Whether the user asked for an end.

    Args:
        signal_name: the signal that came, or None.
    """

    signal_name: str | None = None


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn the first SIGINT or SIGTERM into a request to stop after the step; the second one acts as usual."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request  # Python hands signals to the main thread only
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, _frame: FrameType | None) -> None:
        request.signal_name = signal.Signals(number).name
        _restore(before)

    for number in before:
        signal.signal(number, note)
    try:
        yield request
    finally:
        _restore(before)


def _restore(handlers: Mapping[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
