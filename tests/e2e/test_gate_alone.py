"""terminals-gate alone, between peers that misbehave: what the whole stack cannot easily provoke."""
import json
import socket
import threading
import time

import pytest
from api_peers import record
from gate_peers import (BINARY, CLOSE, INSTANCE_KEY, PING, PONG, ROUTE, TEXT, TOKEN, Answer, Gate, allowed, auth, fcgi_answer, frame,
                        header, read_all, read_exactly, read_head, refused, terminal)
from stack import SLOW, eventually

def case(value):
    """The name of a test's case: cut, since pytest puts it into the environment."""
    return repr(value)[:40]


UPGRADE = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]


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


def suppress(function, *arguments):
    try:
        function(*arguments)
    except OSError:
        pass


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


def unused_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_an_instance_that_refuses_once_is_recovered_once():
    port = unused_port()

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


# --- relaying ---


def test_an_instance_that_says_nothing_is_502_and_one_that_waits_too_long_504():
    with Gate(instance=lambda connection, head: None) as gate:
        gate.request().expect(502, "Terminal instance not reachable")
    with Gate(instance=lambda connection, head: connection.recv(1), proxy_read_timeout_seconds=1) as gate:
        gate.request().expect(504)


def test_interim_answers_pass_before_the_real_one():
    def instance(connection, head):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = read_exactly(connection, 5)
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + body)

    with Gate(instance=instance) as gate:
        connection = gate.send_head(method="POST", headers=["Content-Length: 5", "Expect: 100-continue"])
        assert read_head(connection) == "HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"later")
        assert read_all(connection).endswith(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nlater")
        connection.close()


def test_large_bodies_pass_both_ways_at_once_unchanged():
    block = bytes(range(256)) * 256

    def instance(connection, head):
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        for _ in range(400):
            connection.sendall(read_exactly(connection, len(block)))

    with Gate(instance=instance) as gate:
        connection = gate.send_head(method="POST", headers=[f"Content-Length: {400 * len(block)}"])
        threading.Thread(target=lambda: [connection.sendall(block) for _ in range(400)], daemon=True).start()
        read_head(connection)
        for _ in range(400):
            assert read_exactly(connection, len(block)) == block
        assert connection.recv(1) == b""
        connection.close()


def test_a_client_that_stops_reading_stops_the_instance():
    sent = []

    def instance(connection, head):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)
            sent.append(65536)

    with Gate(instance=instance) as gate:
        with gate.send_head() as connection:
            read_head(connection)
            last = -1
            while last != sum(sent):
                last = sum(sent)
                time.sleep(0.3)  # "does not grow" has no event to wait for
            assert last < 16 << 20
            read_exactly(connection, last)
            eventually(lambda: sum(sent) > last, what="more, once somebody reads")


def chunks(*pieces):
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def read_chunked(connection):
    data = b""
    while not data.endswith(b"0\r\n\r\n"):
        data += read_exactly(connection, 1)
    return data


def test_nothing_behind_a_body_reaches_the_instance():
    got = []

    def instance(connection, head):
        got.append(read_chunked(connection) if "chunked" in head else b"")
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        got.append(read_all(connection))

    with Gate(instance=instance) as gate:
        smuggled = b"POST /execute HTTP/1.1\r\nHost: x\r\n\r\n"
        gate.request(body=smuggled).expect(200)
        body = chunks(b"abc", b"x" * 100000)
        gate.request(method="POST", headers=["Transfer-Encoding: chunked"], body=body + smuggled).expect(200)
        eventually(lambda: len(got) == 4)
        assert got == [b"", b"", body, b""]


@pytest.mark.parametrize("headers,body,status", [
    (["Content-Length: 1001"], b"x" * 1001, 413), (["Content-Length: 1000"], b"x" * 1000, 200),
    (["Transfer-Encoding: chunked"], chunks(*[b"x"] * 1000), 200), (["Transfer-Encoding: chunked"], chunks(*[b"x"] * 1001), 413),
    (["Transfer-Encoding: chunked"], chunks(b"x" * 10_000_000), 413), (["Transfer-Encoding: chunked"], b"5\r\nabcdeX", 400)], ids=case)
