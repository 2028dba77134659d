"""Where two programs could read one message in two ways: requests within requests, answers within answers, names that end a line,
paths that one takes for another."""
import itertools
import json
import random
import socket
import ssl
import time
import urllib.parse

import h2.config
import h2.connection
import h2.events
import pytest

from certificates import make_certificate
from fake_instance import FakeInstance
from haproxy_peers import answer
from stack import SLOW, Stack, eventually
from haproxy_world import KEY
from test_hostile_answers import Cold, Hot
from wsclient import TEXT, Closed, WebSocket

INJECTED = "x-injected"


@pytest.fixture(scope="module")
def guarded():
    """A stack in front of an instance that remembers whatever got through."""
    with FakeInstance() as fake, Stack(backend="static", static_port=fake.port, static_api_key="inner", access_log=True) as stack:
        stack.fake = fake
        yield stack


# ---- Requests within requests, over HTTP/2 (HTTP/1.1: test_hostile.py, test_haproxy_refusals.py)


@pytest.fixture(scope="module")
def over_tls(tmp_path_factory):
    certificate = make_certificate(tmp_path_factory.mktemp("tls") / "server.pem", "terminals")
    with FakeInstance() as fake:
        stack = Stack(backend="static", static_port=fake.port, static_api_key="inner", tls_cert=certificate, api_key=KEY)
        stack.fake = fake
        try:
            stack.launch()
            eventually(lambda: "Terminals is ready" in stack.log(), 20, what="the start")
            yield stack
            stack.stop()
        finally:
            stack.kill_all()
            stack.remove()


def http2_statuses(stack, pseudo, headers, data):
    """What comes of one request that is sent without any check of ours: its status, or how it ended."""
    context = ssl._create_unverified_context()
    context.set_alpn_protocols(["h2"])
    with context.wrap_socket(socket.create_connection(stack.address, 10 * SLOW)) as sock:
        client = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False, validate_inbound_headers=False))
        client.initiate_connection()
        base = {":method": "POST", ":scheme": "https", ":authority": "h", ":path": "/x", **pseudo}
        client.send_headers(1, [*base.items(), ("authorization", f"Bearer {KEY}"), *headers], end_stream=not data)
        if data:
            client.send_data(1, data, end_stream=True)
        sock.sendall(client.data_to_send())
        while True:
            received = sock.recv(65536)
            if not received:
                return "closed"
            for event in client.receive_data(received):
                if isinstance(event, h2.events.ResponseReceived):
                    return int(dict(event.headers)[":status" if ":status" in dict(event.headers) else b":status"])
                if isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                    return "reset"
            sock.sendall(client.data_to_send())


INNER = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
USER = ("x-user-id", "u")
SMUGGLING = [
    ({}, [USER, ("transfer-encoding", "chunked")], b"0\r\n\r\n" + INNER.encode()),
    ({}, [USER, ("content-length", "1")], b"x" + INNER.encode()),
    ({}, [USER, ("content-length", "100000")], b"x"),
    ({}, [USER, ("content-length", "1"), ("content-length", "40")], b"x" + INNER.encode()),
    ({}, [USER, ("x-a", f"1\r\n{INJECTED}: 1")], b""), ({}, [USER, ("x-a", f"1\n{INJECTED}: 1")], b""), ({}, [USER, ("x-a", "1\0")], b""),
    ({}, [USER, ("x-a", f"1\r\n\r\n{INNER}")], b""),
    ({}, [USER, (f"x-a: 1\r\n{INJECTED}", "1")], b""), ({}, [USER, (f"x-a {INJECTED}", "1")], b""), ({}, [USER, ("", "1")], b""),
    ({}, [("x-user-id", "u\r\nx-user-id: victim")], b""), ({}, [("X-User-Id", "victim")], b""), ({}, [USER, ("x-user-id", "victim")], b""),
    ({}, [USER, ("connection", "x-user-id")], b""), ({}, [USER, ("upgrade", "h2c")], b""),
    ({":path": f"/x HTTP/1.1\r\nHost: h\r\n\r\n{INNER}"}, [USER], b""), ({":path": f"/x\r\n{INJECTED}: 1"}, [USER], b""), ({":path": "/x y"}, [USER], b""),
    ({":path": "x"}, [USER], b""), ({":path": ""}, [USER], b""), ({":path": "//evil/x"}, [USER], b""),
    ({":method": f"GET /smuggled HTTP/1.1\r\n{INJECTED}: 1\r\n\r\nGET"}, [USER], b""), ({":method": "GET /smuggled"}, [USER], b""),
    ({":authority": f"h\r\n{INJECTED}: 1"}, [USER], b""), ({":authority": "h", ":scheme": f"https\r\n{INJECTED}: 1"}, [USER], b""),
]


