"""terminals-gate alone, between peers that misbehave: which head passes, who is asked about it, and where it goes."""
import json
import socket
import threading

import pytest
from api_peers import record
from gate_peers import INSTANCE_KEY, ROUTE, TOKEN, Answer, Gate, allowed, case, fcgi_answer, header, read_all, refused, suppress
from ports import free_port
from stack import SLOW, eventually


# --- heads ---


def test_the_instance_gets_the_head_as_it_was_but_for_what_is_ours():
    with Gate() as gate:
        answer = gate.request("/files/list?a=%2F&b", headers=[
            "Accept: a", "X-Custom:  twice ", "X-Custom: again", "Connection: X-Hop, Host", "X-Hop: 1", "Keep-Alive: 5", "TE: gzip",
            "Proxy-Authorization: x", "Upgrade: h2c", "X-Terminal-Context-Id: chat:1", "X-Terminals-Anything: 1", "Cookie: a=b"])
        answer.expect(200)
        assert answer.body == b"hello"
        assert gate.instance.heads[0].split("\r\n") == [
            "GET /files/list?a=%2F&b HTTP/1.1", "Host: terminals.example", "X-Request-Id: request-1", "Accept: a", "X-Custom: twice",
            "X-Custom: again", "Cookie: a=b", f"Authorization: Bearer {INSTANCE_KEY}", "Connection: close", "", ""]
        assert gate.authorizer.asks == [[
            ("REQUEST_METHOD", "GET"), ("HTTP_AUTHORIZATION", f"Bearer {TOKEN}"), ("HTTP_X_USER_ID", "alice"),
            ("HTTP_X_TERMINAL_CONTEXT_ID", "chat:1"), ("TERMINALS_POLICY", "default"), ("TERMINALS_CLIENT", "192.0.2.7"),
            ("TERMINALS_REQUEST_ID", "request-1"), ("REQUEST_URI", "/files/list?a=%2F&b")]]
        (request,) = gate.provisioner.wait_for("resolve")
        assert (request["user_id"], request["policy_id"], request["context_id"]) == ("alice", "default", "default")
        assert request["actor"] == {"request_id": "request-1", "ip": "192.0.2.7", "user_id": "alice"}
        assert "GET /files/list answered 200" in gate.log()


@pytest.mark.parametrize("head", [
    b"GET /\r\n\r\n", b"GET  / HTTP/1.1\r\n\r\n", b"GET / HTTP/2.0\r\n\r\n", b"GET http://x/ HTTP/1.1\r\n\r\n", b"GET /# HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: b\nc: d\r\n\r\n", b"GET / HTTP/1.1\r\nA: \x00\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n"], ids=case)
def test_a_doubtful_head_is_refused_and_asks_nobody(head):
    with Gate() as gate:
        with gate.connect() as connection:
            connection.sendall(head)
            Answer(read_all(connection)).expect(400)
        assert gate.authorizer.asks == [] and gate.instance.heads == []


def test_a_head_may_come_in_single_bytes_but_not_without_an_end():
    with Gate() as gate:
        with gate.connect() as connection:
            for byte in b"GET / HTTP/1.1\r\nHost: x\r\n\r\n":
                connection.sendall(bytes([byte]))
            Answer(read_all(connection)).expect(200)
        with gate.connect() as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nA: " + b"x" * 70000)
            Answer(read_all(connection)).expect(431, "The request's head is too long")
        for half in (b"", b"GET / HTT", b"GET / HTTP/1.1\r\nHost: x\r\n"):
            with gate.connect() as connection:
                connection.sendall(half)


def test_no_byte_of_a_body_is_read_before_it_is_allowed():
    decide = threading.Event()

    def authorize(parameters):
        decide.wait(10 * SLOW)
        return refused("403 Forbidden", "no")

    with Gate(authorize=authorize) as gate:
        connection = gate.send_head(method="POST", headers=["Content-Length: 100000000"])
        connection.setblocking(False)
        sent = 0
        try:
            while True:
                sent += connection.send(b"x" * 65536)
        except BlockingIOError:
            pass
        # Sent is what the socket's buffer holds: nobody reads.
        assert sent < 2_000_000
        decide.set()
        connection.settimeout(10 * SLOW)
        pump = threading.Thread(target=lambda: suppress(connection.sendall, b"x" * 5_000_000), daemon=True)
        pump.start()
        Answer(read_all(connection)).expect(403, "no")
        connection.close()


# --- the authorizer ---


def test_a_refusal_is_passed_on():
    script = lambda parameters: refused("401 Unauthorized", "Invalid token", "WWW-Authenticate: Bearer")  # noqa: E731
    with Gate(authorize=script) as gate:
        answer = gate.request().expect(401, "Invalid token")
        assert answer.header("WWW-Authenticate") == "Bearer"
        answer = gate.request(method="HEAD").expect(401)
        assert answer.body == b"" and int(answer.header("Content-Length")) > 0
        assert gate.provisioner.all("resolve") == []


@pytest.mark.parametrize("garbage", [
    b"hello\r\n\r\n" * 100, record(6, b"Variable-User: x\r\n\r\n") + record(3, bytes(8)),
    record(6, b"Status: 200\r\nVariable-User: alice\r\n\r\n") + record(3, bytes(8)), record(6, b"Status: 302\r\n\r\n") + record(3, bytes(8)),
    record(6, b"Status: 200\r\n") + record(3, bytes(8)), fcgi_answer(allowed()) + b"more", record(3, bytes(4) + b"\3" + bytes(3)),
    record(6, allowed(user="a\x7f")) + record(3, bytes(8)), record(6, b"Status: 200\nStatus: 200\n\n") + record(3, bytes(8)),
    record(6, allowed(), request_id=2) + record(3, bytes(8), request_id=2)], ids=case)
