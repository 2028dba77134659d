"""Logs that one can follow: a request's id is in the line of every process that touched it, in both formats."""
import json
import os
import re
import signal
from pathlib import Path

import pytest

from stack import eventually

LINE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z (DEBUG|INFO|WARNING|ERROR) +(\w+): .+$")


def processes_that_say(stack, request_id):
    """The names of the processes whose lines hold this id."""
    found = set()
    for line in stack.err().splitlines():
        if request_id not in line:
            continue
        if stack.settings["log_format"] == "json":
            entry = json.loads(line)
            assert entry["request_id"] == request_id, line
            found.add(entry["process"])
        else:
            assert line.endswith(f" request={request_id}"), line
            found.add(LINE.match(line).group(2))
    return found


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_request_is_followed_through_all_processes(fresh, log_format):
    stack = fresh(access_log=True, log_format=log_format)

    def ask(request_id, wanted, user="ann", **rest):
        answer = stack.request(user, "GET", "/files/list?token=not-in-a-log", headers=[("X-Request-Id", request_id)], **rest)
        assert answer.header("x-request-id") == request_id
        eventually(lambda: processes_that_say(stack, request_id) == wanted, 10,
                   what=f"{request_id} in the lines of {wanted}, and not of {processes_that_say(stack, request_id)} alone")
        return answer

    ask("the-cold-one", {"haproxy", "gate", "api", "provisioner"}).expect(200)
    stack.wait_hot("ann")
    ask("the-hot-one", {"haproxy"}).expect(200)
    workers = stack.process("haproxy")[1:]
    ask("the-refused-one", {"haproxy", "gate", "api"}, key="wrong").expect_error(401)
    os.kill(stack.serve_pid, signal.SIGHUP)  # reloads HAProxy
    eventually(lambda: len(stack.process("haproxy")) > 1 and stack.process("haproxy")[1:] != workers, 10, what="a new worker")
    eventually(lambda: len(stack.process("haproxy")) == 2, 10, what="the end of the old one")
    stack.wait_hot("ann")
    ask("after-a-reload", {"haproxy"}).expect(200)
    assert "not-in-a-log" not in stack.err()


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_start_that_fails_is_followed_to_its_cause(fresh, log_format):
    stack = fresh(access_log=True, log_format=log_format, local_binary="/bin/false", start_timeout_seconds=20)
    stack.request("ann", "GET", "/x", headers=[("X-Request-Id", "the-failed-one")]).expect((502, 504))
    eventually(lambda: processes_that_say(stack, "the-failed-one") == {"haproxy", "gate", "api", "provisioner"}, 10,
               what="the id in all logs")
    line = next(line for line in stack.err().splitlines() if "the-failed-one" in line and "start instance" in line)
    assert "ERROR" in line


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_call_of_the_admin_api_is_followed(fresh, log_format):
    stack = fresh(access_log=True, log_format=log_format)
    stack.admin("POST", "/tenants/", headers=[("X-User-Id", "ann"), ("X-Request-Id", "the-admins")]).expect(200)
    eventually(lambda: processes_that_say(stack, "the-admins") == {"haproxy", "api", "provisioner"}, 10, what="the id in all logs")


def test_every_line_is_one_event_in_the_format_asked_for(fresh):
    for log_format in ("text", "json"):
        stack = fresh(access_log=True, log_format=log_format)
        stack.run("a\u00fc\"\\{}", "true")
        stack.request("ann", "GET", "/x", key="wrong")
        lines = [line for line in stack.err().splitlines() if line]
        for line in lines:
            if log_format == "json":
                assert {"time", "level", "process", "message"} <= json.loads(line).keys(), line
            else:
                assert LINE.match(line), line
        assert len(lines) > 5


def test_what_a_local_instance_wrote_first_can_be_read_while_it_runs(fresh):
    """docs/logs.md: it is in memory, and bounded, so that no tenant fills a disk or our log with it."""
    stack = fresh()
    data = {"env": {"OPEN_TERMINAL_ACCESS_LOG": "true"}}
    stack.admin("PUT", "/policies/default", json_body={"data": data}).expect(200)
    stack.run("ann", "true")
    output = Path(f"/proc/{stack.instance_pid('ann')}/fd/2")
    eventually(lambda: b" answered 200" in output.read_bytes(), 10, what="a line of a request")
    assert len(output.read_bytes()) == 4096
