"""terminals-api by itself: asked over FastCGI as terminals-gate and HAProxy do, with a scripted provisioner behind it."""
import json
import os
import select
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

from api_peers import AUTHORIZER, KEY, PARAMS, RESPONDER, STDIN, Api, FakeProvisioner, begin, pairs, read_reply, record, \
    records, upper_hex
from stack import BIN, SLOW, eventually

TENANT = {"id": "1", "user_id": "alice", "policy_id": "default", "context_id": "default", "status": "running"}


@pytest.fixture(scope="module")
def shared():
    """An API for tests that only ask; its provisioner answers every operation with something."""
    answers = {
        "tenant_list": {"tenants": [TENANT], "total": 17},
        "audit_list": {"audit_logs": [], "total": 3},
        "stats": {"stats": {"running": 1}},
        "status": {"status": {"backend": "local"}},
        "config": {"config": {"backend": "local", "has_encryption_key": True}},
        "openapi": {"document": None},
        "tenant_delete": {},
        "policy_create": {"policy": {"id": "gpu"}},
    }
    with Api(lambda request: answers.get(request["op"], {"tenant": TENANT})) as api:
        yield api


def last(api, operation):
    return api.provisioner.all(operation)[-1]


# --- the authorizer ---


def test_the_key_lets_a_user_in(shared):
    reply = shared.authorize().expect(200)
    assert [reply.header(f"Variable-{name}") for name in ("User", "Policy", "Context")] == ["alice", "default", "default"]


def test_policy_and_context_are_told(shared):
    reply = shared.authorize(("TERMINALS_POLICY", "gpu"), ("HTTP_X_TERMINAL_CONTEXT_ID", "chat:42")).expect(200)
    assert (reply.header("Variable-Policy"), reply.header("Variable-Context")) == ("gpu", "chat:42")


def test_without_the_key_nobody_gets_in(shared):
    for token, detail in ((None, "Missing Authorization header"), ("", "Invalid Authorization header"),
                          ("wrong", "Invalid API key"), (KEY + "x", "Invalid API key"), (KEY[:-1], "Invalid API key")):
        reply = shared.authorize(token=token, user=None)
        reply.expect_detail(401, detail)
        assert reply.header("WWW-Authenticate") == "Bearer"
        shared.call("GET", "/api/v1/tenants", token=token).expect_detail(401, detail)


def test_a_header_that_came_twice_is_refused(shared):
    shared.authorize(("HTTP_X_USER_ID", "bob")).expect(400)
    shared.authorize(("TERMINALS_USER_ID_COUNT", "2")).expect(400)
    shared.authorize(("HTTP_X_TERMINAL_CONTEXT_ID", "chat:1"), ("HTTP_X_TERMINAL_CONTEXT_ID", "chat:2")).expect(400)
    shared.authorize(("HTTP_AUTHORIZATION", f"Bearer {KEY}")).expect_detail(401, "Invalid Authorization header")
    shared.authorize(("TERMINALS_AUTHORIZATION_COUNT", "2")).expect_detail(401, "Invalid Authorization header")


@pytest.mark.parametrize("user", ["../etc", "a,b", "jürgen", "x|y", "a b", "a#b", "a%00b", "u" * 256])
def test_strange_user_ids_are_users_like_others(shared, user):
    assert shared.authorize(user=user).expect(200).header("Variable-User") == user


@pytest.mark.parametrize("user, status", [("", 422), (None, 422), ("u" * 257, 400), ("u" * 10000, 400), ("a\nVariable-User: b", 400),
                                          ("a\x7fb", 400), (b"\xff\xfe", 400)])
def test_what_is_no_user_id_is_refused(shared, user, status):
    reply = shared.authorize(("HTTP_X_USER_ID", user), user=None) if user is not None else shared.authorize(user=None)
    reply.expect(status)
    if status == 422:
        assert reply.json()["detail"] == [{"type": "missing", "loc": ["header", "x-user-id"], "msg": "Field required", "input": None}]


@pytest.mark.parametrize("uri, status", [
    ("/files/view?path=../../etc", 200), ("/a%20b/%C3%A4", 200), ("/", 200), ("/100%", 200), ("/..", 400), ("/%2e%2E/x", 400),
    ("/a/..%2f..%2fx", 400), ("/a%00", 400), ("/a\x01", 400), ("files", 400), (None, 400), ("//api/v1/tenants", 404),
    ("/x/../api/v1/tenants", 404), ("/%61pi/v1", 404), ("/" + "a" * 100000, 200)])
