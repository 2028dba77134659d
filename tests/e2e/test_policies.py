"""Policies and contexts: several kinds of machine for a user, several copies of one, and the calls about what runs."""
import contextlib
import json
import os
import signal
import socket
import threading

import pytest
from stack import SLOW, Stack, eventually, read_response, route_key

CONTEXT = [("X-Terminal-Context-Id", "chat:1")]


@pytest.fixture(scope="module")
def capped():
    """A stack with caps, for everybody who makes policies of his own."""
    with Stack(max_cpu="2", max_memory="1Gi", max_storage="10Gi", allowed_images="good/*, other/tool:?") as running:
        yield running


_names = iter(range(1, 1 << 30))


@pytest.fixture
def policy(capped):
    """The name of a policy that nobody else has; it need not exist."""
    return f"p-{next(_names)}"


def create(stack, name, **data):
    return stack.admin("POST", "/policies", json_body={"id": name, "data": data}).expect(201).json()


def update(stack, name, **data):
    return stack.admin("PUT", f"/policies/{name}", json_body={"data": data}).expect(200).json()


def refresh(stack, **filters):
    return stack.admin("POST", "/terminals/refresh", json_body=filters).expect(200).json()


def counts(matched, refreshed, reset, skipped_active):
    return {"matched": matched, "refreshed": refreshed, "reset": reset, "skipped_active": skipped_active}


def is_hot(stack, user, policy="default", context="default"):
    return route_key(user, policy, context) in stack.haproxy_map("routes")


# --- policies come and go ---


def test_a_policy_lives_as_its_administrator_says(capped, policy):
    made = create(capped, policy, env={"A": "1"}, idle_timeout_minutes=5, team={"lead": "x"})
    assert made["id"] == policy and made["data"] == {"env": {"A": "1"}, "idle_timeout_minutes": 5, "team": {"lead": "x"}}
    assert capped.admin("GET", f"/policies/{policy}").expect(200).json() == made
    assert made in capped.admin("GET", "/policies/").expect(200).json()
    capped.admin("POST", "/policies", json_body={"id": policy, "data": {}}).expect_error(409)
    changed = update(capped, policy, env={"A": "2"})
    assert changed["data"] == {"env": {"A": "2"}} and changed["created_at"] == made["created_at"]
    assert capped.admin("DELETE", f"/policies/{policy}").expect(200).json() == {"detail": "deleted"}
    for method in ("GET", "DELETE"):
        capped.admin(method, f"/policies/{policy}").expect_error(404)
    capped.admin("PUT", f"/policies/{policy}", json_body={"data": {}}).expect_error(404)


def test_the_audit_log_says_who_changed_a_policy(capped, policy):
    headers = [("X-Request-Id", f"request-{policy}"), ("User-Agent", "the-admin")]
    capped.admin("POST", "/policies", json_body={"id": policy, "data": {}}, headers=headers).expect(201)
    capped.admin("PUT", f"/policies/{policy}", json_body={"data": {"env": {}}}, headers=headers).expect(200)
    capped.admin("DELETE", f"/policies/{policy}", headers=headers).expect(200)
    for action in ("policy_created", "policy_updated", "policy_deleted"):
        rows = capped.admin("GET", f"/audit-logs?action={action}").expect(200).json()
        row = next(row for row in rows if row["resource_id"] == policy)
        assert (row["resource_type"], row["request_id"], row["user_agent"]) == ("policy", f"request-{policy}", "the-admin")
        assert row["ip_address"] == "127.0.0.1"


def test_default_is_always_there(fresh):
    stack = fresh()
    (default,) = stack.admin("GET", "/policies").expect(200).json()
    assert (default["id"], default["data"]) == ("default", {})
    assert stack.admin("GET", "/status").json()["policy_count"] == 1
    stack.admin("DELETE", "/policies/default").expect_error(409)
    stack.admin("POST", "/policies", json_body={"id": "default", "data": {}}).expect_error(409)
    update(stack, "default", env={"GREETING": "hello"})
    assert stack.run("somebody", "echo $GREETING") == "hello\n"
    create(stack, "second")
    assert stack.admin("GET", "/status").json()["policy_count"] == 2


