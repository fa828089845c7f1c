"""Conditioning features that stay at the frame rate until a layer has projected them."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class FrameFeatures:
    r"""Features ``c`` that are interpolated between frames, kept as they are before the interpolation.

    The interpolation acts on every channel alike, so a 1x1 convolution may come before it. With ``a`` the features of
    the frames, ``w`` the weights of the samples of a hop of ``h`` samples, and ``v`` what is the same at all times,

    .. math::
        c_{f h + p} = v + \sum_{j=-1}^{1} w_{p,j}\, a_{f+j} \qquad
        W c_{f h + p} + b = (W v + b) + \sum_{j=-1}^{1} w_{p,j}\, (W a_{f+j})

    The right side multiplies by ``W`` once per frame, and four times per sample and channel of the result, instead of
    once for every channel of the features.

    Attributes:
        frames: ``a``, ``[B, C, F]``.
        weight: ``w``, ``[h, 3]``.
        steady: ``v``, ``[B, C, 1]``, or ``None``.
    """

    frames: Tensor
    weight: Tensor
    steady: Tensor | None = None

    def projected(self, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
        """A 1x1 convolution of the features, ``matrix [O, C, 1]``, ``bias [O]`` or ``[B, O, 1]`` -> ``[B, O, F * h]``.

        >>> features = FrameFeatures(torch.tensor([[[0.0, 2.0]]]), torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.5, 0.5]]))
        >>> features.projected(torch.tensor([[[10.0]]])).tolist()
        [[[0.0, 10.0, 20.0, 10.0]]]
        """
        constant = None if bias is None else bias[:, None] if bias.ndim == 1 else bias
        if self.steady is not None:
            steady = functional.conv1d(self.steady, matrix)
            constant = steady if constant is None else constant.to(steady.dtype) + steady
        return self._interpolated(functional.conv1d(functional.pad(self.frames, (1, 1)), matrix), constant)

    def samples(self) -> Tensor:
        """The features themselves, ``[B, C, F * h]``."""
        return self._interpolated(functional.pad(self.frames, (1, 1)), self.steady)

    def _interpolated(self, around: Tensor, constant: Tensor | None) -> Tensor:
        """Samples between frames ``[B, O, F + 2]``, of which the outermost are neighbours only, and a constant."""
        neighbours = [around[..., :-2], around[..., 1:-1], around[..., 2:]]
        weight = self.weight.to(around.dtype)
        if constant is not None:
            # A fourth neighbour of weight one: it comes with the product, without a pass of its own.
            neighbours.append(constant.to(around.dtype).expand_as(neighbours[0]))
            weight = torch.cat([weight, torch.ones_like(weight[:, :1])], dim=1)
        return torch.matmul(torch.stack(neighbours, dim=-1), weight.t()).flatten(2)

    def cut(self, start: int, stop: int) -> "FrameFeatures":
        """Frames ``start - 1`` to ``stop``, for the samples of those from ``start`` on and before ``stop``.

        :meth:`projected` gives the samples of the frame at either end too, which are to be left out.
        """
        frames = functional.pad(self.frames, (1, 1))[..., start : stop + 2]
        return FrameFeatures(frames, self.weight, self.steady)
