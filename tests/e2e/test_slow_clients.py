"""Large heads and slow clients: what they may take from others is bounded, and nobody is cut off who only waits."""
import contextlib
import socket
import ssl
import threading
import time

import pytest

from certificates import make_certificate
from haproxy_peers import Client, Wire, answer, route_key
from haproxy_world import INSTANCE_ID, INSTANCE_KEY, KEY, World

pytestmark = pytest.mark.release_only  # HAProxy and scripted peers: nothing of ours runs

HEAD = f"Host: h\r\nAuthorization: Bearer {KEY}\r\nX-User-Id: u\r\n"
HEAD_SECONDS = 10


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls") / "server.pem", "terminals")


@pytest.fixture
def make_world():
    with contextlib.ExitStack() as stack:
        def make(**settings):
            world = World(**settings).start()
            stack.callback(world.stop)
            return world

        yield make


def held_for(sock, step=None):
    """How long HAProxy keeps this connection; `step(sock)` is what the client does meanwhile, twice a second."""
    started = time.monotonic()
    sock.settimeout(0.5)
    while time.monotonic() - started < 60:
        try:
            if sock.recv(65536) == b"":
                break
        except TimeoutError:
            if step is not None:
                try:
                    step(sock)
                except OSError:
                    break
        except OSError:
            break
    sock.close()
    return time.monotonic() - started


def http2(world):
    context = ssl._create_unverified_context()
    context.set_alpn_protocols(["h2"])
    sock = context.wrap_socket(socket.create_connection(("127.0.0.1", world.port)))
    sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
    return sock


def test_a_head_has_ten_seconds_however_its_bytes_come(make_world, certificate):
    """All at once: each would take the ten seconds alone."""
    plain, tls = make_world(), make_world(TLS_CERT=certificate, CLIENT_TIMEOUT_SECONDS="10")

    def connect(world, data=b""):
        sock = socket.create_connection(("127.0.0.1", world.port))
        sock.sendall(data)
        return sock

    def handshake():
        return ssl._create_unverified_context().wrap_socket(connect(tls))

    def one_byte(sock):
        sock.sendall(b"a")

    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"
    clients = {
        "silence": lambda: held_for(connect(plain)),
        "half a line": lambda: held_for(connect(plain, b"GET /")),
        "a byte now and then": lambda: held_for(connect(plain, b"GET /x HTTP/1.1\r\nHost: x\r\nX-A: "), one_byte),
        "a header now and then": lambda: held_for(connect(plain, b"GET /x HTTP/1.1\r\n"), lambda sock: sock.sendall(b"X: y\r\n")),
        "no TLS": lambda: held_for(connect(tls)),
        "half a hello": lambda: held_for(connect(tls, hello)),
        "a handshake and silence": lambda: held_for(handshake()),
        "HTTP/2 and silence": lambda: held_for(http2(tls)),
        "HTTP/2, a head without an end": lambda: (lambda sock: (sock.sendall(b"\0\0\1\1\0\0\0\0\1\x82"), held_for(sock))[1])(http2(tls)),
    }
    held = {}
    threads = [threading.Thread(target=lambda name=name, run=run: held.update({name: run()})) for name, run in clients.items()]
    for thread in threads:
        thread.start()
    # They are nobody else's trouble.
    for _ in range(20):
        assert plain.hot("/x").body == b"instance"
    for thread in threads:
        thread.join()
    assert held.keys() == clients.keys()
    assert all(HEAD_SECONDS - 2 < seconds < HEAD_SECONDS + 15 for seconds in held.values()), held
    assert plain.gate.requests == tls.gate.requests == tls.instance.requests == []


