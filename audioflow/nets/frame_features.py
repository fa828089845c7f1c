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
        here = functional.conv1d(self.frames, matrix)
        constant = here.new_zeros(()) if bias is None else bias.to(here.dtype)
        if constant.ndim == 1:
            constant = constant[:, None]
        if self.steady is not None:
            constant = constant + functional.conv1d(self.steady, matrix)
        before, after = functional.pad(here[..., :-1], (1, 0)), functional.pad(here[..., 1:], (0, 1))
        # The constant is a fourth neighbour of weight one: it comes with the product, without a pass of its own.
        neighbours = torch.stack([before, here, after, constant.expand_as(here)], dim=-1)
        weight = torch.cat([self.weight, torch.ones_like(self.weight[:, :1])], dim=1)
        return torch.matmul(neighbours, weight.to(here.dtype).t()).flatten(2)

    def samples(self) -> Tensor:
        """The features themselves, ``[B, C, F * h]``."""
        before, after = functional.pad(self.frames[..., :-1], (1, 0)), functional.pad(self.frames[..., 1:], (0, 1))
        neighbours = torch.stack([before, self.frames, after], dim=-1)
        cond = torch.matmul(neighbours, self.weight.to(self.frames.dtype).t()).flatten(2)
        return cond if self.steady is None else cond + self.steady
