"""What HAProxy sends where: to an instance, to the gate, to what is left of them. The peers are scripted."""
import os
import re
import socket
import subprocess
import time

import pytest
from certificates import make_certificate
from haproxy_peers import Client, Peer, answer, route_key, upper_hex
from haproxy_world import CONFIGURATION, INSTANCE_ID, INSTANCE_KEY, KEY
from ports import free_port
from haproxy_world import make_world, shared, world  # noqa: F401 (fixtures)

pytestmark = pytest.mark.release_only  # HAProxy and scripted peers: nothing of ours runs


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


LATER_HAPROXY = {"configuration": CONFIGURATION.read_text().replace("version_before(2.7)", "version_before(2.0)")}


@pytest.mark.parametrize("settings", [{}, LATER_HAPROXY, {"USER_RATE_LIMIT": "1000"}], ids=["remembered", "later-haproxy", "looked-up"])
def test_each_way_through_haproxy_says_the_same(make_world, settings):
    """Each header once and by itself, as an HTTP/1 parser sees it, to the instance and in the answer."""
    world = make_world(**settings).start()
    world.instance.script = lambda request: answer(headers=["Content-Type: application/json"], body=b"{}")
    client = Client(world.port)
    for _ in range(3):
        got = client.request("/x", [f"Authorization: Bearer {KEY}", "X-User-Id: u", "X-Terminal-Context-Id: default", "X-Other: a"])
        request_id = got.get("X-Request-Id")
        told = sorted((name.lower(), value) for name, value in world.instance.last.headers)
        assert told == [
            ("authorization", f"Bearer {INSTANCE_KEY}"),
            ("host", "terminals.example"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-host", "terminals.example"),
            ("x-forwarded-proto", "http"),
            ("x-other", "a"),
            ("x-request-id", request_id),
        ]
        assert sorted((name.lower(), value) for name, value in got.headers) == [
            ("content-length", "2"),
            ("content-type", "application/json"),
            ("x-content-type-options", "nosniff"),
            ("x-request-id", request_id),
        ]
    client.close()


def test_requests_that_overlap_on_one_connection_are_each_users_own(make_world, tmp_path):
    """Those of HTTP/2, over TLS: curl sends them all at once."""
    world = make_world(TLS_CERT=make_certificate(tmp_path / "server.pem", "terminals"))
    users = [f"user-{number}" for number in range(8)]
    peers = {user: Peer(("127.0.0.1", 0), lambda request, user=user: answer(body=user.encode())) for user in users}
    for user, peer in peers.items():
        world.route(user, to=peer.address)
    world.start()
    lines = []
    for number in range(64):
        user = users[number * 5 % len(users)]
        lines += [f'url = "https://127.0.0.1:{world.port}/{user}"', f'header = "Authorization: Bearer {KEY}"', f'header = "X-User-Id: {user}"',
                  f'cacert = "{tmp_path}/server.crt"', f'output = "{world.folder}/answer-{number}"', f'dump-header = "{world.folder}/head-{number}"', "next"]
    subprocess.run(["curl", "-sS", "--parallel", "--parallel-max", "64", "--config", "-"], input="\n".join(lines[:-1]).encode(), check=True, timeout=30)
    ids = set()
    for number in range(64):
        assert (world.folder / f"answer-{number}").read_text() == users[number * 5 % len(users)]
        head = (world.folder / f"head-{number}").read_text()
        assert head.startswith("HTTP/2 200"), head
        ids |= set(re.findall(r"^x-request-id: (.*)$", head, re.MULTILINE))
    assert len(ids) == 64
    for user, peer in peers.items():
        assert {request.first_line for request in peer.requests} == {f"GET /{user} HTTP/1.1"}
        assert all(request.get("X-Request-Id") in ids and request.get("X-User-Id") is None for request in peer.requests)
        peer.stop()


@pytest.mark.parametrize("status, says", [
    (200, ["Content-Type: application/json"]),
    (200, ["Content-Type: text/html", "Set-Cookie: a=1", "Set-Cookie: b=2; Path=/"]),
    (307, ["Location: /next"]),
    (307, ["Location: http://{instance}/next"]),
    (201, ["Location: http://terminals.example/next", "Set-Cookie: c=3"]),
])
def test_a_kept_connection_changes_nothing_of_what_is_sent_and_answered(world, status, says):
    """What is asked again on a connection takes a shorter way through HAProxy: it must come out the same."""
    says = [line.format(instance="%s:%d" % world.instance.address) for line in says]
    world.instance.script = lambda request: answer(status, says, b"instance")
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
    client = Client(world.port)
    for _ in range(3):
        assert client.request("/x", [f"Authorization: Bearer {KEY}", "X-User-Id: keyless"]).body == b"instance"
        assert world.instance.last.get("Authorization") is None
    client.close()


def test_a_kept_connection_follows_a_route_that_moves(make_world):
    """The same asked again goes to the new address, and with the new key."""
    world = make_world()
    other = Peer(("127.0.0.1", 0), lambda request: answer(body=b"other"))
    world.start()
    client = Client(world.port)
    for peer, key in [(world.instance, "first"), (other, "first"), (other, "second"), (world.instance, "first")]:
        host, port = peer.address
        world.command(f"set map {world.folder}/routes.map {route_key('u')} {host}|{port}|{key}|{INSTANCE_ID}")
        before = len(peer.requests)
        for _ in range(3):
            assert client.request("/x", [f"Authorization: Bearer {KEY}", "X-User-Id: u"]).status == 200
            assert peer.last.get("Authorization") == f"Bearer {key}"
        assert len(peer.requests) == before + 3
    client.close()
    other.stop()


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


def test_a_refused_connection_of_a_kept_one_is_recovered_too(make_world):
    """However often the same was asked before, and whoever asked last."""
    world = make_world()
    doomed = Peer(("127.0.0.1", 0), lambda request: answer(headers=["Connection: close"], body=b"instance"))
    for user in ("a", "b"):
        world.route(user, to=doomed.address)
    world.start()
    mine = [f"Authorization: Bearer {KEY}"]
    client = Client(world.port)
    for user in "aaabb":
        assert client.request("/x", [*mine, f"X-User-Id: {user}"]).body == b"instance"
    doomed.stop()
    for user in "bbaa":
        assert client.request("/x", [*mine, f"X-User-Id: {user}"]).body == b"recovered"
        assert world.recover.last.get("X-Terminals-Route") == route_key(user)
    client.close()


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