def test_bodies_are_counted_without_their_framing(headers, body, status):
    def instance(connection, head):
        read_chunked(connection) if "chunked" in head else read_exactly(connection, 1000)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

    with Gate(instance=instance, max_body_bytes=1000) as gate:
        connection = gate.send_head(method="POST", headers=headers)
        threading.Thread(target=suppress, args=(connection.sendall, body), daemon=True).start()
        Answer(read_all(connection)).expect(status)
        connection.close()


def test_an_instance_that_answers_before_it_has_read_the_body_is_heard():
    def instance(connection, head):
        connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")

    with Gate(instance=instance) as gate:
        connection = gate.send_head(method="POST", headers=["Content-Length: 100000000"])
        threading.Thread(target=suppress, args=(connection.sendall, b"x" * 20_000_000), daemon=True).start()
        assert Answer(read_all(connection)).expect(413).body == b"no"
        connection.close()


def test_when_the_client_goes_away_the_instance_is_told_at_once():
    ended = threading.Event()

    def instance(connection, head):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nsome")
        try:
            assert connection.recv(1) == b""
        except ConnectionError:
            pass
        ended.set()

    for headers in ([], ["Content-Length: 10"]):
        ended.clear()
        with Gate(instance=instance) as gate:
            with gate.send_head(headers=headers) as connection:
                read_head(connection)
            assert ended.wait(1 * SLOW)


def test_any_other_upgrade_is_a_stream_once_the_instance_says_101():
    def instance(connection, head):
        assert header(head, "Upgrade") == "websocket" and header(head, "Connection") == "Upgrade"
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        connection.sendall(read_exactly(connection, 9))

    with Gate(instance=instance) as gate:
        connection = gate.send_head("/proxy/3000/socket", headers=UPGRADE)
        assert read_head(connection).startswith("HTTP/1.1 101")
        connection.sendall(b"any bytes")
        assert read_all(connection) == b"any bytes"
        connection.close()


def test_activity_names_the_routes_in_use_and_only_those():
    end = threading.Event()

    def instance(connection, head):
        end.wait(10 * SLOW)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

    def authorize(parameters):
        return refused("401 Unauthorized", "no") if parameters["HTTP_AUTHORIZATION"] == "Bearer bad" else allowed()

    with Gate(instance=instance, authorize=authorize) as gate:
        gate.request(token="bad").expect(401)
        connection = gate.send_head()
        first, second = gate.provisioner.wait_for("activity", 2)
        assert first["routes"] == second["routes"] == [ROUTE] and first["shells"] == [] and first["websockets"] == 0
        end.set()
        read_all(connection)
        connection.close()
        eventually(lambda: gate.sockets() == gate.sockets_at_rest())
        count = len(gate.provisioner.all("activity"))
        time.sleep(2.2)  # "says nothing" has no event to wait for
        assert len(gate.provisioner.all("activity")) <= count + 1


# --- terminals ---


def echo(frames):
    """A shell of sorts: the first message must be ours; then everything comes back."""
    assert json.loads(frames.read()[1]) == {"type": "auth", "token": INSTANCE_KEY}
    while (got := frames.read()) is not None:
        if got[0] == CLOSE:
            frames.send(CLOSE, got[1])
            return
        frames.send(got[0], got[1])


def opens(frames):
    """The terminal works."""
    frames.send(BINARY, b"key")
    assert frames.read() == (BINARY, b"key")
    frames.send(CLOSE, b"\x03\xe8")
    assert frames.read() == (CLOSE, b"\x03\xe8") and frames.read() is None
    frames.connection.close()


def test_a_terminal_opens_for_a_token_in_the_header_the_query_or_the_first_message():
    with Gate(instance=terminal(echo)) as gate:
        opens(gate.open_terminal("/api/terminals/s1", token=TOKEN, user="alice"))
        opens(gate.open_terminal(f"/api/terminals/s1?a=1&token={TOKEN}&user_id=al%69ce&b=%2F"))
        opens(gate.open_terminal(behind=frame(TEXT, auth())))
        for ask in gate.authorizer.asks:
            assert dict(ask)["HTTP_AUTHORIZATION"] == f"Bearer {TOKEN}" and dict(ask)["HTTP_X_USER_ID"] == "alice", ask
            assert TOKEN not in dict(ask)["REQUEST_URI"]
        assert [head.split(" ")[1] for head in gate.instance.heads] == ["/api/terminals/s1", "/api/terminals/s1?a=1&b=%2F", "/api/terminals/s1"]
        for head in gate.instance.heads:
            assert TOKEN not in head and "alice" not in head, head
        assert len(gate.provisioner.wait_for("lookup", 3)) == 3 and gate.provisioner.all("resolve") == []
        audits = [(row["action"], row["user_id"], row["resource_id"]) for row in gate.provisioner.wait_for("audit", 6)]
        assert sorted(audits) == [("terminal_closed", "alice", "s1")] * 3 + [("terminal_opened", "alice", "s1")] * 3


