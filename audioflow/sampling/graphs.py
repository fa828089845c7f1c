"""CUDA graphs: what a GPU is told to do, recorded once and told again at one call."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from audioflow.nets.kept import weights_state

Function = Callable[..., Tensor]
Inputs = Sequence[Tensor | None]
Replay = Callable[[Inputs], Tensor]

WARM_UPS = 2
"""Runs before a recording: kernels are compiled and libraries set up in the first, memory is laid out in the second."""


class GraphReplay:
    """Runs functions of tensors on a GPU as recorded graphs, one for each shape of the inputs.

    A short signal takes longer to be queued, kernel by kernel, than to be worked on; a graph is queued at once. It
    reads the weights where they were when it was recorded, so it is recorded anew where one of them was written to or
    has moved. Graphs hold the memory that they work in, so only the last few are kept.

    Args:
        kept: graphs.
        record: from a function and its first inputs to something that runs it on others of the same shapes.
    """

    def __init__(self, kept: int = 4, record: Callable[[Function, Inputs], Replay] | None = None) -> None:
        self._kept = kept
        self._record = record or record_graph
        self._recorded: OrderedDict[Hashable, tuple[list[Tensor], Replay]] = OrderedDict()

    def __call__(self, function: Function, inputs: Inputs, key: Hashable, weights: Iterable[Tensor]) -> Tensor:
        """``function(*inputs)``, recorded if need be.

        Args:
            function: of the inputs and the weights; nothing in it waits for the GPU or takes numbers from the CPU.
            inputs: tensors on one GPU, and ``None``.
            key: what the function depends on beside the inputs' shapes and the weights.
            weights: every tensor that it reads and is not given.
        """
        read = list(weights)
        state = weights_state(read)
        if state is None:  # whether they change cannot be seen
            return function(*inputs)
        place = key, tuple(_kind(x) for x in inputs), state
        found = self._recorded.pop(place, None)
        if found is None:
            while len(self._recorded) >= self._kept:
                self._recorded.popitem(last=False)
            # Weights are held, so that nothing else can come to lie where they lie.
            found = [weight.detach() for weight in read], self._record(function, inputs)
        self._recorded[place] = found
        return found[1](inputs)

    def __len__(self) -> int:
        """Graphs that are kept."""
        return len(self._recorded)

    def __deepcopy__(self, memo: dict[int, Any]) -> "GraphReplay":
        """Another one that holds no graphs: those are of the original's weights."""
        return GraphReplay(self._kept, self._record)

    def __reduce__(self) -> tuple[Any, ...]:
        return GraphReplay, (self._kept, self._record)


def record_graph(function: Function, inputs: Inputs) -> Replay:
    """Record what ``function`` makes a GPU do with ``inputs``; the result runs it on others of the same shapes."""
    device = next(x.device for x in inputs if x is not None)
    # Tensors of inference mode could not be written to outside of it.
    with torch.inference_mode(mode=False), torch.no_grad(), torch.cuda.device(device):
        static = [None if x is None else x.clone() for x in inputs]
        side, current = torch.cuda.Stream(), torch.cuda.current_stream()
        side.wait_stream(current)
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                function(*static)
        current.wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            made = function(*static)

    def replay(given: Inputs) -> Tensor:
        for place, x in zip(static, given, strict=True):
            if place is not None and x is not None:
                place.copy_(x)
        graph.replay()
        return made.clone()  # the next replay writes there again

    return replay


def _kind(x: Tensor | None) -> Hashable:
    return None if x is None else (tuple(x.shape), x.dtype, x.device)
