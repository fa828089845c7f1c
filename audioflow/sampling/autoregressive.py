"""Engines that run an autoregressive WaveNet sample by sample: all give the same audio for the same noise.

``naive`` is the specification: it calls the network on the whole receptive field for every sample. ``cached`` keeps
each layer's past in rings, so that a step costs one column of the network. ``cpu`` does the same in a compiled loop
(:mod:`audioflow.sampling.cpu`); ``cpu-int16`` and ``cpu-int8`` have weights of 16 and of 8 bits there. ``cuda`` and
``cuda-fp16`` are one kernel on a GPU, and ``cuda-graph`` plays the operations of ``cached`` back
(:mod:`audioflow.sampling.cuda`).
"""

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from audioflow.distributions import OutputLaw
from audioflow.nets.conditioning import Conditioning
from audioflow.nets.wavenet import CausalWaveNet

log = logging.getLogger(__name__)

Progress = Callable[[int], None]
"""Called now and then with the number of samples done since the last call."""

BLOCK = 400
"""Steps whose conditioning is projected together: few enough to keep memory small, enough to make it one product."""


Precision = Literal["float32", "int16", "int8"]
"""Of the weights of gated layers on a CPU."""


class Engine(Protocol):
    """What an engine is: a function from conditioning and noise to audio."""

    def __call__(
        self,
        network: CausalWaveNet,
        law: OutputLaw,
        cond: Conditioning,
        level: Tensor,
        noise: Tensor,
        *,
        speaker: Tensor | None = None,
        temperature: float = 1.0,
        preemphasis: float = 0.0,
        limit: float = 1.0,
        progress: Progress | None = None,
    ) -> Tensor:
        """Audio ``[B, S, T]`` within ``[-limit, limit]``, ``S`` samples a step: 1, or those of a group.

        Args:
            network: gives what the law needs for each step.
            law: of a step's sample, or of a group of ``S`` samples.
            cond: of ``T`` steps.
            level: log standard deviation of the speech, ``[B, 1, T]``, see :class:`audioflow.nets.level.MelLevel`.
            noise: standard normal, ``[B, N, T]``.
            speaker: embeddings ``[B, S]``.
            temperature: of the law.
            preemphasis: coefficient ``a`` of a network and a law that work on ``x_t - a x_{t-1}``.
            limit: what samples are clamped to.
            progress: told of steps done.

        Raises:
            ValueError: groups are to be made with pre-emphasis.
        """
        ...


@torch.inference_mode()
def sample_naive(
    network: CausalWaveNet,
    law: OutputLaw,
    cond: Conditioning,
    level: Tensor,
    noise: Tensor,
    *,
    speaker: Tensor | None = None,
    temperature: float = 1.0,
    preemphasis: float = 0.0,
    limit: float = 1.0,
    progress: Progress | None = None,
) -> Tensor:
    """Recompute the receptive field for every sample."""
    check_groups(law, preemphasis)
    batch, _, steps = noise.shape
    features, level = cond.samples(), level.expand(batch, -1, steps)
    x, before = noise.new_zeros(batch, law.sample_channels, steps), noise.new_zeros(batch, law.sample_channels, 1)
    emphasized = torch.zeros_like(x)
    for t in range(steps):
        # The step itself, and the past that reaches it.
        start = max(0, t - network.receptive_field)
        projected = network.project(Conditioning(features[..., start : t + 1]), speaker)
        outputs = network(law.network_input(emphasized[..., start : t + 1], level[..., start : t + 1]), projected)
        params = law.at_level(outputs[..., -1:], level[..., t : t + 1])
        drawn = law.sample(params, noise[..., t : t + 1], temperature)
        sample, before = sample_and_audio(drawn, preemphasis * before, limit)
        x[..., t : t + 1], emphasized[..., t : t + 1] = before, sample
        if progress is not None:
            progress(1)
    return x


