"""How much arithmetic a sample costs."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from audioflow.evaluation.likelihood import device_of
from audioflow.nets.gated_stack import operations_of_torch
from audioflow.vocoders import Vocoder

# A long signal of which the beginning and end are a small part; one frame where each sample is a call by itself.
PARALLEL_FRAMES, SEQUENTIAL_FRAMES = 40, 1


def multiply_accumulates(vocoder: Vocoder, engine: str) -> float:
    """Give the multiply-accumulates of one audio sample in synthesis: those of matrix products and convolutions.

    They are counted while a mel is turned into sound; what pads the ends of a short signal counts too.

    Args:
        vocoder: the model, on any device.
        engine: how it is sampled. What compiled loops and recorded graphs do is not seen from outside; the engines
            count in whose place they stand.
    """
    contract = vocoder.contract
    frames = SEQUENTIAL_FRAMES if vocoder.name == "wavenet" else PARALLEL_FRAMES
    mel = torch.zeros(1, contract.n_mels, frames, device=device_of(vocoder))
    counter = FlopCounterMode(display=False)
    with _without_gradients(vocoder), operations_of_torch(), counter:
        vocoder.synthesize(mel, engine=_counted_engine(vocoder, engine))
    # The counter says two operations for each.
    return counter.get_total_flops() / 2 / (frames * contract.hop_length)


def _counted_engine(vocoder: Vocoder, engine: str) -> str:
    """The engine that does the same arithmetic by torch's own operations, one call at a time."""
    if vocoder.name == "wavenet" and engine != "naive":
        return "cached"
    return engine.removesuffix("-graph")


@contextmanager
def _without_gradients(module: nn.Module) -> Iterator[None]:
    """The counter looks for the gradients of parameters that want one, also where none are kept."""
    wanted = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)
