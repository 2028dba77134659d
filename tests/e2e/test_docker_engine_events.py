"""The docker backend and what others do to the engine and in it: containers stopped by hand, an engine that goes away,
containers that were there before us."""
import hashlib
import os
import re
import signal
import subprocess
import threading
import time

import docker_engine
import pytest
from conftest import Stack
from engine_proxy import EngineProxy
from stack import SLOW, eventually, route_key


@pytest.fixture(scope="module")
def docker():
    with Stack(backend="docker") as stack:
        yield stack


def status(stack, user):
    return stack.tenant(user)["status"]


def route_gone(stack, user):
    eventually(lambda: route_key(user) not in stack.haproxy_map("routes"), 3, what=f"the end of {user}'s route")


def restart_provisioner(stack, number=signal.SIGKILL, meanwhile=lambda: None):
    """kill -9, something while it is away, and the supervisor's new one."""
    serve = stack.serve_pid
    pid = stack.one("terminals-provisioner")
    os.kill(serve, signal.SIGSTOP)  # nobody starts a new one yet
    os.kill(pid, number)
    try:
        eventually(lambda: pid not in stack.processes(), what="the provisioner's end")
        meanwhile()
    finally:
        os.kill(serve, signal.SIGCONT)
    eventually(lambda: stack.process("terminals-provisioner") not in ([], [pid]), 10, what="a new provisioner")
    eventually(lambda: stack.tenants() is not None, 10, what="an answer of the new provisioner")


# --- by somebody else's hand ---

@pytest.mark.parametrize("how", ["stop", "kill", "rm", "pause", "exit"])
def test_who_ends_a_container_by_hand_takes_its_route_away(docker, user, how):
    docker.run(user, "echo mine > ~/mine.txt")
    docker.wait_hot(user)
    name = docker.container(user)
    before = docker.engine.inspect(name)["Id"]
    path = {"stop": ("POST", f"/containers/{name}/stop?t=1"), "kill": ("POST", f"/containers/{name}/kill"),
            "rm": ("DELETE", f"/containers/{name}?force=1"), "pause": ("POST", f"/containers/{name}/pause")}
    if how == "exit":
        docker.request(user, "POST", "/execute", {"command": "kill -9 $(cat /proc/$PPID/status | grep PPid | cut -f2); kill -9 $PPID"})
        docker.engine.ask("POST", f"/containers/{name}/kill?signal=KILL")
    else:
        docker.engine.do(*path[how])
    route_gone(docker, user)
    eventually(lambda: status(docker, user) == "stopped", what="the tenant's new status")
    assert docker.tenant(user)["error"]
    assert docker.run(user, "cat ~/mine.txt") == "mine\n"
    assert docker.engine.inspect(name)["Id"] != before


def test_one_that_uses_up_its_memory_is_started_afresh(docker, user):
    docker.run(user, "echo mine > ~/mine.txt")
    name = docker.container(user)
    docker.engine.do("POST", f"/containers/{name}/update", {"Memory": 12 << 20, "MemorySwap": 12 << 20})
    # All there is of it is killed: the memory goes to the server's own files in /tmp would not do, so the whole group.
    docker.request(user, "POST", "/execute?wait=3", {"command": "tail /dev/zero"})
    if status(docker, user) == "running":  # the kernel chose the command: nobody lost more than that
        assert docker.run(user, "cat ~/mine.txt") == "mine\n"
        docker.engine.do("POST", f"/containers/{name}/kill")
    eventually(lambda: status(docker, user) == "stopped", what="its end")
    assert docker.run(user, "cat ~/mine.txt") == "mine\n"


def test_a_paused_container_that_goes_on_is_taken_back(docker, user):
    """`docker commit` pauses a container, too: nobody loses a shell to it who does not come in just that moment."""
    docker.run(user, "(setsid sleep 1000 &); echo $$")
    name = docker.container(user)
    before = docker.engine.inspect(name)["Id"]
    docker.engine.do("POST", f"/containers/{name}/pause")
    eventually(lambda: status(docker, user) == "stopped", what="the pause")
    docker.engine.do("POST", f"/containers/{name}/unpause")
    eventually(lambda: status(docker, user) == "running", what="its return")
    assert "sleep 1000" in docker.run(user, "ps")
    assert docker.engine.inspect(name)["Id"] == before


