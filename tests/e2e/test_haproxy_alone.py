"""haproxy.cfg, run by the real HAProxy against scripted peers: what it decides, rewrites, refuses and answers by itself."""

import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from certificates import make_certificate
from haproxy_peers import Client, FastCgiPeer, Peer, answer, route_key, upper_hex

CONFIGURATION = Path(__file__).resolve().parents[2] / "haproxy" / "haproxy.cfg"
HAPROXY = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")
KEY = "orchestrator-key"
INSTANCE_KEY = "instance-key"
INSTANCE_ID = "0123456789abcdef0123456789abcdef"


def free_port():
    """Below the ports that the kernel hands out to clients, so that nobody takes it meanwhile."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class World:
    """HAProxy, a gate, a terminals-api and an instance for the user `u`."""

    def __init__(self, **settings):
        self.folder = Path(tempfile.mkdtemp(prefix="ha"))
        self.port = free_port()
        self.instance = Peer(("127.0.0.1", 0))
        self.instance.script = lambda request: answer(body=b"instance")
        self.gate = Peer(str(self.folder / "gate.sock"), lambda request: answer(body=b"gate"))
        self.recover = Peer(str(self.folder / "gate-recover.sock"), lambda request: answer(body=b"recovered"))
        self.admin = FastCgiPeer(str(self.folder / "api-admin.sock"))
        self.operations = FastCgiPeer(str(self.folder / "api-operations.sock"))
        (self.folder / "identities.map").write_text(f"{upper_hex(KEY)} *\n{upper_hex('jwt-of-u')} u\n")
        self.route("u")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TERMINALS_")},
            "TERMINALS_HOST": "127.0.0.1",
            "TERMINALS_PORT": str(self.port),
            "TERMINALS_RUN_DIR": str(self.folder),
            **{f"TERMINALS_{name}": value for name, value in settings.items()},
        }
        self.log = (self.folder / "log").open("wb")
        self.process = None

    def route(self, user, policy="default", context="default", to=None, more=""):
        host, port = to or self.instance.address
        with (self.folder / "routes.map").open("a") as routes:
            routes.write(f"{route_key(user, policy, context)} {host}|{port}|{INSTANCE_KEY}|{INSTANCE_ID}\n{more}")

    def start(self):
        """Returns when both the worker and the master answer: before that a master loses the signals it gets."""
        command = [HAPROXY, "-W", "-S", f"{self.folder}/haproxy-master.sock,mode,600", "-f", str(CONFIGURATION)]
        self.process = subprocess.Popen(command, env=self.environment, stderr=self.log, stdout=self.log)
        deadline = time.monotonic() + 10
        while True:
            try:
                Client(self.port).close()
                if "worker" in self.command("show proc", "haproxy-master.sock"):
                    return self
            except OSError:
                assert self.process.poll() is None and time.monotonic() < deadline, self.logged()
            time.sleep(0.02)

    def logged(self):
        return (self.folder / "log").read_text()

    def stop(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(10)
        for peer in (self.instance, self.gate, self.recover, self.admin, self.operations):
            peer.stop()
        self.log.close()
        shutil.rmtree(self.folder)

    def get(self, target, headers=(), **more):
        client = Client(self.port)
        try:
            return client.request(target, headers, **more)
        finally:
            client.close()

    def hot(self, target, headers=(), user="u", **more):
        return self.get(target, [f"Authorization: Bearer {KEY}", f"X-User-Id: {user}", *headers], **more)

    def command(self, text, name="haproxy.sock"):
        with socket.socket(socket.AF_UNIX) as runtime:
            runtime.connect(str(self.folder / name))
            runtime.sendall(text.encode() + b"\n")
            runtime.shutdown(socket.SHUT_WR)  # the master hangs up only then
            output = b""
            while data := runtime.recv(65536):
                output += data
            return output.decode()

    def untouched(self):
        """How many requests each peer has seen."""
        peers = (self.instance, self.gate, self.recover, self.admin, self.operations)
        return [len(peer.requests) for peer in peers]


@pytest.fixture(scope="module")
def shared():
    world = World().start()
    yield world
    world.stop()


@pytest.fixture
def world(shared):
    for peer in (shared.instance, shared.gate, shared.recover, shared.admin, shared.operations):
        peer.requests.clear()
    shared.instance.script = lambda request: answer(body=b"instance")
    shared.gate.script = lambda request: answer(body=b"gate")
    return shared


@pytest.fixture
def make_world():
    worlds = []

    def make(**settings):
        worlds.append(World(**settings))
        return worlds[-1]

    yield make
    for made in worlds:
        made.stop()


# ---- The hot path


def test_a_known_user_is_pushed_straight_to_the_instance(world):
    got = world.hot("/files/list?a=%2Fb&a=2", ["X-Custom: 1", "X-Custom: 2"])
    assert got.body == b"instance", got
    request = world.instance.last
    assert request.first_line == "GET /files/list?a=%2Fb&a=2 HTTP/1.1"
    assert request.get("Authorization") == f"Bearer {INSTANCE_KEY}"
    assert request.all("X-Custom") == ["1", "2"]
    assert request.get("Host") == "terminals.example"
    assert request.get("X-Forwarded-For") == "127.0.0.1"
    assert request.get("X-Forwarded-Proto") == "http"
    assert request.get("X-Forwarded-Host") == "terminals.example"
    assert world.gate.requests == []


def test_an_instance_sees_nothing_that_is_not_for_it(world):
    world.hot(
        "/x",
        [
            "X-Terminal-Context-Id: default",
            "Proxy-Authorization: Basic eDp5",
            "X-Terminals-Route: forged",
            "x-terminals-anything: forged",
            "Keep-Alive: timeout=5",
            "TE: trailers",
            "Upgrade: h2c",
            "Connection: upgrade",
            "Forwarded: for=9.9.9.9",
            "X-Forwarded-For: 9.9.9.9",
        ],
    )
    request = world.instance.last
    names = {name.lower() for name, _ in request.headers}
    assert not {name for name in names if name.startswith("x-terminal")}, request
    assert not names & {"x-user-id", "proxy-authorization", "keep-alive", "te", "upgrade", "connection", "forwarded"}, request
    assert request.all("X-Forwarded-For") == ["127.0.0.1"]
    assert KEY not in str(request), request


@pytest.mark.parametrize(
    "target, seen",
    [
        ("/execute", "/execute"),
        ("/terminals/execute", "/execute"),
        ("/p/default/execute", "/execute"),
        ("/terminals/p/default/execute", "/execute"),
        ("/terminals/files/%61%2Fb%20c?q=%2e%2e/../x&&", "/files/%61%2Fb%20c?q=%2e%2e/../x&&"),
        ("/terminals", "/"),
        ("/terminals?x", "/?x"),
        ("/p/default", "/"),
        ("/terminals/terminals/x", "/terminals/x"),
        ("/terminalsx", "/terminalsx"),
        ("/files/a//b", "/files/a//b"),
        ("/files/a..b/...", "/files/a..b/..."),
        ("/terminals/health", "/health"),
        ("http://terminals.example/absolute?x", "/absolute?x"),
    ],
)
def test_prefixes_go_and_the_rest_stays_as_it_was(world, target, seen):
    assert world.hot(target).body == b"instance"
    assert world.instance.last.target == seen


def test_policy_context_and_user_make_the_route(make_world):
    world = make_world()
    other = Peer(("127.0.0.1", 0), lambda request: answer(body=b"other"))
    world.route("u", policy="gpu", to=other.address)
    world.route("u", context="chat:1", to=other.address)
    world.route("josé @ example.org", to=other.address)
    world.start()
    assert world.hot("/p/gpu/x").body == b"other"
    assert world.hot("/x", ["X-Terminal-Context-Id: chat:1"]).body == b"other"
    assert world.hot("/x", user="josé @ example.org").body == b"other"
    assert world.hot("/x", ["X-Terminal-Context-Id:"]).body == b"instance"
    assert world.hot("/x", ["X-Terminal-Context-Id: chat:2"]).body == b"gate"
    assert world.hot("/x", ["X-Terminal-Context-Id: nonsense"]).body == b"gate"
    assert world.hot("/p/other/x").body == b"gate"
    assert world.gate.last.get("X-Terminals-Policy") == "other"
    assert world.hot("/x", user="U").body == b"gate"
    other.stop()


def test_a_users_own_token_acts_for_that_user_only(world):
    assert world.get("/x", ["Authorization: Bearer jwt-of-u", "X-User-Id: u"]).body == b"instance"
    assert world.get("/x", ["Authorization: Bearer jwt-of-u", "X-User-Id: v"]).body == b"gate"
    assert world.get("/x", ["Authorization: bearer jwt-of-u", "X-User-Id: u"]).status == 200


def test_a_kept_connection_never_takes_one_asker_for_another(make_world):
    """HAProxy remembers on a connection what it worked out for the last request: for that one only."""
    world = make_world()
    other = Peer(("127.0.0.1", 0), lambda request: answer(body=b"other"))
    world.route("v", to=other.address)
    world.route("u", policy="gpu", to=other.address)
    world.route("u", context="chat:1", to=other.address)
    world.start()
    mine = f"Authorization: Bearer {KEY}"
    asks = [
        ("/x", [mine, "X-User-Id: u"], b"instance"),
        ("/terminals/p/default/x", [mine, "X-User-Id: u"], b"instance"),
        ("/x", [mine, "X-User-Id: u", "X-Terminal-Context-Id:"], b"instance"),
        ("/x", ["Authorization: Bearer jwt-of-u", "X-User-Id: u"], b"instance"),
        ("/x", [mine, "X-User-Id: v"], b"other"),
        ("/p/gpu/x", [mine, "X-User-Id: u"], b"other"),
        ("/x", [mine, "X-User-Id: u", "X-Terminal-Context-Id: chat:1"], b"other"),
        ("/p/gpu/x", [mine, "X-User-Id: v"], b"gate"),
        ("/p/", [mine, "X-User-Id: u"], b"gate"),
        ("/x", ["Authorization: Bearer jwt-of-u", "X-User-Id: v"], b"gate"),
        ("/x", [mine], b"gate"),
        ("/x", ["X-User-Id: u"], b"gate"),
        ("/x", ["X-User-Id: v"], b"gate"),
        ("/x", ["Authorization: Basic dTp2", "X-User-Id: v"], b"gate"),
        ("/x", [mine, "X-User-Id: u", "X-User-Id: v"], b"gate"),
        ("/x", [mine, "Authorization: Bearer jwt-of-u", "X-User-Id: u"], b"gate"),
    ]
    client = Client(world.port)
    for target, headers, expected in asks:
        for next_target, next_headers, next_expected in asks:
            assert client.request(target, headers).body == expected, (target, headers)
            assert client.request(next_target, next_headers).body == next_expected, (target, headers, next_target, next_headers)
    # What was revoked is so for the next request of a connection, and so is a token that speaks for somebody else than before,
    # and a route that went away.
    target, headers, expected = asks[0]
    for identity, whose in [("*", expected), ("v", b"gate"), ("u", expected), ("v", b"gate"), ("*", expected)]:
        world.command(f"set map {world.folder}/identities.map {upper_hex(KEY)} {identity}")
        for _ in range(3):
            assert client.request(target, headers).body == whose, identity
    world.command(f"del map {world.folder}/routes.map {route_key('u')}")
    assert client.request(target, headers).body == b"gate"
    assert client.request("/x", [mine, "X-User-Id: v"]).body == b"other"
    world.command(f"del map {world.folder}/identities.map {upper_hex(KEY)}")
    assert client.request("/x", [mine, "X-User-Id: v"]).body == b"gate"
    client.close()
    other.stop()


def test_a_kept_connection_changes_nothing_of_what_is_sent_and_answered(world):
    """What is asked again on a connection takes a shorter way through HAProxy: it must come out the same."""
    mine = [f"Authorization: Bearer {KEY}", "X-User-Id: u"]
    odd = [
        [],
        ["X-Request-Id: client-7"],
        ["X-Forwarded-For: 9.9.9.9", "X-Forwarded-Proto: gopher"],
        ["TE: trailers", "Keep-Alive: timeout=5", "Proxy-Authorization: Basic eDp5"],
        ["X-Terminals-Route: forged", "X-Terminal-Context-Id: default"],
        ["Origin: https://chat.example"],
        ["Upgrade: h2c", "Connection: upgrade"],
        ["Connection: keep-alive"],
    ]
    targets = ["/x?a=%2F", "/terminals/y", "/terminals/terminals/y", "/p/default/x", "/a%2Fb", "/health", "/api/v1/tenants/", "//x", "/../x"]

    def seen(client, target, headers):
        for peer in (world.instance, world.gate, world.admin):
            peer.requests.clear()
        got = client.request(target, mine + headers)
        ids = {got.get("X-Request-Id")}
        sent = [peer.requests[-1] for peer in (world.instance, world.gate) if peer.requests]
        if sent:
            ids.add(sent[0].get("X-Request-Id"))
        assert len(ids) == 1, (target, headers, ids)
        sent = [(request.first_line, sorted(h for h in request.headers if h[0].lower() != "x-request-id")) for request in sent]
        return ids.pop(), (got.status, got.body, sorted(h for h in got.headers if h[0].lower() not in ("x-request-id", "date")), sent)

    for headers in odd:
        client = Client(world.port)
        ids = set()
        for target in [*targets, *targets]:
            alone = Client(world.port)
            expected = seen(alone, target, headers)[1]
            alone.close()
            for _ in range(2):
                request_id, got = seen(client, target, headers)
                assert got == expected, (target, headers)
                ids.add(request_id)
                if got[0] >= 400:  # HAProxy closes after its own errors
                    client.close()
                    client = Client(world.port)
        client.close()
        assert ids == {"client-7"} if "X-Request-Id: client-7" in headers else len(ids) == 4 * len(targets), ids


@pytest.mark.parametrize(
    "headers",
    [
        [],
        ["X-User-Id: u"],
        [f"Authorization: Bearer {KEY}"],
        ["Authorization: Bearer wrong", "X-User-Id: u"],
        [f"Authorization: Basic {KEY}", "X-User-Id: u"],
        [f"Authorization: Bearer {KEY}", "X-User-Id:"],
        [f"Authorization: Bearer {KEY}", "X-User-Id: u", "X-User-Id: u"],
        [f"Authorization: Bearer {KEY}", "X-User-Id: v", "X-User-Id: u"],
        [f"Authorization: Bearer {KEY}", f"Authorization: Bearer {KEY}", "X-User-Id: u"],
        [f"Authorization: Bearer {KEY}", "X-User-Id: u", "X-Terminal-Context-Id: default", "X-Terminal-Context-Id: default"],
        [f"Authorization: Bearer {KEY}", "X-User-Id: u,u"],
        [f"Authorization: Bearer {KEY}", "X-User-Id: " + "u" * 10000],
        [f"Authorization: Bearer {KEY}", "X-User-Id: ../u"],
        [f"Authorization: Bearer {KEY}", "X-User-Id: u%00"],
        [f"Authorization: Bearer {KEY}", "X-User-Id: u", "Connection: X-User-Id"],
        [f"Authorization: Bearer {KEY}", "X-User-Id: u", "Connection: close, authorization"],
        [f"Authorization: Bearer {KEY}", "X-User-Id: u", "Connection: close", "Connection: x-forwarded-for"],
    ],
)
def test_whatever_needs_a_decision_goes_to_the_gate_as_it_came(world, headers):
    got = world.get("/terminals/x", headers)
    assert got.body == b"gate", got
    assert world.instance.requests == []
    request = world.gate.last
    for name in ("Authorization", "X-User-Id", "X-Terminal-Context-Id"):
        assert request.all(name) == [line.split(":", 1)[1].strip() for line in headers if line.startswith(name + ":")]
    assert request.get("X-Terminals-Policy") == "default"
    assert request.get("X-Terminals-Client") == "127.0.0.1"
    assert request.target == "/x"


def test_the_gate_gets_one_request_a_connection(world):
    before = world.gate.connections
    client = Client(world.port)
    assert [client.request("/x").body for _ in range(3)] == [b"gate"] * 3
    client.close()
    assert world.gate.connections == before + 3


def test_connections_to_an_instance_are_kept(world):
    before = world.instance.connections
    for _ in range(10):
        assert world.hot("/x").status == 200
    assert world.instance.connections <= before + 2


def test_open_mode_needs_no_token(make_world):
    world = make_world(OPEN="true").start()
    assert world.get("/x", ["X-User-Id: u"]).body == b"instance"
    assert world.get("/x", ["X-User-Id: v"]).body == b"gate"


def test_an_instance_without_a_key_gets_no_authorization(make_world):
    world = make_world()
    host, port = world.instance.address
    with (world.folder / "routes.map").open("a") as routes:
        routes.write(f"{route_key('keyless')} {host}|{port}||{INSTANCE_ID}\n")
    world.start()
    assert world.hot("/x", user="keyless").body == b"instance"
    assert world.instance.last.get("Authorization") is None


@pytest.mark.parametrize("address", ["localhost", "evil.example", "", "1.2.3", "127.0.0.1x"])
def test_a_route_that_is_no_address_goes_to_the_gate(make_world, address):
    world = make_world()
    (world.folder / "routes.map").write_text(f"{route_key('u')} {address}|{world.port}|k|i\n")
    world.start()
    assert world.hot("/x").body == b"gate"


# ---- An instance that is gone


@pytest.mark.parametrize("chunked", [False, True])
def test_a_refused_connection_is_recovered_with_its_body(make_world, chunked):
    world = make_world()
    world.route("gone", to=("127.0.0.1", free_port()))
    world.start()
    body = os.urandom(300_000)
    started = time.monotonic()
    if chunked:
        client = Client(world.port)
        client.send(
            f"POST /p/default/files/upload?x=1 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {KEY}\r\n"
            "X-User-Id: gone\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        client.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        got = client.message()
    else:
        got = world.hot("/p/default/files/upload?x=1", user="gone", method="POST", body=body)
    assert got.body == b"recovered", got
    assert time.monotonic() - started < 2
    request = world.recover.last
    assert request.body == body
    assert request.target == "/files/upload?x=1"
    assert request.get("X-Terminals-Route") == route_key("gone")
    assert request.get("X-Terminals-Client") == "127.0.0.1"
    assert request.get("X-User-Id") is None
    assert len(world.recover.requests) == 1


def test_a_request_that_was_sent_is_never_sent_again(world):
    world.instance.script = lambda request: None
    got = world.hot("/execute", method="POST", body=b"{}")
    assert (got.status, got.detail) == (502, "Terminal instance not reachable")
    assert len(world.instance.requests) == 1 and world.recover.requests == []


def test_a_gate_that_restarts_is_waited_for(make_world):
    """Whoever supervises the gate holds its socket open: requests wait there, and only there."""
    world = make_world()
    world.gate.stop()
    os.unlink(world.folder / "gate.sock")
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(str(world.folder / "gate.sock"))
        held.listen()
        world.start()
        client = Client(world.port)
        client.send("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody")
        client.connection.settimeout(1)
        with pytest.raises(TimeoutError):
            client.message()
        connection, _ = held.accept()  # the new gate
        assert connection.recv(65536).endswith(b"body")
        connection.sendall(answer(body=b"gate"))
        assert client.message().body == b"gate"
        connection.close()


# ---- Hostile requests


BAD_PATHS = [
    "//api/v1/tenants/",
    "//x",
    "/terminals//x",
    "/terminals//api/v1/tenants/",
    "/p//x",
    "/p/default//api/v1/tenants",
    "/terminals/../api/v1/tenants/",
    "/terminals/..%2fapi/v1/tenants/",
    "/x/../api/v1/tenants/",
    "/x/%2e%2e/api/v1/tenants/",
    "/x/.%2E/api/v1/tenants/",
    "/x/..%2Fapi/v1",
    "/x%2f..%2fapi/v1",
    "/x/..\\api/v1",
    "/x/..;/api/v1",
    "/p/..%2f",
    "/p/..%2fx/y",
    "/p/../x",
    "/./api/v1/tenants",
    "/x/.",
    "/x/..",
    "/x/%00",
    "/x%00/y",
    "/x/%zz",
    "/x/%",
    "/x/%4",
    "/api/v1/../../x",
    "/api/v1/%2e%2e/x",
]


@pytest.mark.parametrize("target", BAD_PATHS)
def test_a_path_that_may_mean_another_is_refused(world, target):
    before = world.untouched()
    got = world.hot(target)
    assert (got.status, got.detail) == (400, "Bad path"), got
    assert world.untouched() == before


@pytest.mark.parametrize(
    "target",
    [
        "/%61pi/v1/tenants/",
        "/api/%76%31/tenants",
        "/api%2fv1/tenants",
        "/api//v1/tenants",
        "/API/V1/tenants",
        "/api\\v1",
        "/terminals/%61pi/v1",
        "/p/default/api/v1/tenants",
        "/terminals/p/default/api/v1/tenants",
        "/p/default/api%2Fv1",
        "/metrics",
    ],
)
def test_the_admin_api_in_disguise_is_not_found(world, target):
    before = world.untouched()
    got = world.hot(target)
    assert (got.status, got.detail) == (404, "Not Found"), got
    assert world.untouched() == before


@pytest.mark.parametrize(
    "head",
    [
        "GET / HTTP/1.1\r\nHost: x\r\nX-User-Id: a\x00b\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nX-User-Id: a\x01b\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nX-User-Id: a\x7fb\r\n",
        "GET /\x01 HTTP/1.1\r\nHost: x\r\n",
        "GET /a b HTTP/1.1\r\nHost: x\r\n",
        "GET /#x HTTP/1.1\r\nHost: x\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: x\r\n",
        "CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length : 1\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nA: " + "x" * 100_000 + "\r\n",
        "GET /" + "x" * 100_000 + " HTTP/1.1\r\nHost: x\r\n",
        "nonsense\r\n",
    ],
)
def test_what_is_no_sound_http_is_400(world, head):
    before = world.untouched()
    client = Client(world.port)
    client.send(f"{head}Authorization: Bearer {KEY}\r\nX-User-Id: u\r\n\r\n")
    assert client.message().status == 400
    assert world.untouched() == before


def test_a_header_name_with_an_underscore_is_refused(world):
    got = world.hot("/x", ["X_User_Id: v"])
    assert got.status == 403 and "header name" in got.detail
    assert world.instance.requests == []


def test_transfer_encoding_wins_over_content_length_and_hides_no_second_request(world):
    client = Client(world.port)
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    client.send(
        f"POST /x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nX-User-Id: u\r\n"
        f"Content-Length: {5 + len(smuggled)}\r\nTransfer-Encoding: chunked\r\n\r\n"
    ).send(b"0\r\n\r\n" + smuggled)
    got = client.message()
    assert got.status == 200 and got.get("Connection") == "close"
    assert client.ended()
    assert [request.target for request in world.instance.requests] == ["/x"]
    assert world.instance.last.get("Content-Length") is None
    assert world.gate.requests == []


def test_half_a_request_ends_in_time(make_world):
    world = make_world().start()
    client = Client(world.port, timeout=15)
    started = time.monotonic()
    client.send("GET / HTTP/1.1\r\nHost: x\r\nX-Hal")
    assert client.message().status == 408
    assert 8 < time.monotonic() - started < 13
    assert world.gate.requests == []


def test_a_client_that_leaves_in_the_middle_is_noticed_by_the_instance(world):
    left = threading.Event()
    arrived = threading.Event()

    def listen():
        connection, _ = listener.accept()
        connection.recv(65536)
        arrived.set()
        try:
            connection.recv(1)
        except ConnectionResetError:
            pass
        left.set()

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        threading.Thread(target=listen, daemon=True).start()
        host, port = listener.getsockname()
        world.command(
            f"add map {world.folder}/routes.map {route_key('leaver')} {host}|{port}|{INSTANCE_KEY}|{INSTANCE_ID}"
        )
        client = Client(world.port)
        client.send(f"GET /slow HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nX-User-Id: leaver\r\n\r\n")
        assert arrived.wait(5)
        client.close()
        assert left.wait(5)


# ---- Bodies


def test_a_body_above_the_limit_is_refused_unread(make_world):
    world = make_world(MAX_BODY_BYTES="1000").start()
    got = world.hot("/x", [f"Content-Length: {2 * 1024**3}"], method="POST")
    assert (got.status, got.detail) == (413, "Request body too large")
    assert world.hot("/x", method="POST", body=b"x" * 1000).body == b"instance"
    client = Client(world.port)
    client.send(
        f"POST /x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nX-User-Id: u\r\n"
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    )
    assert client.message().body == b"gate"
    assert world.gate.last.body == b"abc"


def test_a_body_for_a_call_that_takes_none_cannot_hold_its_connections(world):
    for path in ("/api/v1/tenants/", "/api/v1/tenants/u/start"):
        got = world.hot(path, [f"Content-Length: {100 * 1024}"], method="POST")
        assert (got.status, got.detail) == (413, "Request body too large")


def test_expect_100_continue_is_the_instances_to_answer(world):
    client = Client(world.port)
    client.send(
        f"POST /x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nX-User-Id: u\r\n"
        "Content-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    )
    assert client.message(bodiless=True).status == 100
    client.send(b"body")
    assert client.message().body == b"instance"
    assert world.instance.last.body == b"body"


def test_head_has_no_body(world):
    world.instance.script = lambda request: b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    client = Client(world.port)
    headers = [f"Authorization: Bearer {KEY}", "X-User-Id: u"]
    assert client.request("/x", headers, method="HEAD").get("Content-Length") == "5"
    assert client.request("/health", method="HEAD").status == 200
    world.instance.script = lambda request: answer(body=b"next")
    assert client.request("/x", headers).body == b"next"
    assert Client(world.port).request("/..", method="HEAD").status == 400


def test_a_user_who_asks_too_much_is_told_so_and_others_are_not(make_world):
    world = make_world(USER_RATE_LIMIT="1")
    world.route("v")
    world.start()
    client = Client(world.port)

    def ask(user, key=KEY):
        return client.request("/x", [f"Authorization: Bearer {key}", f"X-User-Id: {user}"])

    # Whom no token speaks for takes nothing from anybody.
    for _ in range(60):
        assert ask("u", key="wrong").body == b"gate"
    got = [ask("u") for _ in range(200)]
    served = [answer for answer in got if answer.status == 200]
    refused = [answer for answer in got if answer.status == 429]
    assert served and len(served) + len(refused) == 200
    assert refused, "200 requests were served at one a second"
    assert refused[0].detail and refused[0].get("Retry-After") == "1" and refused[0].get("X-Request-Id")
    assert ask("v").status == 200
    deadline = time.monotonic() + 20
    while ask("u").status != 200:
        assert time.monotonic() < deadline, "a user who once asked too much is never served again"
        time.sleep(0.05)
    client.close()


# ---- Answers


def test_a_sane_request_id_is_kept_and_another_replaced(world):
    def sent(*ids):
        got = world.hot("/x", [f"X-Request-Id: {value}" for value in ids])
        assert got.all("X-Request-Id") == world.instance.last.all("X-Request-Id")
        return got.get("X-Request-Id")

    uuid = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
    assert sent("mine-1") == "mine-1"
    assert sent("x" * 128) == "x" * 128
    assert uuid.fullmatch(sent())
    assert uuid.fullmatch(sent("x" * 129))
    assert uuid.fullmatch(sent("é"))
    assert uuid.fullmatch(sent("a", "b"))
    assert uuid.fullmatch(sent(""))
    world.instance.script = lambda request: answer(headers=["X-Request-Id: theirs"])
    assert sent("mine-2") == "mine-2"


@pytest.mark.parametrize("target", ["/health", "/metrics", "/..", "/x", "/api/v1/tenants", "/openapi.json"])
def test_every_answer_carries_the_request_id(world, target):
    assert world.get(target, ["X-Request-Id: mine"]).all("X-Request-Id") == ["mine"]


def test_an_instance_cannot_speak_for_us(world):
    world.instance.script = lambda request: answer(
        headers=["X-Terminals-Evil: 1", "Access-Control-Allow-Credentials: true", "Set-Cookie: a=1", "Set-Cookie: b=2"]
    )
    got = world.hot("/x", ["Origin: http://site.example"])
    assert got.get("X-Terminals-Evil") is None
    assert got.get("Access-Control-Allow-Credentials") is None
    assert got.all("Set-Cookie") == ["a=1; Path=/x", "b=2; Path=/x"]
    assert got.all("Access-Control-Allow-Origin") == ["*"]


@pytest.mark.parametrize(
    "target, location, expected",
    [
        ("/files", "http://terminals.example/files/?a=1", "http://terminals.example/files/?a=1"),
        ("/terminals/files", "http://terminals.example/files/", "http://terminals.example/terminals/files/"),
        ("/terminals/p/default/files", "HTTP://terminals.example/f?a#b", "http://terminals.example/terminals/p/default/f?a#b"),
        ("/p/default/files", "http://{instance}/f/%2F", "http://terminals.example/p/default/f/%2F"),
        ("/p/default/files", "http://{instance}", "http://terminals.example/p/default"),
        ("/files", "https://{instance}/f", "http://terminals.example/f"),
        ("/p/default/files", "/f/", "/p/default/f/"),
        ("/p/default/files", "f/", "f/"),
        ("/p/default/files", "https://elsewhere.example/f", "https://elsewhere.example/f"),
        ("/p/default/files", "http://terminals.example.evil/f", "http://terminals.example.evil/f"),
        ("/p/default/files", "//elsewhere.example/f", "//elsewhere.example/f"),
    ],
)
def test_a_redirect_to_the_instance_names_us(world, target, location, expected):
    location = location.format(instance="%s:%d" % world.instance.address)
    world.instance.script = lambda request: answer(307, [f"Location: {location}"])
    assert world.hot(target).get("Location") == expected
    world.gate.script = world.instance.script
    if "elsewhere" in location or "terminals.example" in location or not location.lower().startswith("http"):
        assert world.get(target).get("Location") == expected


def test_over_tls_an_instance_is_told_so_and_its_redirects_stay_there(make_world, tmp_path):
    world = make_world(TLS_CERT=make_certificate(tmp_path / "server.pem", "terminals")).start()
    host, port = world.instance.address
    for location, expected in ((f"http://{host}:{port}/next", "https://terminals.example/terminals/next"), ("/next", "/terminals/next"),
                               ("https://terminals.example/next", "https://terminals.example/terminals/next"),
                               ("http://elsewhere.example/next", "http://elsewhere.example/next")):
        world.instance.script = lambda request: answer(307, [f"Location: {location}"])
        client = http.client.HTTPSConnection("localhost", world.port, timeout=10,
                                             context=ssl.create_default_context(cafile=tmp_path / "server.crt"))
        client.request("GET", "/terminals/x",
                       headers={"Host": "terminals.example", "Authorization": f"Bearer {KEY}", "X-User-Id": "u"})
        got = client.getresponse()
        assert (got.status, got.headers["Location"]) == (307, expected)
        assert world.instance.last.all("X-Forwarded-Proto") == ["https"]
        client.close()


def test_cors_answers_preflights_and_names_the_origin(world):
    asks = ["Origin: http://a.example", "Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: x-user-id, b"]
    got = world.get("/files", asks, method="OPTIONS")
    assert got.status == 204
    assert got.get("Access-Control-Allow-Origin") == "*"
    assert got.get("Access-Control-Allow-Headers") == "x-user-id, b"
    assert "PUT" in got.get("Access-Control-Allow-Methods")
    assert got.get("Access-Control-Allow-Credentials") is None
    assert world.get("/x").get("Access-Control-Allow-Origin") is None
    assert world.get("/..", ["Origin: http://a.example"]).get("Access-Control-Allow-Origin") == "*"
    assert world.get("/x", method="OPTIONS").body == b"gate"


def test_cors_with_a_list_allows_that_list(make_world):
    world = make_world(CORS_ALLOWED_ORIGINS="http://a.example https://b.example:8443").start()
    for origin in ("http://a.example", "https://b.example:8443"):
        got = world.get("/x", [f"Origin: {origin}"])
        assert got.get("Access-Control-Allow-Origin") == origin
        assert "Origin" in got.all("Vary")
    assert world.get("/x", ["Origin: http://evil.example"]).get("Access-Control-Allow-Origin") is None
    asks = ["Origin: http://evil.example", "Access-Control-Request-Method: PUT"]
    got = world.get("/x", asks, method="OPTIONS")
    assert (got.status, got.get("Access-Control-Allow-Origin")) == (403, None)


@pytest.mark.parametrize("allowed,origin,opens", [
    ("https://a.example https://b.example", "https://b.example", True), ("https://a.example", "https://b.example", False),
    ("https://a.example", None, True), ("", "https://b.example", False), ("*", "https://b.example", True)])
def test_a_websocket_of_a_foreign_page_is_refused(make_world, allowed, origin, opens):
    world = make_world(CORS_ALLOWED_ORIGINS=allowed).start()
    world.instance.script = world.gate.script = lambda request: SWITCHING if request.get("Upgrade") else answer()
    for target in ("/proxy/8080/ws", "/api/terminals/s1"):
        headers = [f"Authorization: Bearer {KEY}", "X-User-Id: u", *UPGRADE, *([f"Origin: {origin}"] if origin else [])]
        assert world.get(target, headers).status == (101 if opens else 403)
    assert world.hot("/x", [f"Origin: {origin}"] if origin else []).status == 200  # its answer is the browser's to withhold


def test_no_configured_origin_means_no_cors(make_world):
    world = make_world(CORS_ALLOWED_ORIGINS="").start()
    world.instance.script = lambda request: answer(headers=["Access-Control-Allow-Origin: *"])
    assert world.hot("/x", ["Origin: http://a.example"]).get("Access-Control-Allow-Origin") is None


# ---- Our own paths


def test_the_admin_api_gets_what_fastcgi_would_lose(world):
    got = world.get("/api/v1/tenants/a%2F..%2Fb?limit=1", [f"Authorization: Bearer {KEY}", "X-User-Id: a", "X-User-Id: b"])
    assert got.status == 200
    parameters = world.admin.last
    assert parameters["REQUEST_URI"] == "/api/v1/tenants/a%2F..%2Fb?limit=1"
    assert parameters["REQUEST_METHOD"] == "GET"
    assert parameters["HTTP_AUTHORIZATION"] == f"Bearer {KEY}"
    assert parameters["TERMINALS_USER_ID_COUNT"] == "2"
    assert parameters["TERMINALS_AUTHORIZATION_COUNT"] == "1"
    assert parameters["TERMINALS_CLIENT"] == "127.0.0.1"
    assert parameters["TERMINALS_REQUEST_ID"] == got.get("X-Request-Id")
    assert world.gate.requests == world.instance.requests == []


@pytest.mark.parametrize(
    "method, target, peer",
    [
        ("GET", "/api/v1/tenants/", "admin"),
        ("GET", "/api/v1", "admin"),
        ("GET", "/api/v1/nothing", "admin"),
        ("POST", "/api/v1/policies", "admin"),
        ("GET", "/terminals/api/v1/config", "admin"),
        ("GET", "/openapi.json", "admin"),
        ("GET", "/terminals/openapi.json", "admin"),
        ("GET", "/p/gpu/openapi.json", "admin"),
        ("POST", "/api/v1/tenants", "operations"),
        ("POST", "/api/v1/tenants/u/stop", "operations"),
        ("DELETE", "/api/v1/tenants/u", "operations"),
        ("POST", "/openapi.json", "gate"),
        ("GET", "/api/v1x", "gate"),
        ("GET", "/api/v2/x", "gate"),
        ("GET", "/proxy/80/api/v1/x", "gate"),
    ],
)
def test_each_call_has_its_place(world, method, target, peer):
    world.get(target, method=method, body=b"" if method == "POST" else None)
    seen = {name: len(getattr(world, name).requests) for name in ("admin", "operations", "gate", "instance")}
    assert seen == {**dict.fromkeys(seen, 0), peer: 1}


def test_the_description_of_a_policy_says_which(world):
    world.get("/terminals/p/gpu/openapi.json")
    assert world.admin.last["TERMINALS_POLICY"] == "gpu"
    assert world.admin.last["REQUEST_URI"] == "/p/gpu/openapi.json"
    world.get("/openapi.json")
    assert world.admin.last["TERMINALS_POLICY"] == "default"


def test_health_tells_what_is_down(make_world):
    world = make_world().start()
    got = world.get("/health", ["X-Terminals-Check: 0"])
    assert (got.status, json.loads(got.body)) == (200, {"status": True})
    assert world.gate.last.all("X-Terminals-Check") == ["1"]
    assert world.get("/health", method="POST", body=b"").status == 405
    world.gate.script = lambda request: answer(503, body=b'{"detail": "terminals-provisioner is down"}')
    got = world.get("/health")
    assert (got.status, got.detail) == (503, "terminals-provisioner is down")
    world.gate.script = lambda request: None
    got = world.get("/health")
    assert (got.status, got.detail) == (503, "terminals-gate does not answer")
    world.admin.stop()
    deadline = time.monotonic() + 10
    while got.detail != "terminals-api does not answer":
        assert time.monotonic() < deadline, got
        time.sleep(0.1)
        got = world.get("/health")
    assert got.status == 503


def test_a_hung_gate_is_not_healthy(make_world):
    world = make_world()
    world.gate.stop()
    os.unlink(world.folder / "gate.sock")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(world.folder / "gate.sock"))
        silent.listen()
        world.start()
        got = world.get("/health")
        assert (got.status, got.detail) == (503, "terminals-gate does not answer")


# ---- WebSockets


UPGRADE = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


@pytest.mark.parametrize(
    "target, seen",
    [("/api/terminals/abc?token=t", "/api/terminals/abc?token=t"), ("/terminals/p/gpu/api/terminals/abc", "/api/terminals/abc")],
)
def test_a_shell_is_always_the_gates(world, target, seen):
    world.gate.script = lambda request: SWITCHING
    client = Client(world.port)
    got = client.request(target, [f"Authorization: Bearer {KEY}", "X-User-Id: u", *UPGRADE])
    assert got.status == 101, got
    assert client.send(b"both ways").wire.exactly(9) == b"both ways"
    assert world.gate.last.target == seen and world.instance.requests == []
    client.close()
    assert world.hot("/api/terminals/abc").body == b"instance"


def test_another_websocket_is_pushed_like_any_request(world):
    world.instance.script = lambda request: SWITCHING
    client = Client(world.port)
    got = client.request("/proxy/8080/ws", [f"Authorization: Bearer {KEY}", "X-User-Id: u", *UPGRADE])
    assert got.status == 101, got
    assert client.send(b"both ways").wire.exactly(9) == b"both ways"
    table = world.command("show table tenants")
    assert f"key={route_key('u')}" in table and "conn_cur=1" in table, table
    client.close()


def test_a_user_may_have_so_many_websockets_and_others_as_many(make_world):
    world = make_world(USER_WEBSOCKET_LIMIT="2")
    world.route("v")
    world.start()
    world.instance.script = lambda request: SWITCHING if request.get("Upgrade") else answer()

    def open_for(user):
        client = Client(world.port)
        return client, client.request("/proxy/8080/ws", [f"Authorization: Bearer {KEY}", f"X-User-Id: {user}", *UPGRADE]).status

    mine = [open_for("u") for _ in range(2)]
    assert [status for _, status in mine] == [101, 101]
    assert open_for("u")[1] == 429
    assert world.hot("/x").status == 200
    assert open_for("v")[1] == 101
    mine[0][0].close()
    deadline = time.monotonic() + 20
    while open_for("u")[1] != 101:
        assert time.monotonic() < deadline, "a WebSocket that ended counts for ever"
        time.sleep(0.05)


def test_only_what_reaches_an_instance_counts_as_activity(make_world):
    world = make_world().start()
    world.get("/x", ["X-User-Id: u"])
    world.get("/health")
    world.hot("/..")
    assert "key=" not in world.command("show table tenants")
    world.hot("/x")
    assert f"key={route_key('u')}" in world.command("show table tenants")


# ---- Operation


def test_a_reload_drops_nothing(make_world):
    world = make_world()
    world.instance.script = lambda request: SWITCHING
    world.start()
    client = Client(world.port)
    client.request("/proxy/8080/ws", [f"Authorization: Bearer {KEY}", "X-User-Id: u", *UPGRADE])
    before = re.search(r"Pid: (\d+)", world.command("show info")).group(1)
    world.process.send_signal(signal.SIGUSR2)
    deadline = time.monotonic() + 10
    while True:
        assert world.get("/x").body == b"gate"
        try:
            if re.search(r"Pid: (\d+)", world.command("show info")).group(1) != before:
                break
        except OSError:
            pass
        assert time.monotonic() < deadline, world.logged()
    assert client.send(b"still here").wire.exactly(10) == b"still here"
    client.close()


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_access_log_holds_no_secret(make_world, log_format):
    world = make_world(ACCESS_LOG="true", LOG_FORMAT=log_format).start()
    world.hot("/terminals/x?token=secret-in-query", ["X-Request-Id: the-id"])
    deadline = time.monotonic() + 5
    while "the-id" not in world.logged():
        assert time.monotonic() < deadline, world.logged()
    line = next(line for line in world.logged().splitlines() if "the-id" in line)
    assert "secret-in-query" not in line and KEY not in line and INSTANCE_KEY not in line
    path = json.loads(line)["path"] if log_format == "json" else re.search(r"path=(\S+)", line).group(1)
    assert path == "/terminals/x"


def test_nothing_is_logged_unless_asked_for(make_world):
    world = make_world().start()
    world.hot("/quiet")
    assert "/quiet" not in world.logged()
