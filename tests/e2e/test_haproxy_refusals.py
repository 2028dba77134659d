"""What HAProxy refuses, of requests and of bodies. The peers are scripted."""
import socket
import threading
import time

import pytest
from haproxy_peers import Client, answer, route_key
from haproxy_world import INSTANCE_ID, INSTANCE_KEY, KEY
from haproxy_world import make_world, shared, world  # noqa: F401 (fixtures)

pytestmark = pytest.mark.release_only  # HAProxy and scripted peers: nothing of ours runs


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
