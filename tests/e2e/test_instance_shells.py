"""The shells of the native instance alone, over the WebSocket that Open WebUI uses."""
import asyncio
import json
import os
import resource
import time
from pathlib import Path

import pytest
import websockets
from instance_process import InstanceProcess, eventually, is_sanitized, memory_kib
from instance_shell import Shell, open_shell

OPEN_WEBUI_AUTH = {"type": "auth", "token": "k"}


@pytest.fixture(scope="module")
def instance():
    with InstanceProcess() as running:
        yield running


def close_code(instance, first_messages, seconds=12, id=None):
    """The code and reason with which the instance closes after these messages."""
    id = id or open_shell(instance)["id"]

    async def run():
        async with websockets.connect(f"ws://127.0.0.1:{instance.port}/api/terminals/{id}") as client:
            for message in first_messages:
                try:
                    await client.send(message)
                except websockets.ConnectionClosed:
                    break
            await asyncio.wait_for(client.wait_closed(), seconds)
            return client.close_code, client.close_reason
    try:
        return asyncio.run(run())
    finally:
        instance.call("DELETE", f"/api/terminals/{id}")


def test_a_shell_as_open_webui_uses_it(instance):
    terminal = open_shell(instance)

    async def run():
        async with Shell(instance, terminal["id"]) as shell:
            await shell.type("echo he''llo $$\n")
            await shell.read_until(f"hello {terminal['pid']}")
            await shell.socket.send(json.dumps({"type": "resize", "cols": 120, "rows": 40}))
            await shell.type("stty size\n")
            await shell.read_until("40 120")
            await shell.type("sleep 100\n")
            await asyncio.to_thread(eventually, lambda: any(line == "sleep 100 " for line in instance.descendants().values()), "it sleeps")
            await shell.type("\x03")
            await shell.type("echo aft''er $?\n")
            await shell.read_until("after 130")
            await (await shell.socket.ping())
    asyncio.run(run())


def test_a_shell_that_exits_closes_its_websocket(instance):
    terminal = open_shell(instance)

    async def run():
        async with Shell(instance, terminal["id"]) as shell:
            await shell.type("echo last wo''rds; exit\n")
            await shell.read_until("last words")
            start = time.monotonic()
            await asyncio.wait_for(shell.socket.wait_closed(), 5)
            assert time.monotonic() - start < 1
            assert shell.socket.close_code == 1000
    asyncio.run(run())
    assert instance.call("GET", f"/api/terminals/{terminal['id']}").json() == {"error": "Session not found"}


@pytest.mark.parametrize("message, reason", [
    ('{"type":"auth","token":"wrong"}', "Invalid API key"),
    ('{"type":"auth","token":"\u00e9"}', "Invalid API key"),
    ('{"type":"auth","token":""}', "Invalid API key"),
    ("hello", "Auth timeout or invalid payload"), (b'{"type":"auth","token":"k"}', "Auth timeout or invalid payload"),
    ('{"type":"auth","token":5}', "Auth timeout or invalid payload"), ('{"type":"auth"}', "Auth timeout or invalid payload"),
    ("[1]", "Auth timeout or invalid payload"), ("null", "Auth timeout or invalid payload"), ("", "Auth timeout or invalid payload"),
    ('{"type":"resize","cols":1,"rows":1}', "Auth timeout or invalid payload"), ("{" * 1000, "Auth timeout or invalid payload")])
def test_only_the_key_opens_a_shell(instance, message, reason):
    assert close_code(instance, [message], seconds=2) == (4001, reason)


def test_a_silent_client_is_closed_after_ten_seconds(instance):
    start = time.monotonic()
    assert close_code(instance, []) == (4001, "Auth timeout or invalid payload")
    assert 9.5 < time.monotonic() - start < 11


def test_an_unknown_shell_is_refused_in_the_handshake(instance):
    async def run(path):
        async with websockets.connect(f"ws://127.0.0.1:{instance.port}{path}"):
            pass
    for path in ("/api/terminals/nope", "/api/nope", "/health"):
        with pytest.raises(websockets.InvalidStatusCode) as refused:
            asyncio.run(run(path))
        assert refused.value.status_code == 403


@pytest.mark.parametrize("header", ["Sec-WebSocket-Version: 7", "Sec-WebSocket-Key: short", "Sec-WebSocket-Key: " + "A" * 24])
def test_a_bad_handshake_is_400(instance, header):
    id = open_shell(instance)["id"]
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}
    name, value = header.split(": ")
    assert instance.call("GET", f"/api/terminals/{id}", headers={**headers, name: value}).status == 400
    assert instance.call("DELETE", f"/api/terminals/{id}").json() == {"status": "deleted"}


@pytest.mark.parametrize("message", ["[1]", "null", '{"type":"resize","cols":-1,"rows":5}', '{"type":"resize","cols":70000,"rows":5}',
                                     '{"type":"resize"}', '{"type":"resize","cols":"a","rows":[]}', "x" * 100000, '{"type":5}'])