def test_a_path_stays_in_its_instance(shared, uri, status):
    shared.authorize(uri=uri).expect(status)


def test_the_open_mode_lets_anyone_in():
    with Api(api_key=None, open="true") as api:
        assert api.provisioner.wait_for("set_api_keys")[0]["digests"] == []
        assert api.authorize(token=None).expect(200).header("Variable-User") == "alice"
        api.authorize(token=None, user=None).expect(422)


def test_it_does_not_start_without_a_rule_for_who_may_call():
    for environment in ({}, {"TERMINALS_API_KEY": "k", "TERMINALS_OPEN": "true"}):
        api = Api(api_key=None)
        ended = subprocess.run([BIN / "terminals-api"], env={**api.environment, **environment}, cwd=api.folder, check=False,
                               capture_output=True, timeout=10 * SLOW)
        assert ended.returncode == 1 and b"TERMINALS_API_KEY" in ended.stderr, ended
        assert not (api.folder / "api-auth.sock").exists()
        os.rmdir(api.folder)


# --- failed credentials in the audit log ---


def test_a_flood_of_bad_tokens_is_told_in_few_words():
    with Api() as api:
        for _ in range(200):
            api.authorize(("HTTP_USER_AGENT", b"evil\xffagent"), token="wrong", uri="/x?token=secret").expect(401)
        event = api.provisioner.wait_for("audit")[0]
        assert len(api.provisioner.all("audit")) == 1
        assert (event["action"], event["status_code"]) == ("auth_failed", 401)
        assert event["detail"].startswith("Invalid API key")  # and perhaps how often, if the sender was not that quick
        assert event["actor"] == {"request_id": "request-1", "ip": "192.0.2.7", "user_agent": "evil?agent"}
        assert event["resource_id"] == "/x"
        assert "wrong" not in api.log() and "secret" not in api.log()


def test_a_provisioner_that_is_away_does_not_delay_a_refusal():
    with Api(provisioner=False) as api:
        start = time.monotonic()
        for _ in range(100):
            api.authorize(token="wrong").expect(401)
        assert time.monotonic() - start < 2 * SLOW


# --- the API key in the provisioner's map ---


def test_a_new_provisioner_learns_the_key():
    with Api() as api:
        assert api.provisioner.wait_for("set_api_keys")[0]["digests"] == [upper_hex(KEY)]
        api.provisioner.stop()
        successor = FakeProvisioner(api.folder / "provisioner.sock").start()
        assert successor.wait_for("set_api_keys")[0]["digests"] == [upper_hex(KEY)]
        assert KEY not in json.dumps(successor.requests)
        successor.wait_for("ping", 2)
        assert len(successor.all("set_api_keys")) == 1
        successor.stop()


# --- the API ---


def test_create_asks_for_the_user_of_the_header(shared):
    reply = shared.call("POST", "/api/v1/tenants/?policy_id=gpu&context_id=chat%3A42", ("HTTP_X_USER_ID", "alice"),
                        ("HTTP_X_REQUEST_ID", "r-1"), ("HTTP_USER_AGENT", "test"))
    assert reply.expect(200).json() == TENANT
    asked = last(shared, "tenant_create")
    assert {name: asked[name] for name in ("user_id", "policy_id", "context_id")} == \
        {"user_id": "alice", "policy_id": "gpu", "context_id": "chat:42"}
    assert asked["actor"] == {"request_id": "r-1", "ip": "192.0.2.7", "user_agent": "test"}
    shared.call("POST", "/api/v1/tenants").expect(422)
    shared.call("POST", "/api/v1/tenants", token=None).expect(401)
    shared.call("POST", "/api/v1/tenants", ("HTTP_X_USER_ID", "a"), ("HTTP_X_USER_ID", "b")).expect(400)


@pytest.mark.parametrize("path, user", [("a%2Fb", "a/b"), ("..", ".."), ("%2E%2e", ".."), ("j%C3%BCrgen", "jürgen"), ("a+b", "a+b"),
                                        ("100%", "100%"), ("a%20b", "a b")])
def test_a_user_id_in_a_path_may_hold_anything(shared, path, user):
    for method, rest, operation in (("GET", "", "tenant_get"), ("POST", "/start", "tenant_start"), ("POST", "/stop/", "tenant_stop"),
                                    ("DELETE", "/", "tenant_delete")):
        shared.call(method, f"/api/v1/tenants/{path}{rest}").expect(200)
        assert last(shared, operation)["user_id"] == user


