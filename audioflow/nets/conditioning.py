"""What a network is conditioned on, kept at the lowest rate at which layers may project it."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from audioflow.nets.pointwise import conv1x1


@dataclass(frozen=True)
class Conditioning:
    r"""Features of an utterance, one column a step, or one a frame and an interpolation between frames.

    The interpolation acts on every channel alike, so a 1x1 convolution may come before it. With ``a`` the features of
    the frames, ``w`` the weights of the steps of a hop of ``h`` steps, and ``v`` what is the same at all times,

    .. math::
        c_{f h + p} = v + \sum_{j=-1}^{1} w_{p,j}\, a_{f+j} \qquad
        W c_{f h + p} + b = (W v + b) + \sum_{j=-1}^{1} w_{p,j}\, (W a_{f+j})

    The right side multiplies by ``W`` once per frame, and four times per step and channel of the result, instead of
    once for every channel of the features. Without an interpolation a frame is a step.

    Attributes:
        features: ``a``, ``[B, C, F]``.
        interpolation: ``w``, ``[h, 3]``, or ``None`` for features of steps.
        time_invariant: ``v``, ``[B, C, 1]``, or ``None``; goes with an interpolation.

    Example:
        >>> frames, weights = torch.tensor([[[0.0, 2.0]]]), torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.5, 0.5]])
        >>> conditioning = Conditioning(frames, weights)
        >>> conditioning.steps, conditioning.samples().tolist()
        (4, [[[0.0, 1.0, 2.0, 1.0]]])
        >>> conditioning.projected(torch.tensor([[[10.0]]])).tolist()
        [[[0.0, 10.0, 20.0, 10.0]]]
    """

    features: Tensor
    interpolation: Tensor | None = None
    time_invariant: Tensor | None = None

    @staticmethod
    def of_steps(features: Tensor | None) -> "Conditioning | None":
        """Features of steps ``[B, C, T]``, if there are any."""
        return None if features is None else Conditioning(features)

    @property
    def hop(self) -> int:
        """Steps of a frame, ``h``."""
        return 1 if self.interpolation is None else len(self.interpolation)

    @property
    def steps(self) -> int:
        """Steps in all, ``F * h``."""
        return self.features.shape[-1] * self.hop

    @property
    def weights(self) -> Tensor:
        """``w``, of features of steps too, between which there is nothing: ``[h, 3]``."""
        if self.interpolation is not None:
            return self.interpolation
        return self.features.new_tensor([[0.0, 1.0, 0.0]])

    def projected(self, matrix: Tensor, bias: Tensor | None = None, constant: Tensor | None = None) -> Tensor:
        """A 1x1 convolution of the features: ``[B, O, F * h]``.

        Args:
            matrix: ``W``, ``[O, C, 1]``.
            bias: ``b``, ``[O]``.
            constant: added at all times, ``[B, O, 1]``.
        """
        if self.interpolation is None:
            projected = conv1x1(self.features, matrix, bias)
            return projected if constant is None else projected + constant
        if bias is not None:
            constant = bias[:, None] if constant is None else constant + bias[:, None]
        if self.time_invariant is not None:
            own = functional.conv1d(self.time_invariant, matrix)
            constant = own if constant is None else constant.to(own.dtype) + own
        around = functional.conv1d(functional.pad(self.features, (1, 1)), matrix)
        return _interpolated(around, self.interpolation, constant)

    def samples(self) -> Tensor:
        """The features of each step, ``[B, C, F * h]``."""
        if self.interpolation is None:
            return self.features
        return _interpolated(functional.pad(self.features, (1, 1)), self.interpolation, self.time_invariant)

    def cut(self, start: int, stop: int) -> "Conditioning":
        """Frames ``start - 1`` to ``stop``, for the steps of those from ``start`` on and before ``stop``.

        :meth:`projected` gives the steps of the frame at either end too, which are to be left out.
        """
        frames = functional.pad(self.features, (1, 1))[..., start : stop + 2]
        return Conditioning(frames, self.interpolation, self.time_invariant)

    def utterances(self, rows: slice) -> "Conditioning":
        """Those of some utterances of the batch."""
        constant = None if self.time_invariant is None else self.time_invariant[rows]
        return Conditioning(self.features[rows], self.interpolation, constant)


def _interpolated(around: Tensor, weights: Tensor, constant: Tensor | None) -> Tensor:
    """Steps between frames ``[B, O, F + 2]``, of which the outermost are neighbours only, and a constant."""
    neighbours = [around[..., :-2], around[..., 1:-1], around[..., 2:]]
    weights = weights.to(around.dtype)
    if constant is not None:
        # A fourth neighbour of weight one: it comes with the product, without a pass of its own.
        neighbours.append(constant.to(around.dtype).expand_as(neighbours[0]))
        weights = torch.cat([weights, torch.ones_like(weights[:, :1])], dim=1)
    return torch.matmul(torch.stack(neighbours, dim=-1), weights.t()).flatten(2)