def test_a_user_may_have_so_many_terminals_and_others_as_many():
    with Gate(instance=terminal(echo), user_websocket_limit=2,
              authorize=lambda parameters: allowed(user=dict(parameters)["HTTP_X_USER_ID"])) as gate:
        def open_for(user):
            frames = gate.open_terminal("/api/terminals/s1", token=TOKEN, user=user)
            frames.send(BINARY, b"here")
            return frames, frames.read()

        mine = [open_for("alice") for _ in range(2)]
        assert [first for _, first in mine] == [(BINARY, b"here")] * 2
        refused, first = open_for("alice")
        assert first[0] == CLOSE and first[1][:2] == (1013).to_bytes(2, "big"), first
        refused.connection.close()
        theirs, first = open_for("bob")
        assert first == (BINARY, b"here")
        mine[0][0].connection.close()

        def again():
            frames, got = open_for("alice")
            frames.connection.close()
            return got == (BINARY, b"here")

        eventually(again, what="a place for another terminal")
        for frames in (mine[1][0], theirs):
            frames.connection.close()


def test_the_first_message_may_come_in_any_pieces():
    message = auth()
    fragments = (frame(TEXT, message[:5], final=False) + frame(PING, b"p") + frame(0, message[5:9], final=False) + frame(PONG)
                 + frame(0, message[9:]))
    with Gate(instance=terminal(echo)) as gate:
        frames = gate.open_terminal()
        for byte in fragments:
            frames.connection.sendall(bytes([byte]))
        assert frames.read() == (PONG, b"p")
        opens(frames)
        large = gate.open_terminal(behind=frame(TEXT, message + " " * 60000))
        opens(large)


def test_frames_behind_the_first_message_are_not_lost():
    with Gate(instance=terminal(echo)) as gate:
        frames = gate.open_terminal(behind=frame(TEXT, auth()) + b"".join(frame(BINARY, b"%d" % n) for n in range(100)))
        frames.connection.sendall(frame(BINARY, b"x" * 100_000))
        for number in range(100):
            assert frames.read() == (BINARY, b"%d" % number)
        assert frames.read() == (BINARY, b"x" * 100_000)
        opens(frames)


@pytest.mark.parametrize("first", [
    frame(BINARY, auth()), frame(TEXT, "not JSON"), frame(TEXT, "[1]"), frame(TEXT, '{"type":"auth","token":5}'), frame(TEXT, '{"type":"auth"}'),
    frame(TEXT, '{"type":"auth","token":"\u00e9"}'), frame(TEXT, '{"type":"auth","token":"a\\u0000b"}'), frame(TEXT, '{"type":"auth","token":"a b"}'),
    frame(TEXT, '{"type":"auth","token":""}'), frame(TEXT, ""), frame(TEXT, b"\xff"), frame(TEXT, auth() + " " * 70000), frame(TEXT, b"{" * 1_000_000),
    frame(TEXT, "x" * 40000, final=False) + frame(0, "x" * 40000), frame(TEXT, '{"type":"other","token":"x"}')], ids=case)
def test_a_first_message_that_proves_nothing_is_4001(first):
    with Gate() as gate:
        frames = gate.open_terminal()
        threading.Thread(target=suppress, args=(frames.connection.sendall, first), daemon=True).start()
        frames.expect_close(4001)
        frames.connection.close()
        assert gate.authorizer.asks == []


@pytest.mark.parametrize("first", [frame(TEXT, auth(), masked=False), b"\xf1\x80" + bytes(4), b"\x83\x80" + bytes(4), frame(0, b"x"),
                                   frame(PING, b"x" * 126), b"\x81\xfe\x00\x01" + bytes(5), frame(PING, b"", final=False)], ids=case)