def test_odd_text_ends_no_shell(instance, message):
    id = open_shell(instance)["id"]

    async def run():
        async with Shell(instance, id) as shell:
            await shell.socket.send(message)
            await shell.type("echo st''ill; stty size\n")
            await shell.read_until("still")
            await shell.read_until("24 80")
    asyncio.run(run())


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 1 << 20])
@pytest.mark.parametrize("fragments", [1, 3])
def test_frames_of_any_size_reach_the_shell(instance, size, fragments):
    id = open_shell(instance)["id"]

    async def run():
        async with Shell(instance, id) as shell:
            await shell.type("stty raw -echo; echo re''ady; head -c %d | sha1sum; stty sane; echo\n" % size)
            await shell.read_until("ready")
            data = os.urandom(size)
            step = max(1, -(-size // fragments))
            if fragments == 1:
                await shell.socket.send(data)
            else:
                await shell.socket.send([data[at:at + step] for at in range(0, size, step)] or [b"", b""])
            import hashlib
            await shell.read_until(hashlib.sha1(data).hexdigest(), 30)
    asyncio.run(run())


def test_a_message_without_end_is_refused_with_1009(instance):
    assert close_code(instance, [json.dumps(OPEN_WEBUI_AUTH), b"x" * (5 << 20)])[0] == 1009


def test_a_client_that_does_not_read_stops_the_shell_not_our_memory(instance):
    id = open_shell(instance)["id"]

    async def run():
        async with Shell(instance, id, max_queue=1, read_limit=4096) as shell:
            await shell.type("yes > /dev/tty | head -c 100000000; cat /dev/zero | tr '\\0' x | head -c 200000000; echo en''d\n")
            await asyncio.sleep(1)
            if not is_sanitized():
                assert memory_kib(instance) < 8 * 1024
            assert instance.call("GET", "/health").status == 200
            shell.socket.transport.abort()
    asyncio.run(run())
    eventually(lambda: instance.call("GET", f"/api/terminals/{id}").status == 404, "the shell is gone")


def test_a_shell_that_does_not_read_stops_the_client(instance):
    id = open_shell(instance)["id"]

    async def run():
        async with Shell(instance, id) as shell:
            await shell.type("stty raw -echo; echo re''ady; sleep 600\n")
            await shell.read_until("ready")

            async def flood():
                while True:
                    await shell.socket.send(b"x" * 65536)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(flood(), 2)
            assert instance.call("DELETE", f"/api/terminals/{id}").status == 200
    asyncio.run(run())


def test_a_client_that_goes_away_leaves_no_shell_behind(instance):
    terminal = open_shell(instance)

    async def run():
        shell = await Shell(instance, terminal["id"]).__aenter__()
        await shell.type("sleep 5555\n")
        await shell.read_until("5555")
        shell.socket.transport.abort()
    asyncio.run(run())
    eventually(lambda: not Path(f"/proc/{terminal['pid']}").exists(), "the shell is gone")
    eventually(lambda: not any("5555" in line for line in instance.descendants().values()), "its child is gone")


def test_a_client_may_come_back_within_a_second(instance):
    id = open_shell(instance)["id"]

    async def run():
        async with Shell(instance, id) as shell:
            await shell.type("x=kept; echo o''k\n")
            await shell.read_until("ok")
        async with Shell(instance, id) as shell:
            await shell.type("echo $x''!\n")
            await shell.read_until("kept!")
    asyncio.run(run())


def test_two_clients_see_the_same_shell(instance):
    id = open_shell(instance)["id"]

    async def run():
        async with Shell(instance, id) as first, Shell(instance, id) as second:
            await asyncio.sleep(0.2)
            await first.type("echo to bo''th\n")
            await asyncio.gather(first.read_until("to both"), second.read_until("to both"))
            await second.socket.close()
            await first.type("echo al''one\n")
            await first.read_until("alone")
    asyncio.run(run())


def test_a_second_shell_of_a_session_replaces_the_first(instance):
    first = open_shell(instance, **{"X-Session-Id": "tab"})
    second = open_shell(instance, **{"X-Session-Id": "tab"})
    assert first["id"] == second["id"] == "tab"
    eventually(lambda: not Path(f"/proc/{first['pid']}").exists(), "the first is gone")
    assert Path(f"/proc/{second['pid']}").exists()
    instance.call("DELETE", "/api/terminals/tab")


def test_a_shell_is_kept_when_the_one_to_replace_it_cannot_start():
    with InstanceProcess() as instance:
        terminal = open_shell(instance, **{"X-Session-Id": "tab"})
        before, _ = resource.getrlimit(resource.RLIMIT_NPROC)
        instance.set_limit("nproc=1:")  # it is one itself
        answer = instance.call("POST", "/api/terminals", headers={"X-Session-Id": "tab"})
        instance.set_limit(f"nproc={before}:")  # LeakSanitizer needs another at the end
        assert (answer.status, answer.json()) == (429, {"error": "start a process: Resource temporarily unavailable"})

        async def run():
            async with Shell(instance, "tab") as shell:
                await shell.type("echo st''ill $$\n")
                await shell.read_until(f"still {terminal['pid']}")
        asyncio.run(run())


def test_sixteen_shells_and_no_more(instance):
    eventually(lambda: instance.call("GET", "/api/terminals").json() == [], "earlier shells are gone")
    ids = [open_shell(instance)["id"] for _ in range(16)]
    answer = instance.call("POST", "/api/terminals")
    assert (answer.status, answer.json()) == (429, {"error": "Maximum number of terminal sessions (16) reached"})
    for id in ids:
        assert instance.call("DELETE", f"/api/terminals/{id}").status == 200
