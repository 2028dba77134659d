"""The database itself: its versions, where its password may be seen, and what happens while it is away."""
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from postgres_server import PostgresServer
from stack import SLOW, Stack, eventually, psql



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
