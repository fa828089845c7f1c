"""A categorical law over mu-law companded amplitude."""

import math
from copy import copy

import torch
from torch import Tensor
from typing_extensions import override

from audioflow.distributions.base import OutputLaw, choose


class MuLawCategorical(OutputLaw):
    r"""One logit for each of ``C`` mu-law classes; the density is constant inside a class.

    Companding is :math:`f(x) = \text{sign}(x) \log(1 + \mu |x|) / \log(1 + \mu)` with ``mu = C - 1``. Class ``k`` holds
    the amplitudes whose ``f`` is nearest to ``-1 + 2k / (C - 1)``; its density is its probability over its width, so
    the law integrates to one over [-1, 1]. A draw falls anywhere in the class, not just on its centre: one noise number
    chooses the class and, by what is left of it, the place in it.

    Args:
        classes: ``C``, 256 in the literature.
        one_hot: whether a network sees of its samples which class they are in, on ``C`` channels; otherwise it sees
            their companded amplitude.

    References:
        van den Oord et al., "WaveNet: A Generative Model for Raw Audio", 2016, https://arxiv.org/abs/1609.03499
    """

    noise_channels = 1

    def __init__(self, classes: int = 256, *, one_hot: bool = False) -> None:
        self.parameter_channels = classes
        self.one_hot = one_hot
        self.input_channels = classes if one_hot else 1
        centres = torch.linspace(-1, 1, classes, dtype=torch.float64)
        borders = torch.cat([centres[:1], (centres[1:] + centres[:-1]) / 2, centres[-1:]])
        self.edges = self._expand(borders)

    @override
    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        edges = self.edges.to(params)
        index = self._class_of(x)
        log_mass = torch.log_softmax(params, dim=1).gather(1, index)
        return (log_mass - torch.log(edges[index + 1] - edges[index])).squeeze(1)

    @override
    def smooth_log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        raise NotImplementedError("a law of classes has no gradient in the amplitude")

    @override
    def sample(self, params: Tensor, noise: Tensor, temperature: float = 1.0) -> Tensor:
        edges = self.edges.to(params)
        index, position = choose(params, noise, temperature)
        return torch.lerp(edges[index], edges[index + 1], position)

    @override
    def at_level(self, outputs: Tensor, level: Tensor) -> Tensor:
        """The outputs: companding serves quiet speech already."""
        return outputs

    @override
    def network_input(self, x: Tensor, level: Tensor) -> Tensor:
        """Companded amplitude, by which quiet samples differ as visibly as loud ones; or the class.

        A class is ``C`` numbers of which its own is 1, less those of the middle class, which stands for silence before
        the start. In front of a convolution with a bias it makes no difference what is taken away.
        """
        if self.one_hot:
            classes = torch.arange(self.parameter_channels, device=x.device)[:, None]
            silence = (classes == (self.parameter_channels - 1) // 2).to(x.dtype)
            return (self._class_of(x) == classes).to(x.dtype) - silence
        mu = self.parameter_channels - 1
        return torch.sign(x) * torch.log1p(mu * x.abs()) / math.log1p(mu)

    @override
    def like(self, x: Tensor) -> "MuLawCategorical":
        law = copy(self)
        law.edges = self.edges.to(x)
        return law

    def _class_of(self, x: Tensor) -> Tensor:
        inner = self.edges[1:-1].to(x)
        return torch.bucketize(x.contiguous(), inner, right=True)

    def _expand(self, y: Tensor) -> Tensor:
        mu = self.parameter_channels - 1
        return torch.sign(y) * torch.expm1(y.abs() * math.log1p(mu)) / mu