def test_lists_are_paged(capped):
    for name in ("page-a", "page-b"):
        create(capped, name)
    everything = capped.admin("GET", "/policies").expect(200)
    total = int(everything.header("x-total-count"))
    assert total == len(everything.json()) >= 3
    pages = [capped.admin("GET", f"/policies?limit=1&offset={offset}").expect(200).json() for offset in range(total)]
    assert [page[0] for page in pages] == everything.json()
    capped.admin("GET", "/policies?limit=0").expect_error(422)
    capped.admin("GET", "/terminals?limit=x").expect_error(422)


def test_the_data_may_stand_alone(capped, policy):
    """`{"id": …, "data": {…}}` and `{"id": …, …}` say the same."""
    made = capped.admin("POST", "/policies", json_body={"id": policy, "cpu_limit": "1"}).expect(201).json()
    assert made["data"] == {"cpu_limit": "1"}
    changed = capped.admin("PUT", f"/policies/{policy}", json_body={"id": policy, "storage": "1Gi"}).expect(200).json()
    assert changed["data"] == {"storage": "1Gi"}
    capped.admin("PUT", f"/policies/{policy}", json_body={"id": "another", "data": {}}).expect_error(400)
    capped.admin("PUT", f"/policies/{policy}", json_body={"data": {}, "cpu_limit": "1"}).expect_error(422)


def test_what_exceeds_a_cap_becomes_the_cap(capped, policy):
    made = create(capped, policy, cpu_limit="8", memory_limit="64Gi", storage="9Gi")
    assert made["data"] == {"cpu_limit": "2", "memory_limit": "1Gi", "storage": "9Gi"}
    status = capped.admin("GET", "/status").expect(200).json()
    assert (status["max_cpu"], status["max_memory"], status["max_storage"]) == ("2", "1Gi", "10Gi")
    assert status["allowed_images"] == "good/*, other/tool:?"


def test_a_cap_that_is_no_quantity_stops_the_start(fresh):
    stack = fresh(start=False, max_memory="4GB")
    stack.launch()
    assert stack.wait_exit() != 0
    assert "TERMINALS_MAX_MEMORY: `4GB`" in stack.log()


@pytest.mark.parametrize("data,named", [
    ({"image": 7}, "image"), ({"image": "bad/x"}, "image"), ({"image": "other/tool:12"}, "image"), ({"image": ""}, "image"),
    ({"env": ["A"]}, "env"), ({"env": {"A": 1}}, "env.A"), ({"env": {"A B": "x"}}, "env"), ({"env": {"A": "\0"}}, "env.A"),
    ({"env": {"": "x"}}, "env"),
    ({"cpu_limit": 2}, "cpu_limit"), ({"cpu_limit": "2 cores"}, "cpu_limit"), ({"cpu_limit": "0"}, "cpu_limit"),
    ({"memory_limit": "1GB"}, "memory_limit"), ({"memory_limit": "-1Gi"}, "memory_limit"), ({"storage": []}, "storage"),
    ({"storage_mode": "private"}, "storage_mode"), ({"idle_timeout_minutes": -1}, "idle_timeout_minutes"),
    ({"idle_timeout_minutes": "5"}, "idle_timeout_minutes"), ({"idle_timeout_minutes": 0.5}, "idle_timeout_minutes"),
    ({"restricted": 1}, "restricted"), ({"pod_security_context": []}, "pod_security_context"),
    ({"container_security_context": {"runAsUser": "root"}}, "container_security_context.runAsUser"),
    ({"podTemplate": "x"}, "podTemplate"), ({"lifecycle": {"reset": {"schedule": "@weekly"}}}, "lifecycle"),
    ({"reset": {"schedule": "@weekly"}}, "reset"),
], ids=lambda value: value if isinstance(value, str) else None)
def test_a_mistake_is_named_and_changes_nothing(capped, policy, data, named):
    answer = capped.admin("POST", "/policies", json_body={"id": policy, "data": data}).expect_error(400)
    assert f"`{named}`" in answer.detail
    capped.admin("GET", f"/policies/{policy}").expect_error(404)
    create(capped, policy, image="good/deep/er:1")
    capped.admin("PUT", f"/policies/{policy}", json_body={"data": data}).expect_error(400)
    assert capped.admin("GET", f"/policies/{policy}").json()["data"] == {"image": "good/deep/er:1"}


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "a/b", "..", "a" * 64, "jörg", "a\0b"])
def test_a_policy_s_name_is_a_label(capped, name):
    capped.admin("POST", "/policies", json_body={"id": name, "data": {}}).expect_error((400, 422))


