"""The docker backend on a real engine: what a user's container is, and what it cannot do."""
import hashlib
import json
import os
import threading
import time

import docker_engine
import pytest
from conftest import Stack
from engine_proxy import EngineProxy
from fake_registry import FakeRegistry
from stack import SLOW, eventually


@pytest.fixture(scope="module")
def docker():
    with Stack(backend="docker") as stack:
        yield stack


@pytest.fixture
def engine():
    return docker_engine.client()


def hash12(text):
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def test_names_and_labels_are_those_that_others_rely_on(docker, user):
    docker.run(user, "true", headers=[("X-Terminal-Context-Id", "chat:42")])
    docker.run(user, "true")
    shared = docker.engine.inspect(f"terminals-{hash12(user)}")
    labels = shared["Config"]["Labels"]
    assert labels["app.kubernetes.io/managed-by"] == "terminals"
    assert labels["openwebui.com/user-id"] == user
    assert labels["openwebui.com/policy"] == "default"
    assert labels["terminals.instance-id"] == docker.tenant(user)["instance_id"]
    chat = docker.engine.inspect(f"terminals-{hash12(user)}-{hash12('chat:42')}")["Config"]["Labels"]
    assert chat["openwebui.com/context-id"] == "chat:42"
    assert chat["openwebui.com/context-type"] == "chat"
    assert chat["openwebui.com/context-hash"] == hash12("chat:42")


def test_the_home_is_the_users_folder(docker, user):
    assert docker.run(user, "pwd; id -u; echo mine > ~/mine.txt") == "/home/user\n1000\n"
    assert (docker.home(user) / "mine.txt").read_text() == "mine\n"
    docker.admin("POST", f"/tenants/{user}/stop").expect(200)
    assert docker.container(user) not in docker.containers(), "a stopped container is left"
    assert docker.run(user, "cat ~/mine.txt") == "mine\n"
    docker.admin("DELETE", f"/tenants/{user}?purge=true").expect(200)
    assert not docker.home(user).exists()
    assert f"terminals-{hash12(user)}" not in docker.containers()


@pytest.mark.release_only
def test_an_instance_can_do_little(docker, user):
    """No capability in hand, none of those with which one user reaches another or the machine."""
    status = dict(line.split(":\t") for line in docker.run(user, "grep -e Cap -e Seccomp: /proc/self/status").splitlines())
    assert int(status["CapEff"], 16) == 0
    bounding = int(status["CapBnd"], 16)
    for number, name in ((12, "NET_ADMIN"), (13, "NET_RAW"), (21, "SYS_ADMIN"), (19, "SYS_PTRACE"), (27, "MKNOD"),
                         (18, "SYS_CHROOT"), (16, "SYS_MODULE")):
        assert not bounding >> number & 1, f"CAP_{name} can be had"
    assert status["Seccomp"] == "2"
    container = docker.engine.inspect(docker.container(user))
    assert container["HostConfig"]["PidsLimit"] == 512
    assert container["HostConfig"]["RestartPolicy"]["Name"] in ("", "no")
    assert container["HostConfig"]["LogConfig"]["Config"]["max-size"]
    assert not container["HostConfig"]["PortBindings"], "a port is published"


@pytest.mark.release_only
def test_what_a_user_leaves_behind_is_reaped(docker, user):
    docker.run(user, "for i in 1 2 3; do (sleep 0.1 &) ; done; sleep 0.3")
    eventually(lambda: "Z" not in docker.run(user, "grep -h ^State /proc/[0-9]*/status").split(), 20, what="no zombie")


@pytest.mark.release_only
def test_the_number_of_processes_is_bounded(docker, fresh, user):
    stack = fresh(backend="docker", docker_pids_limit=30)
    answer = stack.run(user, "for i in $(seq 100); do sleep 5 & done 2>&1; true")
    assert "fork" in answer, answer
    assert stack.engine.inspect(stack.container(user))["HostConfig"]["PidsLimit"] == 30