@pytest.mark.parametrize("path", ["%00", "a%0ab", "%ff", "u" * 257])
def test_what_is_no_user_id_in_a_path_is_refused(shared, path):
    shared.call("GET", f"/api/v1/tenants/{path}").expect(400)


def test_lists_are_filtered_and_counted(shared):
    reply = shared.call("GET", "/api/v1/tenants/?status=running&user_id=a%26b&limit=5&offset=10").expect(200)
    assert (reply.json(), reply.header("X-Total-Count")) == ([TENANT], "17")
    asked = last(shared, "tenant_list")
    assert (asked["status"], asked["user_id"], asked["limit"], asked["offset"]) == ("running", "a&b", 5, 10)
    assert "policy_id" not in asked
    shared.call("GET", "/api/v1/audit-logs?since=2026-01-01T01:00:00%2B01:00&action=auth_failed").expect(200)
    asked = last(shared, "audit_list")
    assert (asked["limit"], asked["action"], asked["since"][:19]) == (100, "auth_failed", "2026-01-01T00:00:00")


@pytest.mark.parametrize("query, kind", [
    ("limit=0", "greater_than_equal"), ("limit=1001", "less_than_equal"), ("limit=x", "int_parsing"), ("limit=", "int_parsing"),
    ("limit=+1", "int_parsing"), ("offset=-1", "greater_than_equal"), ("status=dead", "enum"), ("limit=1&limit=2", "repeated"),
    ("user_id=%ff", "string_unicode"), ("limit=99999999999999999999", "less_than_equal"), ("user_id=" + "u" * 257, "string_too_long")])
def test_a_bad_query_is_named(shared, query, kind):
    entries = shared.call("GET", f"/api/v1/tenants?{query}").expect(422).json()["detail"]
    assert [entry["type"] for entry in entries] == [kind]
    assert entries[0]["loc"] == ["query", query.split("=")[0]] and entries[0]["msg"]


def test_a_bad_policy_or_context_is_400(shared):
    for query in ("policy_id=", "policy_id=A", "policy_id=../x", "context_id=room:1", "context_id=chat:"):
        shared.call("GET", f"/api/v1/tenants/alice?{query}").expect(400)


def test_delete_says_so(shared):
    assert shared.call("DELETE", "/api/v1/tenants/alice?purge=true").expect(200).json() == {"detail": "deleted"}
    assert last(shared, "tenant_delete")["purge"] is True


def test_config_has_the_settings_of_both(shared):
    config = shared.call("GET", "/api/v1/config").expect(200)
    assert config.json()["has_encryption_key"] is True and config.json()["has_api_key"] is True
    assert KEY.encode() not in config.body


def test_stats_and_status_pass(shared):
    assert shared.call("GET", "/api/v1/stats").expect(200).json() == {"running": 1}
    assert shared.call("GET", "/api/v1/status/").expect(200).json() == {"backend": "local"}


def test_unknown_paths_and_methods(shared):
    for path in ("/api/v1", "/api/v1/", "/api/v1/nothing", "/api/v1/tenants/a/b", "/api/v1//tenants",
                 "/api/v1/policies/a/lifecycles", "/api/v1/policies/a/lifecycle/b", "/api/v1/terminals/a", "/api/v1/tenantsx"):
        shared.call("GET", path).expect_detail(404, "Not Found")
        shared.call("GET", path, token=None).expect(401)
    reply = shared.call("PUT", "/api/v1/tenants/alice").expect_detail(405, "Method Not Allowed")
    assert reply.header("Allow") == "GET, HEAD, DELETE"


def test_head_is_get_without_a_body(shared):
    reply = shared.call("HEAD", "/api/v1/tenants").expect(200)
    assert reply.body == b"" and int(reply.header("Content-Length")) > 2


def test_a_body_is_ignored(shared):
    shared.call("POST", "/api/v1/tenants", ("HTTP_X_USER_ID", "alice"), body=b'{"user_id": "bob"}' * 1000).expect(200)
    assert last(shared, "tenant_create")["user_id"] == "alice"


