"""`terminals gc`: what nobody owns any more is listed, and goes when somebody has said so; nothing else ever does."""
import json
import os
import pty
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kubernetes_world import kubernetes_stack
from stack import SLOW, eventually

sys.path.insert(0, str(Path(__file__).parents[1] / "fakes"))

from docker_engine_answers import docker_engine_answers  # noqa: E402


def gc(stack, *arguments, status=0):
    done = stack.terminals("gc", *arguments)
    assert done.returncode == status, done
    return done.stdout


def homes(stack):
    return {path.name for path in (stack.folder / "homes").iterdir() if not path.name.startswith(".")}


def leave_files_behind(stack, user):
    """A user whose tenant is deleted and whose files are kept."""
    stack.run(user, "echo precious > notes")
    stack.request(None, "DELETE", f"/api/v1/tenants/{user}").expect(200)


@pytest.fixture(params=["running", "stopped"])
def either(request, fresh):
    """A stack, and a function to bring it into the state in which gc is asked."""
    stack = fresh(local_sandbox="none")

    def ready():
        if request.param == "stopped":
            stack.stop(signal.SIGTERM)

    stack.ready = ready
    return stack


def test_nothing_is_left_over_in_an_ordinary_deployment(either):
    either.request(None, "POST", "/api/v1/policies", {"id": "dev", "data": {}}).expect((200, 201))
    for prefix, headers in (("", ()), ("/p/dev", ()), ("", [("X-Terminal-Context-Id", "chat:1")])):
        either.run("alice", "echo mine > file", prefix=prefix, headers=headers)
    either.ready()
    assert gc(either, "--dry-run") == "found=0 removable=0\n"
    assert gc(either, "--yes", "--folders") == "found=0 removable=0\n"
    assert "alice" in homes(either)


def test_files_without_a_tenant_are_listed_but_go_only_when_asked_for(either):
    leave_files_behind(either, "gone")
    either.run("alice", "echo mine > notes")
    either.ready()
    assert "folder  gone: a user's files, without a tenant, changed 20" in gc(either, "--dry-run")
    assert "(kept without --folders)" in gc(either, "--yes")
    assert homes(either) == {"alice", "gone"}
    assert "removed=1 failed=0" in gc(either, "--yes", "--folders")
    assert homes(either) == {"alice"}
    assert (either.folder / "homes/alice/notes").read_text() == "mine\n"
    assert not list((either.folder / "homes/.trash").iterdir())


def test_a_deletion_that_was_not_finished_is_finished(either):
    trash = either.folder / "homes/.trash"
    (trash / "0b5e4f6a-0000-4000-8000-000000000000/home/deep/er").mkdir(parents=True)
    either.ready()
    assert "trash  .trash/0b5e4f6a" in gc(either, "--dry-run")
    assert "removed=1 failed=0" in gc(either, "--yes")
    assert not list(trash.iterdir())


def test_tokens_whose_time_is_over_are_counted_and_forgotten(fresh):
    stack = fresh(local_sandbox="none")
    stack.stop()
    stack.sql("INSERT INTO identities VALUES ('" + "A" * 64 + "', 'alice', 1000), ('" + "B" * 64 + "', 'bob', 9999999999999)")
    assert "identity  expired: 1 users' tokens" in gc(stack, "--dry-run")
    assert "removed=1" in gc(stack, "--yes")
    assert stack.sql("SELECT user_id FROM identities WHERE user_id <> '*'") == [("bob",)]


def test_a_process_that_nobody_owns_is_ended(either):
    either.run("alice", "true")
    own = set(either.instances())
    mark = Path(f"/proc/{next(iter(own))}/environ").read_bytes().split(b"\0")
    name, _, value = next(line for line in mark if line.startswith(b"TERMINALS_INSTANCE=")).partition(b"=")
    prefix = value.partition(b":")[0].decode()
    stranger = subprocess.Popen(["sleep", "600"], env={name.decode(): f"{prefix}:{'0' * 32}"})
    threading.Thread(target=stranger.wait, daemon=True).start()
    try:
        either.ready()
        own = set(either.instances())  # a deployment that is stopped has none
        assert f"process  {stranger.pid}: of an instance that nobody has" in gc(either, "--dry-run")
        assert "removed=1 failed=0" in gc(either, "--yes")
        eventually(lambda: stranger.poll() is not None, what="the end of the stranger")
        assert all(Path(f"/proc/{pid}").exists() for pid in own), "an instance with an owner was ended"
    finally:
        stranger.kill()


