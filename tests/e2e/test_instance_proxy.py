"""The native instance alone: its list of ports, and its proxy to the programs that listen there."""
import asyncio
import http.client
import os
import socket
import threading

import pytest
import websockets
from instance_process import InstanceProcess, eventually, is_sanitized, memory_kib


@pytest.fixture(scope="module")
def instance():
    with InstanceProcess() as running:
        yield running


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
    from ports import free_port
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
