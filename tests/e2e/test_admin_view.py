"""What an administrator's page lives on: how things are, what is wrong, and a terminal into anybody's instance."""
import csv
import io
import urllib.parse

import pytest

from stack import eventually
from test_tenants import RFC3339


def stats(stack):
    return stack.admin("GET", "/stats").expect(200).json()


def problems(stack):
    return {problem["what"]: problem for problem in stats(stack)["problems"]}


def test_stats_tell_of_changes_memory_and_problems(stack, user):
    before = stats(stack)
    assert before["memory_bytes"] > 5_000_000  # four processes of ours at least
    stack.run(user, "true")
    after = stats(stack)
    assert after["changes"] > before["changes"]
    eventually(lambda: "gate" not in problems(stack) and "haproxy" not in problems(stack), what="a sound stack")


def test_history_has_a_sample_of_the_start(stack):
    history = stack.admin("GET", "/stats/history").expect(200).json()
    assert history["interval_seconds"] == 60
    for sample in history["samples"]:
        assert RFC3339.match(sample["at"])
        assert set(sample) == {"at", "by_status", "requests", "cold_starts", "failures", "p50_ms", "p95_ms", "memory_bytes"}
        assert set(sample["by_status"]) == {"provisioning", "running", "stopping", "stopped", "error"}
    assert history["samples"]


# --- a terminal for the administrator

def open_terminal(stack, user, **names):
    return stack.admin("POST", "/terminals/open", json_body={"user_id": user, **names})


def audit(stack, user, action):
    return stack.admin("GET", f"/audit-logs?user_id={user}&action={action}").expect(200).json()


def test_an_administrator_opens_a_terminal_in_anybodys_instance(stack, user):
    tenant = stack.admin("POST", "/tenants", headers=[("X-User-Id", user)]).expect(200).json()
    stack.admin("POST", f"/tenants/{user}/stop").expect(200)
    answer = open_terminal(stack, user)
    way = answer.expect(200).json()
    assert way == {"user_id": user, "policy_id": "default", "context_id": "default", "path": "/p/default"}
    assert stack.tenant(user)["status"] == "running"
    rows = audit(stack, user, "terminal_opened_by_admin")
    assert [(row["resource_type"], row["resource_id"], row["request_id"]) for row in rows] == [
        ("tenant", tenant["id"], answer.header("x-request-id"))]
    # What the page then does.
    session = stack.new_terminal(user, prefix=way["path"])
    with stack.ws(user, session, prefix=way["path"]) as shell:
        shell.send(b"echo a-$((6 * 7))-z\n")
        shell.read_until(b"a-42-z")


def test_an_administrators_terminal_is_of_the_policy_and_context_asked(stack, user):
    stack.request(user, "GET", "/files/list", headers=[("X-Terminal-Context-Id", "chat:7")]).expect(200)
    way = open_terminal(stack, user, context_id="chat:7").expect(200).json()
    assert (way["context_id"], way["path"]) == ("chat:7", "/p/default")


def test_a_terminal_of_nobody_is_not_found_and_makes_nobody(stack, user):
    open_terminal(stack, user).expect_error(404)
    open_terminal(stack, user, policy_id="no-such").expect_error(404)
    stack.admin("GET", f"/tenants/{user}").expect_error(404)
    assert audit(stack, user, "terminal_opened_by_admin") == []


@pytest.mark.parametrize("body, status", [({}, 422), ({"user_id": 7}, 422), ({"user_id": "x", "policy": "y"}, 422),
                                          ({"user_id": "x", "policy_id": "../y"}, 400), ({"user_id": ""}, (400, 422))])
def test_a_bad_request_for_a_terminal_is_refused(stack, body, status):
    stack.admin("POST", "/terminals/open", json_body=body).expect_error(status)


# --- the audit log as a file

def test_the_audit_log_is_exported_as_csv(stack):
    """With a user whose id a spreadsheet would calculate."""
    user = '=cmd|"/c calc", x'
    stack.admin("POST", "/tenants", headers=[("X-User-Id", user)]).expect(200)
    stack.admin("DELETE", f"/tenants/{urllib.parse.quote(user, safe='')}").expect(200)
    query = urllib.parse.urlencode({"user_id": user, "limit": 1000})
    rows = stack.admin("GET", f"/audit-logs?{query}").expect(200).json()
    answer = stack.admin("GET", f"/audit-logs?{query}&format=csv").expect(200)
    assert answer.header("content-type") == "text/csv; charset=utf-8"
    assert answer.header("content-disposition") == 'attachment; filename="audit-log.csv"'
    assert answer.header("x-total-count") == str(len(rows)) == "3"
    assert answer.text.count("\r\n") == 4
    table = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["user_id"] for row in table] == ["'" + user] * 3
    assert [{**row, "user_id": user} for row in table] == [
        {name: "" if value is None else str(value) for name, value in row.items()} for row in rows]
    stack.admin("GET", "/audit-logs?format=xml").expect_error(422)
