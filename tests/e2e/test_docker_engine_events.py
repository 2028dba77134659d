"""The docker backend and what others do to the engine and in it: containers stopped by hand, an engine that goes away."""
import contextlib
import http.client
import re
import sqlite3
import threading
import time

import docker_engine
import pytest
from conftest import Stack
from docker_world import name_of, restart_provisioner, status
from engine_proxy import EngineProxy
from ports import free_port
from stack import SLOW, eventually, route_key


@pytest.fixture(scope="module")
def docker():
    with Stack(backend="docker") as stack:
        yield stack


def route_gone(stack, user):
    eventually(lambda: route_key(user) not in stack.haproxy_map("routes"), 20, what=f"the end of {user}'s route")


# --- by somebody else's hand ---

@pytest.mark.parametrize("how", ["stop", "kill", "rm", "pause", "exit"])
def test_who_ends_a_container_by_hand_takes_its_route_away(docker, user, how):
    docker.run(user, "echo mine > ~/mine.txt")
    docker.wait_hot(user)
    name = docker.container(user)
    before = docker.engine.inspect(name)["Id"]
    path = {"stop": ("POST", f"/containers/{name}/stop?t=1"), "kill": ("POST", f"/containers/{name}/kill"),
            "rm": ("DELETE", f"/containers/{name}?force=1"), "pause": ("POST", f"/containers/{name}/pause")}
    if how == "exit":  # the user kills everything there is, the server too, maybe in the middle of its answer
        with contextlib.suppress(http.client.HTTPException, ConnectionError):
            docker.request(user, "POST", "/execute", {"command": "kill -9 -1"})
    else:
        docker.engine.do(*path[how])
    route_gone(docker, user)
    eventually(lambda: status(docker, user) == "stopped", 20, what="the tenant's new status")
    assert docker.tenant(user)["error"]
    assert docker.run(user, "cat ~/mine.txt") == "mine\n"
    assert docker.engine.inspect(name)["Id"] != before


def test_one_that_uses_up_its_memory_is_started_afresh(docker, user):
    docker.run(user, "echo mine > ~/mine.txt")
    name = docker.container(user)
    docker.engine.do("POST", f"/containers/{name}/update", {"Memory": 12 << 20, "MemorySwap": 12 << 20})
    docker.request(user, "POST", "/execute?wait=3", {"command": "tail /dev/zero"})
    if status(docker, user) == "running":  # the kernel chose the command: nobody lost more than that
        assert docker.run(user, "cat ~/mine.txt") == "mine\n"
        docker.engine.do("POST", f"/containers/{name}/kill")
    eventually(lambda: status(docker, user) == "stopped", 20, what="its end")
    assert docker.run(user, "cat ~/mine.txt") == "mine\n"


def test_a_paused_container_that_goes_on_is_taken_back(docker, user):
    """`docker commit` pauses a container, too: nobody loses a shell to it who does not come in just that moment."""
    docker.run(user, "(setsid sleep 1000 &); echo $$")
    name = docker.container(user)
    before = docker.engine.inspect(name)["Id"]
    docker.engine.do("POST", f"/containers/{name}/pause")
    eventually(lambda: status(docker, user) == "stopped", 20, what="the pause")
    docker.engine.do("POST", f"/containers/{name}/unpause")
    eventually(lambda: status(docker, user) == "running", 20, what="its return")
    assert "sleep 1000" in docker.run(user, "ps")
    assert docker.engine.inspect(name)["Id"] == before


def test_one_that_goes_on_and_cannot_be_written_down_at_the_moment_is_not_ended_for_it(docker, user):
    docker.run(user, "(setsid sleep 1000 &); echo $$")
    name = docker.container(user)
    before = docker.engine.inspect(name)["Id"]
    docker.engine.do("POST", f"/containers/{name}/pause")
    eventually(lambda: status(docker, user) == "stopped", 20, what="the pause")
    with contextlib.closing(sqlite3.connect(docker.folder / "terminals.db", isolation_level=None)) as somebody:
        somebody.execute("BEGIN IMMEDIATE")
        docker.engine.do("POST", f"/containers/{name}/unpause")
        eventually(lambda: f"container `{name}` cannot be adopted at the moment" in docker.err(), 20, what="a first try")
        somebody.execute("ROLLBACK")
    eventually(lambda: status(docker, user) == "running", 30, what="its return")
    assert "sleep 1000" in docker.run(user, "ps")
    assert docker.engine.inspect(name)["Id"] == before


def test_a_request_that_is_faster_than_the_news_is_a_slow_answer_not_an_error(docker, user):
    """The container's address is nobody's any more: HAProxy gives the request, body and all, to those who start anew."""
    docker.run(user, "true")
    docker.wait_hot(user)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(
        docker.request(user, "POST", "/files/write", {"path": "big.txt", "content": "x" * 300000})))
    name = docker.container(user)
    with docker.stopped("terminals-provisioner"):
        docker.engine.do("POST", f"/containers/{name}/kill")
        thread.start()
        time.sleep(0.5)  # HAProxy asks the dead one, then the gate, then the provisioner, which stands still
        assert not answers
    thread.join()
    assert answers and answers[0].expect(200)
    assert docker.run(user, "wc -c < ~/big.txt").strip() == "300000"


