"""On what a figure was measured: a speed without its machine says nothing."""

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

import torch


def describe_machine(device: torch.device | str = "cpu") -> dict[str, str]:
    """Give processor, cores in use, accelerator (if ``device`` is one) and versions, ready to print."""
    return {
        "Processor": processor_name(),
        "CPU threads": f"{torch.get_num_threads()} of {os.cpu_count()} cores",
        "Device": device_name(torch.device(device)),
        "Python": platform.python_version(),
        "PyTorch": torch.__version__,
        "audioflow": version("audioflow"),
    }


def device_name(device: torch.device) -> str:
    """Give the name of the device that a model ran on."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return str(device)


def processor_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Give the processor's name as the system tells it, else its architecture."""
    if cpuinfo.is_file():
        found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), flags=re.MULTILINE)
        if found and found[1].strip() != "unknown":
            return found[1].strip()
    return platform.processor() or platform.machine()
