"""Until when instances run: max_lifetime_minutes with its warning in open shells, pre_stop before any stop, and what the API
says of both."""
import concurrent.futures
import datetime
import os
import signal
import sqlite3
import time

import pytest
from stack import SLOW, Stack, eventually

CONTEXT = [("X-Terminal-Context-Id", "chat:1")]


def set_policy(stack, **data):
    stack.admin("PUT", "/policies/default", json_body={"data": data}).expect(200)


def audit(stack, action):
    return stack.admin("GET", f"/audit-logs?action={action}").expect(200).json()


def age(stack, user, seconds):
    """Makes a user's instance that much older, as its provisioner's successor sees it."""
    with stack.stopped("terminals"):
        os.kill(stack.one("terminals-provisioner"), signal.SIGKILL)
        eventually(lambda: not stack.process("terminals-provisioner"))
        with sqlite3.connect(stack.folder / "terminals.db") as database:
            database.execute("UPDATE tenants SET started_at = ? WHERE user_id = ?",
                             [int((time.time() - seconds) * 1000), user])
        database.close()
    eventually(lambda: stack.admin("GET", "/status").status == 200, 20)


def seconds_until(text):
    moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (moment - datetime.datetime.now(datetime.timezone.utc)).total_seconds()


@pytest.mark.parametrize("sandbox", ["bwrap", "none"])
def test_a_shell_is_warned_and_then_its_instance_ends_although_it_is_in_use(sandbox):
    with Stack(local_sandbox=sandbox) as stack:
        set_policy(stack, max_lifetime_minutes=1)
        shell = stack.shell("ann")
        other = stack.shell("bob")
        stack.execute("ann", "sleep 1000", wait=0).expect(200)  # has a terminal too, and is no shell
        age(stack, "ann", 29)
        assert b"ends in" in shell.read_until(b"Files in the home folder stay. ***", 15 * SLOW)
        row = stack.tenant("ann")
        assert 0 < seconds_until(row["stops_at"]) <= 31 and row["started_at"] < row["stops_at"]
        background = stack.request("ann", "GET", "/execute").expect(200).json()
        status = stack.request("ann", "GET", f"/execute/{background[0]['id']}/status").expect(200).json()
        assert status["output"] == [], "the warning is for shells"
        shell.send(b"while sleep 0.1; do echo busy; done\n")
        age(stack, "ann", 61)
        shell.wait_closed(10 * SLOW)
        eventually(lambda: stack.tenant("ann")["status"] == "stopped", 10)
        assert stack.tenant("ann")["started_at"] is None and stack.tenant("ann")["stops_at"] is None
        assert [row["user_id"] for row in audit(stack, "lifetime_cleanup")] == ["ann"]
        other.send(b"echo still-$((1+1))\n")
        assert b"***" not in other.read_until(b"still-2")
        assert stack.run("ann", "echo again") == "again\n"


def test_the_api_says_why_an_instance_runs_and_until_when():
    with Stack(idle_timeout_seconds=120) as stack:
        stack.run("ann", "true")
        row = eventually(lambda: next((row for row in [stack.tenant("ann")] if row["kept_alive_by"] is None), None))
        assert 110 < seconds_until(row["stops_at"]) <= 120
        assert row["last_active_at"] == row["last_accessed_at"] and row["idle_timeout_minutes"] == 2
        assert stack.tenants()[0]["stops_at"] is not None
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            hot = pool.submit(stack.run, "ann", "while [ ! -e go ]; do sleep 0.05; done")
            row = eventually(lambda: next((row for row in [stack.tenant("ann")] if row["kept_alive_by"]), None))
            assert (row["kept_alive_by"], row["stops_at"]) == ("requests", None)
            set_policy(stack, max_lifetime_minutes=3, idle_timeout_minutes=0)
            assert 110 < seconds_until(stack.tenant("ann")["stops_at"]) <= 180
            (stack.home("ann") / "go").touch()
            hot.result(20 * SLOW)
        row = eventually(lambda: next((row for row in [stack.tenant("ann")] if row["kept_alive_by"] == "policy"), None))
        assert 110 < seconds_until(row["stops_at"]) <= 180
        stack.admin("POST", "/tenants/ann/stop").expect(200)
        row = stack.tenant("ann")
        assert row["kept_alive_by"] is row["stops_at"] is row["started_at"] is None


