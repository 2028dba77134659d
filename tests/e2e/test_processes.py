"""What each process holds: what faces the network has no power, and what has power faces no network (docs/security.md)."""
import contextlib
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from stack import Stack

OURS = ("haproxy", "terminals-api", "terminals-gate", "terminals-provisioner")


@pytest.fixture(scope="module")
def busy():
    """A stack that has done something of everything."""
    with Stack(local_sandbox="none") as stack:
        stack.run("alice", "true")
        stack.request("alice", "GET", "/files/list", key="wrong").expect(401)
        assert stack.terminals("reap").returncode == 0
        with stack.shell("alice"):
            yield stack


def files(pid):
    """What the descriptors of a process are: paths, and socket inodes as socket:[n]."""
    found = set()
    with contextlib.suppress(OSError):
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found.add(os.readlink(f"/proc/{pid}/fd/{descriptor}"))
    return found


def inodes(table, column, wanted=None):
    """The sockets of this kind in /proc/net/…, as socket:[n]."""
    lines = [line.split() for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
    return {f"socket:[{fields[column]}]" for fields in lines if wanted is None or wanted(fields)}


def listening():
    return inodes("tcp", 9, lambda fields: fields[3] == "0A") | inodes("tcp6", 9, lambda fields: fields[3] == "0A")


def test_only_haproxy_listens_on_the_network(busy):
    tcp = listening()
    listeners = {name for name in (*OURS, "terminals") for pid in busy.process(name) if files(pid) & tcp}
    assert listeners == {"haproxy"}
    udp = inodes("udp", 9) | inodes("udp6", 9) | inodes("raw", 9) | inodes("packet", 8)
    assert not {name for name in (*OURS, "terminals") for pid in busy.process(name) if files(pid) & udp}


def test_only_the_provisioner_holds_the_database_and_can_name_the_key(busy):
    database = str(busy.folder / "terminals.db")
    holders = {name for name in (*OURS, "terminals", "open-terminal") for pid in busy.process(name)
               if any(path.startswith(database) for path in files(pid))}
    assert holders == {"terminals-provisioner"}
    told = {}
    for name in (*OURS, "open-terminal"):
        for pid in busy.process(name):
            for entry in Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0"):
                if entry.startswith("TERMINALS_"):
                    told.setdefault(entry.split("=")[0].removeprefix("TERMINALS_"), set()).add(name)
    # Who is told of what: nobody else could even try.
    assert told["API_KEY"] == {"terminals-api"}
    assert told["DATABASE_URL"] == told["DATA_DIR"] == told["BACKEND"] == {"terminals-provisioner"}
    assert not told.keys() & {"ENCRYPTION_KEY", "JWT_SECRET", "SIEM_WEBHOOK_URL"}, "not set here"
    assert {name for names in told.values() for name in names} - set(OURS) <= {"open-terminal"}
    assert {name for name, names in told.items() if "open-terminal" in names} <= {"INSTANCE"}


def test_neither_api_nor_gate_talks_to_anybody_but_their_peers(busy):
    """Unix sockets only; the gate besides to instances, whose ports are on this machine."""
    tcp = inodes("tcp", 9) | inodes("tcp6", 9)
    assert not files(busy.one("terminals-api")) & tcp
    assert not files(busy.one("terminals-provisioner")) & listening()
    port = busy.tenant("alice")["port"]
    held = files(busy.one("terminals-gate"))
    connections = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    peers = {int(fields[2].split(":")[1], 16) for fields in connections if f"socket:[{fields[9]}]" in held}
    assert peers <= {port}, peers


def test_no_process_gains_a_privilege_or_leaves_files_to_others(busy):
    for name in (*OURS, "terminals"):
        for pid in busy.process(name):
            status = Path(f"/proc/{pid}/status").read_text()
            uids = re.search(r"^Uid:\s+(.*)$", status, re.M).group(1).split()
            assert set(uids) == {str(os.geteuid())}, (name, uids)
    for path in [busy.folder / "run", *busy.folder.glob("run/*"), *busy.folder.glob("terminals.db*"), busy.folder / "encryption.key", busy.folder / "homes"]:
        assert path.lstat().st_mode & 0o077 == 0, f"{path} {oct(path.lstat().st_mode)}"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to try as")
def test_another_user_of_the_machine_gets_into_nothing(busy):
    """Each socket, the maps and the database, tried as somebody else."""
    script = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for path in sys.argv[1:]:
    for attempt in (lambda: open(path, "rb"), lambda: socket.socket(socket.AF_UNIX).connect(path), lambda: os.listdir(path)):
        try:
            attempt()
            print("got into", path)
        except OSError:
            pass
"""
    paths = [str(path) for path in [busy.folder / "run", *busy.folder.glob("run/*"), *busy.folder.glob("terminals.db*"), busy.folder / "encryption.key",
                                    busy.home("alice")]]
    assert len(paths) > 10
    done = subprocess.run([sys.executable, "-c", script, *paths], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == ""


def test_a_stolen_database_tells_who_but_opens_nothing(fresh):
    """Without encryption.key: no token, no instance key, and no start of a Terminals of the thief's own."""
    stack = fresh(local_sandbox="none")
    stack.run("alice", "true")
    key = next(iter(stack.routes().values()))[2]
    with sqlite3.connect(f"file:{stack.folder}/terminals.db?mode=ro", uri=True) as database:
        stolen = "\n".join(database.iterdump())
    assert "alice" in stolen
    assert key not in stolen and stack.key not in stolen
    # What is in it instead: digests, which are no tokens, and boxes, which the thief cannot open.
    for digest in re.findall(r"'([0-9A-F]{64})'", stolen):
        for user in ("alice", None):
            stack.request(user, "GET", "/files/list" if user else "/api/v1/stats", key=digest).expect(401)
    thief = fresh(start=False, local_sandbox="none")
    with sqlite3.connect(thief.folder / "terminals.db") as database:
        database.executescript(stolen)
    thief.launch()
    assert thief.wait_exit(20) != 0
    assert "encryption" in thief.err(), thief.err()
