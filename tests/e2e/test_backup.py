"""`terminals backup` and `restore`: after the loss of everything but a file, every user finds tenants and files again."""
import contextlib
import os
import shutil
import signal
import subprocess
import tarfile
import threading

import pytest

from postgres_server import PostgresServer
from stack import SLOW, Stack, eventually, psql

USERS = [f"user{number}" for number in range(3)]


@pytest.fixture(scope="module")
def server():
    with PostgresServer() as running:
        yield running


_names = iter(range(1, 1 << 30))


@pytest.fixture
def place(fresh):
    """Makes stacks that are not started, each with a new database."""
    return lambda **settings: fresh(start=False, **{"local_sandbox": "none", **settings})


@pytest.fixture(params=["sqlite", "postgres"])
def either_place(request, place):
    """The same of either kind of database."""
    def make():
        if request.param == "sqlite":
            return place()
        server = request.getfixturevalue("server")
        name = f"b{next(_names)}"
        server.sql(f"CREATE DATABASE {name}")
        stack = place(database_url=server.url(name))
        stack.sql = lambda text: psql(stack.settings["database_url"], text)
        return stack

    return make


def backup(stack, *arguments):
    done = stack.terminals("backup", *map(str, arguments))
    assert done.returncode == 0, done
    return stack.folder / done.stdout.splitlines()[0]


def restore(stack, file, *arguments, status=0):
    done = stack.terminals("restore", str(file), *arguments)
    assert done.returncode == status, done
    return done.stdout + done.stderr


def fill(stack):
    """Users with files of all kinds, a policy, a context, an audit log."""
    stack.admin("POST", "/policies", json_body={"id": "dev", "data": {"env": {"EDITOR": "vim"}}}).expect((200, 201))
    for user in USERS:
        stack.run(user, f"echo {user} > notes; mkdir -p deep/er; chmod 700 deep; echo '#!/bin/sh' > run; chmod 755 run; "
                        "ln -s notes link; ln notes same; ln -s /etc/passwd away; "
                        "printf x > $(printf 'na\\377me'); touch -d 2020-02-02T02:02:02Z old; truncate -s 40M holes")
    stack.run(USERS[0], "echo other > notes", prefix="/p/dev")
    stack.run(USERS[0], "echo chat > notes", headers=[("X-Terminal-Context-Id", "chat:1")])


def check(stack):
    """That all of it is there, in a stack that runs."""
    for user in USERS:
        assert stack.run(user, "cat notes same link; stat -c '%a %h' run notes; readlink away; stat -c %Y old; ls | wc -l; "
                               "stat -c %s holes; [ $(stat -c %b holes) -lt 100 ] && echo sparse") == \
            f"{user}\n" * 3 + "755 1\n644 2\n/etc/passwd\n1580608922\n9\n41943040\nsparse\n"
        assert stack.run(user, "cat $(printf 'na\\377me')") == "x"
    assert stack.run(USERS[0], "cat notes", prefix="/p/dev") == "other\n"
    assert stack.run(USERS[0], "cat notes", headers=[("X-Terminal-Context-Id", "chat:1")]) == "chat\n"
    assert stack.admin("GET", "/policies/dev").json()["data"]["env"] == {"EDITOR": "vim"}
    created = stack.admin("GET", "/audit-logs?action=tenant_created&limit=100").json()
    assert {row["user_id"] for row in created} == set(USERS)


def identity(stack):
    """What must be the same before and after: ids of tenants and audit rows."""
    return (stack.sql("SELECT id, user_id, policy_id, context_id, created_at FROM tenants ORDER BY id"),
            stack.sql("SELECT sequence, id, action FROM audit_logs WHERE action = 'tenant_created' ORDER BY sequence"))


def test_all_is_there_again_in_a_fresh_place(either_place):
    stack = either_place().start()
    fill(stack)
    file = backup(stack, "all.tar", "--with-keys")
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in stack.folder.iterdir() if path.name.startswith(".terminals")] == []
    other = either_place()
    assert "is whole" in restore(other, file, "--verify")
    restore(other, file)
    assert identity(other) == identity(stack)
    stack.stop()
    other.start()
    check(other)
    newest = int(other.sql("SELECT max(sequence) FROM audit_logs")[0][0])
    assert newest > int(stack.sql("SELECT max(sequence) FROM audit_logs")[0][0]), "the audit log's numbers begin anew"