def test_pre_stop_runs_once_before_every_kind_of_stop():
    with Stack(idle_timeout_seconds=1, max_instances_per_user=1) as stack:
        set_policy(stack, pre_stop={"command": "echo $((6*7)) >> ~/stops", "timeout_seconds": 20})
        stops = 0

        def has_run(how, home=stack.home("ann")):
            nonlocal stops
            stops += 1
            assert (home / "stops").read_text() == "42\n" * stops, how
            assert stack.tenant("ann")["status"] == "stopped"

        def start():
            stack.run("ann", "true")

        start()
        stack.admin("POST", "/tenants/ann/stop").expect(200)
        has_run("an administrator's stop")
        start()
        stack.admin("POST", "/terminals/stop", json_body={"user_id": "ann"}).expect(200)
        has_run("the stop of a terminal")
        start()
        stack.admin("POST", "/terminals/refresh", json_body={"user_id": "ann", "only_idle": False}).expect(200)
        has_run("a refresh")
        start()
        eventually(lambda: stack.terminals("reap").returncode == 0 and stack.tenant("ann")["status"] == "stopped", 20)
        has_run("an idle cleanup")
        start()
        stack.run("ann", "true", headers=CONTEXT)
        has_run("making room")
        stack.admin("POST", "/tenants/ann/stop?context_id=chat:1").expect(200)
        set_policy(stack, max_lifetime_minutes=1, pre_stop={"command": "echo $((6*7)) >> ~/stops"})
        start()
        age(stack, "ann", 61)
        eventually(lambda: stack.tenant("ann")["status"] == "stopped", 20)
        has_run("the end of its lifetime")
        rows = [row for row in audit(stack, "pre_stop") if row["user_id"] == "ann"]
        assert len(rows) == stops + 1 and all(row["detail"].startswith("exit status 0 after") for row in rows)
        start()
        stack.admin("DELETE", "/tenants/ann").expect(200)
        assert (stack.home("ann") / "stops").read_text() == "42\n" * (stops + 1)
        start()
        os.kill(stack.serve_pid, signal.SIGINT)
        stack.wait_exit()
        assert (stack.home("ann") / "stops").read_text() == "42\n" * (stops + 2)


def test_a_pre_stop_that_hangs_or_fails_prevents_no_stop_and_delays_nobody_else():
    with Stack() as stack:
        set_policy(stack, pre_stop={"command": "if [ -e fail ]; then exit 3; fi; sleep 1000", "timeout_seconds": 2})
        stack.run("ann", "true")
        stack.run("bob", "touch fail")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            hanging = pool.submit(stack.admin, "POST", "/tenants/ann/stop")
            eventually(lambda: stack.tenant("ann")["status"] == "stopping")
            stack.admin("POST", "/tenants/bob/stop").expect(200)
            assert stack.run("carl", "echo quick") == "quick\n"
            assert stack.tenant("ann")["status"] == "stopping" and stack.tenant("bob")["status"] == "stopped"
            # A request that comes meanwhile waits for the stop, and has a fresh instance.
            assert stack.run("ann", "echo fresh") == "fresh\n"
            hanging.result(20 * SLOW).expect(200)
        assert not stack.commands("sleep 1000")
        details = {row["user_id"]: (row["severity"], row["detail"]) for row in audit(stack, "pre_stop")}
        assert details["ann"][0] == details["bob"][0] == "warning"
        assert "not done after" in details["ann"][1] and "exit status 3" in details["bob"][1]


def test_a_provisioner_killed_during_pre_stop_has_a_successor_that_stops_without_a_second_run():
    with Stack() as stack:
        set_policy(stack, pre_stop={"command": "echo run >> ~/stops; sleep 1000", "timeout_seconds": 60})
        stack.run("ann", "true")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            stopping = pool.submit(stack.admin, "POST", "/tenants/ann/stop")
            eventually(lambda: (stack.home("ann") / "stops").exists())
            os.kill(stack.one("terminals-provisioner"), signal.SIGKILL)
            stopping.result(20 * SLOW)
        eventually(lambda: stack.tenant("ann")["status"] == "stopped", 20)
        assert (stack.home("ann") / "stops").read_text() == "run\n"
        assert not stack.commands("sleep 1000")


@pytest.mark.parametrize(("data", "named"), [
    ({"max_lifetime_minutes": 0}, "`max_lifetime_minutes`"), ({"max_lifetime_minutes": "5"}, "`max_lifetime_minutes`"),
    ({"pre_stop": "true"}, "`pre_stop`"), ({"pre_stop": {}}, "`pre_stop.command`"),
    ({"pre_stop": {"command": ""}}, "`pre_stop.command`"), ({"pre_stop": {"command": "a\0b"}}, "`pre_stop.command`"),
    ({"pre_stop": {"command": "x" * 8193}}, "`pre_stop.command`"),
    ({"pre_stop": {"command": "x", "timeout_seconds": 61}}, "`pre_stop.timeout_seconds`"),
    ({"pre_stop": {"command": "x", "shell": "zsh"}}, "`pre_stop.shell`")])
def test_a_mistake_is_named(data, named, mistaken):
    assert named in mistaken.admin("PUT", "/policies/default", json_body={"data": data}).expect_error(400).detail


@pytest.fixture(scope="module")
def mistaken():
    with Stack() as running:
        yield running