# --- the engine is away ---

def test_while_the_engine_is_away_those_who_run_go_on_and_others_are_told_to_come_again(fresh):
    with EngineProxy(docker_engine.engine()) as proxy:
        stack = fresh(backend="docker", docker_host=proxy.host)
        shell = stack.shell("alice")
        stack.run("bob", "true")
        stack.wait_hot("alice", "bob")
        with proxy.away():
            eventually(lambda: "does not answer" in stack.err(), what="that it is noticed")
            assert stack.run("alice", "echo on") == "on\n"
            began = time.monotonic()
            answer = stack.execute("newcomer", "true").expect_error(503)
            assert answer.header("retry-after")
            assert "Docker" in answer.detail, answer.detail
            assert time.monotonic() - began < 3 * SLOW
            shell.send(b"echo $((6*7))\n")
            shell.read_until(b"42")
            # Somebody else removes one meanwhile, and nobody tells us.
            stack.engine = docker_engine.client()
            stack.engine.remove(stack.container("bob"))
        eventually(lambda: status(stack, "bob") == "stopped", 10, what="bob's end noticed")
        assert stack.run("newcomer", "echo new") == "new\n"
        assert stack.run("bob", "echo back") == "back\n"
        shell.send(b"echo $((6*7))\n")
        shell.read_until(b"42")
        shell.close()
        stack.stop()


def test_a_provisioner_that_starts_while_the_engine_is_away_keeps_everybody_served(fresh):
    with EngineProxy(docker_engine.engine()) as proxy:
        stack = fresh(backend="docker", docker_host=proxy.host)
        stack.run("alice", "(setsid sleep 1000 &); true")
        stack.run("bob", "true")
        stack.engine = docker_engine.client()
        with proxy.away():
            restart_provisioner(stack, meanwhile=lambda: stack.engine.remove(name_of("bob")))
            assert stack.run("alice", "echo on") == "on\n"
            stack.execute("bob", "true").expect_error(503)
            stack.execute("newcomer", "true").expect_error(503)
        eventually(lambda: stack.execute("bob", "true").status == 200, 10, what="bob served")
        assert "sleep 1000" in stack.run("alice", "ps")
        assert len(stack.containers()) == 2
        stack.stop()


def test_terminals_can_be_started_before_the_engine(fresh, user):
    """A machine that boots: the service of the engine may come later."""
    with EngineProxy(docker_engine.engine()) as proxy:
        proxy.go_away()
        stack = fresh(backend="docker", docker_host=proxy.host)
        stack.execute(user, "true").expect_error(503)
        proxy.come_back()
        eventually(lambda: stack.execute(user, "true").status == 200, 10, what="service")
        stack.stop()


def test_an_engine_that_is_restarted_takes_its_containers_along_and_all_heals(fresh, user):
    own = docker_engine.Engine().start()
    try:
        image = docker_engine.image(own.socket)
        stack = fresh(backend="docker", docker_host=f"unix://{own.socket}", image=image)
        stack.run(user, "echo mine > ~/mine.txt")
        own.stop()
        eventually(lambda: status(stack, user) == "stopped", 10, what="that the container ended")
        stack.execute(user, "true").expect_error(503)
        own.start()
        eventually(lambda: stack.execute(user, "true").status == 200, 20, what="service after the restart")
        assert stack.run(user, "cat ~/mine.txt") == "mine\n"
        assert len(stack.containers()) == 1
        stack.stop()
    finally:
        own.remove()


# --- what was there before us ---

def make_container(stack, name, labels, key="key-of-python", command=None, run=True, home=None):
    """A container as another program makes it."""
    body = {"Image": stack.settings["image"], "Env": [f"OPEN_TERMINAL_API_KEY={key}"], "Labels": labels,
            "HostConfig": {"Mounts": [{"Type": "bind", "Source": str(home), "Target": "/home/user"}] if home else []}}
    if command:
        body["Cmd"] = command
    identity = stack.engine.do("POST", f"/containers/create?name={name}", body)["Id"]
    if run:
        stack.engine.do("POST", f"/containers/{name}/start")
    return identity


