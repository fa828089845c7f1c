"""The engine ``cuda-graph``: a step of plain tensor operations, recorded once as a CUDA graph and played back.

A step of a WaveNet of 20 layers is some 250 small operations; to start each of them from Python takes longer than to
run it. A graph is started as one. For networks that are too wide for the kernel, and for batches of thousands.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from audioflow.distributions import OutputLaw
from audioflow.nets.conditioning import Conditioning
from audioflow.nets.wavenet import CausalWaveNet, StepState
from audioflow.sampling.autoregressive import BLOCK, Progress, check_groups, projected_blocks, sample_and_audio


@torch.inference_mode()
def sample_graph(
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
    """See :class:`audioflow.sampling.Engine`. On a CPU the same operations run one by one."""
    check_groups(law, preemphasis)
    batch, _, steps = noise.shape
    level = level.expand(batch, -1, steps)
    x = noise.new_empty(batch, law.sample_channels, steps)
    walk: _Walk | None = None
    for start, stop, projected in projected_blocks(network, cond, speaker, steps):
        if walk is None:
            longest = max(stop - start, min(BLOCK, steps))
            share = None if projected is None else (longest, *projected.shape[:2])
            walk = _Walk(network, law, noise, longest, share, temperature, preemphasis, limit)
        walk.begin(projected, level[..., start:stop], noise[..., start:stop])
        for _ in range(start, stop):
            walk.step()
        x[..., start:stop] = walk.audio[: stop - start].permute(1, 2, 0)
        if progress is not None:
            # Steps are queued: to count those that are done one has to wait for them.
            x[:1, :, stop - 1].cpu()
            progress(stop - start)
    return x


class _Walk:
    """Steps whose inputs and results have fixed places, for a graph knows addresses only.

    Attributes:
        audio: of the steps since :meth:`begin`, ``[longest, B, S]``.
    """

    def __init__(
        self,
        network: CausalWaveNet,
        law: OutputLaw,
        like: Tensor,
        longest: int,
        share: tuple[int, ...] | None,
        temperature: float,
        preemphasis: float,
        limit: float,
    ) -> None:
        batch, channels = like.shape[:2]
        # What is copied from a CPU cannot be part of a graph.
        self._network, self._law = network, law.like(like)
        self._temperature, self._preemphasis, self._limit = temperature, preemphasis, limit
        self._state: StepState = network.init_state(batch)
        # A ring in one piece, whose slots are numbered on the device.
        self._rings = [like.new_zeros(len(ring), *ring[0].shape) for ring in self._state.past]
        self._share = None if share is None else like.new_zeros(share)
        self._level, self._noise = like.new_zeros(longest, batch, 1), like.new_zeros(longest, batch, channels)
        samples = law.sample_channels
        self._previous, self._before = like.new_zeros(batch, law.input_channels), like.new_zeros(batch, samples, 1)
        self._at, self._time = (torch.zeros(1, dtype=torch.long, device=like.device) for _ in range(2))
        self.audio = like.new_zeros(longest, batch, samples)
        self.step = self._recorded() if like.is_cuda else self._step

    def begin(self, projected: Tensor | None, level: Tensor, noise: Tensor) -> None:
        """Take the conditioning of the next steps, ``[B, R, n]``, ``[B, 1, n]`` and ``[B, N, n]``."""
        steps = level.shape[-1]
        if self._share is not None and projected is not None:
            self._share[:steps] = projected.permute(2, 0, 1)
        self._level[:steps] = level.permute(2, 0, 1)
        self._noise[:steps] = noise.permute(2, 0, 1)
        self._at.zero_()

    def _recorded(self) -> Callable[[], None]:
        """The step as a graph; the first steps, which warm up, leave no trace."""
        changed = [*self._rings, self._state.window, self._previous, self._before, self._at, self._time, self.audio]
        before = [tensor.clone() for tensor in changed]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step()
        for tensor, value in zip(changed, before, strict=True):
            tensor.copy_(value)
        replay: Callable[[], None] = graph.replay
        return replay

    def _step(self) -> None:
        level, noise = self._level.index_select(0, self._at)[0], self._noise.index_select(0, self._at)[0]
        share = None if self._share is None else self._share.index_select(0, self._at)[0]
        outputs = self._outputs(share)
        params = self._law.at_level(outputs[..., None], level[..., None])
        predicted = self._preemphasis * self._before
        drawn = self._law.sample(params, noise[..., None], self._temperature)
        sample, audio = sample_and_audio(drawn, predicted, self._limit)
        self.audio.index_copy_(0, self._at, audio[..., 0][None])
        self._before.copy_(audio)
        self._previous.copy_(self._law.network_input(sample, level[..., None])[..., 0])
        self._at += 1
        self._time += 1

    def _outputs(self, share: Tensor | None) -> Tensor:
        """The network at this step, ``[B, P]``: :meth:`CausalWaveNet.step` with rings whose slots the device finds."""
        network, state = self._network, self._state
        state.window.copy_(network.moved(state.window, self._previous))
        return network.step_with(state, state.window, share, self._tap)

    def _tap(self, layer: int, x: Tensor) -> Tensor:
        """Convolution ``layer`` at this step, as :meth:`CausalWaveNet._tap` does it."""
        taps, bias = self._state.weights[layer]
        ring = self._rings[layer]
        dilation = self._network.stack.dilations[layer]
        result = torch.addmm(bias, x, taps[-1])
        for tap in range(taps.shape[0] - 1):
            past = ring.index_select(0, (self._time + tap * dilation) % len(ring))[0]
            result = torch.addmm(result, past, taps[tap])
        ring.index_copy_(0, self._time % len(ring), x[None])
        return result