@pytest.mark.release_only
def test_who_does_not_use_their_container_loses_it_and_no_file(fresh):
    stack = fresh(backend="docker", idle_timeout_seconds=2)
    shell = stack.shell("typing")
    stack.run("away", "echo mine > ~/mine.txt")

    def reaped():
        shell.send(b"true\n")
        assert stack.terminals("reap").returncode == 0
        return status(stack, "away") == "stopped"

    eventually(reaped, 20, what="the cleanup", interval=0.2)
    assert status(stack, "typing") == "running"
    assert list(stack.containers()) == [name_of("typing")]
    shell.send(b"echo $((6*7))\n")
    shell.read_until(b"42")
    shell.sock.close()
    assert stack.run("away", "cat ~/mine.txt") == "mine\n"


# --- the engine is away ---

def test_while_the_engine_is_away_those_who_run_go_on_and_others_are_told_to_come_again(fresh):
    with EngineProxy(docker_engine.engine()) as proxy:
        stack = fresh(backend="docker", docker_host=proxy.host)
        shell = stack.shell("alice")
        stack.run("bob", "true")
        stack.wait_hot("alice", "bob")
        with proxy.away():
            eventually(lambda: "does not answer" in stack.err(), 20, what="that it is noticed")
            assert stack.run("alice", "echo on") == "on\n"
            began = time.monotonic()
            answer = stack.execute("newcomer", "true").expect_error(503)
            assert answer.header("retry-after")
            assert "Docker" in answer.detail, answer.detail
            assert time.monotonic() - began < 15 * SLOW, "it waited for the engine"
            shell.send(b"echo $((6*7))\n")
            shell.read_until(b"42")
            # Somebody else removes one meanwhile, and nobody tells us.
            stack.engine = docker_engine.client()
            stack.engine.remove(stack.container("bob"))
        eventually(lambda: status(stack, "bob") == "stopped", 30, what="bob's end noticed")
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
        eventually(lambda: stack.execute("bob", "true").status == 200, 30, what="bob served")
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
        eventually(lambda: stack.execute(user, "true").status == 200, 30, what="service")
        stack.stop()


@pytest.mark.release_only
def test_an_engine_that_is_restarted_takes_its_containers_along_and_all_heals(fresh, user):
    own = docker_engine.Engine().start()
    try:
        image = docker_engine.image(own.socket)
        stack = fresh(backend="docker", docker_host=f"unix://{own.socket}", image=image)
        stack.run(user, "echo mine > ~/mine.txt")
        own.stop()
        eventually(lambda: status(stack, user) == "stopped", 30, what="that the container ended")
        stack.execute(user, "true").expect_error(503)
        own.start()
        eventually(lambda: stack.execute(user, "true").status == 200, 60, what="service after the restart")
        assert stack.run(user, "cat ~/mine.txt") == "mine\n"
        assert len(stack.containers()) == 1
        stack.stop()
    finally:
        own.remove()


def test_an_engine_behind_a_port(fresh, user):
    """A socket proxy that lets only some calls through, on a private network."""
    with EngineProxy(docker_engine.engine(), free_port()) as proxy:
        stack = fresh(start=False, backend="docker", docker_host=proxy.host)
        stack.engine = docker_engine.client()
        stack.start()
        assert stack.run(user, "echo far") == "far\n"
        with proxy.away():
            stack.execute("newcomer", "true").expect_error(503)
        eventually(lambda: stack.execute("newcomer", "true").status == 200, 30, what="service")
        stack.stop()


# --- while it starts ---

def test_a_stop_while_the_engine_makes_the_container_leaves_nothing(fresh, user):
    with EngineProxy(docker_engine.engine()) as proxy:
        stack = fresh(backend="docker", docker_host=proxy.host)
        for step in ("containers/create", r"containers/\w+/start"):
            go_on = threading.Event()
            proxy.hold = (step, go_on)
            seen = len(proxy.requests)
            thread = threading.Thread(target=lambda: stack.execute(user, "true"))
            thread.start()
            eventually(lambda step=step, seen=seen: any(re.search(step, line) for line in proxy.requests[seen:]), 20, what=step)
            stopping = threading.Thread(target=lambda: stack.admin("POST", f"/tenants/{user}/stop"))
            stopping.start()
            eventually(lambda: status(stack, user) == "stopping", 20, what="the stop")
            go_on.set()
            thread.join()
            stopping.join()
            proxy.hold = None
            assert not stack.containers()
            assert status(stack, user) == "stopped"
        assert stack.run(user, "echo fine") == "fine\n"
        stack.stop()
