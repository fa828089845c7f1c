"""The weights of a foreign model, taken one by one into the layers of ours, so that none is forgotten."""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from audioflow.errors import CheckpointError
from audioflow.imports.unpickle import Checkpoint

NORMED = (("weight_g", "weight_v"), ("parametrizations.weight.original0", "parametrizations.weight.original1"))
"""Magnitude and direction of a normalised weight, as torch names them with its older and its newer function."""

Convolution = tuple[Tensor, Tensor | None]
"""Weight, weight normalisation worked out, and bias, both in float64."""


class Weights:
    """A checkpoint from which weights are taken by name.

    Args:
        checkpoint: of the foreign model.
        family: what such a model is called, for messages.
    """

    def __init__(self, checkpoint: Checkpoint, family: str) -> None:
        self.checkpoint = checkpoint
        self.family = family
        self._left = dict(checkpoint.weights)

    def __contains__(self, layer: str) -> bool:
        """Whether a layer, or anything below a name, is there."""
        return any(name == layer or name.startswith(f"{layer}.") for name in self.checkpoint.weights)

    def count(self, pattern: str, step: int = 1) -> int:
        """Number of layers named by ``pattern`` with 0, ``step``, twice ``step``, ... in place of ``{}``."""
        number = 0
        while pattern.format(number * step) in self:
            number += 1
        return number

    def shape(self, layer: str) -> tuple[int, ...]:
        """Shape of a layer's weight, which stays to be taken."""
        for name in ("weight", *(direction for _, direction in NORMED)):
            if f"{layer}.{name}" in self.checkpoint.weights:
                return tuple(self.checkpoint.weights[f"{layer}.{name}"].shape)
        raise self._missing(f"{layer}.weight")

    def tensor(self, name: str) -> Tensor:
        """Take a tensor, in float64.

        Raises:
            CheckpointError: it is not there.
        """
        if name not in self.checkpoint.weights:
            raise self._missing(name)
        self._left.pop(name, None)
        return self.checkpoint.weights[name].double()

    def layer(self, layer: str) -> Convolution:
        """Take weight and bias of a layer, with or without weight normalisation."""
        bias = self.tensor(f"{layer}.bias") if f"{layer}.bias" in self.checkpoint.weights else None
        for magnitude, direction in NORMED:
            if f"{layer}.{direction}" in self.checkpoint.weights:
                v = self.tensor(f"{layer}.{direction}")
                norm = v.flatten(1).norm(dim=1).clamp(min=1e-300).reshape(-1, *[1] * (v.ndim - 1))
                return self.tensor(f"{layer}.{magnitude}") * v / norm, bias
        return self.tensor(f"{layer}.weight"), bias

    def rows(self, *layers: str) -> Convolution:
        """Take layers that see the same, as one: their outputs one after another."""
        parts = [self.layer(layer) for layer in layers]
        weight = torch.cat([weight for weight, _ in parts])
        biases = [weight.new_zeros(len(weight)) if bias is None else bias for weight, bias in parts]
        return weight, torch.cat(biases)

    def drop(self, *layers: str) -> None:
        """Leave layers out that the foreign model has but never uses."""
        for layer in layers:
            for name in [name for name in self._left if name.startswith(f"{layer}.")]:
                del self._left[name]

    def require_all_taken(self) -> None:
        """Make sure that the model has no part that ours lacks.

        Raises:
            CheckpointError: weights are left over.
        """
        if self._left:
            names = ", ".join(list(self._left)[:3])
            raise CheckpointError(
                f"{self.checkpoint.path} is no {self.family} that can be imported: {len(self._left)} of its weights "
                f"belong to no layer of such a model ({names}, ...)."
            )

    def put(self, target: nn.Module, source: Convolution, what: str) -> None:
        """Write weight and bias into a layer of ours, weight normalisation taken up again.

        Args:
            target: convolution or linear layer.
            source: from :meth:`layer` or :meth:`rows`.
            what: name of the source, for messages.

        Raises:
            CheckpointError: the shapes differ.
        """
        weight, bias = source
        self._require_shape(weight, target.weight, what)  # type: ignore[arg-type]
        with torch.no_grad():
            _set_weight(target, weight)
        if target.bias is not None:
            own: Tensor = target.bias  # type: ignore[assignment]
            self.put_tensor(own, torch.zeros_like(own) if bias is None else bias, f"the bias of {what}")
        elif bias is not None and bool(bias.any()):
            raise CheckpointError(f"{self.checkpoint.path}: {what} has a bias, unlike that of a {self.family}.")

    def put_tensor(self, target: Tensor, source: Tensor, what: str) -> None:
        """Write a tensor into one of ours.

        Raises:
            CheckpointError: the shapes differ.
        """
        self._require_shape(source, target, what)
        with torch.no_grad():
            target.copy_(source)

    def move(self, target: nn.Module, *layers: str) -> None:
        """Take layers, as one where there are several, and :meth:`put` them into a layer of ours."""
        self.put(target, self.layer(layers[0]) if len(layers) == 1 else self.rows(*layers), layers[0])

    def _require_shape(self, source: Tensor, target: Tensor, what: str) -> None:
        if source.shape != target.shape:
            raise CheckpointError(
                f"{self.checkpoint.path}: {what} has the shape {list(source.shape)}, but {list(target.shape)} goes "
                f"with the other weights of this {self.family}."
            )

    def _missing(self, name: str) -> CheckpointError:
        return CheckpointError(
            f"{self.checkpoint.path} is no {self.family}: it has no weight {name}; check the format and its settings."
        )


def _set_weight(target: nn.Module, weight: Tensor) -> None:
    if not parametrize.is_parametrized(target, "weight"):
        target.weight.copy_(weight)  # type: ignore[operator,union-attr]
        return
    stored = target.parametrizations.weight  # type: ignore[union-attr]
    norm = weight.flatten(1).norm(dim=1).reshape(stored.original0.shape)  # type: ignore[union-attr]
    stored.original0.copy_(norm)  # type: ignore[union-attr,operator]
    # A row of zeros has no direction; any will do, since its magnitude is zero.
    stored.original1.copy_(torch.where(norm > 0, weight, 1.0))  # type: ignore[union-attr,operator]