@pytest.mark.release_only
def test_one_users_container_cannot_reach_anothers(docker, user, other):
    """On no port: neither the instance nor whatever else listens there. The machine, where HAProxy is, reaches all."""
    docker.run(user, "setsid nc -ll -p 9999 -e cat </dev/null >/dev/null 2>&1 & sleep 0.2; true")
    docker.run(other, "true")
    theirs = docker.tenant(user)["host"]
    for port in (8000, 9999):
        began = time.monotonic()
        answer = docker.run(other, f"nc -w 2 {theirs} {port} </dev/null >/dev/null 2>&1 && echo reached || echo refused")
        assert answer == "refused\n", f"port {port} of another user's container was reached"
        assert time.monotonic() - began < 10 * SLOW
    answer = docker.run(other, f"ping -c 1 -W 1 {theirs} >/dev/null 2>&1 && echo reached || echo refused")
    assert answer == "refused\n"
    assert docker.run(user, f"nc -w 2 {theirs} 9999 </dev/null && echo reached") == "reached\n", "it listens at all"
    assert docker.run(user, "echo mine") == "mine\n"


@pytest.mark.release_only
def test_more_mounts_and_a_runtime(fresh, user, tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "shared.txt").write_text("for all\n")
    mounts = [{"source": str(tmp_path), "target": "/data"}, {"source": "terminals-test-scratch", "target": "/scratch",
                                                             "readOnly": False}]
    stack = fresh(backend="docker", docker_mounts=json.dumps(mounts), docker_runtime="runc")
    try:
        assert stack.run(user, "cat /data/shared.txt; touch /data/x 2>/dev/null || echo read-only") == "for all\nread-only\n"
        assert stack.engine.inspect(stack.container(user))["HostConfig"]["Runtime"] == "runc"
        assert {mount["Destination"]: mount["RW"] for mount in stack.engine.inspect(stack.container(user))["Mounts"]} == \
            {"/data": False, "/scratch": True, "/home/user": True}
    finally:
        stack.stop()
        stack.engine.ask("DELETE", "/volumes/terminals-test-scratch")


def test_a_published_port_is_where_it_is_reached(fresh, user):
    stack = fresh(backend="docker", docker_publish="127.0.0.1")
    assert stack.run(user, "echo published") == "published\n"
    tenant = stack.tenant(user)
    assert tenant["host"] == "127.0.0.1"
    [binding] = stack.engine.inspect(stack.container(user))["NetworkSettings"]["Ports"]["8000/tcp"]
    assert (binding["HostIp"], int(binding["HostPort"])) == ("127.0.0.1", tenant["port"])


@pytest.mark.release_only
def test_several_networks_share_the_instances_stably(fresh, engine):
    networks = [f"terminals-test-{number}" for number in (1, 2)]
    for name in networks:
        engine.ask("POST", "/networks/create", {"Name": name, "CheckDuplicate": True})
    try:
        stack = fresh(backend="docker", docker_network=",".join(networks))

        def where():
            return {user: next(iter(stack.engine.inspect(stack.container(user))["NetworkSettings"]["Networks"]))
                    for user in users}

        users = ["spread-0", "spread-1"]  # whose names' hashes differ by one
        for user in users:
            stack.run(user, "true")
        first = where()
        assert set(first.values()) == set(networks), first
        for user in users:
            stack.admin("POST", f"/tenants/{user}/stop").expect(200)
            stack.run(user, "true")
        assert where() == first
        stack.stop()
    finally:
        for name in networks:
            engine.ask("DELETE", f"/networks/{name}")


# --- images ---

def small_image(engine, command, name):
    return docker_engine.import_image(engine.path, f"terminals-test-{name}",
                                      changes=("USER 1000", "ENV PATH=/bin:/usr/bin", f"CMD {json.dumps(command)}"))


def test_one_that_exits_at_once_says_why_at_once(fresh, engine, user):
    image = small_image(engine, ["/bin/sh", "-c", "echo starting; echo 'no such option: --frobnicate' >&2; exit 3"], "exits")
    stack = fresh(backend="docker", image=image)
    began = time.monotonic()
    detail = stack.execute(user, "true").expect_error(502).detail
    assert "no such option: --frobnicate" in detail and "status 3" in detail, detail
    assert time.monotonic() - began < 60 * SLOW, "it was waited for as long as a start may take"
    assert stack.tenant(user)["status"] == "error" and "--frobnicate" in stack.tenant(user)["error"]
    assert not stack.containers(), "what did not start is left"