def test_a_body_is_read_whole_however_it_is_cut(shared):
    body = b'{"id": "gpu", "data": {"note": "' + b"x" * 60000 + b'"}}'
    parameters = [("REQUEST_METHOD", "POST"), ("REQUEST_URI", "/api/v1/policies"), ("HTTP_AUTHORIZATION", f"Bearer {KEY}")]
    for length in ([("CONTENT_LENGTH", str(len(body)))], []):
        with shared.connect("api-admin") as sock:
            sock.sendall(begin(RESPONDER) + records(PARAMS, pairs(parameters + length)))
            stdin = records(STDIN, body)
            for at in range(0, len(stdin), 7001):
                sock.sendall(stdin[at:at + 7001])
            read_reply(sock).expect(201)
        assert last(shared, "policy_create")["data"]["note"] == "x" * 60000


def test_half_a_body_is_refused(shared):
    body = b'{"id": "half", "data": {}}'
    parameters = [("REQUEST_METHOD", "POST"), ("REQUEST_URI", "/api/v1/policies"), ("HTTP_AUTHORIZATION", f"Bearer {KEY}")]
    with shared.connect("api-admin") as sock:
        sock.sendall(begin(RESPONDER) + records(PARAMS, pairs([*parameters, ("CONTENT_LENGTH", "100")])) + records(STDIN, body))
        read_reply(sock).expect_detail(400, "The body ended early")
    with shared.connect("api-admin") as sock:
        sock.sendall(begin(RESPONDER) + records(PARAMS, pairs([*parameters, ("CONTENT_LENGTH", "100")])) + records(STDIN, body)[:-8])
        read_reply(sock).expect_detail(408, "The body was not complete in time")
    assert "half" not in [asked["policy_id"] for asked in shared.provisioner.all("policy_create")]


def test_a_body_in_drops_does_not_keep_a_thread(shared):
    """Each drop comes in time, and the whole does not."""
    parameters = [("REQUEST_METHOD", "POST"), ("REQUEST_URI", "/api/v1/policies"), ("HTTP_AUTHORIZATION", f"Bearer {KEY}")]
    with shared.connect("api-admin", 30) as sock:
        sock.sendall(begin(RESPONDER) + records(PARAMS, pairs(parameters)))
        began = time.monotonic()
        sock.setblocking(False)
        while not select.select([sock], [], [], 0.5)[0]:
            assert time.monotonic() - began < 20 * SLOW, "nobody loses patience"
            sock.sendall(records(STDIN, b" ")[:-8])
        sock.setblocking(True)
        read_reply(sock).expect_detail(408, "The body was not complete in time")


@pytest.mark.parametrize("code, status", [("not_found", 404), ("invalid", 400), ("conflict", 409), ("capacity", 503), ("timeout", 504),
                                          ("backend", 502), ("internal", 500), ("nonsense", 500)])
def test_what_the_provisioner_refuses_becomes_http(code, status):
    with Api(lambda request: {"code": code, "detail": "The reason"}) as api:
        reply = api.call("GET", "/api/v1/tenants/alice").expect_detail(status, "The reason")
        assert (reply.header("Retry-After") is not None) == (status == 503)


# --- the OpenAPI document ---


def test_the_document_needs_a_token_and_tells_of_no_security(shared):
    shared.call("GET", "/openapi.json", token=None).expect(401)
    for path in ("/openapi.json", "/p/default/openapi.json"):
        document = shared.call("GET", path).expect(200).json()
        assert document["paths"] and "securitySchemes" not in document.get("components", {})
        assert not [operation for methods in document["paths"].values() for operation in methods.values() if "security" in operation]
    shared.call("GET", "/p/GPU/openapi.json").expect(400)
    shared.call("GET", "/p//openapi.json").expect(400)


def test_the_document_of_a_backend_is_stripped():
    document = {"openapi": "3.1.0", "security": [{}], "paths": {"/x": {"get": {"security": [], "summary": "X"}, "summary": "s"}},
                "components": {"securitySchemes": {"b": {}}, "schemas": {"A": {"properties": {"security": {"type": "string"}}}}}}
    with Api(lambda request: {"document": document}) as api:
        assert api.call("GET", "/openapi.json").expect(200).json() == {
            "openapi": "3.1.0", "paths": {"/x": {"get": {"summary": "X"}, "summary": "s"}},
            "components": {"schemas": {"A": {"properties": {"security": {"type": "string"}}}}}}


def test_the_document_of_an_unknown_policy_is_404():
    with Api(lambda request: {"code": "not_found", "detail": "No such policy"}) as api:
        api.call("GET", "/p/gpu/openapi.json").expect_detail(404, "No such policy")
        assert api.provisioner.all("openapi")[0]["policy_id"] == "gpu"


# --- peers that misbehave ---


