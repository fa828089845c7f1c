"""What is worked out from weights once, and again when they change."""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn


def weights_state(weights: Iterable[Tensor]) -> tuple[tuple[int, int], ...] | None:
    """Where weights lie and how often they were written to: while they are held, the same again is the same numbers.

    ``None`` for weights that were made in inference mode, which do not count.
    """
    found = list(weights)
    if any(weight.is_inference() for weight in found):
        return None
    return tuple((weight.data_ptr(), weight._version) for weight in found)


Value = TypeVar("Value")


class Kept(Generic[Value]):
    """Something that is worked out from a module's weights, kept until one of them is written to or replaced.

    What is written through ``parameter.data``, past torch's counter, is not seen.
    """

    def __init__(self) -> None:
        self._found: WeakKeyDictionary[nn.Module, tuple[object, list[Tensor], Value]] = WeakKeyDictionary()

    def of(self, module: nn.Module, make: Callable[[], Value]) -> Value:
        """What was made of the module's weights, or ``make()``."""
        weights = [*module.parameters(), *module.buffers()]
        state = weights_state(weights)
        found = self._found.get(module)
        if state is not None and found is not None and found[0] == state:
            return found[2]
        value = make()
        # What a CUDA graph makes while it is recorded is overwritten when the graph runs.
        if state is not None and not (torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()):
            # Held, so that nothing else can come to lie where they lie.
            self._found[module] = state, [weight.detach() for weight in weights], value
        return value
