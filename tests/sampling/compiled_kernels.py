"""Compiles the kernel for a GPU that need not be there, and writes what memory of a multiprocessor it takes, as JSON.

Run by ``test_sampling_cuda_compiled.py`` in a process of its own, for in that of the tests Triton interprets kernels.
"""

import json
import sys
from unittest import mock

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from audioflow.distributions import Gaussian, GaussianMixture
from audioflow.nets.conditioning import Conditioning
from audioflow.nets.group_head import GroupLaw
from audioflow.nets.wavenet import CausalWaveNet
from audioflow.sampling.cuda import engine, kernel

TARGET = GPUTarget("cuda", 86, 32)  # of those that the kernel knows, it has the least memory
TYPES = {torch.float32: "*fp32", torch.float16: "*fp16"}
NETWORKS = {
    "one": (Gaussian(), 64, 4),
    "groups": (GroupLaw(Gaussian(), 8), 32, 4),
    "groups-hidden": (GroupLaw(GaussianMixture(10), 8, [64]), 32, 4),
    "groups-large": (GroupLaw(GaussianMixture(10), 64), 128, 4),
}


class Compiled:
    """Stands for the kernel: a launch compiles it and does nothing else."""

    def __init__(self, function):
        self.function, self.shared = function, 0

    def __getitem__(self, grid):
        return self.compile

    def compile(self, *args, num_warps, **constants):
        constants["QUICK"] = True  # what only a GPU can do
        given = dict(zip(self.function.arg_names, args, strict=False))
        signature = {name: type_of(value) for name, value in given.items()} | dict.fromkeys(constants, "constexpr")
        aligned = {(i,): [["tt.divisibility", 16]] for i, value in enumerate(args) if isinstance(value, torch.Tensor)}
        source = ASTSource(self.function, signature, constants, aligned)
        self.shared = triton.compile(source, target=TARGET, options={"num_warps": num_warps}).metadata.shared


def type_of(value):
    if isinstance(value, torch.Tensor):
        return TYPES[value.dtype]
    return "i32" if isinstance(value, int) else "fp32"


def shared_memory(name, precision):
    law, channels, taps = NETWORKS[name]
    size = {"layers": 10, "cycle": 10, "channels": channels, "skip_channels": channels}
    options = {"front_kernel_size": taps, "linear_taps": taps}
    network = CausalWaveNet(law.input_channels, law.parameter_channels, 1, **size, **options)
    compiled = Compiled(kernel.sample)
    one = torch.zeros(1, 1, 1)
    with mock.patch.object(kernel, "sample", compiled):
        engine.sample_cuda(
            network, law, Conditioning(one), one, torch.zeros(1, law.noise_channels, 1), precision=precision
        )
    return compiled.shared


if __name__ == "__main__":
    taken = {name: [shared_memory(name, precision) for precision in engine.PARTS] for name in NETWORKS}
    sys.stdout.write(json.dumps(taken))