def test_http2_smuggles_nothing_into_the_http1_behind_it(over_tls):
    stack = over_tls
    for context in ((), ("x-terminal-context-id", "chat:1")):
        stack.fake.seen.clear()
        for number, (pseudo, headers, data) in enumerate(SMUGGLING):
            status = http2_statuses(stack, pseudo, [*headers, *([context] if context else [])], data)
            assert status in ("reset", "closed") or 400 <= status < 500, (number, pseudo, headers, status)
        assert http2_statuses(stack, {":path": "/after"}, [USER, *([context] if context else [])], b"") == 200
        for seen in stack.fake.seen:
            assert "smuggled" not in seen.target and not seen.values(INJECTED) and not seen.values("x-a"), (seen.target, seen.headers)
        assert [seen.target for seen in stack.fake.seen if seen.target != "/x"] == ["/after"]


# ---- Answers within answers


@pytest.fixture(scope="module", params=["hot", "cold"])
def way(request):
    made = {"hot": Hot, "cold": Cold}[request.param]()
    yield made
    made.close()


def test_a_second_answer_of_an_instance_is_nobodys(way):
    """What an instance sends beyond its answer must not be the answer to whoever comes next."""
    evil = answer(headers=["X-Evil: 1"], body=b"evil")
    number = itertools.count()

    def script(request):
        if request.target == "/health":
            return answer()
        body = b"answer-%d" % next(number)
        return answer(body=body) + [evil, evil * 3, b"HTTP/1.1 200 OK\r\nContent-Le", b"garbage", b"\r\n\r\n"][int(body[7:]) % 5]

    way.instance.script = script
    for expected in range(25):
        got = way.ask("/x")
        assert (got.status, got.body, got.get("X-Evil")) == (200, b"answer-%d" % expected, None), got
        assert way.ask("/y", method="HEAD").get("X-Evil") is None
        next_number = next(number)  # how many were asked so far
        number = itertools.count(expected + 1)
        assert next_number >= expected + 2


