"""The database itself: its versions, where its password may be seen, and what happens while it is away."""
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from postgres_server import PostgresServer
from stack import BIN, eventually, psql



@pytest.fixture(scope="module")
def server():
    """A PostgreSQL that a test may stop, restart and freeze."""
    with PostgresServer() as running:
        yield running


_names = iter(range(1, 1 << 30))


@pytest.fixture
def database(server):
    """The URL of a new database there."""
    name = f"d{next(_names)}"
    server.sql(f"CREATE DATABASE {name}")
    return server.url(name)


@pytest.fixture(params=["sqlite", "postgres"])
def either(request, fresh):
    """Makes stacks that are not started, all with one database."""
    settings = {"local_sandbox": "none"}
    if request.param == "postgres":
        settings["database_url"] = request.getfixturevalue("database")
    stack = fresh(start=False, **settings)
    stack.folder.chmod(0o755)
    if request.param == "sqlite":
        stack.query = stack.sql
    else:
        stack.query = lambda text: psql(stack.settings["database_url"], text)
    return stack


# --- versions --------------------------------------------------------------------------------------------------------


def db(stack, *arguments):
    done = stack.terminals("db", *arguments)
    assert done.returncode == 0, done
    return done.stdout


def test_a_database_is_brought_to_its_version_and_says_which(either):
    newest = db(either, "current").strip().partition(" newest=")[2]
    assert int(newest) >= 4
    assert db(either, "current") == f"version=0 newest={newest}\n"
    assert "done" not in db(either, "history") and "to do" in db(either, "history")
    assert db(either, "upgrade") == f"version={newest} newest={newest}\n"
    assert db(either, "upgrade") == f"version={newest} newest={newest}\n"
    assert "to do" not in db(either, "history") and f"{int(newest):03d}_" in db(either, "history")
    either.start()
    assert either.run("alice", "echo hello") == "hello\n"


def test_a_newer_database_is_refused_and_left_alone(either):
    db(either, "upgrade")
    either.query("INSERT INTO schema_migrations VALUES (999, '999_future')")
    for arguments in (("db", "upgrade"), ("serve",)):
        done = either.terminals(*arguments)
        assert done.returncode != 0 and "version 999" in done.stderr + done.stdout, done
    assert either.query("SELECT count(*) FROM tenants") == [("0",)]
    assert "by a newer program" in db(either, "history")


def test_a_stamp_changes_the_version_and_nothing_else(either):
    db(either, "upgrade")
    newest = db(either, "current").strip().partition(" newest=")[2]
    assert db(either, "stamp", "0") == f"version=0 newest={newest}\n"
    failed = either.terminals("db", "upgrade")  # what there is cannot be made once more
    assert failed.returncode != 0 and "exists" in failed.stderr, failed
    assert db(either, "stamp", newest) == f"version={newest} newest={newest}\n"
    for wrong in ("77", "x", "-1", ""):
        assert either.terminals("db", "stamp", wrong).returncode != 0
    either.start()


def test_a_revision_is_a_file_for_each_kind_of_database(fresh):
    stack = fresh(start=False)
    for kind in ("sqlite", "postgres"):
        (stack.folder / "sql" / kind).mkdir(parents=True)
    (stack.folder / "sql/sqlite/007_last.sql").touch()
    made = db(stack, "revision", "-m", "Add quotas, per user")
    assert made.splitlines() == ["./sql/sqlite/008_add_quotas_per_user.sql", "./sql/postgres/008_add_quotas_per_user.sql"]
    assert (stack.folder / "sql/postgres/008_add_quotas_per_user.sql").read_text() == "-- Add quotas, per user\n"
    assert stack.terminals("db", "revision", "-m", "!").returncode != 0
    assert stack.terminals("db", "revision", "-m", "a\nDROP TABLE b").returncode != 0


def test_nodes_that_start_at_once_migrate_once(database, fresh):
    stacks = [fresh(start=False, database_url=database, encryption_key="of-all-nodes") for _ in range(4)]
    outcomes = []
    threads = [threading.Thread(target=lambda one=one: outcomes.append(one.terminals("db", "upgrade"))) for one in stacks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [done.returncode for done in outcomes] == [0] * 4, outcomes
    assert psql(database, "SELECT count(*) FROM policies") == [("1",)]


# --- the password ----------------------------------------------------------------------------------------------------


def everything_said(stack):
    """Logs and command lines of all that runs."""
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes().decode() for pid in stack.processes()]
    return stack.out_path.read_text() + stack.err() + "\n".join(lines)


@pytest.mark.parametrize("way", ["url", "setting", "file", "libpq"])
def test_the_password_of_the_database_is_seen_nowhere(way, server, database, fresh, tmp_path):
    secret = "pass-word-of-the-database"
    url = database.replace("postgres@", f"postgres:{secret}@") if way == "url" else database
    settings = {"database_url": url, "log_level": "DEBUG"}
    if way == "setting":
        settings["database_password"] = secret
    if way == "file":
        (tmp_path / "password").write_text(secret + "\n")
        settings["database_password_file"] = tmp_path / "password"
    stack = fresh(environment={"PGPASSWORD": secret} if way == "libpq" else {}, **settings)
    stack.run("alice", "true")
    for name in ("terminals-api", "terminals-gate", "haproxy"):
        for pid in stack.process(name):
            assert secret.encode() not in Path(f"/proc/{pid}/environ").read_bytes(), name
    for pid in stack.instances():
        assert secret.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
    assert secret not in stack.admin("GET", "/config").expect(200).text
    assert secret not in everything_said(stack)
    stack.stop()
    for mistake in ("&dbname=unknown", "&nonsense=1", "%zz"):
        stack.settings["database_url"] = url + mistake
        done = stack.terminals("db", "current")
        assert done.returncode != 0 and "database" in done.stderr.lower(), done
        assert secret not in done.stdout + done.stderr, done


