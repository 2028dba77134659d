"""The native instance alone, as a user of its API meets it: commands, shells, ports, the proxy, and how it ends."""
import asyncio
import http.client
import json
import os
import signal
import socket
import threading
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


# ---- commands ----

def test_waiting_for_a_command_holds_up_nobody_else(instance):
    waiting = []
    threads = [threading.Thread(target=lambda: waiting.append(instance.execute("sleep 1; echo slept", wait=20))) for _ in range(20)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        before = time.monotonic()
        assert instance.call("GET", "/health").status == 200
        assert time.monotonic() - before < 0.5
        time.sleep(0.02)
    assert time.monotonic() - start < 5
    assert [result["text"] for result in waiting] == ["slept\r\n"] * 20


def test_the_answer_comes_as_soon_as_the_command_ends(instance):
    start = time.monotonic()
    assert instance.execute("sleep 0.2; exit 7", wait=300)["exit_code"] == 7
    assert time.monotonic() - start < 1


def test_a_wait_that_is_over_shows_what_there_is(instance):
    result = instance.execute("echo early; sleep 30", wait=0.5)
    assert (result["status"], result["text"]) == ("running", "early\r\n")
    assert instance.call("DELETE", f"/execute/{result['id']}?force=true").json() == {"status": "killed"}


def test_offset_goes_on_where_the_last_answer_ended(instance):
    id = instance.execute("for i in 1 2 3; do echo line $i; sleep 0.1; done", wait=10)["id"]
    everything = instance.call("GET", f"/execute/{id}/status").json()
    rest = instance.call("GET", f"/execute/{id}/status?offset=1").json()
    assert rest["output"] == everything["output"][1:]
    assert rest["next_offset"] == everything["next_offset"] == len(everything["output"])
    assert instance.call("GET", f"/execute/{id}/status?offset=2&tail=1").json()["output"] == everything["output"][-1:]


def test_control_c_interrupts_a_command(instance):
    id = instance.execute("sleep 60", wait=0)["id"]
    eventually(lambda: any(line.startswith("sleep 60") for line in instance.descendants().values()), "sleep runs")
    assert instance.call("POST", f"/execute/{id}/input", {"input": "\\x03"}).status == 200
    assert instance.call("GET", f"/execute/{id}/status?wait=10").json()["exit_code"] in (-signal.SIGINT, 130)


def test_kill_ends_the_whole_tree_even_what_ignores_it(instance):
    result = instance.execute("trap '' TERM; (setsid sleep 1111 &); nohup sleep 2222 & sleep 3333", wait=0)
    eventually(lambda: sum("sleep" in line for line in instance.descendants().values()) >= 3, "all three run")
    assert instance.call("DELETE", f"/execute/{result['id']}?force=true").status == 200
    eventually(lambda: not any("1111" in line or "2222" in line or "3333" in line for line in instance.descendants().values()),
               "nothing is left")
    assert instance.call("GET", f"/execute/{result['id']}/status").status == 404


def test_kill_without_force_lets_a_command_clean_up(instance):
    result = instance.execute("trap 'touch cleaned; exit 0' TERM; echo ready; while :; do sleep 0.05; done", wait=0)
    eventually(lambda: instance.call("GET", f"/execute/{result['id']}/status").json()["output"], "the trap is set")
    assert instance.call("DELETE", f"/execute/{result['id']}").json() == {"status": "killed"}
    assert (instance.home / "cleaned").exists()


def test_a_background_job_lives_on_after_its_command(instance):
    result = instance.execute("sleep 4444 & echo started")
    assert result["exit_code"] == 0
    assert any("4444" in line for line in instance.descendants().values())
    instance.call("DELETE", f"/execute/{result['id']}?force=true")
    eventually(lambda: not any("4444" in line for line in instance.descendants().values()), "the job is gone")


def test_endless_output_fills_neither_disk_nor_memory(instance):
    result = instance.execute("yes 'a line of text that repeats and repeats' | head -c 70000000; echo end", wait=120)
    assert result["status"] == "done"
    assert os.path.getsize(result["log_path"]) <= 50 * 1024 * 1024
    last = instance.call("GET", f"/execute/{result['id']}/status?tail=1").json()["output"][0]["data"]
    assert "cut" in last
    pss = [line for line in Path(f"/proc/{instance.process.pid}/smaps_rollup").read_text().splitlines() if line.startswith("Pss:")]
    if not is_sanitized():
        assert int(pss[0].split()[1]) < 16 * 1024, pss


def test_characters_cut_by_reading_stay_whole(instance):
    text = instance.execute("for i in $(seq 2000); do printf 'h\\303\\251 \\346\\226\\207 '; done", wait=20)["text"]
    assert text == "hé 文 " * 2000


def test_a_missing_folder_and_a_nul_are_the_callers_fault(instance):
    assert instance.call("POST", "/execute", {"command": "pwd", "cwd": "/nope"}).status == 404
    assert instance.call("POST", "/execute", {"command": "a\0b"}).status == 400
    assert instance.call("POST", "/execute", {"command": "pwd", "cwd": "a\0b"}).status == 400


def test_a_command_starts_in_the_folder_that_was_meant(instance):
    (instance.home / "docs").mkdir()
    for folder, where in [("docs", "/docs"), ("~", ""), ("~/docs", "/docs"), ("~//docs/..", ""), ("", "")]:
        assert instance.execute("pwd", cwd=folder)["text"] == f"{instance.home}{where}\r\n"
    answer = instance.call("POST", "/execute", {"command": "pwd", "cwd": "~nobody"})
    assert answer.status == 404, answer
    if os.getuid() == 0:  # who can make a folder that the instance's user may not enter
        (instance.home / "locked").mkdir(mode=0o700, exist_ok=True)
        answer = instance.call("POST", "/execute", {"command": "pwd", "cwd": "locked"})
        assert (answer.status, answer.json()) == (403, {"detail": "[Errno 13] Permission denied: 'locked'"})


def test_a_variable_is_never_cut_short(instance):
    answer = instance.call("POST", "/execute", {"command": "true", "env": {"A": "b\0c"}})
    assert (answer.status, answer.json()["detail"][0]["loc"]) == (422, ["body", "env", "A"])


def test_commands_never_see_the_key(instance):
    environment = instance.execute("env; tr '\\0' '\\n' < /proc/%d/environ" % instance.process.pid)["text"]
    assert "OPEN_TERMINAL_API_KEY=k" not in environment


# ---- requests ----

@pytest.mark.parametrize("authorization, status", [
    ("Bearer k", 200), ("bearer k", 200), ("Bearer  k", 200), ("Bearer x", 401), ("Bearer ", 401), ("k", 401), ("", 401),
    ("Bearer kk", 401), ("Basic k", 401), ("Bearer \xe9", 401)])
def test_only_the_key_opens(instance, authorization, status):
    assert instance.call("GET", "/execute", key=None, headers={"Authorization": authorization}).status == status


@pytest.mark.parametrize("method, path, status", [
    ("GET", "/", 404), ("GET", "//", 404), ("GET", "/execute/..", 405), ("GET", "/execute/%2e%2e/status", 404), ("GET", "/%65xecute", 200),
    ("GET", "/execute/a%00b/status", 404), ("BREW", "/execute", 405), ("GET", "/execute?wait", 200), ("GET", "/execute/", 307),
    ("GET", "/execute?" + "a=b&" * 2000, 200), ("GET", "/execute/%ff/status", 404), ("GET", "/proxy/%ff/", 422), ("GET", "/execute/x/status?wait=nan", 422),
    ("GET", "/execute/x/status?wait=1e400", 422), ("GET", "/execute/x/status?offset=99999999999999999999", 404),
    ("GET", "/execute/x/status?offset=1x", 422)])
def test_odd_requests_get_an_answer_in_json(instance, method, path, status):
    answer = instance.call(method, path)
    assert answer.status == status, answer
    if status != 307:
        answer.json()


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"5", b'"x"', b"{", b"{}", b'{"command":', b'{"command":5}', b'{"command":null}',
                                  b'{"command":"a"} x', b"\xff", b'{"command":"\xff"}', b"[" * 100000, b'{"command":{}}',
                                  b'{"command":"true","env":[]}', b'{"command":"true","env":{"A":{}}}', b'{"command":"true","cwd":5}'])
