"""Layer-wise alignment: the student's last flow is asked for what the teacher has in its layers."""

from collections.abc import Sequence

from torch import Tensor, nn

from audioflow.training.objectives.perceptual import feature_distance


class Alignment(nn.Module):
    r"""Squared difference of projected student and teacher activations as a share of the teacher's energy.

    .. math:: \text{mean}_l\; \lVert P_l h_l - H_{m(l)} \rVert^2 / \lVert H_{m(l)} \rVert^2

    with ``P`` learned 1x1 convolutions, of use in training only, and ``m`` the teacher's layer at the same relative
    depth. Student layers see the noise before ``t``, the teacher's the sample before ``t``, which that noise decides.

    Args:
        student: channels and layers of the student's last flow.
        teacher: channels and layers of the teacher.

    References:
        Lu et al., "Bidirectional Normalizing Flow", 2025, https://arxiv.org/abs/2512.10953 (hidden alignment)
    """

    def __init__(self, student: tuple[int, int], teacher: tuple[int, int]) -> None:
        super().__init__()
        channels, layers = student
        self.partners = [depth_partner(layer, layers, teacher[1]) for layer in range(layers)]
        self.heads = nn.ModuleList(nn.Conv1d(channels, teacher[0], 1) for _ in range(layers))

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """``[B, C, T]`` of every layer on each side; a scalar. No gradient goes to the teacher's side."""
        projected = [head(one) for head, one in zip(self.heads, student, strict=True)]
        return feature_distance([teacher[partner].detach() for partner in self.partners], projected)


def depth_partner(layer: int, layers: int, teacher_layers: int) -> int:
    """The teacher's layer at the relative depth of a student's.

    >>> [depth_partner(layer, 3, 5) for layer in range(3)]
    [0, 2, 4]
    """
    if layers == 1:
        return teacher_layers - 1
    return round(layer * (teacher_layers - 1) / (layers - 1))
