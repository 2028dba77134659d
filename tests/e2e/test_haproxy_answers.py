"""What HAProxy makes of answers, and which it gives or leaves to our own programs. The peers are scripted."""
import http.client
import json
import os
import re
import socket
import ssl
import time

import pytest
from certificates import make_certificate
from haproxy_peers import Client, Wire, answer
from haproxy_world import KEY, SWITCHING, UPGRADE
from haproxy_world import make_world, shared, world  # noqa: F401 (fixtures)

pytestmark = pytest.mark.release_only  # HAProxy and scripted peers: nothing of ours runs


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


def test_no_two_requests_share_an_id(world):
    """Whichever way they take: alone, the same again on a kept connection, or refused."""
    headers = [f"Authorization: Bearer {KEY}", "X-User-Id: u"]
    ids = []
    for _ in range(20):
        client = Client(world.port)
        ids += [client.request(target, headers).get("X-Request-Id") for target in ("/x", "/x", "/x?a=%2F", "/x", "/health")]
        client.close()
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", each) for each in ids), ids
    assert len(set(ids)) == len(ids)


def test_an_instance_hears_who_asked_and_of_the_unix_socket_that_nobody_knows(world):
    def told(client):
        for _ in range(2):  # the second takes the shorter way
            client.request("/x", [f"Authorization: Bearer {KEY}", "X-User-Id: u"])
            request = world.instance.last
            yield request.all("X-Forwarded-For"), request.all("X-Forwarded-Proto"), request.all("X-Forwarded-Host")
        client.close()

    assert set(map(str, told(Client(world.port)))) == {"(['127.0.0.1'], ['http'], ['terminals.example'])"}
    local = Client(world.port)
    local.close()
    local.connection = socket.socket(socket.AF_UNIX)
    local.connection.connect(str(world.folder / "haproxy-local.sock"))
    local.wire = Wire(local.connection)
    assert set(map(str, told(local))) == {"(['unknown'], ['http'], ['terminals.example'])"}


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
        ("/terminals/files", "http://{instance}/f", "http://terminals.example/terminals/f"),
        ("/terminals/files", "/f/", "/terminals/f/"),
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
    client = Client(world.port)
    for _ in range(3):  # who asks the same again takes a shorter way
        assert client.request(target, [f"Authorization: Bearer {KEY}", "X-User-Id: u"]).get("Location") == expected
    client.close()
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