def test_a_bad_body_is_refused_with_422(instance, body):
    answer = instance.call("POST", "/execute", body, headers={"Content-Type": "application/json"})
    if b"\xff" in body:
        assert (answer.status, answer.json()) == (400, {"detail": "There was an error parsing the body"})
        return
    assert answer.status == 422, answer
    for problem in answer.json()["detail"]:
        assert {"type", "loc", "msg", "input"} <= set(problem)


def test_a_lone_surrogate_is_no_500(instance):
    answer = instance.call("POST", "/execute?wait=5", b'{"command":"echo \\ud800"}', headers={"Content-Type": "application/json"})
    assert answer.status in (200, 422), answer


def test_a_refused_upload_does_not_cost_the_connection(instance):
    connection = http.client.HTTPConnection("127.0.0.1", instance.port)
    assert instance.call("POST", "/execute", b"x" * 100000, key="wrong", connection=connection).status == 401
    assert instance.call("GET", "/health", connection=connection).status == 200
    connection.close()


def test_a_connection_is_kept_and_requests_may_be_pipelined(instance):
    with socket.create_connection(("127.0.0.1", instance.port)) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
        received = b""
        while received.count(b'{"status":"ok"}') < 50:
            piece = client.recv(65536)
            assert piece, received
            received += piece