def python_labels(user, **more):
    return {"app.kubernetes.io/managed-by": "terminals", "openwebui.com/user-id": user, "openwebui.com/policy": "default", **more}


def name_of(user):
    return f"terminals-{hashlib.sha256(user.encode()).hexdigest()[:12]}"


@pytest.fixture
def cleared(fresh):
    """Stacks and the names of containers that are removed whatever happens."""
    names = []
    yield names
    docker_engine.client().remove(*names)


def test_adoption_lets_nobody_notice_a_new_provisioner(fresh, user, other):
    stack = fresh(backend="docker")
    shell = stack.shell(user)
    stack.run(other, "true")
    before = {name: entry["Id"] for name, entry in stack.containers().items()}
    restart_provisioner(stack)
    shell.send(b"echo $((6*7))\n")
    shell.read_until(b"42")
    shell.close()
    assert stack.run(other, "echo on") == "on\n"
    assert {name: entry["Id"] for name, entry in stack.containers().items()} == before


def test_what_ended_while_nobody_looked_is_noticed(fresh, user, other):
    stack = fresh(backend="docker")
    stack.run(user, "echo mine > ~/mine.txt")
    stack.run(other, "true")
    names = {person: stack.container(person) for person in (user, other)}

    def meanwhile():
        stack.engine.do("POST", f"/containers/{names[user]}/kill")
        stack.engine.remove(names[other])

    restart_provisioner(stack, meanwhile=meanwhile)
    eventually(lambda: {status(stack, user), status(stack, other)} == {"stopped"}, what="both noticed")
    assert not stack.containers()
    assert stack.run(user, "cat ~/mine.txt") == "mine\n"


def test_a_half_created_container_is_removed(fresh, user):
    """Killed between the engine's answer and the database, or before the start."""
    stack = fresh(backend="docker")
    stack.run("bystander", "true")
    mark = (stack.folder / "homes/.deployment").read_text()
    labels = python_labels(user, **{"terminals.deployment": mark, "terminals.instance-id": "0" * 32})
    restart_provisioner(stack, meanwhile=lambda: make_container(stack, name_of(user), labels, run=False))
    docker_engine.wait_gone(name_of(user))
    # One that appears later, since the engine finishes what a dead provisioner asked for.
    make_container(stack, name_of(user), labels, run=False)
    docker_engine.wait_gone(name_of(user))
    assert stack.run(user, "echo fine") == "fine\n"
    assert stack.run("bystander", "echo fine") == "fine\n"


def test_a_running_one_whose_row_was_lost_is_taken_back(fresh, user):
    stack = fresh(backend="docker")
    stack.run(user, "(setsid sleep 1000 &); true")
    key = stack.engine.inspect(stack.container(user))["Id"]

    def meanwhile():
        subprocess.run(["sqlite3", f"{stack.folder}/terminals.db", "DELETE FROM tenants"], check=True)

    restart_provisioner(stack, meanwhile=meanwhile)
    eventually(lambda: stack.tenants() and status(stack, user) == "running", 10, what="its tenant")
    assert "sleep 1000" in stack.run(user, "ps")
    assert stack.engine.inspect(stack.container(user))["Id"] == key


def test_containers_of_the_python_terminals_go_on_as_ours(fresh, cleared, user, tmp_path):
    """An administrator stops the old program and starts this one: no user notices."""
    cleared.append(name_of(user))
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o777)
    tmp_path.chmod(0o755)
    stack = fresh(start=False, backend="docker")
    identity = make_container(stack, name_of(user), python_labels(user), home=home)
    (home / "theirs.txt").write_text("from before\n")
    stack.start()
    eventually(lambda: stack.tenants() and status(stack, user) == "running", 15, what="its adoption")
    assert stack.run(user, "cat ~/theirs.txt") == "from before\n"
    assert stack.engine.inspect(name_of(user))["Id"] == identity
    restart_provisioner(stack)
    assert stack.run(user, "cat ~/theirs.txt") == "from before\n"
    assert stack.engine.inspect(name_of(user))["Id"] == identity
    stack.admin("POST", f"/tenants/{user}/stop").expect(200)
    docker_engine.wait_gone(name_of(user))
    assert stack.run(user, "echo ours now") == "ours now\n"


