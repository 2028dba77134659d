"""Idle cleanup: what nobody uses is stopped, what somebody uses is not, and no file is lost."""
import contextlib
import re
import threading
import time
from pathlib import Path

import pytest
from stack import REPOSITORY, SLOW, Stack, eventually, read_response

IDLE_SECONDS = 2


def reap(stack):
    result = stack.terminals("reap")
    assert result.returncode == 0, result.stdout + result.stderr
    return result


def status(stack, user):
    return stack.tenant(user)["status"]


def reaped(stack, *users, timeout=20):
    """Reaps until all of these are stopped."""

    def check():
        reap(stack)
        return all(status(stack, user) == "stopped" for user in users)

    eventually(check, timeout, what=f"the cleanup of {users}", interval=0.2)


class Upload:
    """An upload that goes on: a few bytes now and then, until finish()."""

    def __init__(self, stack, user, directory="up"):
        self.sock = stack.connect()
        self.sent = 0
        head = (f"POST /files/upload?directory={directory} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stack.key}\r\n"
                f"X-User-Id: {user}\r\nTransfer-Encoding: chunked\r\nContent-Type: multipart/form-data; boundary=B\r\n\r\n")
        self.sock.sendall(head.encode())
        self.chunk(b'--B\r\nContent-Disposition: form-data; name="file"; filename="slow.bin"\r\n'
                   b"Content-Type: application/octet-stream\r\n\r\n")

    def chunk(self, data):
        self.sock.sendall(b"%x\r\n%s\r\n" % (len(data), data))

    def drip(self):
        self.chunk(b"x" * 10)
        self.sent += 10

    def finish(self):
        self.chunk(b"\r\n--B--\r\n")
        self.sock.sendall(b"0\r\n\r\n")
        with self.sock:
            return read_response(self.sock, "POST")


@pytest.fixture(scope="module")
def evening():
    """One evening in which users do different things for twice the idle timeout while cleanups run; afterwards only
    some of them are still there. The tests below each ask about one."""
    with Stack(idle_timeout_seconds=IDLE_SECONDS) as stack:
        stack.answers = {}
        for user in ("waiting", "polling", "uploading", "typing", "watching", "silent", "away", "refused", "looked-at"):
            stack.run(user, f"echo {user} > ~/mine.txt")
        silent = stack.shell("silent")
        typing = stack.shell("typing")
        watching = stack.shell("watching")
        watching.send(b"while sleep 0.3; do echo tick; done\n")
        uploading = Upload(stack, "uploading")
        waiting = threading.Thread(target=lambda: stack.answers.update(waiting=stack.run(
            "waiting", f"sleep {2.5 * IDLE_SECONDS}; echo awake", wait=300)))
        waiting.start()
        seen = {}
        began = time.monotonic()
        while time.monotonic() - began < 2 * IDLE_SECONDS + 1:
            typing.send(b"true\n")
            uploading.drip()
            stack.run("polling", "true")
            with contextlib.suppress(TimeoutError):
                watching.recv(0.01)
            # None of these may keep an instance alive.
            stack.request("refused", "GET", "/files/list", key="wrong").expect(401)
            stack.request("refused", "GET", "/files/list", headers=[("X-User-Id", "refused")]).expect(400)
            stack.admin("GET", "/tenants/looked-at").expect(200)
            stack.admin("GET", "/stats").expect(200)
            reap(stack)
            for tenant in stack.tenants():
                seen.setdefault(tenant["user_id"], set()).add(tenant["status"])
            time.sleep(0.1)
        stack.seen = seen
        stack.answers["upload"] = uploading.finish()
        stack.answers["upload_size"] = uploading.sent
        typing.send(b"echo $((6*7))\n")
        typing.read_until(b"42")
        waiting.join(30 * SLOW)
        stack.shells = {"silent": silent, "typing": typing, "watching": watching}
        yield stack
        for shell in stack.shells.values():
            shell.sock.close()


@pytest.mark.parametrize("user", ["waiting", "polling", "uploading", "typing", "watching"])
def test_who_uses_their_terminal_keeps_it(evening, user):
    assert evening.seen[user] == {"running"}, evening.seen


@pytest.mark.parametrize("user", ["silent", "away", "refused", "looked-at"])
def test_who_does_not_use_it_does_not(evening, user):
    if "stopped" not in evening.seen[user]:
        reaped(evening, user, timeout=10)


