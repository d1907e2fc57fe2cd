"""Which machine a figure is from."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

from foundation import __version__


def describe(**more: str) -> Mapping[str, str]:
    """The machine in words, and the load before the run; ``more`` names what else ran."""
    return {
        "processor": f"{_first('/proc/cpuinfo', 'model name')}, {len(os.sched_getaffinity(0))} cores",
        "memory": _first("/proc/meminfo", "MemTotal"),
        "system": f"{_first('/etc/os-release', 'PRETTY_NAME', '=')}, Linux {platform.release()}",
        "python": platform.python_version(),
        "privyseal": __version__,
        **more,
        "load before": " ".join(f"{value:.2f}" for value in os.getloadavg()),
    }


def _first(path: str, name: str, separator: str = ":") -> str:
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        found, _, value = line.partition(separator)
        if found.strip() == name:
            return value.strip().strip('"')
    return "unknown"