def test_a_frame_against_the_protocol_is_1002(first):
    with Gate() as gate:
        frames = gate.open_terminal(behind=first)
        frames.expect_close(1002)
        frames.connection.close()


def test_a_client_may_close_before_it_proves_itself():
    with Gate() as gate:
        frames = gate.open_terminal(behind=frame(CLOSE, b"\x03\xe9bye"))
        assert frames.read() == (CLOSE, b"\x03\xe9") and frames.read() is None
        frames.connection.close()
        for half in (b"", b"\x81", frame(TEXT, auth())[:20]):
            gate.open_terminal(behind=half).connection.close()


@pytest.mark.parametrize("status,code", [("401 Unauthorized", 4001), ("422 Unprocessable Content", 4002), ("403 Forbidden", 4003),
                                         ("400 Bad Request", 4003), ("404 Not Found", 4003), ("503 Service Unavailable", 4003)], ids=case)
def test_a_refused_terminal_gets_its_close_code(status, code):
    with Gate(authorize=lambda parameters: refused(status, "no")) as gate:
        frames = gate.open_terminal(behind=frame(TEXT, auth()))
        frames.expect_close(code)
        frames.connection.close()
        assert gate.provisioner.all("lookup") == []


@pytest.mark.parametrize("target,user,code", [
    ("/api/terminals/s1?user_id=bob", "alice", 4003), ("/api/terminals/s1?user_id=a&user_id=b", None, 4003),
    ("/api/terminals/s1?user_id=a%00b", None, 4003), ("/api/terminals/s1?token=a%20b", None, 4001), ("/api/terminals/s1?token=a&token=b", None, 4001)], ids=case)
def test_contradictory_claims_are_refused(target, user, code):
    with Gate() as gate:
        frames = gate.open_terminal(target, user=user)
        frames.expect_close(code)
        frames.connection.close()
        assert gate.authorizer.asks == []


def test_a_terminal_whose_instance_is_not_there_is_4004_or_4003():
    with Gate(resolve=lambda request: {"code": "not_found", "detail": "it does not run"}) as gate:
        frames = gate.open_terminal(behind=frame(TEXT, auth()))
        frames.expect_close(4004)
        frames.connection.close()
    port = unused_port()
    with Gate(resolve=lambda request: gate.destination(port)) as gate:
        frames = gate.open_terminal(behind=frame(TEXT, auth()))
        frames.expect_close(4003)
        frames.connection.close()
        assert gate.provisioner.all("recover") == []


