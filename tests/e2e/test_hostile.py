"""Hostile and broken requests: the status API.md names, in JSON, and never an instance's business."""
import os
import re
import socket
import time
import uuid

import pytest
from conftest import needs_sandbox
from fake_instance import FakeInstance
from stack import SLOW, Stack, eventually

LIMIT = 1 << 30


@pytest.fixture(scope="module")
def guarded():
    """A stack in front of an instance that remembers whatever got through."""
    with FakeInstance() as fake, Stack(backend="static", static_port=fake.port, static_api_key="inner",
                                       max_body_bytes=LIMIT) as stack:
        stack.fake = fake
        yield stack


def attempt(stack, lines, target="/x", body=b"", method="GET", **rest):
    """Sends exactly these header lines (bytes or str), and returns the answer and what reached the instance."""
    before = len(stack.fake.seen)
    data = f"{method} {target} HTTP/1.1\r\nHost: x\r\n".encode()
    for line in lines:
        data += (line.encode() if isinstance(line, str) else line) + b"\r\n"
    answer = stack.raw(data + b"\r\n" + body, method=method, **rest)
    return answer, stack.fake.seen[before:]


def bearer(stack):
    return f"Authorization: Bearer {stack.key}"


def refused(stack, status, lines, **rest):
    answer, reached = attempt(stack, lines, **rest)
    assert not reached, f"reached the instance: {reached[0].method} {reached[0].target} {reached[0].headers}"
    return answer.expect_error(status)


# --- who ---

@pytest.mark.parametrize("headers,detail", [
    ([], "Missing Authorization header"),
    (["Authorization: Basic eDp5"], "Invalid Authorization header"),
    (["Authorization: Bearer"], "Invalid Authorization header"),
    (["Authorization: "], "Missing Authorization header|Invalid Authorization header"),
    (["Authorization: key"], "Invalid Authorization header"),
    (["Authorization: Bearer wrong"], "Invalid API key"),
    (["Authorization: Bearer wrong", "X-User-Id: u"], "Invalid API key"),
    (["Authorization: Bearer *"], "Invalid API key"),
    (["Authorization: Bearer " + "x" * 5000], "Invalid API key"),
    ([b"Authorization: Bearer \xc3\xa9"], "Invalid API key|Invalid Authorization header"),
])
def test_who_proves_nothing_is_401_and_told_why(guarded, headers, detail):
    """Authentication comes before everything else: even without X-User-Id it is 401."""
    answer = refused(guarded, 401, headers)
    assert re.fullmatch(detail, answer.detail), answer.detail
    assert answer.header("www-authenticate") == "Bearer"


def test_the_key_is_compared_whole(guarded):
    for guess in (guarded.key[:-1], guarded.key + "x", guarded.key.upper(), " ", guarded.key + "\t" + "x"):
        refused(guarded, 401, [f"Authorization: Bearer {guess}", "X-User-Id: u"])


def test_the_scheme_may_be_in_any_case(guarded):
    for scheme in ("bearer", "BEARER", "Bearer"):
        for _ in ("cold", "hot"):
            answer, reached = attempt(guarded, [f"Authorization: {scheme} {guarded.key}", f"X-User-Id: case-{scheme}"])
            answer.expect(200)
            assert len(reached) == 1


def test_two_authorization_headers_are_refused(guarded):
    for lines in ([bearer(guarded), "Authorization: Bearer other"], ["Authorization: Bearer other", bearer(guarded)],
                  [bearer(guarded), bearer(guarded)]):
        refused(guarded, (400, 401), [*lines, "X-User-Id: u"])


# --- for whom ---