def test_a_running_command_is_waited_for(evening):
    assert evening.answers["waiting"] == "awake\n"


def test_an_upload_in_progress_arrives(evening):
    assert evening.answers["upload"].expect(200).json()["size"] == evening.answers["upload_size"]


def test_a_silent_shell_is_closed_with_its_instance(evening):
    reaped(evening, "silent", timeout=10)
    evening.shells["silent"].wait_closed(5 * SLOW)


def test_idleness_never_deletes_files(evening):
    reaped(evening, "away", "silent", timeout=10)
    for user in ("away", "silent"):
        assert (evening.home(user) / "mine.txt").read_text() == f"{user}\n"
        assert evening.run(user, "cat ~/mine.txt") == f"{user}\n"


def test_the_cleanup_is_in_the_audit_log(evening):
    reaped(evening, "away", timeout=10)
    rows = evening.admin("GET", "/audit-logs?action=idle_cleanup&user_id=away").expect(200).json()
    assert (rows["audit_logs"] if isinstance(rows, dict) else rows), "no idle_cleanup row"


def test_an_haproxy_that_stands_still_costs_nobody_a_running_command(fresh):
    stack = fresh(idle_timeout_seconds=1)
    answers = []
    stack.run("worker", "true")
    working = threading.Thread(target=lambda: answers.append(stack.run("worker", "touch ~/began; until [ -e ~/go ]; do sleep 0.1; done; echo done", wait=300)))
    working.start()
    eventually((stack.home("worker") / "began").exists, 10, what="the command")
    pid = stack.instance_pid("worker")
    with stack.stopped("haproxy"):
        eventually(lambda: "HAProxy does not answer" in stack.err(), 30, what="that it is noticed")
        result = stack.terminals("reap")
        assert result.returncode != 0 and "does not say who is active" in result.stderr, result.stdout + result.stderr
    (stack.home("worker") / "go").touch()
    working.join(60 * SLOW)
    assert answers == ["done\n"]
    assert stack.instance_pid("worker") == pid


def test_a_request_during_the_cleanup_is_served(fresh):
    """Requests that race the stop become cold starts, never errors."""
    stack = fresh(idle_timeout_seconds=1)
    stack.run("racer", "true")
    statuses, done = [], threading.Event()

    def cleaner():
        while not done.is_set():
            stack.terminals("reap")

    thread = threading.Thread(target=cleaner)
    thread.start()
    try:
        began = time.monotonic()
        pause = 0.9
        while time.monotonic() - began < 8:
            statuses.append(stack.execute("racer", "true").status)
            time.sleep(pause)
            pause = 0.9 + (pause - 0.9 + 0.037) % 0.4
    finally:
        done.set()
        thread.join()
    assert set(statuses) == {200}, statuses


def test_the_timer_in_serve_does_the_same(fresh, user):
    stack = fresh(idle_timeout_seconds=1, cleanup_interval_seconds=1)
    stack.run(user, "true")
    eventually(lambda: status(stack, user) == "stopped", 15, what="the timer's cleanup")
    assert stack.run(user, "echo back") == "back\n"


def test_zero_means_never(fresh, user):
    stack = fresh(idle_timeout_seconds=0, cleanup_interval_seconds=1)
    stack.run(user, "true")
    for _ in range(3):
        reap(stack)
        time.sleep(0.5)
    assert status(stack, user) == "running"


def test_reap_says_what_it_did(fresh, user):
    stack = fresh(idle_timeout_seconds=1)
    stack.run(user, "true")
    assert re.search(r"\b1\b", reap(stack).stdout), "nothing about the one instance it checked"


def test_reap_without_a_provisioner_fails_clearly(fresh):
    stack = fresh(start=False)
    result = stack.terminals("reap")
    assert result.returncode != 0
    assert "provisioner" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr


def test_the_crontab_runs_reap():
    crontab = (REPOSITORY / "scripts/crontab").read_text()
    lines = [line for line in crontab.splitlines() if line.strip() and not line.startswith("#") and "=" not in line.split()[0]]
    assert lines and all(re.match(r"^(\S+\s+){5}", line) for line in lines), crontab
    assert "idle-cleanup" in crontab or "terminals reap" in crontab
    assert Path(REPOSITORY / "scripts/idle-cleanup").exists() or "idle-cleanup" not in crontab
