"""L0SG's WaveFlow: rows of squeezed audio, each made of the rows before it.

The layout is that of its final version, with one convolution for filter and gate; the conditioning layers may be fused.
Its first row passes unchanged, and rows are permuted after every flow, the last one included: our noise is theirs with
the rows in another order.

References:
    Ping, Peng, Zhao and Song, "WaveFlow", 2019, https://arxiv.org/abs/1912.01219
    https://github.com/L0SG/WaveFlow
"""

from typing import Annotated, Any

from pydantic import Field

from audioflow.audio import MelContract, get_contract
from audioflow.imports.base import Converted, ImportSettings
from audioflow.imports.unpickle import Checkpoint
from audioflow.imports.wavenets import move_transposed, require_bands, require_hop, upsample_layers
from audioflow.imports.weights import Convolution, Weights
from audioflow.nets.row_order import RowOrder
from audioflow.nets.row_wavenet import RowWaveNet
from audioflow.vocoders import build
from audioflow.vocoders.waveflow import WaveFlow

FAMILY = "WaveFlow"
TRIM = "Its own synthesis drops the last 3 frames of every mel; here each frame becomes sound."


class WaveFlowSettings(ImportSettings):
    """What the shapes do not tell.

    Attributes:
        mel: preset of the mel front-end.
        rows: rows that audio is folded into, ``n_height`` there.
        height_cycle: layers after which the dilations along rows start again at 1, ``n_layer_per_cycle`` there.
        permutation: ``reverse``, or ``bipartite`` where the second half of the flows permutes each half of the rows.
    """

    rows: Annotated[int, Field(ge=2, le=1024)] = 16
    height_cycle: Annotated[int, Field(ge=1, le=16)] = 1
    permutation: RowOrder = "reverse"


def convert(checkpoint: Checkpoint, settings: WaveFlowSettings) -> Converted:
    """Make a ``waveflow`` with the weights of a WaveFlow.

    Raises:
        CheckpointError: the weights are not those of a WaveFlow.
        OptionError: the mel front-end does not fit the weights.
    """
    weights, contract = Weights(checkpoint, FAMILY), get_contract(settings.mel)
    vocoder = build("waveflow", contract, _config(weights, contract, settings))
    assert isinstance(vocoder, WaveFlow)  # noqa: S101  (that is its class)
    move_transposed(weights, vocoder.upsampler, upsample_layers(weights))
    networks = [module for module in vocoder.flow.modules() if isinstance(module, RowWaveNet)]
    for number, network in enumerate(networks):
        _move(weights, network, f"flows.{number}.coupling")
    weights.require_all_taken()
    fused = "flows.0.coupling.net.fused_filter_gate_conv_c" in weights
    return Converted(vocoder, f"{settings.permutation}, {'fused' if fused else 'separate'} conditioning", (TRIM,))


def _config(weights: Weights, contract: MelContract, settings: WaveFlowSettings) -> dict[str, Any]:
    net = "flows.0.coupling.net"
    _, channels, row_kernel_size, kernel_size = weights.shape(f"{net}.res_blocks.0.filter_gate_conv.conv")
    layers = weights.count(f"{net}.res_blocks.{{}}")
    scales = [weights.shape(name)[3] // 2 for name in upsample_layers(weights)]
    require_hop(weights, scales, contract.hop_length, settings.mel)
    fused = f"{net}.fused_filter_gate_conv_c"
    bands = weights.shape(fused if fused in weights else f"{net}.res_blocks.0.filter_gate_conv_c")[1]
    require_bands(weights, bands, contract.n_mels, settings.mel)
    return {
        "squeeze": settings.rows,
        "flows": weights.count("flows.{}"),
        "channels": channels,
        "layers": layers,
        "kernel_size": kernel_size,
        "row_kernel_size": row_kernel_size,
        "row_dilations": [2 ** (layer % settings.height_cycle) for layer in range(layers)],
        "row_order": settings.permutation,
        "first_row_passes": True,
        "upsampler": "transposed2d",
        "log_scale_limit": 0.0,
        "follow_level": False,
    }


def _move(weights: Weights, network: RowWaveNet, name: str) -> None:
    net, channels = f"{name}.net", network.channels
    weights.move(network.start, f"{net}.front_conv.0.conv")
    last = len(network.convolutions) - 1
    for layer, (convolution, mixer) in enumerate(zip(network.convolutions, network.mixers, strict=True)):
        weights.move(convolution, f"{net}.res_blocks.{layer}.filter_gate_conv.conv")
        mixed = weights.layer(f"{net}.res_blocks.{layer}.res_skip_conv")
        # The first half leads to the next layer, and after the last one nobody reads it.
        weights.put(mixer, _outputs(mixed, slice(channels, None)) if layer == last else mixed, f"{net} layer {layer}")
    fused = f"{net}.fused_filter_gate_conv_c"
    separate = [f"{net}.res_blocks.{layer}.filter_gate_conv_c" for layer in range(last + 1)]
    weight, bias = weights.layer(fused) if fused in weights else weights.rows(*separate)
    assert network.condition is not None  # noqa: S101  (it has mel features)
    weights.put(network.condition, (weight[..., 0], bias), separate[0])
    # Theirs are log-scale and shift, ours the other way round.
    weights.put(network.end, _outputs(weights.layer(f"{name}.proj_log_s_t.conv"), [1, 0]), f"{name}.proj_log_s_t")


def _outputs(layer: Convolution, which: slice | list[int]) -> Convolution:
    weight, bias = layer
    return weight[which], None if bias is None else bias[which]
