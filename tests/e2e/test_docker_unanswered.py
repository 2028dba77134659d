"""What stays without an answer: the engine's while its events go on, and instances' that run. Nothing is ended for that, and nothing is
left."""
import contextlib
import threading

import docker_engine
from docker_world import name_of, restart_provisioner, status
from engine_proxy import EngineProxy
from stack import eventually, route_key

INSPECT = r"GET \S*/containers/[\w-]+/json"
LIST = r"GET \S*/containers/json"
START = r"POST \S*/containers/\w+/start"
CREATE = r"POST \S*/containers/create"
DELETE = r"DELETE \S*/containers/"


@contextlib.contextmanager
def behind_a_proxy(fresh):
    with EngineProxy(docker_engine.engine()) as proxy:
        stack = fresh(backend="docker", docker_host=proxy.host)
        stack.engine = docker_engine.client()
        yield proxy, stack
        stack.stop()


@contextlib.contextmanager
def silenced(stack, user):
    """All of a user's container stands still, and the engine takes it for running."""
    def send(signal):
        body = {"Cmd": ["sh", "-c", f"kill -{signal} -1"], "AttachStdout": True}
        made = stack.engine.do("POST", f"/containers/{name_of(user)}/exec", body)
        stack.engine.do("POST", f"/exec/{made['Id']}/start", {"Detach": False, "Tty": False})

    send("STOP")
    try:
        yield
    finally:
        send("CONT")


# --- the engine ---

def test_what_could_not_be_removed_is_once_the_engine_answers(fresh, user):
    with behind_a_proxy(fresh) as (proxy, stack):
        with proxy.answering(START, 500), proxy.dropping(DELETE) as asked:
            stack.execute(user, "true").expect_error(502)
            assert asked and stack.containers()
        eventually(lambda: not stack.containers(), 30, what="the end of what did not start")


def test_one_that_was_made_without_an_answer_is_removed(fresh, user):
    with behind_a_proxy(fresh) as (proxy, stack):
        with proxy.losing(CREATE) as asked:
            stack.execute(user, "true").expect_error(503)
            assert asked
        eventually(lambda: not stack.containers(), 30, what="the end of what nobody was told of")


def test_one_that_cannot_be_looked_at_is_adopted_where_it_answers(fresh, user):
    with behind_a_proxy(fresh) as (proxy, stack):
        stack.run(user, "(setsid sleep 1000 &); true")
        before = stack.engine.inspect(name_of(user))["Id"]
        with proxy.answering(INSPECT, 500) as asked:
            restart_provisioner(stack)
            eventually(lambda: asked and "adopted at" in stack.err(), 30, what="its adoption")
            assert "sleep 1000" in stack.run(user, "ps")
        assert stack.engine.inspect(name_of(user))["Id"] == before
        assert "did not outlive" not in stack.err()


def test_one_that_cannot_be_looked_at_and_is_slow_is_not_ended_for_it(fresh, user):
    with behind_a_proxy(fresh) as (proxy, stack):
        stack.run(user, "(setsid sleep 1000 &); true")
        before = stack.engine.inspect(name_of(user))["Id"]
        with proxy.dropping(INSPECT):
            with silenced(stack, user):
                restart_provisioner(stack)
                eventually(lambda: status(stack, user) == "stopped", 30, what="that it is given up")
            assert stack.engine.inspect(name_of(user))["State"]["Running"]
        eventually(lambda: status(stack, user) == "running", 30, what="that it is taken back")
        assert "sleep 1000" in stack.run(user, "ps")
        assert stack.engine.inspect(name_of(user))["Id"] == before


def test_a_list_that_failed_is_asked_for_again(fresh, user):
    """Who ended while nobody listened is told by the list alone, and its address may be another's by now."""
    with behind_a_proxy(fresh) as (proxy, stack):
        stack.run(user, "true")
        stack.wait_hot(user)
        with proxy.answering(LIST, 500) as asked:
            with proxy.away():
                eventually(lambda: "does not answer" in stack.err(), 20, what="that it is noticed")
                stack.engine.remove(name_of(user))
            eventually(lambda: asked, 30, what="the list")
        eventually(lambda: route_key(user) not in stack.haproxy_map("routes"), 30, what="the end of its route")
        assert status(stack, user) == "stopped"


# --- instances ---

def leave_running(stack, *users):
    """Something that only a container lives on with; returns the containers' ids."""
    for user in users:
        stack.run(user, "(setsid sleep 1000 &); true")
    return [stack.engine.inspect(name_of(user))["Id"] for user in users]


def expect_running(stack, containers, *users):
    for user in users:
        assert "sleep 1000" in stack.run(user, "ps", timeout=30)
    assert [stack.engine.inspect(name_of(user))["Id"] for user in users] == containers


def test_one_that_takes_no_connection_for_a_while_is_not_ended(fresh, user):
    stack = fresh(backend="docker")
    before = leave_running(stack, user)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(stack.recover(user)))
    with silenced(stack, user):
        thread.start()
        eventually(lambda: f"instance `{name_of(user)}` runs, but" in stack.err(), 20, what="that it is noticed")
    thread.join()
    assert answers and answers[0].expect(200)
    expect_running(stack, before, user)
    eventually(lambda: f"instance `{name_of(user)}` answers again" in stack.err(), 20, what="the end of its silence")


def test_who_is_silent_when_a_provisioner_starts_is_kept(fresh, user, other):
    """One that the provisioner knows of, and one that it finds."""
    stack = fresh(backend="docker")
    before = leave_running(stack, user, other)
    with silenced(stack, user), silenced(stack, other):
        restart_provisioner(stack, meanwhile=lambda: stack.sql(f"DELETE FROM tenants WHERE user_id = '{other}'"))
        eventually(lambda: f"container `{name_of(user)}` is kept, though" in stack.err(), 40, what="its adoption")
        eventually(lambda: f"instance {name_of(other)} found and adopted" in stack.err(), 40, what="the other's")
    expect_running(stack, before, user, other)
