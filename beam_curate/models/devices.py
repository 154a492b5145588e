"""This machine's devices: its GPUs, its memory, and what its processor can do."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_OF_DRIVERS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/nvgpu", "/dev/kfd", "/dev/dxg")
"""What drivers of GPUs create: NVIDIA's, on Jetson, AMD's, Windows' for Linux."""

_BFLOAT16_FLAGS = frozenset(("avx512_bf16", "amx_bf16"))
"""Names in /proc/cpuinfo of the x86 instructions that multiply bfloat16."""


def has_bfloat16() -> bool:
    """Whether the processor has bfloat16 instructions; without them, torch emulates bfloat16 slowly."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return False
    return any(line.startswith("flags") and not _BFLOAT16_FLAGS.isdisjoint(line.split()) for line in lines)


def memory_gb() -> float:
    """Returns the memory of this computer in GB (10^9 bytes)."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9


def gpus_gb() -> dict[str, float]:
    """Returns the memory in GB (10^9 bytes) of each GPU by torch's name for it; empty without one."""
    if not _has_driver():
        return {}  # importing torch takes seconds
    import torch

    gpus = {f"cuda:{index}": torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())}
    return {name: properties.total_memory / 1e9 for name, properties in gpus.items()}


def _has_driver() -> bool:
    return shutil.which("nvidia-smi") is not None or any(Path(one).exists() for one in _OF_DRIVERS)