def test_it_asks_first_and_takes_silence_for_a_no(either):
    leave_files_behind(either, "gone")
    either.ready()
    assert "--yes" in either.terminals("gc", "--folders").stderr
    gc(either, "--folders", status=2)
    for answer, left in ((b"n\n", {"gone"}), (b"\n", {"gone"}), (b"y\n", set())):
        master, slave = pty.openpty()
        os.write(master, answer)
        done = subprocess.run(either.command("gc", "--folders"), cwd=either.folder, env=either.environment(), stdin=slave,
                              capture_output=True, text=True, timeout=60 * SLOW, check=False)
        os.close(slave)
        os.close(master)
        assert done.returncode == 0 and "Remove these 1? [y/N]" in done.stdout, done
        assert homes(either) == left, answer
    assert either.terminals("gc", "--dry-run", "--yes").returncode == 2
    assert either.terminals("gc", "--all").returncode == 2


def test_starts_at_the_same_time_lose_nothing(fresh):
    """Users come back, again and again, while their folders are being collected: each finds all or nothing of the files,
    and what is written after the start stays."""
    stack = fresh(local_sandbox="none", start_concurrency=8)
    users = [f"user{number}" for number in range(6)]
    for user in users:
        leave_files_behind(stack, user)
    problems, stop = [], threading.Event()

    def collect():
        while not stop.is_set():
            done = stack.terminals("gc", "--yes", "--folders")
            if done.returncode != 0:
                problems.append(done)

    def come_back(user):
        try:
            stack.run(user, f"echo {user} > after")
            for _ in range(5):
                if stack.run(user, "cat after") != f"{user}\n":
                    problems.append(f"{user} has lost what was written after the start")
        except AssertionError as problem:
            problems.append(problem)

    collector = threading.Thread(target=collect)
    collector.start()
    comers = [threading.Thread(target=come_back, args=(user,)) for user in users]
    for comer in comers:
        comer.start()
    for comer in comers:
        comer.join()
    stop.set()
    collector.join()
    assert not problems, problems
    for user in users:
        assert (stack.folder / "homes" / user / "after").read_text() == f"{user}\n"


def test_without_a_provisioner_it_does_not_work_beside_another(fresh):
    stack = fresh(local_sandbox="none")
    (stack.folder / "run/provisioner.sock").unlink()
    done = stack.terminals("gc", "--dry-run")
    assert done.returncode == 1 and "another terminals-provisioner works" in done.stderr, done


def test_containers_of_this_deployment_only(fresh, tmp_path, request):
    deployment = "d" * 32
    mine = {"Id": "a" * 64, "Names": ["/terminals-mine"], "Labels": {
        "app.kubernetes.io/managed-by": "terminals", "terminals.deployment": deployment, "terminals.instance-id": "1" * 32}}
    other = {**mine, "Id": "b" * 64, "Names": ["/terminals-other"], "Labels": {**mine["Labels"], "terminals.deployment": "e" * 32}}
    filters = "%7B%22label%22%3A%5B%22terminals.deployment%3D" + deployment + "%22%5D%7D"
    answers = {"/version": {"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12"},
               f"/containers/json?all=1&filters={filters}": [mine, other]}
    with docker_engine_answers(tmp_path / "docker.sock", answers) as host:
        stack = fresh(start=False, docker_host=host)
        (stack.folder / "homes").mkdir()
        (stack.folder / "homes/.deployment").write_text(deployment)
        (stack.folder / "homes/.deployment").chmod(0o600)
        stack.settings["backend"] = "docker"
        request.addfinalizer(lambda: stack.settings.update(backend="local"))  # there is nothing of it in an engine to clear away
        assert gc(stack, "--dry-run") == ("container  terminals-mine: of an instance that nobody has\n"
                                          "found=1 removable=1\n")
        assert "removed=1 failed=0" in gc(stack, "--yes")
        assert answers["removed"] == [f"/containers/{'a' * 64}?force=1&v=1"]


def test_pods_and_what_belongs_to_them_in_a_cluster():
    with kubernetes_stack() as stack:
        stack.run("alice", "echo mine > notes")
        leave_files_behind(stack, "gone")
        api = stack.cluster.api
        kept = {plural: set(api.all(plural)) for plural in ("pods", "services", "secrets")}
        # What somebody left who was killed between two steps, and whose row is gone.
        secret = json.loads(json.dumps(next(iter(api.all("secrets").values()))))
        secret["metadata"] = {"name": "terminal-nobody", "labels": {**secret["metadata"]["labels"], "terminals.instance-id": "0" * 32}}
        api.create("secrets", "v1", "terminals", json.dumps({"apiVersion": "v1", "kind": "Secret", **secret}).encode(), True)
        listed = gc(stack, "--dry-run")
        assert "secret  terminal-nobody: of an instance that nobody has" in listed
        assert listed.count("claim  ") == 1 and "(kept without --folders)" in listed
        claims = set(api.all("persistentvolumeclaims"))
        assert "removed=1 failed=0" in gc(stack, "--yes")
        assert set(api.all("persistentvolumeclaims")) == claims
        assert "removed=1 failed=0" in gc(stack, "--yes", "--folders")
        assert len(api.all("persistentvolumeclaims")) == len(claims) - 1
        assert {plural: set(api.all(plural)) for plural in kept} == kept
        assert stack.run("alice", "cat notes") == "mine\n"