@pytest.mark.release_only
def test_one_that_cannot_be_executed_says_why(fresh, engine, user):
    stack = fresh(backend="docker", image=small_image(engine, ["/no/such/program"], "nothing"))
    detail = stack.execute(user, "true").expect_error(502).detail
    assert "/no/such/program" in detail, detail
    assert not stack.containers()


def test_one_that_never_answers_is_given_up(fresh, engine, user):
    stack = fresh(backend="docker", image=small_image(engine, ["/bin/sleep", "1000"], "silent"), start_timeout_seconds=2)
    stack.execute(user, "true").expect_error(504)
    eventually(lambda: not stack.containers(), 30, what="its end")


@pytest.fixture
def registry():
    config = {"User": "1000", "Cmd": ["/usr/bin/open-terminal", "run"], "WorkingDir": "/home/user",
              "Labels": {"terminals.unprivileged": "true"},
              "Env": ["PATH=/usr/bin:/bin", "HOME=/home/user", "ASAN_OPTIONS=detect_leaks=0"]}
    # Behind the end of the archive: no engine has this layer yet.
    with FakeRegistry(docker_engine.root_file_system() + os.urandom(512), config) as one:
        yield one
    docker_engine.client().ask("DELETE", f"/images/{one.image}?force=1")


def test_a_missing_image_is_pulled_once_for_all_and_tells_how_far_it_is(registry, fresh):
    stack = fresh(backend="docker", image=registry.image)
    answers = {}

    def ask(user):
        answers[user] = stack.execute(user, "echo here")

    threads = [threading.Thread(target=ask, args=(f"puller-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    progress = eventually(lambda: stack.tenant("puller-0")["progress"], 20, what="progress")
    assert registry.image in progress or "image" in progress, progress
    assert stack.tenant("puller-0")["status"] == "provisioning"
    eventually(lambda: len(stack.tenants()) == 4 and all(t["progress"] for t in stack.tenants()), 20, what="progress for all")
    registry.go_on.set()
    for thread in threads:
        thread.join(60 * SLOW)
    assert all(answer.expect(200) for answer in answers.values()) and len(answers) == 4
    assert registry.pulls_of_the_layer() == 1
    assert f"pulling image {registry.image}" in stack.err()
    assert stack.tenant("puller-0")["progress"] is None


@pytest.mark.release_only
def test_an_image_that_says_it_needs_no_privileges_gets_none(registry, fresh, user):
    registry.go_on.set()
    stack = fresh(backend="docker", image=registry.image)
    status = stack.run(user, "grep -e CapBnd -e NoNewPrivs /proc/self/status")
    assert status == "CapBnd:\t0000000000000000\nNoNewPrivs:\t1\n"


def test_an_image_that_is_nowhere_is_an_error_that_says_so(registry, fresh, user):
    missing = registry.image.replace(":1", ":2")
    stack = fresh(backend="docker", image=missing)
    detail = stack.execute(user, "true").expect_error(502).detail
    assert missing in detail and "manifest" in detail, detail


# --- many at once ---

@pytest.mark.release_only
def test_a_crowd_of_new_users_is_served_and_the_engine_is_not_flooded(fresh):
    users = [f"crowd-{number}" for number in range(int(os.environ.get("TERMINALS_TEST_CROWD", "15")))]
    with EngineProxy(docker_engine.engine()) as proxy:
        stack = fresh(backend="docker", docker_host=proxy.host, start_concurrency=6)
        answers = {}

        def ask(user):
            answers[user] = stack.run(user, f"echo {user}", timeout=120)

        threads = [threading.Thread(target=ask, args=(user,)) for user in users]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == {user: f"{user}\n" for user in users}
        assert 1 <= proxy.most <= 6, f"{proxy.most} at a time"
        assert len(stack.containers()) == len(users)
        stack.stop(timeout=60)
