"""Administration: what somebody who runs Terminals asks and does (API.md, Admin)."""
import re
import uuid

import pytest
from stack import eventually

RFC3339 = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)$")
TENANT_FIELDS = {"id", "user_id", "policy_id", "context_id", "instance_id", "instance_name", "backend_type", "host", "port",
                 "status", "error", "created_at", "updated_at", "last_accessed_at"}
AUDIT_FIELDS = {"id", "action", "severity", "user_id", "request_id", "resource_type", "resource_id", "detail", "ip_address",
                "user_agent", "status_code", "created_at"}


def audit(stack, query):
    return stack.admin("GET", f"/audit-logs?{query}").expect(200).json()


def rows(answer):
    return answer["audit_logs"] if isinstance(answer, dict) else answer


def test_create_starts_an_instance_and_again_returns_it(stack, user):
    first = stack.admin("POST", "/tenants/", headers=[("X-User-Id", user)]).expect((200, 201)).json()
    assert TENANT_FIELDS <= set(first), first
    assert (first["user_id"], first["policy_id"], first["context_id"], first["status"], first["backend_type"]) == \
        (user, "default", "default", "running", "local")
    assert first["error"] is None
    for name in ("created_at", "updated_at"):
        assert RFC3339.match(first[name]), first
    again = stack.admin("POST", "/tenants", headers=[("X-User-Id", user)]).expect(200).json()
    assert (again["id"], again["instance_id"]) == (first["id"], first["instance_id"])
    assert stack.run(user, "echo there") == "there\n"
    assert stack.tenant(user)["instance_id"] == first["instance_id"]


def test_create_needs_a_user(stack):
    stack.admin("POST", "/tenants/").expect_error(422)
    stack.admin("POST", "/tenants/", headers=[("X-User-Id", "")]).expect_error(422)


def test_list_filters_and_counts(stack, user, other):
    stack.run(user, "true")
    stack.run(other, "true")
    assert {user, other} <= {tenant["user_id"] for tenant in stack.tenants()}
    assert [tenant["user_id"] for tenant in stack.tenants(f"?user_id={user}")] == [user]
    assert stack.tenants("?status=error") == []
    assert stack.tenants("?policy_id=no-such") == []
    page = stack.admin("GET", "/tenants/?limit=1").expect(200)
    assert len(page.json()) == 1
    total = int(page.header("x-total-count"))
    assert total == len(stack.tenants("?limit=1000")) >= 2
    everyone = [tenant["id"] for offset in range(total) for tenant in stack.tenants(f"?limit=1&offset={offset}")]
    assert len(set(everyone)) == total


def test_list_sorts_and_searches(stack, user, other):
    stack.run(user, "true")
    stack.run(other, "true")
    wanted = sorted([user, other])

    def found(query):
        return [tenant["user_id"] for tenant in stack.tenants(query) if tenant["user_id"] in wanted]

    assert found("?sort=user_id") == wanted
    assert found("?sort=-user_id") == wanted[::-1]
    assert found("?sort=created_at") == [user, other] == found("?sort=-created_at")[::-1]
    assert found(f"?q={user.upper()}") == [user]
    assert found("?q=no-such-text-anywhere") == []
    for sort in ("policy_id", "status", "last_accessed_at"):
        assert sorted(found(f"?sort={sort}")) == sorted(found(f"?sort=-{sort}")) == wanted
    for wrong in ("port", "-", "", "--user_id", "user_id,status"):
        assert "`sort`" in stack.admin("GET", f"/tenants/?sort={wrong}").expect_error(400).detail


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "offset=-1", "status=nonsense", "limit=99999999999999999999"])
def test_a_bad_query_is_refused(stack, query):
    stack.admin("GET", f"/tenants/?{query}").expect_error((400, 422))


def test_stop_keeps_the_record_and_the_files(stack, user):
    stack.run(user, "echo kept > ~/kept.txt")
    pid = stack.instance_pid(user)
    stopped = stack.admin("POST", f"/tenants/{user}/stop").expect(200).json()
    assert stopped["status"] == "stopped"
    assert pid not in stack.processes()
    assert stack.tenant(user)["status"] == "stopped"
    started = stack.admin("POST", f"/tenants/{user}/start").expect(200).json()
    assert started["status"] == "running"
    assert stack.run(user, "cat ~/kept.txt") == "kept\n"


