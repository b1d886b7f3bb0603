"""What processes cost: CPU seconds and memory, as the kernel counts them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from support.processes import process_tree

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one process, and of all that it started."""

    cpu: float
    """Seconds since its start."""
    resident: float
    """MB now."""
    peak: float
    """MB at most since its start."""


def cost_of(pid: int) -> Cost:
    """Return what a process and its children have cost until now."""
    tree = process_tree(pid)
    return Cost(
        cpu=sum(map(_cpu, tree)),
        resident=sum(_megabytes(each, "VmRSS") for each in tree),
        peak=sum(_megabytes(each, "VmHWM") for each in tree),
    )


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _megabytes(pid: int, field: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    return 0.0