# --- away ------------------------------------------------------------------------------------------------------------


def audit_of(stack, action):
    return [row["user_id"] or row["ip_address"] for row in stack.admin("GET", f"/audit-logs?action={action}&limit=1000").expect(200).json()]


def expect_later(stack, user):
    answer = stack.request(user, "POST", "/terminals/execute?wait=5", {"command": "true"}).expect_error(503)
    assert int(answer.header("retry-after")) > 0, answer.headers
    # Where the database is, and what it said, is for the log.
    assert answer.detail == "The database is not available" and "database `" in stack.err()


def test_while_postgresql_is_away_hot_requests_go_on_and_nothing_is_lost(server, database, fresh):
    stack = fresh(database_url=database, local_sandbox="none", idle_timeout_seconds=0)
    stack.run("alice", "echo mine > ~/file")
    stack.wait_hot("alice")
    server.stop()
    try:
        for _ in range(20):
            assert stack.run("alice", "cat ~/file") == "mine\n"
        for user in ("bob", "carol"):
            expect_later(stack, user)
        stack.request("mallory", "GET", "/files/list", key="wrong-key").expect_error(401)
        backlog = stack.folder / "run/audit.backlog"
        eventually(lambda: backlog.exists() and "auth_failed" in backlog.read_text(), 15, what="the row on disk")
        # Killed meanwhile, the provisioner is started again and waits for the database, too.
        os.kill(stack.one("terminals-provisioner"), signal.SIGKILL)
        assert stack.run("alice", "cat ~/file") == "mine\n"
    finally:
        server.start()
    eventually(lambda: stack.run("bob", "echo served") == "served\n", 20, what="a cold start again")
    assert stack.run("alice", "cat ~/file") == "mine\n"
    eventually(lambda: audit_of(stack, "auth_failed"), 10, what="the row in the database")
    assert not backlog.exists()
    assert sorted(audit_of(stack, "tenant_created")) == ["alice", "bob"]
    assert len(stack.instances()) == 2


def test_a_postgresql_that_is_restarted_is_found_again_by_whoever_asks(server, database, fresh):
    stack = fresh(database_url=database, local_sandbox="none")
    stack.run("alice", "true")
    for how in (signal.SIGINT, signal.SIGQUIT):
        server.stop(how)
        server.start()
        stack.admin("POST", "/tenants/alice/stop").expect(200)
        assert stack.run("alice", "echo there") == "there\n"


def test_a_postgresql_that_says_nothing_keeps_nobody_hot_waiting(server, database, fresh):
    stack = fresh(database_url=database, local_sandbox="none")
    stack.run("alice", "true")
    stack.wait_hot("alice")
    server.pause()
    try:
        expect_later(stack, "bob")  # the one that finds out
        expect_later(stack, "carol")
        assert stack.run("alice", "echo hot") == "hot\n"
    finally:
        server.resume()
    eventually(lambda: stack.run("bob", "echo served") == "served\n", 20, what="a cold start again")


def test_a_second_provisioner_is_kept_out_of_the_database(database, fresh):
    first = fresh(database_url=database, encryption_key="of-both", local_sandbox="none")
    first.run("alice", "true")
    second = fresh(start=False, database_url=database, encryption_key="of-both", local_sandbox="none")
    second.launch()
    eventually(lambda: "another provisioner uses it, and only one can at a time" in second.err(), 10, what="the refusal")
    # It is there to take over, as soon as the first one is gone.
    first.stop()
    eventually(lambda: second.request(None, "GET", "/health", key=None).expect(200), 20, what="the second one's turn")
    assert second.run("bob", "echo served") == "served\n"


def test_a_locked_sqlite_is_503_and_heals(fresh):
    stack = fresh(local_sandbox="none")
    stack.run("alice", "true")
    stack.wait_hot("alice")
    with subprocess.Popen(["sqlite3", stack.folder / "terminals.db"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as other:
        other.stdin.write("BEGIN EXCLUSIVE; SELECT 'locked';\n")
        other.stdin.flush()
        assert other.stdout.readline() == "locked\n"
        expect_later(stack, "bob")
        assert stack.run("alice", "echo hot") == "hot\n"
    assert stack.run("bob", "echo served") == "served\n"


def test_what_an_instance_said_last_is_a_text_for_any_database(database, fresh, tmp_path):
    """PostgreSQL takes none that is not UTF-8, and an instance that does not start may have written any bytes."""
    program = tmp_path / "open-terminal"
    words = "\\033]0;\\377 last" + "\\303\\244" * 120  # cut in the middle of a character
    program.write_text(f"#!/bin/sh\n[ -e {tmp_path}/good ] && exec {BIN}/open-terminal \"$@\"\nprintf '{words}' >&2\nexit 3\n")
    program.chmod(0o755)
    stack = fresh(database_url=database, local_sandbox="none", local_binary=program)
    detail = stack.request("mallory", "GET", "/files/list").expect_error(502).detail
    assert "last\u00e4" in detail and "\x1b" not in detail and "\ufffd" not in detail, detail
    assert "exit status 3" in stack.tenant("mallory")["error"]
    assert psql(database, "SELECT status FROM tenants") == [("error",)]
    (tmp_path / "good").touch()
    assert stack.run("mallory", "echo served") == "served\n"