@pytest.mark.parametrize("warm", [False, True], ids=["cold", "hot"])
@pytest.mark.parametrize("status,lines", [
    pytest.param(422, [], id="none"),
    pytest.param(422, ["X-User-Id:"], id="empty"),
    pytest.param(422, ["X-User-Id:   "], id="blank"),
    pytest.param(400, ["X-User-Id: victim", "X-User-Id: other"], id="twice"),
    pytest.param(400, ["X-User-Id: other", "X-User-Id: victim"], id="twice-swapped"),
    pytest.param(400, ["X-User-Id: victim", "x-user-id: victim"], id="twice-the-same"),
    pytest.param(400, ["X-User-Id: victim", "X-User-Id:"], id="twice-empty"),
    pytest.param(400, ["X-User-Id: " + "x" * 10000], id="10000-bytes"),
    pytest.param(400, ["X-User-Id: " + "x" * 257], id="257-bytes"),
    pytest.param(400, [b"X-User-Id: \xff\xfe"], id="no-utf-8"),
    pytest.param(400, [b"X-User-Id: a\tb"], id="tab"),
    pytest.param(400, [b"X-User-Id: a\x01b"], id="control"),
    pytest.param(400, [b"X-User-Id: a\x7fb"], id="del"),
    pytest.param(400, [b"X-User-Id: a\0b"], id="nul"),
    pytest.param((400, 403), ["X_User_Id: victim", "X-User-Id: victim"], id="underscores"),
    pytest.param((400, 403), ["X_User_Id: victim"], id="only-underscores"),
    pytest.param(400, ["X-User-Id: victim", "X-Terminal-Context-Id: nonsense"], id="context"),
    pytest.param(400, ["X-User-Id: victim", "X-Terminal-Context-Id: chat:"], id="context-without-id"),
    pytest.param(400, ["X-User-Id: victim", "X-Terminal-Context-Id: Chat:1"], id="context-case"),
    pytest.param(400, ["X-User-Id: victim", "X-Terminal-Context-Id: chat:" + "x" * 300], id="context-long"),
    pytest.param(400, ["X-User-Id: victim", "X-Terminal-Context-Id: default", "X-Terminal-Context-Id: default"],
                 id="context-twice"),
])
def test_who_is_not_named_properly_is_refused(guarded, status, lines, warm):
    if warm:
        attempt(guarded, [bearer(guarded), "X-User-Id: victim"])[0].expect(200)
    refused(guarded, status, [bearer(guarded), *lines])


ODD_NAMES = ["../x", "..", ".", "/etc/passwd", "%00", "%2e%2e%2f", "a,b", "jörg", "日本", "a#b", "a b", "a;b", "a?b", "a|b",
             "a\\b", "a=b", "'", '"', "$(id)", "*", "null", "-", "u-" + "0" * 64, ".policies", ".contexts", "a" * 256]


def test_an_odd_name_is_somebody_of_their_own(stack):
    """Legal but nasty names: each its own tenant, found under exactly that name, with a folder inside the data folder."""
    for name in ODD_NAMES:
        content = name.encode().hex()
        for _ in ("cold", "hot"):
            stack.request(name, "POST", "/files/write", {"path": "who.txt", "content": content}).expect(200)
    tenants = {tenant["user_id"]: tenant for tenant in stack.tenants("?limit=1000")}
    for name in ODD_NAMES:
        assert stack.request(name, "GET", "/files/read?path=who.txt").expect(200).json()["content"] == name.encode().hex()
    data = stack.home("x").parent
    assert len({tenants[name]["instance_id"] for name in ODD_NAMES}) == len(ODD_NAMES)
    assert len(list(data.rglob("who.txt"))) >= len(ODD_NAMES)
    assert not list(stack.folder.glob("who.txt")) and not list(stack.folder.glob("x"))
    for name in set(ODD_NAMES) - {".", ".."}:  # which no URL can carry (RFC 3986 §5.2.4)
        stack.admin("DELETE", "/tenants/" + "".join(f"%{byte:02X}" for byte in name.encode())).expect(200)


@pytest.mark.parametrize("one,two", [("a", "A"), ("x|y", "x%0ay"), ("x|y", "x y"), ("x", "x%00"), ("é", "e\u0301"),
                                     ("default", "Default"), ("1", "01"), ("x", "x,x")])
