"""Shells that survive a lost connection: OPEN_TERMINAL_SESSION_KEEPALIVE_SECONDS."""
import asyncio

import pytest
from instance_process import InstanceProcess, eventually, is_sanitized, memory_kib
from instance_shell import Shell, open_shell

KEPT_BYTES = 256 * 1024


@pytest.fixture(scope="module")
def instance():
    with InstanceProcess(env={"OPEN_TERMINAL_SESSION_KEEPALIVE_SECONDS": "60"}) as running:
        yield running


def exists(instance, id):
    return instance.call("GET", f"/api/terminals/{id}").status == 200


def test_a_lost_connection_loses_no_shell_and_no_output(instance):
    id = open_shell(instance)["id"]

    async def run():
        async with Shell(instance, id) as shell:
            await shell.type("export MARK=here; i=0; while [ $i -lt 400 ]; do echo n$((i=i+1))n; sleep 0.005; done; echo fin''ish\n")
            await shell.read_until("n20n")
            shell.socket.transport.abort()
        async with Shell(instance, id) as shell:
            seen = await shell.read_until("finish", 30)
            numbers = [int(word[1:-1]) for word in seen.split() if word.startswith("n") and word.endswith("n") and word[1:-1].isdigit()]
            assert numbers == list(range(1, 401))
            await shell.type("echo [$MARK]\n")
            await shell.read_until("[here]")
    asyncio.run(run())
    assert exists(instance, id)
    instance.call("DELETE", f"/api/terminals/{id}")


def test_who_comes_back_gets_the_last_256_kib(instance):
    id = open_shell(instance)["id"]
    expected = "".join(f"{n:07}\r\n" for n in range(1, 100001)).encode()

    async def run():
        async with Shell(instance, id) as shell:
            await shell.type("PS1= PS2=; stty -echo; echo rea''dy\n")
            await shell.read_until("ready\r\n")
            await shell.type("seq -f %07g 100000; touch written\n")
        eventually(lambda: (instance.home / "written").exists(), "all is written with nobody there", 30)
        async with Shell(instance, id) as shell:
            while len(shell.received) < KEPT_BYTES:
                shell.received += await asyncio.wait_for(shell.socket.recv(), 10)
            await shell.type("echo af''ter\n")
            seen = await shell.read_until("after")
            kept = seen.encode()[:KEPT_BYTES]
            # bash's own answer to an interactive line (bracketed paste) is among the last bytes.
            assert len(kept) == KEPT_BYTES
            assert expected[-KEPT_BYTES // 2:] in kept
    asyncio.run(run())
    instance.call("DELETE", f"/api/terminals/{id}")


def test_a_second_client_sees_what_came_before_it(instance):
    id = open_shell(instance)["id"]

    async def run():
        async with Shell(instance, id) as first:
            await first.type("echo bef''ore\n")
            await first.read_until("before")
            async with Shell(instance, id) as second:
                await second.read_until("before")
                await second.socket.send('{"type":"resize","cols":101,"rows":33}')
                await first.type("stty size\n")
                await first.read_until("33 101")
                await second.read_until("33 101")
    asyncio.run(run())
    instance.call("DELETE", f"/api/terminals/{id}")


def test_output_that_nobody_reads_costs_no_memory(instance):
    before = memory_kib(instance)
    id = open_shell(instance)["id"]

    async def start():
        async with Shell(instance, id) as shell:
            await shell.type("seq 5000000; touch fin''ished\n")
            await shell.read_until("1000")
    asyncio.run(start())
    eventually(lambda: (instance.home / "finished").exists(), "it printed everything with nobody there", 60)
    if not is_sanitized():
        assert memory_kib(instance) - before < 1024
    instance.call("DELETE", f"/api/terminals/{id}")


def test_a_shell_that_nobody_comes_back_to_ends_after_that_time():
    with InstanceProcess(env={"OPEN_TERMINAL_SESSION_KEEPALIVE_SECONDS": "1.5"}) as short:
        id = open_shell(short)["id"]

        async def visit(seconds):
            async with Shell(short, id) as shell:
                await shell.type("echo th''ere\n")
                await shell.read_until("there")
                await asyncio.sleep(seconds)
        asyncio.run(visit(0))
        assert exists(short, id)
        asyncio.run(visit(2))  # being there longer than that ends nothing
        assert exists(short, id)
        eventually(lambda: not exists(short, id), "it is gone", 10)
        eventually(lambda: not [line for line in short.descendants().values() if "bash" in line], "its processes are, too", 10)


def test_the_shell_left_longest_makes_room_for_a_new_one():
    env = {"OPEN_TERMINAL_SESSION_KEEPALIVE_SECONDS": "60", "OPEN_TERMINAL_MAX_SESSIONS": "2"}
    with InstanceProcess(env=env) as small:
        ids = [open_shell(small)["id"] for _ in range(2)]
        assert small.call("POST", "/api/terminals").json() == {"error": "Maximum number of terminal sessions (2) reached"}

        async def visit(id):
            async with Shell(small, id) as shell:
                await shell.type("echo th''ere\n")
                await shell.read_until("there")
        for id in reversed(ids):
            asyncio.run(visit(id))
        new = open_shell(small)["id"]
        assert [one["id"] for one in small.call("GET", "/api/terminals").json()] == [ids[0], new]
