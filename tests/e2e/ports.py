"""A port for whoever is about to listen on it."""
import collections
import fcntl
import os
import random
import socket
from pathlib import Path

# Below those that the kernel hands out to clients, and above those of instances (tests/run.py).
PORTS = range(30000, 32768)
FOLDER = Path(f"/tmp/terminals-test-ports-{os.getuid()}")
_reserved = collections.deque()  # locks, of the last ones: who wanted an older one listens on it by now, or no longer wants it
RESERVED_MAX = 64


def free_port():
    """One that no other test gets at the same time, in whatever process it runs."""
    FOLDER.mkdir(exist_ok=True)
    while True:
        port = random.choice(PORTS)
        lock = open(FOLDER / str(port), "w", encoding="ascii")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            lock.close()
            continue
        _reserved.append(lock)
        if len(_reserved) > RESERVED_MAX:
            _reserved.popleft().close()
        return port