def test_half_requests_keep_no_thread():
    """More of them than threads, left open: the next whole request is answered as soon as they are given up."""
    whole = begin(AUTHORIZER) + records(PARAMS, pairs([("REQUEST_URI", "/")]))
    with Api() as api:
        halves = []
        for cut in (1, 12, 20, len(whole) - 8, len(whole) - 1):
            sock = api.connect("api-auth", timeout=30)
            sock.sendall(whole[:cut])
            halves.append(sock)
        api.authorize(timeout=60).expect(200)
        for sock in halves:
            assert read_reply(sock) is None
            sock.close()


@pytest.mark.parametrize("bytes_sent", [
    b"", b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 8, begin(99), record(STDIN, b"x"), begin(RESPONDER) + record(PARAMS, b"\xff\xff\xff\xff\xff"),
    begin(AUTHORIZER) + record(PARAMS, struct.pack("!II", 0xffffffff, 0xffffffff)) + record(PARAMS),
    begin(AUTHORIZER) + record(PARAMS, struct.pack("!BB", 100, 100)) + record(PARAMS)])
def test_what_is_no_request_harms_nobody(shared, bytes_sent):
    with shared.connect("api-auth") as sock:
        sock.sendall(bytes_sent)
        sock.shutdown(socket.SHUT_WR)
        read_reply(sock)
    shared.authorize().expect(200)


def test_clients_that_keep_sending_a_body_keep_no_thread():
    """Three times as many as api-admin has threads: they all get their answer, and so does the next one."""
    parameters = pairs([("REQUEST_METHOD", "POST"), ("REQUEST_URI", "/api/v1/config"), ("CONTENT_LENGTH", "1000000000")])
    with Api(lambda request: {"stats": {}}) as api:
        slow = []
        for _ in range(24):
            sock = api.connect("api-admin")
            sock.sendall(begin(RESPONDER) + records(PARAMS, parameters) + record(STDIN, b"x" * 10000))
            slow.append(sock)
        start = time.monotonic()
        for sock in slow:
            assert read_reply(sock).status == 401
        api.call("GET", "/api/v1/stats").expect(200)
        assert time.monotonic() - start < 3 * SLOW
        for sock in slow:
            sock.close()


def test_a_health_check_is_answered_by_a_thread_and_not_logged():
    """What HAProxy sends: FCGI_GET_VALUES without names."""
    with Api() as api:
        for name in ("api-auth", "api-admin", "api-operations"):
            with api.connect(name) as sock:
                sock.sendall(record(9, request_id=0))
                assert sock.recv(100)[:2] == b"\x01\x0a"
                assert sock.recv(1) == b""
            api.connect(name).close()
        api.authorize().expect(200)
        assert "whole request" not in api.log()


def test_a_kept_connection_serves_one_request(shared):
    """Kept connections could hang all threads (libfcgi): it is closed whatever the peer asks for."""
    with shared.connect("api-auth") as sock:
        sock.sendall(begin(AUTHORIZER, keep=True) + records(PARAMS, pairs([("REQUEST_URI", "/")])))
        assert read_reply(sock).status == 401
        assert sock.recv(1) == b""


def test_a_client_that_leaves_during_a_start_harms_nobody():
    release = threading.Event()
    with Api(lambda request: release.wait(20) and {"tenant": TENANT}) as api:
        with api.connect("api-operations") as sock:
            sock.sendall(begin(RESPONDER) + records(PARAMS, pairs([
                ("REQUEST_METHOD", "POST"), ("REQUEST_URI", "/api/v1/tenants"), ("HTTP_AUTHORIZATION", f"Bearer {KEY}"),
                ("HTTP_X_USER_ID", "alice")])) + records(STDIN, b""))
            api.provisioner.wait_for("tenant_create")
        release.set()
        api.call("POST", "/api/v1/tenants", ("HTTP_X_USER_ID", "bob")).expect(200)


# --- a provisioner that misbehaves ---


