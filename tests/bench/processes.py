"""What processes have used: processor time and memory, from /proc."""
import contextlib
from pathlib import Path


def cpu_seconds(pids):
    """What these processes have used so far, all threads, user and system."""
    used = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                used += int(task.read_text(encoding="ascii").split()[0])
    return used / 1e9


def pss_bytes(pids):
    """Their memory, shared pages divided among those who share them."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total
