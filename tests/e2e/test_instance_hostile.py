"""What a tenant's processes and clients may do to an instance, and it goes on."""
import asyncio
import contextlib
import json
import os
import resource
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
from instance_process import BIN, KEY, InstanceProcess, StartedByHand, eventually, is_sanitized, memory_kib
from ports import free_port
from instance_shell import Shell, open_shell

SHELLS = 64
LINES = 20000
BOMB_PROCESSES = 120  # at most


@pytest.fixture(scope="module")
def instance():
    with InstanceProcess(env={"OPEN_TERMINAL_MAX_SESSIONS": str(SHELLS)}) as running:
        yield running


def is_well(instance):
    return instance.call("GET", "/health").status == 200 and instance.execute("echo well")["text"] == "well\r\n"


def test_a_crowd_of_processes_that_ignore_every_signal_is_ended(instance):
    crowd = "trap '' TERM HUP INT; for i in $(seq 300); do (trap '' TERM HUP INT; setsid sleep 6005) & done; touch all; wait"
    id = instance.execute(crowd, wait=0)["id"]
    eventually(lambda: (instance.home / "all").exists() and
               sum("sleep 6005" in line for line in instance.descendants().values()) >= 300, "all run", 30)
    assert is_well(instance)
    assert instance.call("DELETE", f"/execute/{id}?force=true", timeout=30).json() == {"status": "killed"}
    eventually(lambda: not any("sleep 6005" in line for line in instance.descendants().values()), "none is left", 20)
    assert is_well(instance)


def test_a_process_that_opens_ten_thousand_files_takes_none_of_ours(instance):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert instance.execute("ulimit -n")["text"].strip() == str(soft), "programs get the limit that we were given"
    program = "import resource as r; h = r.getrlimit(r.RLIMIT_NOFILE)[1]; r.setrlimit(r.RLIMIT_NOFILE, (h, h)); " \
              "f = [open('/dev/null') for _ in range(min(h, 10100) - 100)]; print('open', flush=True); input()"
    id = instance.execute(f'python3 -c "{program}"', wait=0)["id"]
    eventually(lambda: "open" in json.dumps(instance.call("GET", f"/execute/{id}/status").json()["output"]), "they are open", 30)
    assert is_well(instance)
    instance.call("DELETE", f"/execute/{id}?force=true")


def test_a_thousand_idle_connections_keep_nobody_out(instance):
    before = memory_kib(instance)
    with contextlib.ExitStack() as open_ones:
        for _ in range(1000):
            client = open_ones.enter_context(socket.create_connection(("127.0.0.1", instance.port)))
            client.sendall(b"GET /health HTTP/1.1\r\n")
        assert is_well(instance)
        if not is_sanitized():
            assert memory_kib(instance) - before < 1000 * 48
    assert is_well(instance)


class OnSmallDisk(StartedByHand):
    """An instance whose home folder is a disk of 4 MiB."""

    def __enter__(self):
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="instance-"))
        shutil.copy(BIN / "open-terminal", self.folder)
        self.process = subprocess.Popen(
            ["bwrap", "--dev-bind", "/", "/", "--size", str(4 << 20), "--tmpfs", "/mnt", "--chdir", "/mnt", "--die-with-parent",
             self.folder / "open-terminal", "run", "--host", "127.0.0.1", "--port", str(self.port), "--cwd", "/mnt"],
            env={**os.environ, "OPEN_TERMINAL_API_KEY": KEY, "HOME": "/mnt"})
        return self.wait_until_up()

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)
        shutil.rmtree(self.folder)

    def text(self, command):
        return self.execute(command)[1]


def test_whoever_filled_the_disk_can_still_look_and_tidy_up():
    with OnSmallDisk() as small:
        assert "No space left" in small.text("cat /dev/zero > fill; echo later")
        full = small.text("echo still; df /mnt | tail -1; i=0; while [ $i -lt 3000 ]; do echo $((i=i+1)); done")
        assert full.startswith("still\r\n") and "100%" in full and "\r\n3000\r\n" in full
        assert small.text("rm fill; seq 5000 | head -c 20000; sleep 0.3; cat /dev/zero > fill; seq 5000; echo all").endswith("\r\n5000\r\nall\r\n")
        assert small.call("POST", "/files/write", {"path": "more", "content": "x" * 100000}).status in (400, 500, 507)
        assert small.call("GET", "/files/list").status == 200
        assert small.text("rm fill; echo removed") == "removed\r\n"
        assert small.call("POST", "/files/write", {"path": "more", "content": "x" * 100000}).status == 200


def test_many_shells_print_as_fast_as_they_can_and_no_byte_is_lost(instance):
    ids = [open_shell(instance)["id"] for _ in range(SHELLS)]
    peaks = []

    async def watch(id, number):
        async with Shell(instance, id, max_queue=4) as shell:
            await shell.type(f"PS1=; stty -echo; echo be''gin; seq -f 'shell-{number}-%g' {LINES}; echo en''d\n")
            await shell.read_until("begin\r\n", 60)
            seen = await shell.read_until("end", 120)
            lines = [line for line in seen.split("\r\n") if line.startswith("shell-")]
            assert lines == [f"shell-{number}-{n}" for n in range(1, LINES + 1)]
        peaks.append(memory_kib(instance))

    async def run():
        before = memory_kib(instance)
        await asyncio.gather(*(watch(id, number) for number, id in enumerate(ids)))
        return before
    before = asyncio.run(run())
    if not is_sanitized():
        assert max(peaks) - before < SHELLS * 200, peaks
    eventually(lambda: instance.call("GET", "/api/terminals").json() == [], "all are gone", 20)
    assert is_well(instance)


def test_a_fork_bomb_is_ended_and_does_not_take_the_instance_along():
    """(How many processes there may be is for the machine to say: a container's limit, here the user's, which counts each user namespace by
    itself, so that no other test is in it.)"""
    with InstanceProcess(prefix=["unshare", "--user", "--map-current-user", "prlimit", f"--nproc={BOMB_PROCESSES}"]) as instance:
        bomb = instance.execute("nice -n 19 sh -c 'b() { b | b & }; b; sleep 6006'", wait=0)["id"]
        eventually(lambda: len(instance.descendants()) >= BOMB_PROCESSES // 2 or "fork" in json.dumps(
            instance.call("GET", f"/execute/{bomb}/status").json()["output"]), "it is full", 30)
        for _ in range(5):
            assert instance.call("GET", "/health").status == 200
            assert instance.call("GET", "/files/list").status == 200
            assert instance.call("POST", "/execute?wait=1", {"command": "true"}).status in (200, 500, 503)
        assert instance.call("DELETE", f"/execute/{bomb}?force=true", timeout=60).json() == {"status": "killed"}
        eventually(lambda: not any("6006" in line for line in instance.descendants().values()) and is_well(instance), "it goes on", 30)
