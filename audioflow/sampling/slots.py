"""Engines for flows that run slot by slot: all give the same audio for the same noise.

``naive`` is the specification: for every slot it runs the network over the whole signal. ``cached`` keeps what each
layer has computed, so that each hidden unit is computed once.
"""

import copy
from collections.abc import Callable

from torch import nn

from audioflow.flows import MAF, Bijection
from audioflow.nets.uncached import Uncached


def uncached(bijection: Bijection) -> Bijection:
    """The same map with the same weights, in which no autoregressive flow keeps anything from slot to slot.

    >>> from audioflow.nets.made import MADE
    >>> flow = MAF(MADE(channels=3, outputs=2, hidden=[8]))
    >>> type(uncached(flow).network).__name__
    'Uncached'
    """
    twin: Bijection = _rebuilt(bijection)  # type: ignore[assignment]
    return twin


def _rebuilt(module: nn.Module) -> nn.Module:
    """A tree of new maps around the networks that are there."""
    if isinstance(module, MAF):
        return MAF(Uncached(module.network), module.kernel)
    if not isinstance(module, (Bijection, nn.ModuleList)):
        return module
    # A shallow copy shares parameters and buffers; its members are its own.
    twin = copy.copy(module)
    twin._modules = {name: None if child is None else _rebuilt(child) for name, child in module._modules.items()}
    return twin


SLOT_ENGINES: dict[str, Callable[[Bijection], Bijection]] = {"cached": lambda bijection: bijection, "naive": uncached}
"""What each engine makes of a flow before noise goes through it."""