def test_names_that_look_alike_never_share_an_instance(stack, one, two):
    stack.run(one, "echo one > ~/mine.txt")
    stack.run(two, "true")
    assert stack.run(two, "cat ~/mine.txt 2>/dev/null; true") == ""
    assert stack.tenant(one)["instance_id"] != stack.tenant(two)["instance_id"]


def test_a_line_feed_in_a_name_never_reaches_the_other_name(stack):
    """Obsolete line folding (RFC 9112 §5.2): refused, or a name with blanks, but never the name with `|` or `\\n`."""
    stack.run("x|y", "echo mine > ~/mine.txt")
    answer = stack.raw(f"GET /files/read?path=mine.txt HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stack.key}\r\n"
                       "X-User-Id: x\r\n y\r\n\r\n".encode())
    assert answer.status in (400, 404), answer.text
    # And nobody's policy or context can be moved into the user's place.
    assert stack.request("y", "GET", "/files/read?path=mine.txt", headers=[("X-Terminal-Context-Id", "chat:x|y")]).status == 404


@needs_sandbox
def test_a_long_name_is_refused_everywhere(stack):
    for call in (lambda n: stack.request(n, "GET", "/files/list"), lambda n: stack.admin("GET", f"/tenants/{n}"),
                 lambda n: stack.request("u", "GET", f"/p/{n}/files/list"),
                 lambda n: stack.request("u", "GET", f"/files/read?path={n}"),
                 lambda n: stack.request("u", "GET", "/files/list", headers=[("X-Session-Id", n)])):
        for size in (1 << 20,):
            try:
                answer = call("n" * size)
            except (ConnectionError, socket.timeout):
                continue  # HAProxy has answered and closed while we still sent
            assert answer.status in (400, 413, 414, 431), answer.text[:300]
    answer = stack.request("u", "POST", "/files/write", {"path": "n" * (1 << 20), "content": "x"})
    assert answer.status in (400, 422), answer.text[:300]
    assert stack.request("u", "GET", "/files/list").status == 200


# --- where to ---

@pytest.mark.parametrize("target,status", [
    ("/p/..%2f/x", 400), ("/p/%2e%2e/x", 400), ("/p/../x", 400), ("/p/-x/x", 400), ("/p/X/x", 400), ("/p//x", 400),
    ("/p/a%0ab/x", 400), ("/p/" + "a" * 64 + "/x", 400), ("/p/default%00/x", 400), ("/terminals/p/..%2f/x", 400),
    ("/terminals/../api/v1/tenants/", 400), ("/x/../api/v1/tenants/", 400), ("//api/v1/tenants/", (400, 404)),
    ("/terminals//api/v1/tenants/", (400, 404)), ("/./api/v1/tenants/", 400), ("/%2e%2e/api/v1/tenants/", 400),
    ("/terminals/%2e%2e/api/v1/tenants/", 400), ("/p/default/../../api/v1/tenants/", 400),
    ("/api/v1/../../x", (400, 404)), ("/api/v1/no-such", 404), ("/api/v1", 404), ("/api/v1/tenants/../stats", (400, 404)),
    ("/p/no-such-policy/x", 404),
])
@pytest.mark.parametrize("warm", [False, True], ids=["cold", "hot"])
def test_a_path_that_climbs_reaches_nobody(guarded, target, status, warm):
    if warm:
        attempt(guarded, [bearer(guarded), "X-User-Id: climber"])[0].expect(200)
    refused(guarded, status, [bearer(guarded), "X-User-Id: climber"], target=target)


@pytest.mark.parametrize("target", ["/a%2fb/%C3%A9", "/a%20b;c=d", "/proxy/80/a//b", "/..a/b..", "/x?next=/../..", "/x?y=%00"])
def test_a_path_that_only_looks_odd_arrives_as_it_is(guarded, target):
    for _ in ("cold", "hot"):
        answer, [seen] = attempt(guarded, [bearer(guarded), "X-User-Id: odd"], target=target)
        answer.expect(200)
        assert seen.target == target


