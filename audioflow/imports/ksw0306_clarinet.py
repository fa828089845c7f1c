"""ksw0306's ClariNet: the Gaussian teacher, which becomes a ``wavenet``, and the student, which becomes an ``iaf``.

Both are made of causal WaveNets with a convolution of 32 taps and a ReLU in front, separate convolutions for filter and
gate, and skips that are summed as they are. A student's file has no upsampler: it was trained on the teacher's.

Of one flow of a student, the outputs at ``t`` make sample ``t + 1`` of its noise; the first sample is zero. Ours has no
such sample: it makes at ``t`` what theirs makes at ``t + 1``, when their first number of noise is zero.

References:
    Ping, Peng and Chen, "ClariNet", 2018, https://arxiv.org/abs/1807.07281
    https://github.com/ksw0306/ClariNet
"""

from typing import Annotated, Any

from pydantic import Field

from audioflow.audio import MelContract, get_contract
from audioflow.errors import CheckpointError, OptionError
from audioflow.imports.base import Converted, ImportSettings
from audioflow.imports.unpickle import Checkpoint, read_checkpoint
from audioflow.imports.wavenets import (
    SHIFT,
    LayerNames,
    cycle_of,
    move_stack,
    move_transposed,
    require_bands,
    require_hop,
    upsample_layers,
)
from audioflow.imports.weights import Weights
from audioflow.nets.wavenet import CausalWaveNet
from audioflow.vocoders import Vocoder, WaveNet, build
from audioflow.vocoders.iaf import IafVocoder

FAMILY = "ClariNet"
PEAK = (
    "Its recordings were divided by their peak, so that it was 0.999, before the mel was computed: do the same with "
    "yours."
)


class ClariNetSettings(ImportSettings):
    """What the shapes do not tell.

    Attributes:
        mel: preset of the mel front-end.
        blocks: how often the dilations start at 1; 0 for the published 2 of a teacher and 1 of a student.
        teacher: checkpoint of the teacher, for a student.
        min_log_scale: floor of a teacher's log-scales; the default is as good as none, as in its own sampling. Its
            training had -9.
    """

    mel: str = "clarinet-22k"
    blocks: Annotated[int, Field(ge=0, le=512)] = 0
    teacher: str = ""
    min_log_scale: Annotated[float, Field(ge=-40, le=0)] = -40.0


def convert(checkpoint: Checkpoint, settings: ClariNetSettings) -> Converted:
    """Make a ``wavenet`` of a teacher, or an ``iaf`` of a student.

    Raises:
        CheckpointError: the weights are those of neither.
        OptionError: the mel front-end does not fit, or a student comes without its teacher.
    """
    weights, contract = Weights(checkpoint, FAMILY), get_contract(settings.mel)
    student = "iafs" in weights
    vocoder = _student(weights, contract, settings) if student else _teacher(weights, contract, settings)
    weights.require_all_taken()
    return Converted(vocoder, "student", (PEAK,)) if student else Converted(vocoder, "teacher", (PEAK, SHIFT))


def _teacher(weights: Weights, contract: MelContract, settings: ClariNetSettings) -> Vocoder:
    network = _network_settings(weights, "", settings.blocks or 2)
    if network["kernel_size"] != 2:
        raise CheckpointError(
            f"{weights.checkpoint.path} has convolutions of {network['kernel_size']} taps, with which this project "
            "dilates by powers of that number; only those of 2 taps can be imported."
        )
    config = {
        **network,
        **_upsampler_settings(weights, contract, settings.mel),
        "linear_taps": 0,
        "cond_channels": weights.shape("res_blocks.0.filter_conv_c")[1],
        "min_log_scale": settings.min_log_scale,
        "follow_level": False,
    }
    require_bands(weights, config["cond_channels"], contract.n_mels, settings.mel)
    vocoder = build("wavenet", contract, config)
    assert isinstance(vocoder, WaveNet)  # noqa: S101  (that is its class)
    move_transposed(weights, vocoder.upsampler, upsample_layers(weights))
    _move_network(weights, vocoder.network, "")
    return vocoder


def _student(weights: Weights, contract: MelContract, settings: ClariNetSettings) -> Vocoder:
    if not settings.teacher:
        raise OptionError("A student's checkpoint has no upsampler: name that of its teacher by teacher=FILE.")
    teacher = Weights(read_checkpoint(settings.teacher), FAMILY)
    if _upsampler_settings(teacher, contract, settings.mel)["upsample_scales"] != [16, 16]:
        raise CheckpointError(f"{settings.teacher} has another upsampler than the published one, of 16 times 16.")
    require_bands(weights, weights.shape("iafs.0.res_blocks.0.filter_conv_c")[1], contract.n_mels, settings.mel)
    config = {
        **_network_settings(weights, "iafs.0.", settings.blocks or 1),
        "flows": weights.count("iafs.{}"),
        "upsampler": "transposed2d",
        "log_scale_limit": 0.0,
        "follow_level": False,
    }
    vocoder = build("iaf", contract, config)
    assert isinstance(vocoder, IafVocoder)  # noqa: S101  (that is its class)
    move_transposed(teacher, vocoder.upsampler, upsample_layers(teacher))
    networks = [module for module in vocoder.flow.modules() if isinstance(module, CausalWaveNet)]
    # Ours are written from data to noise, theirs from noise to data.
    for number, network in enumerate(reversed(networks)):
        _move_network(weights, network, f"iafs.{number}.")
    return vocoder


def _network_settings(weights: Weights, prefix: str, blocks: int) -> dict[str, Any]:
    """Settings of a causal WaveNet, from the shapes."""
    layers = weights.count(f"{prefix}res_blocks.{{}}")
    gate_channels, channels, kernel_size = weights.shape(f"{prefix}res_blocks.0.filter_conv.conv")
    return {
        "layers": layers,
        "cycle": cycle_of(layers, blocks, "blocks"),
        "residual_channels": channels,
        "gate_channels": gate_channels,
        "skip_channels": weights.shape(f"{prefix}res_blocks.0.skip_conv")[0],
        "kernel_size": kernel_size,
        "front_kernel_size": weights.shape(f"{prefix}front_conv.0.conv")[2],
        "front_relu": True,
    }


def _upsampler_settings(weights: Weights, contract: MelContract, mel: str) -> dict[str, Any]:
    scales = [weights.shape(name)[3] // 2 for name in upsample_layers(weights)]
    if not scales:
        weights.shape("upsample_conv.0")  # says that it is missing
    require_hop(weights, scales, contract.hop_length, mel)
    return {"upsampler": "transposed2d", "upsample_scales": scales}


def _move_network(weights: Weights, network: CausalWaveNet, prefix: str) -> None:
    def names(layer: int) -> LayerNames:
        block = f"{prefix}res_blocks.{layer}"
        return LayerNames(
            convolution=(f"{block}.filter_conv.conv", f"{block}.gate_conv.conv"),
            condition=(f"{block}.filter_conv_c", f"{block}.gate_conv_c"),
            residual=f"{block}.res_conv",
            skip=f"{block}.skip_conv",
        )

    weights.move(network.front, f"{prefix}front_conv.0.conv")
    move_stack(weights, network, names, [1.0] * len(network.stack.dilations))
    weights.move(network.hidden, f"{prefix}final_conv.1.conv")
    weights.move(network.end, f"{prefix}final_conv.3.conv")