@pytest.mark.parametrize("reply", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 40\r\n\r\nx", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", b"GET / HTTP/1.1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"x" * 100000 + b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 2000 + b"\r\n", b"\0" * 100,
    b"HTTP/1.1 200 OK\r\nX Y: 1\r\n\r\n", b"HTTP/1.1 200 OK\r\n: 1\r\n\r\n", b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n"])
def test_an_answer_that_is_none_is_502_and_troubles_nobody_else(way, reply):
    way.instance.script = lambda request: reply if request.target == "/bad" else answer(body=b"good")
    started = time.monotonic()
    client = way.ask("/bad")
    assert client is None or client.status in (502, 200), client  # 200: its head was sound, its body is cut
    assert time.monotonic() - started < 8 * SLOW
    assert way.ask("/good").body == b"good"


# ---- Names that end a line

ENDS = ["a\r\nX-Injected: 1", "a\nX-Injected: 1", "a\rX-Injected: 1", "a\r\n\r\nHTTP/1.1 200 OK\r\nX-Injected: 1\r\n\r\n", "a\0b"]


def quoted(text):
    return "".join(f"%{byte:02x}" for byte in text.encode())


@pytest.mark.parametrize("name", ENDS, ids=range(len(ENDS)))
def test_a_user_a_policy_or_a_context_splits_no_answer(guarded, name):
    key, user = ("Authorization", f"Bearer {guarded.key}"), ("X-User-Id", "u")
    before = len(guarded.fake.seen)
    asks = [
        ("GET", f"/api/v1/tenants/{quoted(name)}", [key], None), ("POST", f"/api/v1/tenants/{quoted(name)}/start", [key], None),
        ("GET", f"/api/v1/tenants/u?policy_id={quoted(name)}", [key], None), ("GET", f"/api/v1/tenants/u?context_id=chat:{quoted(name)}", [key], None),
        ("GET", f"/api/v1/tenants/?user_id={quoted(name)}&limit=x{quoted(name)}", [key], None), ("GET", f"/api/v1/policies/{quoted(name)}", [key], None),
        ("GET", f"/p/{quoted(name)}/x", [key, user], None), ("GET", f"/p/{quoted(name)}/openapi.json", [key], None),
        ("POST", "/api/v1/policies", [key], {"id": name}), ("POST", "/api/v1/terminals/stop", [key], {"user_id": name}),
        ("POST", "/api/v1/terminals/stop", [key], {"user_id": "u", "context_id": name}), ("GET", f"/{quoted(name)}", [], None),
        ("GET", f"/api/v1/audit-logs?action={quoted(name)}", [], None),
    ]
    for method, target, headers, body in asks:
        got = guarded.request(None, method, target, headers=headers, key=None, json_body=body)
        assert 400 <= got.status < 500, (method, target, got.status, got.text)
        assert got.header(INJECTED) is None and got.json()["detail"], got.headers
    for query in (f"user_id={quoted(name)}&token={guarded.key}", f"user_id=u&token={quoted(name)}"):
        with pytest.raises(Closed) as closed, WebSocket(guarded.address, f"/api/terminals/s?{query}", timeout=15 * SLOW) as shell:
            shell.recv()
        assert closed.value.code in (4001, 4002, 4003)
    assert len(guarded.fake.seen) == before
    # Nor a line of the log.
    assert not [line for line in guarded.log(limit=1 << 30).splitlines() if line.lower().startswith(INJECTED)]


# ---- Paths that one takes for another

PIECES = ["/", "//", "/./", "/../", ".", "..", "%2e", "%2E%2e", "%2f", "%5c", "\\", ";", "%3b", "%00", "%", "%zz", "?", "api", "API", "%61pi", "v1", "%76%31",
          "/api/v1", "/api/v1/tenants/", "terminals", "/terminals", "/terminals/", "p", "/p/", "/p/default", "/p/default/", "default", "x", "files", "health",
          "/proxy/80/", "%c3%a9", "+", "&", "=", ":", "@"]


def lenient(target):
    """What a lenient server may make of this path: unescaped or not, `\\` as `/`, dots and doubled slashes resolved."""
    path = target.split("?")[0]
    for path in (path, urllib.parse.unquote(path, "latin-1")):
        segments = []
        for segment in path.replace("\\", "/").split("/"):
            if segment == ".." and segments:
                segments.pop()
            elif segment not in ("", ".", ".."):
                segments.append(segment)
        yield "/" + "/".join(segments).lower()


def without_prefixes(target):
    """The target as an instance sees it, by docs/api.md."""
    path, mark, query = target.partition("?")
    if path == "/terminals" or path.startswith("/terminals/"):
        path = path[len("/terminals"):] or "/"
    if path == "/p/default" or path.startswith("/p/default/"):
        path = path[len("/p/default"):] or "/"
    return path + mark + query


def test_no_path_reaches_an_instance_as_another_or_the_admin_api_in_disguise(guarded):
    """Thousands of odd paths, each on the hot and the cold way: refused by both, or passed on byte for byte by both; and nothing
    that a lenient reader could take for the admin API gets to an instance."""
    key, user = f"Authorization: Bearer {guarded.key}", "X-User-Id: u"
    dice = random.Random(4)
    targets = {"/" + "".join(dice.choices(PIECES, k=dice.randint(1, 6))) for _ in range(600)}
    targets |= {prefix + disguise for prefix in ("", "/terminals", "/p/default", "/terminals/p/default")
                for disguise in ("/api/v1", "/api/v1/tenants/", "/%61pi/v1/x", "/x/..;/api/v1", "/api//v1", "/api\\v1", "/x%2f..%2fapi/v1", "/.%2e/api/v1", "//api/v1")}
    targets = sorted(targets)
    guarded.request("u", "GET", "/warm").expect(200)
    guarded.wait_hot("u")
    reached = {}
    for name, context in (("hot", []), ("cold", ["X-Terminal-Context-Id: chat:{}"])):
        for number, target in enumerate(targets):
            head = "\r\n".join([f"GET {target} HTTP/1.1", "Host: h", key, user, *(line.format(number % 50) + ("x" * (number // 50)) for line in context)])
            before = len(guarded.fake.seen)
            got = guarded.raw(head.encode() + b"\r\n\r\n")
            seen = [one.target for one in guarded.fake.seen[before:]]
            reached[name, target] = seen
            if seen:
                assert seen == [without_prefixes(target)], (name, target, seen)
                assert not any(path == "/api/v1" or path.startswith("/api/v1/") for path in lenient(seen[0])), (name, target, seen)
            elif got.status == 200:  # what we answer ourselves
                path = target.split("?")[0]
                assert path.removeprefix("/terminals").startswith(("/api/v1", "/health", "/openapi.json")) or path.endswith("/openapi.json"), (name, target, got.text)
            else:
                assert 400 <= got.status < 500, (name, target, got.status, got.text)
    differing = [target for target in targets if reached["hot", target] != reached["cold", target]]
    assert not differing, differing[:20]
    assert sum(bool(seen) for seen in reached.values()) > 100, "too few got through to mean anything"


# ---- The first message of a shell, through everything


def masked(payload, opcode=0x80 | TEXT):
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xff" + len(payload).to_bytes(8, "big")
    return bytes([opcode]) + length + bytes(4) + payload


def test_a_first_message_may_come_byte_by_byte_and_1_mb_is_none(guarded):
    auth = json.dumps({"type": "auth", "token": guarded.key}).encode()
    guarded.request("u", "GET", "/warm").expect(200)
    for data in (masked(auth), masked(auth[:3], TEXT) + masked(auth[3:4], 0) + masked(auth[4:], 0x80)):
        with WebSocket(guarded.address, "/api/terminals/s?user_id=u", timeout=15 * SLOW) as shell:
            for byte in data:
                shell.sock.sendall(bytes([byte]))
            assert shell.recv()[1] == b"hello"
    for data in (masked(auth + b" " * (1 << 20)), masked(b"[" * (1 << 20)), masked(auth, 0x82), masked(auth * 30000, TEXT)):
        with WebSocket(guarded.address, "/api/terminals/s?user_id=u", timeout=15 * SLOW) as shell:
            try:
                shell.sock.sendall(data)
            except ConnectionError:
                pass  # closed while we still sent
            try:
                assert shell.wait_closed().code in (4001, 1009)
            except ConnectionError:
                pass
