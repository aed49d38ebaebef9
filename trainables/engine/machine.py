"""The machine that a trial runs on, for the record."""

from __future__ import annotations

import functools
import platform
import subprocess
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")  # on Linux


def host() -> str:
    """Return the name of this machine in its network."""
    return platform.node()


@functools.cache
def processor() -> str:
    """Return the model name of this machine's processor, or at least its architecture."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
        named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        named = [_processor_of_a_mac()]
    return next(filter(None, named), "") or platform.processor() or platform.machine()


def _processor_of_a_mac() -> str:
    command = ["sysctl", "-n", "machdep.cpu.brand_string"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