def test_one_of_the_python_terminals_that_does_not_run_is_replaced_when_its_user_comes(docker, cleared, user):
    cleared.append(name_of(user))
    make_container(docker, name_of(user), python_labels(user), run=False)
    assert docker.run(user, "echo fresh") == "fresh\n"
    assert docker.engine.inspect(name_of(user))["Config"]["Labels"]["terminals.instance-id"]


def test_one_that_appears_while_we_run_is_taken_over(docker, cleared, user):
    cleared.append(name_of(user))
    identity = make_container(docker, name_of(user), python_labels(user))
    assert docker.run(user, "echo here") == "here\n"
    assert docker.engine.inspect(name_of(user))["Id"] == identity


def test_a_container_of_another_user_with_the_same_digits_is_never_used(docker, cleared, user):
    cleared.append(name_of(user))
    identity = make_container(docker, name_of(user), python_labels("somebody else"), run=False)
    assert "another user's" in docker.execute(user, "true").expect_error(502).detail
    assert docker.engine.inspect(name_of(user))["Id"] == identity


def test_a_container_that_is_not_ours_is_left_alone_and_named(docker, cleared, user):
    cleared.append(name_of(user))
    identity = make_container(docker, name_of(user), {}, command=["/bin/sleep", "1000"])
    detail = docker.execute(user, "true").expect_error(502).detail
    assert name_of(user) in detail and "no Terminals made" in detail, detail
    assert docker.engine.inspect(name_of(user))["Id"] == identity


def test_two_terminals_on_one_engine_leave_each_others_alone(docker, fresh, user):
    docker.run(user, "true")
    second = fresh(backend="docker")
    detail = second.execute(user, "true").expect_error(502).detail
    assert "another Terminals" in detail, detail
    second.run("bystander-of-two", "true")
    restart_provisioner(second)
    assert docker.run(user, "echo still") == "still\n"
    assert status(docker, user) == "running"


def test_containers_of_a_policy_that_is_gone_are_ended_if_ours(fresh, cleared, user, other):
    """Nobody can reach them any more. What the Python Terminals made is left, until the policy is there."""
    cleared += [name_of(user) + "-gone", name_of(other) + "-gone"]
    stack = fresh(backend="docker")
    stack.run("bystander", "true")
    mark = (stack.folder / "homes/.deployment").read_text()
    ours = {**python_labels(user), "openwebui.com/policy": "gone", "terminals.deployment": mark,
            "terminals.instance-id": "1" * 32}
    theirs = {**python_labels(other), "openwebui.com/policy": "gone"}

    def meanwhile():
        make_container(stack, name_of(user) + "-gone", ours)
        make_container(stack, name_of(other) + "-gone", theirs)

    restart_provisioner(stack, meanwhile=meanwhile)
    docker_engine.wait_gone(name_of(user) + "-gone", timeout=15)
    eventually(lambda: "is left alone: there is no policy `gone`" in stack.err(), what="the line in the log")
    assert stack.engine.inspect(name_of(other) + "-gone")["State"]["Running"]
    assert {tenant["user_id"] for tenant in stack.tenants()} == {"bystander"}


def test_a_stop_while_the_engine_makes_the_container_leaves_nothing(fresh, user):
    with EngineProxy(docker_engine.engine()) as proxy:
        stack = fresh(backend="docker", docker_host=proxy.host)
        for step in ("containers/create", r"containers/\w+/start"):
            go_on = threading.Event()
            proxy.hold = (step, go_on)
            thread = threading.Thread(target=lambda: stack.execute(user, "true"))
            thread.start()
            eventually(lambda step=step: any(re.search(step, line) for line in proxy.requests[-1:]), what=step)
            stopping = threading.Thread(target=lambda: stack.admin("POST", f"/tenants/{user}/stop"))
            stopping.start()
            eventually(lambda: status(stack, user) == "stopping", what="the stop")
            go_on.set()
            thread.join()
            stopping.join()
            proxy.hold = None
            assert not stack.containers()
            assert status(stack, user) == "stopped"
        assert stack.run(user, "echo fine") == "fine\n"
        stack.stop()
