"""The law of a group of samples as the kernel reads it."""

import torch
from torch import Tensor, nn

from audioflow.distributions import OutputLaw
from audioflow.nets.group_head import GroupLaw
from audioflow.nets.made import MADE

Made = tuple[Tensor, Tensor]


def made_of(law: OutputLaw) -> Made | None:
    """The MADE within a group, if there is one.

    Returns:
        What each sample adds to the hidden units, ``[r, H]``, and what these, after their ReLU, add to each sample's
        numbers, ``[r, H, P]``; weights that the mask takes away are zero.

    Raises:
        ValueError: it has more than one hidden layer.
    """
    net = law.made if isinstance(law, GroupLaw) else None
    if net is None:
        return None
    if len(net.layers) > 2:
        raise ValueError(f"the {len(net.layers) - 1} hidden layers of a MADE are more than 1")
    first, last = (_linear(net, n).weight.detach() * getattr(net, f"mask_{n}")[0] for n in range(2))
    return first.t().contiguous(), last.unflatten(0, (net.outputs, net.channels)).permute(1, 2, 0).contiguous()


def numbers_of_each(law: OutputLaw) -> int:
    """Numbers of the law of one sample."""
    return law.law.parameter_channels if isinstance(law, GroupLaw) else law.parameter_channels


def folded(law: OutputLaw, matrices: list[Tensor], bias: Tensor) -> tuple[list[Tensor], Tensor]:
    """Matrices ``[..., P']`` and a bias ``[P']`` that give a law's numbers, made into those that the kernel reads.

    These hold what a MADE's first layer is told instead of features, and the biases of its layers.
    """
    net = law.made if isinstance(law, GroupLaw) else None
    if not isinstance(law, GroupLaw) or net is None or net.condition is None:
        return matrices, bias
    count = law.parameter_channels - law.features
    told = net.condition.weight.detach().to(bias.device, torch.double).t()

    def fold(x: Tensor) -> Tensor:
        x = x.double()
        return torch.cat([x[..., :count], x[..., count:] @ told], dim=-1)

    total, always = fold(bias), [_linear(net, number).bias.detach().to(told) for number in range(2)]
    total[count:] += always[0]
    total[: len(always[1])] += always[1]
    return [fold(matrix).to(bias) for matrix in matrices], total.to(bias)


def _linear(net: MADE, number: int) -> nn.Linear:
    layer: nn.Linear = net.layers[number]  # type: ignore[assignment]
    return layer