def test_who_may_not_administer_changes_nothing(capped, policy):
    body = {"id": policy, "data": {}}
    for key in (None, "wrong"):
        capped.admin("POST", "/policies", json_body=body, key=key).expect_error(401)
        capped.admin("PUT", "/policies/default", json_body={"data": {"env": {"EVIL": "1"}}}, key=key).expect_error(401)
        capped.admin("DELETE", "/policies/default", key=key).expect_error(401)
        capped.admin("GET", "/terminals", key=key).expect_error(401)
        capped.admin("POST", "/terminals/refresh", json_body={}, key=key).expect_error(401)
    capped.admin("GET", f"/policies/{policy}").expect_error(404)


# --- hostile bodies ---


@pytest.mark.parametrize("status,body", [
    pytest.param(422, b"", id="none"),
    pytest.param(400, b"{", id="half-json"),
    pytest.param(400, b"{} {}", id="two"),
    pytest.param(400, b"\xff\xfe", id="no-utf-8"),
    pytest.param(400, b"{\"data\":{\"x\":\"\xff\"}}", id="no-utf-8-inside"),
    pytest.param(400, b"{'data':{}}", id="single-quotes"),
    pytest.param(400, b"{\"data\":{\"x\":NaN}}", id="nan"),
    pytest.param(400, b"\0" * 100, id="nul"),
    pytest.param(422, b"[]", id="array"),
    pytest.param(422, b"null", id="null"),
    pytest.param(422, b"\"text\"", id="text"),
    pytest.param(422, b"{\"data\":[]}", id="data-array"),
    pytest.param(422, b"{\"data\":null}", id="data-null"),
    pytest.param(422, b"{\"data\":7}", id="data-number"),
    pytest.param(400, b"[" * 60000, id="deep-arrays"),
    pytest.param(400, b"{\"data\":" * 5000, id="deep-objects"),
    pytest.param(400, b"{\"data\":" + b"{\"a\":" * 40 + b"1" + b"}" * 41, id="40-levels"),
    pytest.param(400, b"{\"data\":" + b"{\"a\":" * 32 + b"[]" + b"}" * 33, id="33-levels"),
])
def test_a_hostile_body_is_refused(capped, status, body):
    capped.admin("PUT", "/policies/default", body=body).expect_error(status)
    if status == 400 or body == b"[]":
        capped.admin("POST", "/terminals/refresh", body=body[:8192]).expect_error((400, 422))
    assert capped.admin("GET", "/policies/default").expect(200).json()["data"] == {}


def test_a_deep_policy_within_the_limit_comes_back(capped, policy):
    data = {"a": 1}
    for _ in range(31):
        data = {"a": data}
    assert create(capped, policy, **data)["data"] == data
    assert any(one["data"] == data for one in capped.admin("GET", "/policies").expect(200).json())


