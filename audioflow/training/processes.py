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
        devices: processes on each node; what torchrun says when left out, or 1.
        nodes: number of nodes; what torchrun says when left out, or 1.

    Raises:
        TrainingError: the device is not there.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    devices = devices or local
    nodes = nodes or max(1, int(os.environ.get("WORLD_SIZE", "1")) // local if "LOCAL_WORLD_SIZE" in os.environ else 1)
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