def test_the_way_from_one_machine_to_several(fresh, server):
    """A backup of SQLite goes into PostgreSQL, and back."""
    one = fresh(local_sandbox="none", start=False, database_url=None)
    one.settings["database_url"] = f"sqlite:///{one.folder}/terminals.db"
    one.start()
    fill(one)
    file = backup(one, one.folder / "one.tar", "--with-keys")
    server.sql("CREATE DATABASE several")
    several = fresh(start=False, local_sandbox="none", database_url=server.url("several"))
    several.sql = lambda text: psql(several.settings["database_url"], text)
    restore(several, file)
    assert identity(several) == identity(one)
    several.start()
    check(several)
    back = fresh(start=False, local_sandbox="none", database_url=None)
    back.settings["database_url"] = f"sqlite:///{back.folder}/terminals.db"
    restore(back, backup(several, several.folder / "several.tar", "--with-keys"))
    several.stop()
    back.start()
    check(back)


def test_under_load_what_was_there_before_is_in_the_backup(place):
    stack = place(start_concurrency=8).start()
    fill(stack)
    stop, problems = threading.Event(), []

    def work(user):
        number = 0
        while not stop.is_set():
            number += 1
            with contextlib.suppress(OSError):
                answer = stack.execute(user, f"mkdir -p w; echo {number} > w/{number}; rm -f w/{number - 3}; date >> log")
                if answer.status != 200:
                    problems.append(answer.text)

    workers = [threading.Thread(target=work, args=(user,)) for user in [*USERS, "late1", "late2"]]
    for worker in workers:
        worker.start()
    file = backup(stack, stack.folder / "busy.tar", "--with-keys")
    stop.set()
    for worker in workers:
        worker.join()
    assert not problems, problems[:3]
    other = place()
    restore(other, file)
    other.start()
    for user in USERS:
        assert other.run(user, "cat notes same") == f"{user}\n" * 2
        assert other.tenant(user)["id"] == stack.tenant(user)["id"]


def test_keys_are_inside_only_when_asked_for(place):
    stack = place(api_key=None)
    stack.settings["database_url"] = f"sqlite:///{stack.folder}/data/terminals.db"
    stack.start()
    files = {name: path for name in ("api.key", "encryption.key") for path in stack.folder.rglob(name)}
    assert set(files) == {"api.key", "encryption.key"}
    with_keys, without = backup(stack, "with.tar", "--with-keys"), backup(stack, "without.tar")
    for path in files.values():
        secret = path.read_text().strip().encode()
        assert secret in with_keys.read_bytes() and secret not in without.read_bytes()
    stack.key = files["api.key"].read_text().strip()
    stack.run("alice", "true")
    later = backup(stack, "later.tar")
    other = place()
    restore(other, later)
    assert other.launch().wait_exit(30) != 0
    assert "encryption key" in other.log() or "TERMINALS_ENCRYPTION_KEY" in other.log()