def test_clients_that_hang_up_while_they_wait_leave_nothing(instance):
    for _ in range(20):
        client = socket.create_connection(("127.0.0.1", instance.port))
        body = b'{"command":"sleep 0.3"}'
        client.sendall(b"POST /execute?wait=60 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\nContent-Type: application/json\r\n"
                       b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        client.close()
    eventually(lambda: not any("sleep 0.3" in line for line in instance.descendants().values()), "all have ended")
    assert instance.call("GET", "/health").status == 200


def test_the_document_describes_what_there_is(instance):
    document = instance.call("GET", "/openapi.json", key=None).json()
    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        for method in operations:
            status = instance.call(method.upper(), path.replace("{process_id}", "x"), key=None).status
            assert status == 401, f"{method} {path}: {status}"


# ---- shells ----

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


def test_sixteen_shells_and_no_more(instance):
    eventually(lambda: instance.call("GET", "/api/terminals").json() == [], "earlier shells are gone")
    ids = [open_shell(instance)["id"] for _ in range(16)]
    answer = instance.call("POST", "/api/terminals")
    assert (answer.status, answer.json()) == (429, {"error": "Maximum number of terminal sessions (16) reached"})
    for id in ids:
        assert instance.call("DELETE", f"/api/terminals/{id}").status == 200


# ---- ports and the proxy ----

ECHO_SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        if self.headers.get("Transfer-Encoding"):
            body = b""
            while True:
                size = int(self.rfile.readline(), 16); body += self.rfile.read(size); self.rfile.readline()
                if not size: break
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(201); self.send_header("X-Path", self.path); self.send_header("X-Key", self.headers.get("Authorization", "none"))
        self.send_header("Set-Cookie", "a=1"); self.send_header("Set-Cookie", "b=2")
        self.send_header("Transfer-Encoding", "chunked"); self.end_headers()
        for at in range(0, len(body), 1000):
            piece = body[at:at + 1000]; self.wfile.write(b"%x\\r\\n%s\\r\\n" % (len(piece), piece))
        self.wfile.write(b"0\\r\\n\\r\\n")
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def echo_port(instance):
    from instance_process import free_port
    port = free_port()
    (instance.home / "echo.py").write_text(ECHO_SERVER)
    id = instance.execute(f"exec python3 echo.py {port}", wait=0)["id"]
    eventually(lambda: any(one["port"] == port for one in instance.call("GET", "/ports").json()["ports"]), "the port is listed", 15)
    yield port
    instance.call("DELETE", f"/execute/{id}?force=true")


def test_only_ports_of_ones_own_programs_are_listed(instance, echo_port):
    with socket.socket() as foreign:
        foreign.bind(("127.0.0.1", 0))
        foreign.listen()
        ports = {one["port"]: one["process"] for one in instance.call("GET", "/ports").json()["ports"]}
        assert ports == {echo_port: "python3"}


def test_the_proxy_carries_bodies_of_any_size_both_ways(instance, echo_port):
    body = os.urandom(3 << 20)
    answer = instance.call("POST", f"/proxy/{echo_port}/a%2fb/c?d=%20&e", body)
    assert (answer.status, answer.headers["x-path"]) == (201, "/a%2fb/c?d=%20&e")
    assert answer.body == body


def test_the_proxy_carries_a_chunked_body(instance, echo_port):
    pieces = [os.urandom(10000) for _ in range(50)]
    connection = http.client.HTTPConnection("127.0.0.1", instance.port)
    connection.request("POST", f"/proxy/{echo_port}/", iter(pieces), {"Authorization": "Bearer k"}, encode_chunked=True)
    response = connection.getresponse()
    assert response.read() == b"".join(pieces)
    assert response.headers.get_all("Set-Cookie") == ["a=1", "b=2"]


def test_the_proxy_keeps_the_key_to_itself(instance, echo_port):
    assert instance.call("POST", f"/proxy/{echo_port}/", b"x").headers["x-key"] == "none"
    assert instance.call("GET", f"/proxy/{echo_port}/", key=None).status == 401


@pytest.mark.parametrize("answer", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 999 x\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"a" * 70000])
def test_a_program_that_talks_nonsense_is_502(instance, answer):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def serve():
            client, _ = listener.accept()
            client.recv(65536)
            client.sendall(answer)
            client.close()
        thread = threading.Thread(target=serve)
        thread.start()
        assert instance.call("GET", f"/proxy/{listener.getsockname()[1]}/").status == 502
        thread.join()