def test_starts_that_wait_block_nobody_else():
    release = threading.Event()

    def script(request):
        if request["op"] in ("tenant_create", "tenant_start"):
            release.wait(60)
        return {"tenant": TENANT, "tenants": [], "total": 0}

    with Api(script, start_concurrency=32) as api:
        starts = [api.call_in_background("POST", "/api/v1/tenants", ("HTTP_X_USER_ID", f"u{number}"), timeout=60) for number in range(32)]
        api.provisioner.wait_for("tenant_create", 32)
        api.call("GET", "/api/v1/tenants").expect(200)
        api.authorize().expect(200)
        api.call("POST", "/api/v1/tenants/alice/stop").expect(200)
        more = [api.call_in_background("POST", "/api/v1/tenants/bob/start", timeout=60) for _ in range(20)]
        api.provisioner.wait_for("tenant_start", 4)
        api.call("GET", "/api/v1/stats", ("HTTP_X_USER_ID", "x")).expect(500)  # the script knows no stats
        api.authorize().expect(200)
        release.set()
        for answers in starts + more:
            answer = answers.get(timeout=20 * SLOW)
            assert not isinstance(answer, Exception), answer
            answer.expect(200)


def test_a_start_on_the_wrong_socket_is_refused(shared):
    before = len(shared.provisioner.all("tenant_create"))
    shared.call("POST", "/api/v1/tenants", ("HTTP_X_USER_ID", "alice"), pool="api-admin").expect(500)
    assert len(shared.provisioner.all("tenant_create")) == before


def test_a_provisioner_that_is_away_is_503_and_back_is_200():
    with Api(lambda request: {"stats": {}}, provisioner=False) as api:
        reply = api.call("GET", "/api/v1/stats", timeout=20).expect(503)
        assert reply.header("Retry-After")
        api.authorize().expect(200)
        waiting = api.call_in_background("GET", "/api/v1/stats", timeout=20)
        api.provisioner.start()
        waiting.get(timeout=10 * SLOW).expect(200)


@pytest.mark.parametrize("garbage", [b"nonsense\n", b"[]\n", b'{"id": 1\n', b"\xff\n", b"null\n"])
def test_a_provisioner_that_answers_garbage_is_an_error_and_no_crash(garbage):
    with Api(lambda request: garbage) as api:
        api.call("GET", "/api/v1/stats").expect(500)
        api.provisioner.script = lambda request: {"stats": {}}
        api.call("GET", "/api/v1/stats").expect(200)


@pytest.mark.parametrize("answer", [{}, {"stats": None}, {"stats": 7}, {"other": {}}, {"ok": "yes"}, {"stats": {"deep": [[[{}]]]}}])
def test_answers_of_an_unexpected_shape_are_no_crash(answer):
    with Api(lambda request: answer) as api:
        for path in ("/api/v1/stats", "/api/v1/config", "/api/v1/tenants", "/openapi.json"):
            assert api.call("GET", path).status in (200, 500)


def test_a_provisioner_that_dies_during_a_start_is_503():
    with Api(lambda request: None) as api:
        waiting = api.call_in_background("POST", "/api/v1/tenants", ("HTTP_X_USER_ID", "alice"), timeout=20)
        api.provisioner.wait_for("tenant_create")
        api.provisioner.stop()
        waiting.get(timeout=10 * SLOW).expect(503)


# --- the end ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_at_once_when_idle(number):
    with Api() as api:
        api.provisioner.wait_for("set_api_keys")
        start = time.monotonic()
        assert api.end(number) == 0
        assert time.monotonic() - start < 1 * SLOW


def test_what_is_in_flight_may_finish_for_two_seconds():
    asked, release = threading.Event(), threading.Event()

    def script(request):
        asked.set()
        return release.wait(20) and {"tenant": TENANT}

    with Api(script) as api:
        quick = api.call_in_background("POST", "/api/v1/tenants", ("HTTP_X_USER_ID", "alice"))
        assert asked.wait(5 * SLOW)
        api.process.send_signal(signal.SIGTERM)
        release.set()
        quick.get(timeout=5 * SLOW).expect(200)
        assert api.end() == 0
    asked.clear()
    release.clear()
    with Api(script) as api:
        api.call_in_background("POST", "/api/v1/tenants", ("HTTP_X_USER_ID", "alice"))
        assert asked.wait(5 * SLOW)
        start = time.monotonic()
        assert api.end() == 0
        assert time.monotonic() - start < 4 * SLOW
        release.set()


def test_a_thousand_requests_leave_nothing_behind(shared):
    descriptors = lambda: len(os.listdir(f"/proc/{shared.process.pid}/fd"))  # noqa: E731
    for _ in range(20):
        shared.call("GET", "/api/v1/stats").expect(200)
    before = descriptors()
    for number in range(500):
        shared.authorize(user=f"user-{number}").expect(200)
        shared.call("GET", "/api/v1/stats").expect(200)
    eventually(lambda: descriptors() <= before + 8, what="the descriptors' end")