def test_a_body_of_64_kib_is_the_longest(capped, policy):
    create(capped, policy)
    text = "ü" * 30000
    body = json.dumps({"data": {"note": text}}, ensure_ascii=False).encode()
    assert capped.admin("PUT", f"/policies/{policy}", body=body).expect(200).json()["data"]["note"] == text
    assert capped.admin("GET", f"/policies/{policy}").json()["data"]["note"] == text
    for length in (65537, 1 << 20, 1 << 40):
        head = (f"PUT /api/v1/policies/{policy} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {capped.key}\r\n"
                f"Content-Length: {length}\r\n\r\n").encode()
        capped.raw(head, method="PUT").expect_error(413)
    for path in ("/terminals/refresh", "/terminals/stop"):
        head = (f"POST /api/v1{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {capped.key}\r\n"
                f"Content-Length: 8193\r\n\r\n").encode()
        capped.raw(head, method="POST").expect_error(413)


def test_a_stranger_s_long_body_is_not_waited_for(capped):
    """It is a stranger's by its head: what HAProxy's buffer cannot hold is left unread, and holds nothing up."""
    for key in ("", "Authorization: Bearer wrong\r\n") * 10:
        head = f"PUT /api/v1/policies/default HTTP/1.1\r\nHost: x\r\n{key}Content-Length: 60000\r\n\r\n".encode()
        capped.raw(head + b"x" * 20000, method="PUT", timeout=5).expect_error(401)
    capped.admin("GET", "/policies/default", timeout=5).expect(200)


def test_chunks_are_as_good_as_a_length(capped, policy):
    create(capped, policy)
    answer = capped.admin("PUT", f"/policies/{policy}", body=iter([b'{"data": {"en', b'v": {"A": "chunk', b'ed"}}}']))
    assert answer.expect(200).json()["data"] == {"env": {"A": "chunked"}}
    head = f"PUT /api/v1/policies/{policy} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {capped.key}\r\n"
    broken = head.encode() + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n"
    capped.raw(broken, method="PUT").expect(400)
    long = head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n" % 12000 + b"y" * 12000 + b"\r\n0\r\n\r\n"
    capped.raw(long, method="PUT").expect_error(413)
    assert capped.admin("GET", f"/policies/{policy}").json()["data"] == {"env": {"A": "chunked"}}


