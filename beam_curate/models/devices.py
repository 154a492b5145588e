"""What the devices of this machine can do."""

from __future__ import annotations

from pathlib import Path

_BFLOAT16_FLAGS = frozenset(("avx512_bf16", "amx_bf16"))
"""Linux's names of the x86 instructions that multiply bfloat16."""


def has_bfloat16() -> bool:
    """Returns whether the processor has instructions for bfloat16; elsewhere torch emulates it, slowly."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return False
    return any(line.startswith("flags") and not _BFLOAT16_FLAGS.isdisjoint(line.split()) for line in lines)
