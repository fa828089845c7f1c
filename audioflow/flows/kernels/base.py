"""What every kernel keeps: an elementwise invertible map whose parameters a network gives."""

from abc import ABC, abstractmethod

from torch import Tensor


class Kernel(ABC):
    r"""An increasing map of each value by itself, whose parameters come from elsewhere.

    .. math:: z = k(x; \theta) \qquad x = k^{-1}(z; \theta)

    Both directions give the logarithm of their own derivative too.

    Kernels hold no weights: a coupling or autoregressive layer is a mask, a network that gives ``params``, a kernel.
    ``params [B, P * C, T]`` are ``P`` groups of ``C`` channels, in the order of :meth:`parts`: all shifts, then all
    log-scales. Parameters of zero mean the identity, or what is nearest to it (each kernel says so).

    Attributes:
        parameters: numbers ``P`` for each value.
    """

    @property
    @abstractmethod
    def parameters(self) -> int:
        """Numbers ``P`` that the network gives for each value."""

    @abstractmethod
    def to_noise(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Data to noise: ``x [B, C, T]``, ``params [B, P * C, T]`` -> ``z`` and ``log dz/dx``, both ``[B, C, T]``."""

    @abstractmethod
    def to_data(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Noise to data: ``z [B, C, T]``, ``params [B, P * C, T]`` -> ``x`` and ``log dx/dz``, both ``[B, C, T]``."""

    @property
    def constant_log_det(self) -> bool:
        """Whether the derivative is the same whatever the parameters."""
        return False

    def parts(self, params: Tensor) -> Tensor:
        """``params [B, P * C, T]`` group by group: ``[B, P, C, T]``."""
        parts: Tensor = params.unflatten(1, (self.parameters, -1))
        return parts


class Inverted(Kernel):
    """A kernel with its two directions exchanged.

    ``Inverted(Affine())`` is ``z = (x - shift) exp(-log_scale)``, ``x = z exp(log_scale) + shift``: the form of MAF, in
    which the parameters are mean and log standard deviation of the data.

    >>> import torch
    >>> from audioflow.flows.kernels import Affine, Inverted
    >>> z, _ = Inverted(Affine(None)).to_noise(torch.full((1, 1, 1), 5.0), torch.tensor([[[3.0], [0.0]]]))
    >>> z.item()
    2.0
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    @property
    def parameters(self) -> int:
        """As of the kernel inside."""
        return self.kernel.parameters

    def to_noise(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """``to_data`` of the kernel inside."""
        return self.kernel.to_data(x, params)

    def to_data(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """``to_noise`` of the kernel inside."""
        return self.kernel.to_noise(z, params)

    @property
    def constant_log_det(self) -> bool:
        """As of the kernel inside."""
        return self.kernel.constant_log_det
