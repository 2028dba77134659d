"""Containers that were there before us, or that somebody else made: each has a rule.

The tests with a stack of their own come first: two Terminals on one engine would both take over what the Python one left."""
import subprocess

import docker_engine
import pytest
from conftest import Stack
from docker_world import name_of, restart_provisioner, status
from stack import eventually


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


@pytest.mark.release_only
def test_what_ended_while_nobody_looked_is_noticed(fresh, user, other):
    stack = fresh(backend="docker")
    stack.run(user, "echo mine > ~/mine.txt")
    stack.run(other, "true")
    names = {person: stack.container(person) for person in (user, other)}

    def meanwhile():
        stack.engine.do("POST", f"/containers/{names[user]}/kill")
        stack.engine.remove(names[other])

    restart_provisioner(stack, meanwhile=meanwhile)
    eventually(lambda: {status(stack, user), status(stack, other)} == {"stopped"}, 20, what="both noticed")
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
    eventually(lambda: stack.tenants() and status(stack, user) == "running", 30, what="its tenant")
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
    eventually(lambda: stack.tenants() and status(stack, user) == "running", 30, what="its adoption")
    assert stack.run(user, "cat ~/theirs.txt") == "from before\n"
    assert stack.engine.inspect(name_of(user))["Id"] == identity
    restart_provisioner(stack)
    assert stack.run(user, "cat ~/theirs.txt") == "from before\n"
    assert stack.engine.inspect(name_of(user))["Id"] == identity
    stack.admin("POST", f"/tenants/{user}/stop").expect(200)
    docker_engine.wait_gone(name_of(user))
    assert stack.run(user, "echo ours now") == "ours now\n"


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
    docker_engine.wait_gone(name_of(user) + "-gone")
    eventually(lambda: "is left alone: there is no policy `gone`" in stack.err(), 20, what="the line in the log")
    assert stack.engine.inspect(name_of(other) + "-gone")["State"]["Running"]
    assert {tenant["user_id"] for tenant in stack.tenants()} == {"bystander"}


# --- beside a stack that runs already ---

@pytest.fixture(scope="module")
def docker():
    with Stack(backend="docker") as stack:
        yield stack


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


@pytest.mark.release_only
def test_two_terminals_on_one_engine_leave_each_others_alone(docker, fresh, user):
    docker.run(user, "true")
    second = fresh(backend="docker")
    detail = second.execute(user, "true").expect_error(502).detail
    assert "another Terminals" in detail, detail
    second.run("bystander-of-two", "true")
    restart_provisioner(second)
    assert docker.run(user, "echo still") == "still\n"
    assert status(docker, user) == "running"