@pytest.mark.parametrize("target", ["http://elsewhere/x", "*", "x", "https://127.0.0.1/api/v1/tenants/"])
def test_an_odd_request_target_harms_nobody(guarded, target):
    answer, reached = attempt(guarded, [bearer(guarded), "X-User-Id: odd"], target=target)
    assert answer.status < 500
    assert not reached or reached[0].target in ("/x",)


def test_connect_and_trace_go_nowhere(guarded):
    for method, target in (("CONNECT", "127.0.0.1:22"), ("TRACE", "/x")):
        answer, reached = attempt(guarded, [bearer(guarded), "X-User-Id: odd"], method=method, target=target)
        assert answer.status in (200, 400, 405, 501), answer.text
        if method == "CONNECT":
            assert not reached and answer.status != 200


# --- how ---

def test_a_body_with_two_lengths_is_one_request_and_the_last(guarded):
    """Transfer-Encoding with Content-Length: HAProxy goes by the former, removes the latter, and closes, as RFC 9112 §6.3
    has it; the instance never sees both, and what follows is nobody's request."""
    inner = f"GET /smuggled HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {guarded.key}\r\nX-User-Id: victim\r\n\r\n".encode()
    for _ in ("cold", "hot"):
        for lines in (["Transfer-Encoding: chunked", f"Content-Length: {5 + len(inner)}"],
                      ["Content-Length: 4", "Transfer-Encoding: chunked"]):
            answer, reached = attempt(guarded, [bearer(guarded), "X-User-Id: two-lengths", *lines], method="POST",
                                      body=b"0\r\n\r\n" + inner)
            assert answer.status in (200, 400), answer.text
            assert answer.header("connection") == "close"
            assert all(seen.target == "/x" and not seen.values("content-length") for seen in reached), reached
    assert not guarded.fake.of("/smuggled")


def test_a_body_without_a_clear_length_is_refused(guarded):
    inner = f"GET /smuggled HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {guarded.key}\r\nX-User-Id: victim\r\n\r\n".encode()
    for warm in (False, True):
        for lines in (["Content-Length: 4", "Content-Length: 5"],
                      ["Content-Length: 4, 5"], ["Content-Length: +4"], ["Content-Length: 0x4"], ["Content-Length: -1"],
                      ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
                      ["Transfer-Encoding: xchunked"], ["Transfer-Encoding: chunked, chunked"]):
            if warm:
                attempt(guarded, [bearer(guarded), "X-User-Id: smuggler"])[0].expect(200)
            answer, reached = attempt(guarded, [bearer(guarded), "X-User-Id: smuggler", *lines], method="POST",
                                      body=b"0\r\n\r\n" + inner)
            assert answer.status in (400, 422, 501), f"{lines}: {answer.status} {answer.text}"
            assert not reached, f"{lines}: {[seen.target for seen in reached]}"
    assert not guarded.fake.of("/smuggled")


def test_a_body_above_the_limit_is_413_before_it_is_read(guarded):
    for warm in (False, True):
        if warm:
            attempt(guarded, [bearer(guarded), "X-User-Id: big"])[0].expect(200)
        refused(guarded, 413, [bearer(guarded), "X-User-Id: big", f"Content-Length: {2 << 30}"], method="POST")


def test_a_body_below_the_limit_arrives(fresh):
    with FakeInstance() as fake:
        stack = fresh(backend="static", static_port=fake.port, static_api_key="k", max_body_bytes=100000)
        for _ in ("cold", "hot"):
            stack.request("u", "POST", "/x", body=b"x" * 100000).expect(200)
            stack.request("u", "POST", "/x", body=b"x" * 100001).expect_error(413)


@pytest.mark.parametrize("line", ["X-User-Id : victim", "X-User-Id", ": victim", "X(User: victim",
                                  "Content-Length: 99999999999999999999999"])