def test_a_backup_that_is_cut_off_or_changed_is_refused_and_nothing_happens(place):
    stack = place().start()
    fill(stack)
    file = backup(stack, stack.folder / "all.tar")
    stack.stop()
    content = bytearray(file.read_bytes())
    for name, bad in (("cut", content[:-1000]), ("empty", b""), ("half", content[:len(content) // 2]),
                      ("flipped", content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])):
        other = place()
        (other.folder / "bad.tar").write_bytes(bad)
        assert "bad.tar" in restore(other, "bad.tar", status=1), name
        assert sorted(path.name for path in other.folder.iterdir()) == ["bad.tar"], name
    with tarfile.open(file) as archive:  # and any tar can look into it
        assert f"homes/{USERS[0]}/notes" in archive.getnames()


def test_what_runs_or_is_not_empty_is_left_alone_unless_forced(place):
    stack = place().start()
    fill(stack)
    file = backup(stack, stack.folder / "all.tar", "--with-keys")
    other = place().start()
    other.run("somebody", "echo else > notes")
    assert "stop it first" in restore(other, file, status=1)
    other.stop()
    assert "somebody" in restore(other, file, status=1)
    before = identity(other)
    shutil.move(other.folder / "homes", other.folder / "elsewhere")
    assert "1 tenants" in restore(other, file, status=1)
    assert identity(other) == before
    shutil.rmtree(other.folder / "homes", ignore_errors=True)
    shutil.move(other.folder / "elsewhere", other.folder / "homes")
    restore(other, file, "--force")
    stack.stop()
    kept = next((other.folder / "homes").glob(".replaced-*"))
    assert (kept / "somebody/notes").read_text() == "else\n"
    assert "somebody" in (kept / "database.jsonl").read_text()
    assert (kept / "encryption.key").exists()
    other.start()
    check(other)
    assert "replaced" in other.terminals("gc", "--dry-run").stdout
    assert other.admin("GET", "/tenants/somebody").status == 404


def test_a_restore_that_is_killed_leaves_the_old_state_or_the_new_one(place):
    """Killed after every system call that could be the last: tar's, the database's, each rename."""
    stack = place().start()
    for user in USERS[:2]:
        stack.run(user, f"echo {user} > notes")
    file = backup(stack, stack.folder / "all.tar", "--with-keys")
    stack.stop()
    outcomes = set()
    for number in range(6):
        other = place()
        process = subprocess.Popen(other.command("restore", str(file)), cwd=other.folder, env=other.environment(),
                                   start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.03 * number * SLOW)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        other.start()
        tenants = {tenant["user_id"] for tenant in other.tenants()}
        homes = {path.name for path in (other.folder / "homes").iterdir() if not path.name.startswith(".")}
        assert (tenants, homes) in ((set(), set()), (set(USERS[:2]), set(USERS[:2]))), (number, tenants, homes)
        outcomes.add(bool(tenants))
        for user in tenants:
            assert other.run(user, "cat notes") == f"{user}\n"
        other.stop()
        if not tenants:  # and a second try succeeds, whatever the first has left
            restore(other, file)
            assert {row[1] for row in identity(other)[0]} == set(USERS[:2])
        other.remove()
    assert outcomes, "nothing was tried"


def test_what_was_moved_half_is_finished_by_the_next_start(fresh):
    stack = fresh(local_sandbox="none")
    for user in USERS[:2]:
        stack.run(user, f"echo {user} > notes")
    file = backup(stack, stack.folder / "all.tar", "--with-keys")
    stack.stop()
    other = fresh(start=False, local_sandbox="none")
    restore(other, file)
    # As if it had been killed after the database's commit and the first rename.
    homes = other.folder / "homes"
    (homes / ".restore/homes").mkdir(parents=True)
    shutil.move(homes / USERS[1], homes / ".restore/homes")
    (homes / ".restore/emptied").touch()
    restore_id = other.sql("SELECT CAST(value AS TEXT) FROM properties WHERE name = 'restore_id'")[0][0]
    (homes / ".restore/journal").write_text(f"{restore_id} 20260101T000000Z\n")
    other.start()
    for user in USERS[:2]:
        assert other.run(user, "cat notes") == f"{user}\n"
    assert not (homes / ".restore").exists()


def test_what_users_do_to_their_files_does_not_stop_a_backup(fresh):
    """Unreadable, strange, endless, and links put in the way."""
    stack = Stack(user=1999, local_sandbox="none")
    with stack:
        stack.run("alice", "echo secret > shut; chmod 000 shut; mkdir locked; chmod 000 locked; mkfifo pipe; "
                           "ln -s / root; ln -s /proc proc; echo mine > notes")
        stack.run("bob", "echo fine > notes")
        file = backup(stack, stack.folder / "all.tar")
        with tarfile.open(file) as archive:
            names = archive.getnames()
            assert {"homes/alice/notes", "homes/bob/notes", "homes/alice/pipe"} <= set(names)
            assert archive.getmember("homes/alice/root").issym()
            assert not [name for name in names if "/proc/" in name or "/root/" in name]


def test_into_a_folder_it_takes_the_time_as_its_name_and_never_overwrites(stack):
    folder = stack.folder / "backups"
    folder.mkdir()
    file = backup(stack, folder, "--no-folders")
    assert file.parent == folder and file.name.startswith("terminals-20")
    assert "is there already" in stack.terminals("backup", str(file)).stderr
    with tarfile.open(file) as archive:
        assert archive.getnames() == ["database.jsonl"]
    assert stack.terminals("backup").returncode == 2
    assert stack.terminals("restore", "--verify").returncode == 2
    assert "No such file" in stack.terminals("backup", "/nowhere/at/all.tar").stderr
    eventually(lambda: list(folder.iterdir()) == [file], what="nothing but the backup")