@torch.inference_mode()
def sample_cached(
    network: CausalWaveNet,
    law: OutputLaw,
    cond: Conditioning,
    level: Tensor,
    noise: Tensor,
    *,
    speaker: Tensor | None = None,
    temperature: float = 1.0,
    preemphasis: float = 0.0,
    limit: float = 1.0,
    progress: Progress | None = None,
) -> Tensor:
    """Step with rings of past activations; the conditioning is projected block by block."""
    check_groups(law, preemphasis)
    batch, _, steps = noise.shape
    law, level = law.like(noise), level.expand(batch, -1, steps)
    x, before = noise.new_zeros(batch, law.sample_channels, steps), noise.new_zeros(batch, law.sample_channels, 1)
    state = network.init_state(batch)
    previous = noise.new_zeros(batch, law.input_channels)
    for start, stop, projected in projected_blocks(network, cond, speaker, steps):
        rows = None if projected is None else projected.permute(2, 0, 1).contiguous()
        for t in range(start, stop):
            share = None if rows is None else rows[t - start if len(rows) > 1 else 0]
            outputs, state = network.step(state, previous, share)
            here = level[..., t : t + 1]
            params = law.at_level(outputs[..., None], here)
            drawn = law.sample(params, noise[..., t : t + 1], temperature)
            sample, before = sample_and_audio(drawn, preemphasis * before, limit)
            x[..., t : t + 1] = before
            previous = law.network_input(sample, here)[..., 0]
        if progress is not None:
            progress(stop - start)
    return x