def test_what_is_no_http_is_refused_by_the_parser(guarded, line):
    """HAProxy's HTTP/1 parser has its own text for it."""
    answer, reached = attempt(guarded, [bearer(guarded), line], method="POST")
    assert answer.status in (400, 413) and not reached


def test_a_header_of_100_kb_is_refused(guarded):
    for line in ("X-Big: " + "x" * 100000, "Cookie: " + "x" * 100000, "X-User-Id: " + "x" * 100000):
        answer, reached = attempt(guarded, [bearer(guarded), line])
        assert answer.status in (400, 431), answer.text
        assert not reached


@pytest.mark.parametrize("target", ["/api/v1/stats?{}", "/api/v1/tenants/{}", "/openapi.json?{}", "/?{}"])
def test_an_address_that_is_too_long_is_refused_and_no_mistake_of_ours(guarded, target):
    """As FastCGI parameters a head is larger than it was: it still has to fit, with as many headers as there may be."""
    for size, many in ((2000, 0), (5000, 0), (7000, 0), (9000, 0), (13000, 0), (3000, 90), (4500, 90)):
        answer = guarded.request(None, "GET", target.format("a" * size), key=None if target.startswith("/?") else "",
                                 headers=[(f"X-{n}", "x" * 80) for n in range(many)])
        assert answer.status in (200, 400, 404, 414), f"{size} and {many} headers: {answer.status} {answer.text[:300]}"
        if answer.status >= 400:
            answer.expect_error(answer.status)
    assert guarded.admin("GET", "/stats?" + "a" * 9000).expect_error(414).detail == "Address too long"


def test_ten_thousand_headers_are_refused(guarded):
    answer, reached = attempt(guarded, [bearer(guarded), *["X: y"] * 2000])
    assert answer.status in (400, 431) and not reached


def test_half_a_request_reaches_nobody(guarded):
    before = len(guarded.fake.seen)
    whole = f"GET /half HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {guarded.key}\r\nX-User-Id: half\r\n\r\n".encode()
    for cut in (1, 5, 20, len(whole) - 3, len(whole) - 1):
        with guarded.connect() as sock:
            sock.sendall(whole[:cut])
            sock.shutdown(socket.SHUT_WR)
            answer = sock.recv(65536)
        assert not answer or answer.startswith(b"HTTP/1.1 400") or answer.startswith(b"HTTP/1.1 408"), answer
    assert len(guarded.fake.seen) == before


def test_a_request_that_stops_half_way_is_given_up(guarded):
    sock = guarded.connect(60)
    sock.sendall(b"GET /half HTTP/1.1\r\nHost: x\r\nX-User-")
    began = time.monotonic()
    answer = sock.recv(65536)
    sock.close()
    assert time.monotonic() - began < 40
    assert not answer or answer.startswith(b"HTTP/1.1 408"), answer


def test_a_body_that_stops_half_way_leaves_nothing_behind(guarded):
    gate = guarded.one("terminals-gate")
    before = len(os.listdir(f"/proc/{gate}/fd"))
    for number in range(10):
        with guarded.connect() as sock:
            sock.sendall((f"POST /halfbody HTTP/1.1\r\nHost: x\r\n{bearer(guarded)}\r\nX-User-Id: cut-{number}\r\n"
                          "Content-Length: 1000\r\n\r\nonly this").encode())
            eventually(lambda number=number: len(guarded.fake.of("/halfbody")) > number, what="the head's arrival")
    eventually(lambda: all(seen.ended.is_set() for seen in guarded.fake.of("/halfbody")), 10, what="the instance told")
    eventually(lambda: len(os.listdir(f"/proc/{gate}/fd")) <= before, 10, what="the gate letting go")