@pytest.mark.parametrize("answer,code", [
    (b"HTTP/1.1 403 Forbidden\r\n\r\n", 4004), (b"HTTP/1.1 404 Not Found\r\n\r\n", 4004), (b"HTTP/1.1 500 Oops\r\n\r\n", 4003), (b"", 4003),
    (b"garbage\r\n\r\n", 4003), (b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n", 4003)], ids=case)
def test_an_instance_that_does_not_open_the_terminal(answer, code):
    with Gate(instance=lambda connection, head: connection.sendall(answer)) as gate:
        frames = gate.open_terminal(behind=frame(TEXT, auth()))
        frames.expect_close(code)
        frames.connection.close()
        assert gate.provisioner.all("audit") == []


@pytest.mark.parametrize("pieces", [
    [frame(TEXT, auth())], [frame(TEXT, auth()[:5], final=False), frame(PING, b"p"), frame(0, auth()[5:])],
    [bytes([byte]) for byte in frame(TEXT, auth())], [frame(PING, b"p"), frame(TEXT, " " + auth())]], ids=case)
def test_an_instance_never_sees_the_token_of_a_client_that_was_proved_already(pieces):
    seen = []

    def instance(frames):
        assert json.loads(frames.read()[1]) == {"type": "auth", "token": INSTANCE_KEY}
        frames.send(TEXT, "prompt")
        while (got := frames.read()) is not None:
            seen.append(got)

    with Gate(instance=terminal(instance)) as gate:
        frames = gate.open_terminal(token=TOKEN)
        assert frames.read() == (TEXT, b"prompt")  # nothing of the instance's waits for the client's first message
        for piece in pieces:
            frames.connection.sendall(piece)
        frames.send(BINARY, b"ls\n")
        eventually(lambda: (BINARY, b"ls\n") in seen)
        frames.connection.close()
        assert [got for got in seen if got != (PING, b"p")] == [(BINARY, b"ls\n")], seen


@pytest.mark.parametrize("opcode,payload", [(TEXT, "ls\n"), (TEXT, '{"type":"resize","cols":120,"rows":40}'), (TEXT, "x" * 1_000_000), (BINARY, b"x" * 1_000_000),
                                            (TEXT, ""), (BINARY, auth())], ids=case)
def test_a_first_message_that_is_no_auth_passes(opcode, payload):
    with Gate(instance=terminal(echo)) as gate:
        frames = gate.open_terminal(token=TOKEN)
        threading.Thread(target=frames.send, args=(opcode, payload), daemon=True).start()
        assert frames.read() == (opcode, payload if isinstance(payload, bytes) else payload.encode())
        opens(frames)


def test_when_one_side_of_a_terminal_ends_the_other_ends_within_a_second():
    ended = threading.Event()

    def stays(frames):
        while frames.read() is not None:
            pass
        ended.set()

    with Gate(instance=terminal(stays)) as gate:
        frames = gate.open_terminal(behind=frame(TEXT, auth()))
        gate.provisioner.wait_for("audit")
        frames.connection.shutdown(socket.SHUT_WR)
        assert ended.wait(1 * SLOW)
        assert frames.read() is None
        ended.clear()
        frames = gate.open_terminal(behind=frame(TEXT, auth()))
        gate.provisioner.wait_for("audit", 3)
        frames.connection.close()
        assert ended.wait(1 * SLOW)
    with Gate(instance=terminal(lambda frames: frames.send(TEXT, "last words"))) as gate:
        frames = gate.open_terminal(behind=frame(TEXT, auth()))
        assert frames.read() == (TEXT, b"last words") and frames.read() is None
        frames.connection.close()


@pytest.mark.parametrize("headers,status", [
    ([h for h in UPGRADE if "Key" not in h], 400), ([h for h in UPGRADE if "Version" not in h], 426), ([h.replace("13", "8") for h in UPGRADE], 426),
    ([h.replace("==", "=") for h in UPGRADE], 400), ([*UPGRADE, UPGRADE[3]], 400), ([h for h in UPGRADE if "Connection" not in h], 400),
    ([*UPGRADE, "Content-Length: 5"], 400)], ids=case)
def test_a_bad_handshake_is_refused_in_http(headers, status):
    with Gate() as gate:
        answer = gate.request("/api/terminals/s1", headers=headers).expect(status)
        assert answer.header("Sec-WebSocket-Version") == ("13" if status == 426 else None)
        assert gate.authorizer.asks == []


def test_a_silent_terminal_is_no_activity_but_counts():
    with Gate(instance=terminal(echo)) as gate:
        frames = gate.open_terminal(behind=frame(TEXT, auth()))
        reports = gate.provisioner.wait_for("activity", 3)
        assert [report["websockets"] for report in reports] == [1, 1, 1], reports
        assert reports[-1]["routes"] == reports[-1]["shells"] == []
        frames.send(BINARY, b"key")
        frames.read()
        eventually(lambda: gate.provisioner.all("activity")[-1]["shells"] == [ROUTE])
        assert gate.provisioner.all("activity")[-1]["routes"] == []
        opens(frames)
        eventually(lambda: gate.provisioner.all("activity")[-1]["websockets"] == 0)


def test_sigterm_lets_an_exchange_finish_and_ends_the_rest():
    go = threading.Event()

    def instance(connection, head):
        if header(head, "Upgrade"):
            terminal(echo)(connection, head)
            return
        go.wait(5 * SLOW)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\ndone")

    with Gate(instance=instance) as gate:
        idle = gate.connect()
        shell = gate.open_terminal(behind=frame(TEXT, auth()))
        gate.provisioner.wait_for("audit")
        connection = gate.send_head()
        eventually(lambda: len(gate.instance.heads) == 2)
        gate.process.terminate()
        assert shell.read() is None and idle.recv(1) == b""
        go.set()
        assert read_all(connection).endswith(b"done")
        for sock in (idle, shell.connection, connection):
            sock.close()
        gate.process.wait(5 * SLOW)
        assert [row["action"] for row in gate.provisioner.wait_for("audit", 2)] == ["terminal_opened", "terminal_closed"]
        gate.sockets = lambda: 0  # it is gone, rightly