def test_a_request_to_a_stopped_instance_starts_it(stack, user):
    stack.run(user, "echo kept > ~/kept.txt")
    stack.admin("POST", f"/tenants/{user}/stop").expect(200)
    assert stack.run(user, "cat ~/kept.txt") == "kept\n"
    assert stack.tenant(user)["status"] == "running"


def test_stop_and_start_twice_are_no_errors(stack, user):
    stack.run(user, "true")
    for action, status in (("start", "running"), ("stop", "stopped"), ("stop", "stopped"), ("start", "running")):
        assert stack.admin("POST", f"/tenants/{user}/{action}").expect(200).json()["status"] == status


def test_delete_removes_the_record_and_keeps_the_files(stack, user):
    stack.run(user, "echo kept > ~/kept.txt")
    pid = stack.instance_pid(user)
    assert stack.admin("DELETE", f"/tenants/{user}").expect(200).json() == {"detail": "deleted"}
    assert pid not in stack.processes()
    stack.admin("GET", f"/tenants/{user}").expect_error(404)
    assert stack.run(user, "cat ~/kept.txt") == "kept\n"


def test_delete_with_purge_removes_the_files_too(stack, user):
    stack.run(user, "mkdir -p ~/a/b; echo gone > ~/a/b/gone.txt; ln -s /etc ~/link")
    stack.admin("DELETE", f"/tenants/{user}?purge=true").expect(200)
    eventually(lambda: not stack.home(user).exists(), what="the folder's end")
    assert stack.run(user, "ls ~/a 2>/dev/null; true") == ""


def test_a_tenant_nobody_has_is_404(stack):
    for method, path in (("GET", "/tenants/no-such"), ("POST", "/tenants/no-such/start"), ("POST", "/tenants/no-such/stop"),
                         ("DELETE", "/tenants/no-such")):
        stack.admin(method, path).expect_error(404)


def test_user_ids_in_paths_are_percent_decoded(stack):
    for name in ("jane doe@example.org", "ä/ö?ü#1", "100%", "a%2Fb", "..x", "a\\b"):
        stack.admin("POST", "/tenants/", headers=[("X-User-Id", name)]).expect((200, 201))
        assert stack.tenant(name)["user_id"] == name
        stack.admin("DELETE", "/tenants/" + "".join(f"%{byte:02x}" for byte in name.encode())).expect(200)


def test_contexts_are_instances_of_their_own(stack, user):
    stack.run(user, "echo shared > ~/where.txt")
    chat = [("X-Terminal-Context-Id", "chat:42")]
    assert stack.run(user, "cat ~/where.txt 2>/dev/null; echo chat > ~/where.txt", headers=chat) == ""
    assert stack.run(user, "cat ~/where.txt", headers=chat) == "chat\n"
    for shared in ("", "default"):
        assert stack.run(user, "cat ~/where.txt", headers=[("X-Terminal-Context-Id", shared)]) == "shared\n"
    assert "chat" not in stack.run(user, "ls -AR ~ | grep -i -e chat -e context; true"), "contexts show in the shared home"
    assert stack.tenant(user, context_id="chat:42")["instance_id"] != stack.tenant(user)["instance_id"]
    stack.admin("DELETE", f"/tenants/{user}?context_id=chat%3A42").expect(200)
    assert stack.tenant(user)["status"] == "running"


def test_config_tells_settings_and_no_secret(stack):
    answer = stack.admin("GET", "/config").expect(200)
    assert answer.json()["has_api_key"] is True
    assert stack.key not in answer.text
    assert answer.json()["backend"] == "local"
    assert answer.json()["port"] == stack.port


def test_status_and_stats_count(stack, user):
    before = stack.admin("GET", "/stats").expect(200).json()
    status = stack.admin("GET", "/status").expect(200).json()
    assert status["backend"] == "local"
    with stack.shell(user):
        eventually(lambda: stack.admin("GET", "/stats").json()["active_ws_connections"] >= 1, what="one WebSocket counted")
        now = stack.admin("GET", "/status").expect(200).json()
        assert now["active_terminals"] >= 1
        assert now["active_websocket_connections"] >= 1
    eventually(lambda: stack.admin("GET", "/stats").json()["active_ws_connections"] == before["active_ws_connections"],
               what="no WebSocket counted")


