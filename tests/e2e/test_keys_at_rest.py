"""Instance keys in the database: who can read them, and what `terminals db rotate-key` does and survives."""
import os
import signal
import subprocess
import subprocess
import time

import pytest

from stack import SLOW, eventually


def boxes(stack):
    """{user: the encrypted key} of all tenants that have one."""
    return dict(stack.sql("SELECT user_id, hex(key_encrypted) FROM tenants WHERE key_encrypted IS NOT NULL",
                          "SELECT user_id, encode(key_encrypted, 'hex') FROM tenants WHERE key_encrypted IS NOT NULL"))


def rotate(stack, *arguments):
    return stack.terminals("db", "rotate-key", *arguments)


def refused(stack):
    """What a stack that does not start says."""
    stack.launch()
    assert stack.wait_exit(20) != 0, stack.log()
    text = stack.err()
    stack.kill_all()
    return text


def test_the_database_holds_no_instance_key_in_clear(fresh):
    stack = fresh(local_sandbox="none")
    stack.run("alice", "true")
    keys = [route[2] for route in stack.routes().values()]
    assert len(keys) == 1 and len(keys[0]) == 32, keys
    if stack.database:
        content = subprocess.run(["pg_dump", "-d", stack.settings["database_url"]], check=True, stdout=subprocess.PIPE).stdout
        assert b"alice" in content and keys[0].lower().encode() not in content.lower()
        assert keys[0].encode().hex().encode() not in content.lower()
    else:
        content = b"".join(path.read_bytes() for path in stack.folder.glob("terminals.db*"))
    assert keys[0].encode() not in content and bytes.fromhex(keys[0]) not in content
    assert (stack.folder / "encryption.key").stat().st_mode & 0o777 == 0o600


def test_the_key_changes_under_running_instances(fresh):
    stack = fresh(local_sandbox="none")
    for user in ("alice", "bob"):
        stack.run(user, f"echo of-{user} > ~/file")
    before, key = boxes(stack), (stack.folder / "encryption.key").read_text()
    pids = stack.instances()
    done = rotate(stack)
    assert (done.returncode, done.stdout) == (0, "resealed=2\n"), done
    assert (stack.folder / "encryption.key").read_text() != key
    assert not (stack.folder / "encryption.key.next").exists()
    after = boxes(stack)
    assert set(after) == {"alice", "bob"} and not set(after.values()) & set(before.values())
    # A successor that knows only what is on disk finds the same instances, which still take the same keys.
    os.kill(stack.one("terminals-provisioner"), signal.SIGKILL)
    for user in ("alice", "bob"):
        assert stack.run(user, "cat ~/file", headers=[("Connection", "x-cold"), ("X-Cold", "1")]) == f"of-{user}\n"
    assert stack.instances() == pids
    assert not set(boxes(stack).values()) & set(before.values())


def test_a_kill_at_any_moment_of_the_change_loses_nothing(fresh):
    stack = fresh(local_sandbox="none")
    for user in ("alice", "bob", "carol"):
        stack.run(user, "true")
    # The keys stay in the database while nothing of ours runs.
    stack.kill_all()
    program = [str(stack.programs / "terminals-provisioner"), "--rotate-key"]

    def change(kill_after=None):
        process = subprocess.Popen(program, cwd=stack.folder, env=stack.environment(), stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        try:
            return process.communicate(timeout=kill_after if kill_after is not None else 30 * SLOW)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.communicate()

    started = time.monotonic()
    assert change()[0] == "resealed=3\n"
    whole = time.monotonic() - started
    rounds = 40
    for number in range(rounds):
        change(kill_after=whole * number / rounds)
    out, err = change()
    assert out == "resealed=3\n" and "cannot be read" not in err, err
    assert not (stack.folder / "encryption.key.next").exists()


def test_a_wrong_or_missing_key_is_noticed_at_the_start_and_destroys_nothing(fresh):
    stack = fresh(local_sandbox="none")
    stack.run("alice", "echo mine > ~/file")
    stack.stop()
    key, before = (stack.folder / "encryption.key").read_text(), boxes(stack)
    (stack.folder / "encryption.key").write_text("f" * 64 + "\n")
    assert "is not the encryption key that this database was written with: put back the former file" in refused(stack)
    (stack.folder / "encryption.key").unlink()
    assert "put it back, or set TERMINALS_ENCRYPTION_KEY" in refused(stack)
    assert not (stack.folder / "encryption.key").exists()
    stack.settings["encryption_key"] = "another-key"
    text = refused(stack)
    assert "TERMINALS_ENCRYPTION_KEY is not the encryption key" in text and "another-key" not in text
    del stack.settings["encryption_key"]
    (stack.folder / "encryption.key").write_text(key)
    assert boxes(stack) == before
    stack.start()
    assert stack.run("alice", "cat ~/file") == "mine\n"


def test_a_key_of_the_settings_changes_while_terminals_is_stopped(fresh, tmp_path):
    new = tmp_path / "new"
    new.write_text("the-new-key-of-the-operator\n")
    stack = fresh(local_sandbox="none", encryption_key="the-old-key-of-the-operator")
    stack.run("alice", "true")
    for arguments in ((), ("--new-key-file", str(new))):
        done = rotate(stack, *arguments)
        assert done.returncode != 0 and "stop" in done.stderr, done
        assert "of-the-operator" not in done.stdout + done.stderr
    stack.stop()
    before = boxes(stack)
    done = rotate(stack, "--new-key-file", str(new))
    assert (done.returncode, done.stdout) == (0, f"resealed={len(before)}\n"), done
    assert "TERMINALS_ENCRYPTION_KEY is not the encryption key" in refused(stack)
    stack.settings["encryption_key"] = "the-new-key-of-the-operator"
    stack.start()
    assert stack.run("alice", "echo again") == "again\n"


@pytest.mark.parametrize("arguments", [(), ("rotate",), ("rotate-key", "x"), ("rotate-key", "--new-key-file"),
                                       ("rotate-key", "--new-key-file", "/nonexistent"), ("rotate-key", "a", "b", "c")])
def test_mistakes_are_told(fresh, arguments):
    stack = fresh(start=False, local_sandbox="none")
    done = stack.terminals("db", *arguments)
    assert done.returncode != 0 and ("usage: terminals db" in done.stderr or "there is no file" in done.stderr), done
    assert not (stack.folder / "terminals.db").exists()


def test_a_changed_key_needs_no_restart(fresh):
    stack = fresh(local_sandbox="none", idle_timeout_seconds=0)
    for _ in range(3):
        assert rotate(stack).returncode == 0
        stack.run("alice", "true")
        eventually(lambda: stack.tenant("alice")["status"] == "running")
    stack.stop()
    stack.start()
    assert stack.run("alice", "echo there") == "there\n"