@pytest.mark.parametrize("data", [b"\r\n\r\n", b"GARBAGE\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"GET /x HTTP/9.9\r\n\r\n",
                                  b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0" * 1000, b"GET /\x01 HTTP/1.1\r\n\r\n"])
def test_garbage_is_answered_or_dropped_and_nothing_else(guarded, data):
    with guarded.connect() as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        try:
            answer = sock.recv(65536)
        except ConnectionError:
            answer = b""
    assert not answer or re.match(rb"HTTP/\d\.\d (4\d\d|505)", answer) or answer.startswith(b"\0\0"), answer
    assert guarded.request(None, "GET", "/health", key=None).status == 200


@pytest.mark.parametrize("body", ["[]", "5", "null", '"x"', '{"command":5}', '{"command":null}', '{"command":["x"]}', "{", "",
                                  '{"command":"true","env":[]}', '{"command":"true","env":{"A":5}}', '{"command":"true","cwd":7}',
                                  "[" * 100000, "\ufeff{}", '{"command":"a\\u0000b"}'])
def test_json_of_the_wrong_type_is_the_clients_mistake(stack, body):
    answer = stack.request("json", "POST", "/execute", body=body.encode(), headers=[("Content-Type", "application/json")])
    assert 400 <= answer.status < 500, f"{answer.status} {answer.text}"
    assert answer.json()["detail"]


# --- request ids ---

def test_a_sane_request_id_comes_back_and_an_odd_one_does_not(guarded):
    for warm in (False, True):
        if warm:
            attempt(guarded, [bearer(guarded), "X-User-Id: ids"])[0].expect(200)
        for given in ("abc-123", "x" * 128, str(uuid.uuid4())):
            answer, [seen] = attempt(guarded, [bearer(guarded), "X-User-Id: ids", f"X-Request-Id: {given}"])
            assert answer.header("x-request-id") == given == seen.header("x-request-id")
        for given in (b"x" * 129, b"a\tb", b"\xc3\xa9", b""):
            answer, [seen] = attempt(guarded, [bearer(guarded), "X-User-Id: ids", b"X-Request-Id: " + given])
            uuid.UUID(answer.header("x-request-id"))
            assert seen.values("x-request-id") == [answer.header("x-request-id")]


def test_every_refusal_carries_the_request_id(guarded):
    for lines, target in (([], "/x"), ([bearer(guarded)], "/x"), ([bearer(guarded)], "/api/v1/no-such"),
                          ([bearer(guarded), "X-User-Id: u"], "/p/..%2f/x"), ([bearer(guarded)], "/api/v1/stats")):
        answer, _ = attempt(guarded, [*lines, "X-Request-Id: mine-1"], target=target)
        assert answer.header("x-request-id") == "mine-1", (target, answer.headers)
        assert len([1 for name, _ in answer.headers if name == "x-request-id"]) == 1


def test_a_forged_internal_header_changes_nothing(guarded):
    victim_key = None
    attempt(guarded, [bearer(guarded), "X-User-Id: victim"])[0].expect(200)
    for key in guarded.routes():
        victim_key = key
    for lines in ([f"X-Terminals-Route: {victim_key}"], ["X-Terminals-Check: 1"], ["X-Terminals-User: victim"],
                  [f"x-terminals-route: {victim_key}", "X-Terminals-Client: 192.0.2.1"]):
        refused(guarded, 401, lines)
        refused(guarded, 422, [bearer(guarded), *lines])


def test_cors_is_open_and_never_with_credentials(guarded):
    answer, _ = attempt(guarded, ["Origin: https://chat.example", "Access-Control-Request-Method: POST",
                                  "Access-Control-Request-Headers: authorization,x-user-id"], method="OPTIONS")
    assert answer.status in (200, 204), answer.text
    assert answer.header("access-control-allow-origin") == "*"
    assert answer.header("access-control-allow-credentials") is None


def test_health_needs_nothing(guarded):
    assert guarded.raw(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").expect(200).json() == {"status": True}


def test_all_of_it_left_everything_running(guarded, stack):
    for one in (guarded, stack):
        one.request("survivor", "GET", "/files/list").expect(200)
        assert "Segmentation" not in one.err()
        assert one.request(None, "GET", "/health", key=None, timeout=5 * SLOW).status == 200