def test_the_audit_log_tells_who_did_what(stack, user):
    request_id = str(uuid.uuid4())
    stack.admin("POST", "/tenants/", headers=[("X-User-Id", user), ("X-Request-Id", request_id),
                                              ("User-Agent", "tester/1.0")]).expect((200, 201))
    stack.admin("POST", f"/tenants/{user}/stop").expect(200)
    stack.admin("POST", f"/tenants/{user}/start").expect(200)
    stack.admin("DELETE", f"/tenants/{user}").expect(200)
    found = eventually(lambda: (lambda r: r if len(r) >= 4 else None)(rows(audit(stack, f"user_id={user}"))),
                       what="four audit rows")
    actions = [row["action"] for row in found]
    assert [action for action in actions if action != "tenant_started"][::-1] == \
        ["tenant_created", "tenant_stopped", "tenant_deleted"], actions
    assert "tenant_started" in actions
    assert all(AUDIT_FIELDS <= set(row) for row in found), found
    created = next(row for row in found if row["action"] == "tenant_created")
    assert created["request_id"] == request_id
    assert created["ip_address"] == "127.0.0.1"
    assert created["user_agent"] == "tester/1.0"
    assert RFC3339.match(created["created_at"])
    only = rows(audit(stack, f"user_id={user}&action=tenant_stopped"))
    assert [row["action"] for row in only] == ["tenant_stopped"]
    assert len(rows(audit(stack, f"user_id={user}&limit=1"))) == 1
    assert rows(audit(stack, f"user_id={user}&since=2999-01-01T00:00:00Z")) == []


def test_a_first_request_is_in_the_audit_log(stack, user):
    request_id = str(uuid.uuid4())
    stack.run(user, "true", headers=[("X-Request-Id", request_id)])
    [row] = eventually(lambda: rows(audit(stack, f"user_id={user}&action=tenant_created")), what="the row")
    assert row["request_id"] == request_id


def test_a_refused_token_is_in_the_audit_log(fresh):
    """The first of a client at once; a flood of them is counted, not listed."""
    stack = fresh()
    request_id = str(uuid.uuid4())
    stack.request("x", "GET", "/files/list", key="guessed", headers=[("X-Request-Id", request_id)]).expect_error(401)
    found = eventually(lambda: [row for row in rows(audit(stack, "action=auth_failed")) if row["request_id"] == request_id],
                       what="the row")
    assert found[0]["status_code"] == 401
    assert "guessed" not in str(found)


def test_shells_are_in_the_audit_log(stack, user):
    with stack.shell(user):
        eventually(lambda: rows(audit(stack, f"user_id={user}&action=terminal_opened")), what="terminal_opened")
    eventually(lambda: rows(audit(stack, f"user_id={user}&action=terminal_closed")), what="terminal_closed")


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=abc", "since=yesterday"])
def test_a_bad_audit_query_is_refused(stack, query):
    stack.admin("GET", f"/audit-logs?{query}").expect_error((400, 422))


@pytest.mark.parametrize("method,path", [("GET", "/tenants/"), ("POST", "/tenants/"), ("GET", "/config"), ("GET", "/stats"),
                                         ("GET", "/status"), ("GET", "/audit-logs"), ("DELETE", "/tenants/x"),
                                         ("GET", "/no-such"), ("GET", "/policies")])
def test_administration_needs_the_key(stack, method, path):
    assert stack.admin(method, path, key=None).expect_error(401).detail == "Missing Authorization header"
    assert stack.admin(method, path, key="wrong").expect_error(401).detail == "Invalid API key"


def test_an_unknown_admin_call_is_ours_to_refuse(stack, user):
    stack.run(user, "true")
    for path in ("/no-such", "/tenants/x/y/z", "/tenants/x/nonsense", ""):
        stack.request(user, "GET", "/api/v1" + path).expect_error(404)
    stack.request(user, "PATCH", "/api/v1/tenants/").expect_error((404, 405))
    stack.request(user, "DELETE", "/api/v1/stats").expect_error((404, 405))


def test_looking_does_not_count_as_using(stack, user):
    stack.run(user, "true")

    def only_looked():
        first = stack.tenant(user)["last_accessed_at"]
        stack.admin("GET", "/tenants/")
        stack.admin("GET", "/stats")
        stack.request(None, "GET", "/health", key=None)
        return stack.tenant(user)["last_accessed_at"] == first

    eventually(only_looked, 15, what="the same time before and after, once the command itself was counted")