class WebSocketProgram:
    """A program that serves WebSockets, as a development server does; `serve` is what it does with each."""

    def __init__(self, serve):
        self.serve = serve
        self.headers = None
        self.port = None
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)

    async def handle(self, socket, path):
        self.headers, self.path = socket.request_headers, path
        await self.serve(socket)

    async def start(self):
        return await websockets.serve(self.handle, "127.0.0.1", 0, max_size=None, subprotocols=["chat"])

    def __enter__(self):
        self.thread.start()
        self.server = asyncio.run_coroutine_threadsafe(self.start(), self.loop).result(10)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_):
        async def end():
            self.server.close()
            await self.server.wait_closed()
        asyncio.run_coroutine_threadsafe(end(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()


def through_proxy(instance, program, key="k", **options):
    return websockets.connect(f"ws://127.0.0.1:{instance.port}/proxy/{program.port}/live?x=1", max_size=None,
                              extra_headers={"Authorization": f"Bearer {key}"}, **options)


def test_the_proxy_carries_websockets_both_ways(instance):
    async def echo(socket):
        async for message in socket:
            await socket.send(message)

    async def run(program):
        async with through_proxy(instance, program, subprotocols=["chat"]) as client:
            assert client.subprotocol == "chat"
            for message in ("text", b"", os.urandom(3 << 20), "x" * 200000):
                await client.send(message)
                assert await asyncio.wait_for(client.recv(), 20) == message
            await client.close(3000, "enough")
        assert (program.path, program.headers["Host"]) == ("/live?x=1", f"localhost:{program.port}")
        assert "Authorization" not in program.headers

    with WebSocketProgram(echo) as program:
        asyncio.run(run(program))


def test_a_program_may_close_a_websocket_with_its_own_code(instance):
    async def refuse(socket):
        await socket.send("bye")
        await socket.close(4321, "no")

    async def run(program):
        async with through_proxy(instance, program) as client:
            assert await client.recv() == "bye"
            await asyncio.wait_for(client.wait_closed(), 10)
            assert (client.close_code, client.close_reason) == (4321, "no")

    with WebSocketProgram(refuse) as program:
        asyncio.run(run(program))


def test_a_websocket_to_a_program_needs_the_key_and_a_program(instance):
    async def serve(socket):
        await socket.wait_closed()

    async def status(program, **options):
        with pytest.raises(websockets.InvalidStatusCode) as refused:
            async with through_proxy(instance, program, **options):
                pass
        return refused.value.status_code

    with WebSocketProgram(serve) as program:
        assert asyncio.run(status(program, key="wrong")) == 401
    assert asyncio.run(status(program)) == 502


def test_a_client_that_does_not_read_stops_the_program_not_our_memory(instance):
    sent = []

    async def flood(socket):
        while sent.count(1) < 1000:
            await socket.send(b"x" * 100000)
            sent.append(1)

    async def run(program):
        before = memory_kib(instance)
        async with through_proxy(instance, program, max_queue=1, compression=None) as client:
            count = -1
            while count != len(sent):  # until the program is held up
                count = len(sent)
                await asyncio.sleep(0.5)
            assert 0 < count < 1000
            assert is_sanitized() or memory_kib(instance) - before < 1024
            received = 0
            while received < 1000:
                assert len(await asyncio.wait_for(client.recv(), 20)) == 100000
                received += 1

    with WebSocketProgram(flood) as program:
        asyncio.run(run(program))


# ---- its end ----

LEAVE_MUCH_RUNNING = "nohup sleep 6001 & setsid sleep 6002 & (trap '' HUP TERM INT; sleep 6003) & sleep 6004"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_instance_leaves_no_process_behind(how):
    with InstanceProcess() as instance:
        instance.execute(LEAVE_MUCH_RUNNING, wait=0)
        open_shell(instance)
        eventually(lambda: sum("sleep 600" in line for line in instance.descendants().values()) >= 4, "all of it runs")
        below = instance.descendants()
        instance.process.send_signal(how)
        instance.process.wait(timeout=20)
        eventually(lambda: not [pid for pid in below if Path(f"/proc/{pid}").exists()],
                   f"nothing of {below} is left", 10)


def test_a_waiting_request_does_not_hold_up_the_end():
    with InstanceProcess() as instance:
        results = []

        def wait():
            try:
                results.append(instance.call("POST", "/execute?wait=300", {"command": "sleep 300"}).status)
            except (OSError, http.client.HTTPException) as problem:
                results.append(problem)
        thread = threading.Thread(target=wait)
        thread.start()
        eventually(lambda: any("sleep 300" in line for line in instance.descendants().values()), "it waits")
        instance.process.terminate()
        assert instance.process.wait(timeout=5) == 0
        thread.join()


def test_the_key_may_come_from_a_file_or_is_made(tmp_path):
    path = Path("/tmp") / f"key-{os.getpid()}"
    path.write_text("from a file\n")
    path.chmod(0o644)
    try:
        with InstanceProcess(key=None, env={"OPEN_TERMINAL_API_KEY_FILE": str(path)}) as instance:
            assert instance.call("GET", "/execute", key="from a file").status == 200
            assert instance.call("GET", "/execute", key="k").status == 401
    finally:
        path.unlink()
    with InstanceProcess(key=None) as instance:
        eventually(lambda: "API key: " in instance.log(), "the key that was made is told")
        made = instance.log().partition("API key: ")[2].split()[0]
        assert len(made) == 64
        assert instance.call("GET", "/execute").status == 401
        assert instance.call("GET", "/execute", key=made).status == 200


@pytest.mark.release_only
def test_an_idle_instance_is_small_and_quick_to_start():
    times = []
    for _ in range(5):
        start = time.monotonic()
        with InstanceProcess() as instance:
            assert instance.call("GET", "/health").status == 200
            times.append(time.monotonic() - start)
            assert memory_kib(instance) < 2 * 1024
    assert sorted(times)[2] < 1, times  # with Python's part in it, on a machine that others use too
