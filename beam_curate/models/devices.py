"""Capabilities of this machine's devices."""

from __future__ import annotations

from pathlib import Path

_BFLOAT16_FLAGS = frozenset(("avx512_bf16", "amx_bf16"))
"""Names in /proc/cpuinfo of the x86 instructions that multiply bfloat16."""


def has_bfloat16() -> bool:
    """Whether the processor has bfloat16 instructions; without them, torch emulates bfloat16 slowly."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return False
    return any(line.startswith("flags") and not _BFLOAT16_FLAGS.isdisjoint(line.split()) for line in lines)