def test_half_a_body_neither_counts_nor_blocks_the_others(capped, policy):
    """More clients that never finish than terminals-api has threads for."""
    create(capped, policy, env={"A": "whole"})
    head = f"PUT /api/v1/policies/{policy} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {capped.key}\r\n"
    with contextlib.ExitStack() as held:
        halves = [held.enter_context(capped.connect()) for _ in range(20)]
        for half in halves:
            half.sendall(head.encode() + b'Content-Length: 500\r\n\r\n{"data": {"env": {"A": "half"}}}')
        for _ in range(3):
            assert capped.admin("GET", "/policies", timeout=5).expect(200)
        half = halves.pop()
        half.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            assert half.recv(65536)[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 408")
        half = halves.pop()
        half.settimeout(30 * SLOW)
        assert read_response(half, "PUT").status in (400, 408)
    assert capped.admin("GET", f"/policies/{policy}").json()["data"] == {"env": {"A": "whole"}}


def test_a_long_body_that_breaks_off_leaves_nothing_behind(capped, policy):
    create(capped, policy, env={"A": "whole"})
    head = (f"PUT /api/v1/policies/{policy} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {capped.key}\r\n"
            "Content-Length: 60000\r\n\r\n").encode()
    for _ in range(12):
        with capped.connect() as sock:
            sock.sendall(head + b'{"data": {"x": "' + b"y" * 40000)
    eventually(lambda: capped.admin("GET", f"/policies/{policy}", timeout=5).expect(200).json()["data"] ==
               {"env": {"A": "whole"}}, 30, what="an answer after broken bodies")


# --- machines of their own ---


def test_an_unknown_policy_is_404_everywhere(capped, user, policy):
    capped.run(user, "true")
    capped.request(user, "GET", f"/p/{policy}/files/list").expect_error(404)
    capped.admin("POST", f"/tenants/?policy_id={policy}", headers=[("X-User-Id", user)]).expect_error(404)
    capped.request(user, "GET", f"/p/{policy}/openapi.json").expect_error(404)
    capped.request(user, "GET", "/p/No_Such/files/list").expect_error(400)
    assert len(capped.tenants(f"?user_id={user}")) == 1
    with capped.ws(user, "x" * 8, prefix=f"/p/{policy}") as shell:
        assert shell.wait_closed(10 * SLOW).code == 4004
    create(capped, policy)
    capped.request(user, "GET", f"/p/{policy}/files/list").expect(200)
    capped.request(user, "GET", f"/p/{policy}/openapi.json").expect(200)


def test_a_policy_s_environment_cannot_take_over_an_instance(capped, user, policy):
    create(capped, policy, env={"OPEN_TERMINAL_API_KEY": "mine", "OPEN_TERMINAL_API_KEY_FILE": "/etc/hostname",
                                "TERMINALS_INSTANCE": "x:y", "HOME": "/etc", "LD_PRELOAD": "/nonexistent.so", "PORT": "1",
                                "SECRET": "a=b\nc"})
    assert capped.run(user, 'echo "$HOME"; echo "$SECRET"; echo "[$LD_PRELOAD$OPEN_TERMINAL_API_KEY]"',
                      prefix=f"/p/{policy}").splitlines()[1:] == ["a=b", "c", "[]"]
    assert "OPEN_TERMINAL_API_KEY" not in json.dumps(capped.admin("GET", f"/policies/{policy}").json())
    assert "SECRET" not in capped.log() and "a=b" not in capped.log()


def test_what_local_cannot_do_is_said_once(fresh):
    stack = fresh()
    create(stack, "big", cpu_limit="4", image="a/b")
    create(stack, "other", memory_limit="4Gi")
    for prefix in ("/p/big", "/p/other"):
        stack.run("u", "true", prefix=prefix)
    assert stack.err().count("has neither images nor limits") == 1


def test_a_change_shows_until_the_next_start(capped, user, policy):
    create(capped, policy, env={"V": "1"})
    where = {"prefix": f"/p/{policy}"}
    assert capped.run(user, "echo $V", **where) == "1\n"
    assert capped.tenant(user, policy_id=policy)["outdated"] is False
    update(capped, policy, env={"V": "2"})
    assert capped.run(user, "echo $V", **where) == "1\n"
    assert capped.tenant(user, policy_id=policy)["outdated"] is True
    assert [one["outdated"] for one in capped.admin("GET", "/terminals").json() if one["policy_id"] == policy] == [True]
    eventually(lambda: refresh(capped, policy_id=policy) == counts(1, 1, 0, 0), what="a refresh", interval=0.5)
    assert capped.tenant(user, policy_id=policy)["outdated"] is False
    assert capped.run(user, "echo $V", **where) == "2\n"
    update(capped, policy, env={"V": "3"})
    update(capped, policy, env={"V": "2"})
    assert capped.tenant(user, policy_id=policy)["outdated"] is False


def test_a_policy_goes_when_nothing_of_it_runs(capped, user, policy):
    create(capped, policy)
    where = {"prefix": f"/p/{policy}"}
    capped.run(user, "echo kept > ~/kept", **where)
    answer = capped.admin("DELETE", f"/policies/{policy}").expect_error(409)
    assert "1 instance" in answer.detail
    assert capped.run(user, "cat ~/kept", **where) == "kept\n"
    capped.admin("POST", "/terminals/stop", json_body={"user_id": user, "policy_id": policy}).expect(200)
    capped.admin("DELETE", f"/policies/{policy}").expect(200)
    capped.execute(user, "true", **where).expect_error(404)
    capped.admin("POST", f"/tenants/{user}/start?policy_id={policy}").expect_error(404)
    assert capped.tenant(user, policy_id=policy)["status"] == "stopped"
    create(capped, policy)
    assert capped.run(user, "cat ~/kept", **where) == "kept\n"


@pytest.mark.parametrize("how", ["TERM", "KILL"])
def test_policies_outlive_the_provisioner(fresh, how):
    stack = fresh()
    create(stack, "kept", env={"V": "1"})
    create(stack, "gone")
    stack.admin("DELETE", "/policies/gone").expect(200)
    assert stack.run("u", "echo $V", prefix="/p/kept") == "1\n"
    pid = stack.one("terminals-provisioner")
    instance = stack.tenant("u", policy_id="kept")["instance_id"]
    update(stack, "kept", env={"V": "2"})
    os.kill(pid, getattr(signal, f"SIG{how}"))
    eventually(lambda: stack.process("terminals-provisioner") not in ([], [pid]), what="a new provisioner")
    eventually(lambda: stack.admin("GET", "/policies/kept", timeout=5).status == 200, what="an answer")
    assert stack.admin("GET", "/policies/kept").json()["data"] == {"env": {"V": "2"}}
    stack.admin("GET", "/policies/gone").expect_error(404)
    tenant = stack.tenant("u", policy_id="kept")
    assert (tenant["instance_id"], tenant["outdated"]) == (instance, True)
    assert stack.run("u", "echo $V", prefix="/p/kept") == "1\n"


# --- what runs ---


def test_the_list_says_who_runs_and_why(capped, user, policy):
    create(capped, policy, idle_timeout_minutes=0)
    capped.run(user, "true")
    capped.run(user, "true", prefix=f"/p/{policy}")

    def mine():
        return {one["policy_id"]: one for one in capped.admin("GET", "/terminals").expect(200).json()
                if one["user_id"] == user}

    def kept_alive_by(policy_id, reason):
        return eventually(lambda: [one for name, one in mine().items() if name == policy_id and one["kept_alive_by"] == reason],
                          what=f"{policy_id} kept alive by {reason}, and no more by the command")[0]

    never = kept_alive_by(policy, "policy")
    assert (never["idle_timeout_minutes"], never["stops_at"]) == (None, None)
    quiet = kept_alive_by("default", None)
    assert (quiet["status"], quiet["context_id"], quiet["idle_timeout_minutes"]) == ("running", "default", 30)
    assert quiet["port"] == capped.tenant(user)["port"] and quiet["name"] == capped.tenant(user)["instance_name"]
    assert quiet["last_active_at"] < quiet["stops_at"] and quiet["idle_seconds"] >= 0
    eventually(lambda: is_hot(capped, user), what="the route")
    busy = threading.Thread(target=capped.execute, args=(user, "sleep 3"))
    busy.start()
    eventually(lambda: mine()["default"]["kept_alive_by"] == "requests", what="a request in the list")
    busy.join()


def test_stop_stops_one(capped, user):
    capped.run(user, "true")
    capped.run(user, "true", headers=CONTEXT)
    body = {"user_id": user, "context_id": "chat:1"}
    assert capped.admin("POST", "/terminals/stop", json_body=body).expect(200).json()["status"] == "stopped"
    capped.admin("POST", "/terminals/stop", json_body=body).expect_error(404)
    assert capped.tenant(user)["status"] == "running"
    capped.admin("POST", "/terminals/stop", json_body={"user_id": "nobody"}).expect_error(404)
    capped.admin("POST", "/terminals/stop", json_body={}).expect_error(422)
    capped.admin("POST", "/terminals/stop").expect_error(422)
    capped.admin("POST", "/terminals/stop", json_body={"user_id": user, "policy_id": "A"}).expect_error(400)


@pytest.mark.parametrize("body", [{"only_idel": False}, {"user": "x"}, {"user_id": 7}, {"only_idle": "no"}, {"reset": 1},
                                  {"user_id": ""}, {"policy_id": "A_B"}, {"context_id": "x"}])
def test_a_misspelt_refresh_stops_nobody(capped, user, body):
    capped.run(user, "true")
    capped.admin("POST", "/terminals/refresh", json_body=body).expect_error((400, 422))
    assert capped.tenant(user)["status"] == "running"


def test_a_refresh_counts_truly_and_leaves_the_busy_alone(fresh):
    stack = fresh()
    create(stack, "gpu")
    for name, prefix in (("ann", ""), ("ben", ""), ("ann", "/p/gpu"), ("ben", "/p/gpu")):
        stack.run(name, "true", prefix=prefix)
    stack.run("ann", "true", headers=CONTEXT)
    with stack.shell("ben") as shell:
        shell.send(b"while sleep 0.2; do echo tick; done\n")
        shell.read_until(b"tick")
        eventually(lambda: is_hot(stack, "ann"), what="the route")
        busy = threading.Thread(target=stack.execute, args=("ann", "sleep 20"), kwargs={"wait": 20})
        busy.start()
        eventually(lambda: {one["kept_alive_by"] for one in stack.admin("GET", "/terminals").json()} == {"requests", "shell", None},
                   what="two of them busy")
        assert refresh(stack, user_id="nobody") == counts(0, 0, 0, 0)
        assert refresh(stack, policy_id="gpu", user_id="ann") == counts(1, 1, 0, 0)
        assert refresh(stack, context_id="chat:1") == counts(1, 1, 0, 0)
        assert refresh(stack) == counts(3, 1, 0, 2)
        shell.read_until(b"tick")
        assert refresh(stack, only_idle=False) == counts(2, 2, 0, 0)
        busy.join()
    assert stack.admin("GET", "/terminals").json() == []
    assert stack.run("ann", "echo fresh") == "fresh\n"


def test_requests_during_a_refresh_are_answered(capped, user):
    """A request that comes while the route is away keeps the instance, or starts it anew; it never fails."""
    capped.run(user, "echo kept > ~/kept")
    done = threading.Event()
    failures = []

    def ask():
        while not done.is_set():
            answer = capped.request(user, "GET", "/files/read?path=kept")
            if answer.status != 200:
                failures.append((answer.status, answer.text))

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    for _ in range(3):
        refresh(capped, user_id=user)
    done.set()
    for asker in askers:
        asker.join()
    assert not failures, failures[:3]


def test_a_reset_empties_one_folder_and_no_other(capped, user, other, policy, tmp_path):
    create(capped, policy)
    outside = tmp_path / "outside"
    outside.write_text("outside")
    folders = [(user, "", ()), (user, "", CONTEXT), (user, f"/p/{policy}", ()), (user, f"/p/{policy}", CONTEXT),
               (other, f"/p/{policy}", ())]
    for name, prefix, headers in folders:
        capped.run(name, f"mkdir -p a/b/c; echo x > a/b/c/file; ln -s {outside} link; ln -s / root", prefix=prefix,
                   headers=headers)
    assert refresh(capped, user_id=user, policy_id=policy, context_id="default", only_idle=False, reset=True) == \
        counts(1, 1, 1, 0)
    for name, prefix, headers in folders:
        left = capped.run(name, "ls -1", prefix=prefix, headers=headers)
        assert left == ("" if (name, prefix, headers) == (user, f"/p/{policy}", ()) else "a\nlink\nroot\n")
    assert outside.read_text() == "outside"
    rows = capped.admin("GET", f"/audit-logs?action=tenant_reset&user_id={user}").expect(200).json()
    assert [row["resource_id"] for row in rows] == [capped.tenant(user, policy_id=policy)["id"]]


def test_each_policy_has_its_idle_timeout(fresh):
    stack = fresh(idle_timeout_seconds=1)
    create(stack, "never", idle_timeout_minutes=0)
    create(stack, "long", idle_timeout_minutes=60)
    for prefix in ("", "/p/never", "/p/long"):
        stack.run("u", "true", prefix=prefix)

    def stopped():
        assert stack.terminals("reap").returncode == 0
        return stack.tenant("u")["status"] == "stopped"

    eventually(stopped, 20, what="the cleanup of the default policy's instance", interval=0.3)
    assert stack.tenant("u", policy_id="never")["status"] == "running"
    assert stack.tenant("u", policy_id="long")["status"] == "running"