def test_a_body_that_stalls_is_given_up_and_its_instance_is_told(make_world):
    world = make_world(PROXY_READ_TIMEOUT_SECONDS="1")
    told = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve():
            connection, _ = listener.accept()
            with contextlib.suppress(ConnectionResetError):
                while connection.recv(65536):
                    pass
            told.set()

        threading.Thread(target=serve, daemon=True).start()
        world.command(f"add map {world.folder}/routes.map {route_key('stalled')} 127.0.0.1|{listener.getsockname()[1]}|{INSTANCE_KEY}|{INSTANCE_ID}")
        client = Client(world.port, timeout=20)
        client.send(f"POST /x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {KEY}\r\nX-User-Id: stalled\r\nContent-Length: 100\r\n\r\nhalf")
        got = client.message()
        assert (got.status, got.detail) == (504, "No answer in time"), got
        assert client.ended() and told.wait(10)


def test_a_client_that_does_not_take_its_answer_is_hung_up_on(make_world):
    world = make_world(CLIENT_TIMEOUT_SECONDS="1")
    given_up = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve():
            connection, _ = listener.accept()
            Wire(connection).message()
            with contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
                while True:
                    connection.sendall(bytes(65536))
            given_up.set()

        threading.Thread(target=serve, daemon=True).start()
        world.command(f"add map {world.folder}/routes.map {route_key('full')} 127.0.0.1|{listener.getsockname()[1]}|{INSTANCE_KEY}|{INSTANCE_ID}")
        client = Client(world.port)
        client.send(f"GET /x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {KEY}\r\nX-User-Id: full\r\n\r\n")
        assert given_up.wait(20)
        client.close()


def test_a_client_that_only_waits_is_not_hung_up_on(make_world):
    """A long answer, from the instance and by way of the gate, and a stream with pauses, all longer than a client may stall."""
    world = make_world(CLIENT_TIMEOUT_SECONDS="1")

    def late(request):
        time.sleep(3)
        return answer(body=b"late")

    world.instance.script = world.gate.script = late
    got = {}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve():
            connection, _ = listener.accept()
            Wire(connection).message()
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n\r\n")
            for piece in (b"4\r\ntick\r\n", b"4\r\ntock\r\n", b"0\r\n\r\n"):
                time.sleep(2.5)
                connection.sendall(piece)

        threading.Thread(target=serve, daemon=True).start()
        world.command(f"add map {world.folder}/routes.map {route_key('s')} 127.0.0.1|{listener.getsockname()[1]}|{INSTANCE_KEY}|{INSTANCE_ID}")
        asks = {"GET": lambda: world.hot("/x"), "POST": lambda: world.hot("/x", method="POST", body=b"x" * 300_000), "cold": lambda: world.get("/x"),
                "stream": lambda: world.hot("/x", user="s")}
        threads = [threading.Thread(target=lambda name=name, ask=ask: got.update({name: ask().body})) for name, ask in asks.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert got == {"GET": b"late", "POST": b"late", "cold": b"late", "stream": b"ticktock"}


def test_a_slow_body_of_somebody_unknown_is_not_waited_for(static):
    """The gate decides by the head: the answer is there at once, and the connection goes with it."""
    with static.connect() as sock:
        sock.sendall(b"POST /files/upload HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer wrong\r\nX-User-Id: u\r\nContent-Length: 1000000\r\n\r\nx")
        wire = Wire(sock)
        got = wire.message()
        assert got.status == 401, got
        assert held_for(sock, lambda sock: sock.sendall(b"x")) < 8


@pytest.mark.parametrize("target", ["/x", "/api/v1/stats"])
def test_a_head_of_15000_bytes_and_90_headers_is_taken_and_a_larger_one_is_not(make_world, target):
    world = make_world()

    def status(more):
        client = Client(world.port)
        client.send(f"GET {target} HTTP/1.1\r\n{HEAD}{more}\r\n")
        return client.message().status

    used = len(f"GET {target} HTTP/1.1\r\n{HEAD}\r\n")
    for size, expected in ((15000, 200), (16 * 1024, 400), (64 * 1024, 400)):
        assert status("X-A: " + "x" * (size - used - len("X-A: \r\n")) + "\r\n") == expected, size
    for count, expected in ((90, 200), (101, 400), (1000, 400)):
        assert status("X: y\r\n" * (count - 3)) == expected, count