def projected_blocks(
    network: CausalWaveNet, cond: Conditioning | None, speaker: Tensor | None, steps: int
) -> Iterator[tuple[int, int, Tensor | None]]:
    """Stretches of steps, from ... to before, and the conditioning of all layers there, ``[B, R, stop - start]``.

    Args:
        network: projects.
        cond: of these steps, or ``None``.
        speaker: embeddings.
        steps: in all.
    """
    hop = 1 if cond is None else cond.hop
    count = max(1, BLOCK // hop)
    for start in range(0, steps, count * hop):
        stop = min(start + count * hop, steps)
        if cond is None:
            yield start, stop, network.project(None, speaker)
            continue
        whole = network.project(cond.cut(start // hop, start // hop + count), speaker)
        # What is before the first frame, and after the last, belongs to other stretches.
        yield start, stop, whole if whole is None else whole[..., hop : hop + stop - start]


def sample_and_audio(drawn: Tensor, predicted: Tensor, limit: float) -> tuple[Tensor, Tensor]:
    """A sample of the emphasised signal and of the audio, which is ``predicted`` more than what was drawn."""
    # Audio beyond full scale cannot be written, and would be fed back as something never seen in training.
    audio = (drawn + predicted).clamp(-limit, limit)
    return audio - predicted, audio


def check_groups(law: OutputLaw, preemphasis: float) -> None:
    """See that groups come without pre-emphasis, whose filter goes from sample to sample.

    Raises:
        ValueError: they do not.
    """
    if law.sample_channels > 1 and preemphasis:
        raise ValueError(f"groups of samples are made without preemphasis, which is {preemphasis} here")


def _compiled(precision: Precision, network: CausalWaveNet, law: OutputLaw, *args: Any, **options: Any) -> Tensor:
    """The compiled loop; ``cached`` where it cannot be compiled or does not know the law."""
    check_groups(law, options.get("preemphasis", 0.0))
    engine = _compiled_engine(law, precision)
    made: Tensor
    if engine is None:
        made = sample_cached(network, law, *args, **options)
    else:
        made = engine.sample_cpu(network, law, *args, **options, precision=precision)
    return made


def _kernel(
    precision: Literal["float32", "float16"], network: CausalWaveNet, law: OutputLaw, *args: Any, **options: Any
) -> Tensor:
    """The kernel; ``cuda-graph`` where it cannot be used."""
    check_groups(law, options.get("preemphasis", 0.0))
    engine = _kernel_engine(network, law)
    made: Tensor
    if engine is None:
        made = _graph(network, law, *args, **options)
    else:
        made = engine.sample_cuda(network, law, *args, **options, precision=precision)
    return made


def _graph(*args: Any, **options: Any) -> Tensor:
    # The other engines need none of it.
    from audioflow.sampling.cuda.graph import sample_graph  # noqa: PLC0415

    return sample_graph(*args, **options)


class Sampler(Protocol):
    """An engine that remembers where it is, so that an utterance can be made stretch by stretch."""

    def draw(self, cond: Conditioning | None, level: Tensor, noise: Tensor, first: int = 0) -> Iterator[Tensor]:
        """The next samples ``[B, n]`` in order of time, as many for each step of noise as the law draws.

        Args:
            cond: conditioning of these steps. Where it is interpolated there may be more frames on either side.
            level: log standard deviation, ``[B, 1, T]``.
            noise: ``[B, N, T]``.
            first: the frame of ``cond`` that the first step is in.
        """
        ...


def sampler_of(
    engine: str,
    network: CausalWaveNet,
    law: OutputLaw,
    batch: int,
    speaker: Tensor | None,
    temperature: float,
    preemphasis: float,
    limit: float = 1.0,
) -> Sampler | None:
    """An engine to be run stretch by stretch; ``None`` if it cannot be, or not here."""
    sampler: Sampler | None = None
    options: dict[str, Any]
    options = {"speaker": speaker, "temperature": temperature, "preemphasis": preemphasis, "limit": limit}
    check_groups(law, preemphasis)
    if engine in CPU_ENGINES and (module := _compiled_engine(law, _PRECISIONS[engine])) is not None:
        sampler = module.CpuSampler(network, law, batch, precision=_PRECISIONS[engine], **options)
    if engine in KERNEL_ENGINES and (module := _kernel_engine(network, law)) is not None:
        precision = "float16" if engine == "cuda-fp16" else "float32"
        sampler = module.CudaSampler(network, law, batch, precision=precision, **options)
    return sampler


def _compiled_engine(law: OutputLaw, precision: Precision) -> Any:
    """The module of the compiled loop, once it is known to compile; ``None`` otherwise, and a warning."""
    name = next(name for name, own in _PRECISIONS.items() if own == precision)
    try:
        # The compiler takes half a second to load.
        from numba.core.errors import NumbaError  # noqa: PLC0415

        from audioflow.sampling.cpu import engine  # noqa: PLC0415
    except ImportError as error:
        return _not_compiled(name, error, "cached")
    try:
        engine.check(law, precision)
        engine.compile_once(precision)
    except (NumbaError, ValueError) as error:
        return _not_compiled(name, error, "cached")
    return engine


def _kernel_engine(network: CausalWaveNet, law: OutputLaw) -> Any:
    """The module of the kernel, if it can work with the network and the law; ``None`` otherwise, and a warning."""
    try:
        from audioflow.sampling.cuda import engine  # noqa: PLC0415

        engine.check(network, law)
    except (ImportError, ValueError) as error:
        return _not_compiled("cuda", error, "cuda-graph")
    return engine


def _not_compiled(engine: str, error: Exception, instead: str) -> None:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    log.warning("The engine %s cannot be used here (%s), so the slower engine %s is used.", engine, reason, instead)


ENGINES: dict[str, Engine] = {
    "cpu": partial(_compiled, "float32"),
    "cpu-int16": partial(_compiled, "int16"),
    "cpu-int8": partial(_compiled, "int8"),
    "cuda": partial(_kernel, "float32"),
    "cuda-fp16": partial(_kernel, "float16"),
    "cuda-graph": _graph,
    "cached": sample_cached,
    "naive": sample_naive,
}
"""By name, the fastest first, of those that work where a model is."""

_PRECISIONS: dict[str, Precision] = {"cpu": "float32", "cpu-int16": "int16", "cpu-int8": "int8"}

CPU_ENGINES = tuple(_PRECISIONS)
"""Those that work on a CPU only, in float32 whatever the dtype of the model; ``cpu-int8`` where
:func:`audioflow.sampling.cpu.int8_works`."""

KERNEL_ENGINES = ("cuda", "cuda-fp16")
"""Those that work on a GPU only, likewise."""

COMPILED_ENGINES = (*CPU_ENGINES, *KERNEL_ENGINES)
"""Those that :func:`sampler_of` runs stretch by stretch; in float32 only."""

CUDA_ENGINES = (*KERNEL_ENGINES, "cuda-graph")
"""Those for a GPU."""