def test_garbage_from_the_authorizer_lets_nobody_in(garbage):
    with Gate(authorize=lambda parameters: lambda connection: connection.sendall(garbage)) as gate:
        gate.request().expect(502)
        assert gate.provisioner.all("resolve") == []


def test_a_busy_authorizer_is_503_with_retry_after():
    with Gate(authorize=lambda parameters: lambda connection: connection.sendall(record(3, bytes(4) + b"\2" + bytes(3)))) as gate:
        assert gate.request().expect(503).header("Retry-After") == "5"


def test_an_authorizer_that_dies_under_a_request_is_asked_again():
    tries = []

    def authorize(parameters):
        tries.append(1)
        return (lambda connection: connection.sendall(record(6, b"Status: 20")[:9])) if len(tries) < 3 else allowed()

    with Gate(authorize=authorize) as gate:
        gate.request().expect(200)
        assert len(tries) == 3


def test_a_request_waits_for_an_authorizer_that_restarts():
    with Gate(authorizer=False) as gate:
        connection = gate.send_head()
        eventually(lambda: "connected" in gate.log())
        threading.Timer(0.3, gate.authorizer.start).start()
        Answer(read_all(connection)).expect(200)
        connection.close()


# --- the provisioner ---


@pytest.mark.parametrize("code,status", [("capacity", 503), ("timeout", 504), ("backend", 502), ("not_found", 404), ("invalid", 400)], ids=case)
def test_what_the_provisioner_refuses_becomes_a_status(code, status):
    with Gate(resolve=lambda request: {"code": code, "detail": "because"}) as gate:
        answer = gate.request().expect(status, "because")
        assert answer.header("Retry-After") == ("5" if status == 503 else None)


def test_a_provisioner_that_restarts_is_asked_again():
    started = threading.Event()

    def resolve(request):
        if not started.is_set():
            started.set()
            return None
        return gate.destination()

    with Gate(resolve=resolve) as gate:
        connections = [gate.send_head() for _ in range(20)]
        gate.provisioner.wait_for("resolve", 20)
        gate.provisioner.stop()
        with gate.connect() as connection:
            connection.sendall(b"GET /health HTTP/1.0\r\nX-Terminals-Check: 1\r\n\r\n")
            Answer(read_all(connection)).expect(503, "terminals-provisioner does not answer")
        gate.provisioner.start()
        for connection in connections:
            Answer(read_all(connection)).expect(200)
            connection.close()
        with gate.connect() as connection:
            connection.sendall(b"GET /health HTTP/1.0\r\nX-Terminals-Check: 1\r\n\r\n")
            assert json.loads(Answer(read_all(connection)).expect(200).body) == {"status": True}


@pytest.mark.parametrize("answer", [
    {}, {"address": "127.0.0.1", "port": 0, "key": "k", "route_key": ROUTE}, {"address": "127.0.0.1", "port": 80, "key": "a\r\nb", "route_key": ROUTE},
    {"address": "localhost", "port": 80, "key": "k", "route_key": ROUTE}, {"address": "127.0.0.1", "port": 80, "key": "k", "route_key": "short"}], ids=case)
def test_a_destination_that_makes_no_sense_is_502(answer):
    with Gate(resolve=lambda request: answer) as gate:
        gate.request().expect(502)


def test_a_client_that_hangs_up_during_the_start_leaves_nothing():
    decide = threading.Event()

    def resolve(request):
        decide.wait(10 * SLOW)
        return gate.destination()

    with Gate(resolve=resolve) as gate:
        gate.send_head().close()  # before anything was asked
        connections = [gate.send_head(method="POST", headers=["Content-Length: 1000"]) for _ in range(2)]
        connections[0].sendall(b"x" * 1000)
        gate.provisioner.wait_for("resolve", 2)
        for connection in connections:
            connection.close()
        eventually(lambda: gate.sockets() == gate.sockets_at_rest(), what="the connections' end")
        decide.set()
        gate.request().expect(200)
        assert len(gate.instance.heads) == 1, gate.log()


def test_a_client_that_only_ended_its_side_still_gets_its_answer():
    with Gate() as gate, gate.connect() as connection:
        gate.send_head(connection=connection)
        connection.shutdown(socket.SHUT_WR)
        Answer(read_all(connection)).expect(200)


# --- connecting ---


def test_an_instance_that_refuses_once_is_recovered_once():
    port = free_port()

    def resolve(request):
        return gate.destination(None if request["op"] == "recover" else port)

    with Gate(resolve=resolve) as gate:
        gate.request(method="POST", headers=["Content-Length: 3"], body=b"abc").expect(200)
        (request,) = gate.provisioner.wait_for("recover")
        assert request["route_key"] == ROUTE
    with Gate(resolve=lambda request: gate.destination(port)) as gate:
        gate.request().expect(502, "Terminal instance not reachable")
        assert len(gate.provisioner.all("recover")) == 1


def test_the_recover_socket_asks_no_authorizer_and_replaces_the_key():
    with Gate() as gate:
        headers = [f"X-Terminals-Route: {ROUTE}"]
        gate.request(method="POST", headers=[*headers, "Content-Length: 3"], body=b"abc", name="gate-recover").expect(200)
        assert gate.authorizer.asks == []
        (request,) = gate.provisioner.wait_for("recover")
        assert request["route_key"] == ROUTE
        assert header(gate.instance.heads[0], "Authorization") == f"Bearer {INSTANCE_KEY}"
        assert "X-Terminals" not in gate.instance.heads[0]
        gate.request(name="gate-recover").expect(400)
