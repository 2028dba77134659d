"""Warm containers: kept ready without a home, and handed over with their user's folder mounted in them."""
import os
import re
import signal
import threading

import docker_engine
from docker_world import name_of, restart_provisioner
from engine_proxy import EngineProxy
from stack import eventually


def keep_warm(stack, count, **data):
    stack.admin("PUT", "/policies/default", json_body={"data": {"warm": count, **data}}).expect(200)


def warm(stack):
    return stack.admin("GET", "/stats").expect(200).json()["warm_starts"]


def wait_ready(stack, count):
    eventually(lambda: warm(stack)["ready"] == count, 60, what=f"{count} warm containers")


def test_a_warm_container_becomes_its_users_with_his_own_folder(fresh):
    stack = fresh(backend="docker")
    (stack.home("ann")).mkdir(parents=True)
    (stack.home("ann") / "before").write_text("mine\n")
    keep_warm(stack, 2)
    wait_ready(stack, 2)
    before = {entry["Id"] for entry in stack.containers().values()}
    assert stack.run("ann", "cat ~/before; echo new > ~/after; id -u; ls -1 ~") == "mine\n1000\nafter\nbefore\n"
    assert (stack.home("ann") / "after").read_text() == "new\n"
    assert stack.run("bob", "echo his > ~/his; ls ~") == "his\n"
    assert (warm(stack)["hits"], warm(stack)["misses"]) == (2, 0)
    names = eventually(lambda: {name: entry["Id"] for name, entry in stack.containers().items()
                                if name in (name_of("ann"), name_of("bob"))}, 20)
    assert len(names) == 2 and set(names.values()) == before, "they were not those that were ready"
    # A successor knows whose they are, and keeps the rest.
    wait_ready(stack, 2)
    restart_provisioner(stack)
    wait_ready(stack, 2)
    assert stack.run("ann", "cat ~/after") == "new\n" and stack.run("bob", "cat ~/his") == "his\n"
    assert {stack.containers()[name]["Id"] for name in names} == before
    # And one that was handed over in front of a successor can be so behind it.
    assert stack.run("carl", "touch ~/f; ls ~") == "f\n" and (stack.home("carl") / "f").exists()
    stack.admin("POST", "/tenants/ann/stop").expect(200)
    eventually(lambda: name_of("ann") not in stack.containers(), 20)
    assert stack.run("ann", "cat ~/before") == "mine\n"
    keep_warm(stack, 0)
    eventually(lambda: len(stack.containers()) == 3, 30)


def test_a_container_whose_maker_died_before_it_noted_it_is_removed(fresh):
    with EngineProxy(docker_engine.engine()) as proxy:
        stack = fresh(backend="docker", docker_host=proxy.host)
        keep_warm(stack, 1)
        wait_ready(stack, 1)
        (name, entry), = stack.containers().items()
        go_on, before = threading.Event(), len(proxy.requests)

        def leave_it():
            """As the last provisioner leaves it that asks for a container, and does not live to hear the answer."""
            stack.sql("UPDATE tenants SET status = 'provisioning', backend_reference = NULL, host = NULL, port = NULL")
            proxy.hold = (rf"GET \S*/containers/{name}/json", go_on)

        restart_provisioner(stack, meanwhile=leave_it)
        # The list comes while the instance may still prove to be the container's; only then it proves not to be.
        eventually(lambda: any("/containers/json" in line for line in proxy.requests[before:]), 20, what="the list")
        eventually(lambda: any(re.search(proxy.hold[0], line) for line in proxy.requests[before:]), 20, what="a look at the container")
        assert stack.containers() and stack.tenants() == []
        go_on.set()
        eventually(lambda: entry["Id"] not in {one["Id"] for one in stack.containers().values()}, 30, what=f"the end of {name}")
        wait_ready(stack, 1)
        assert len(stack.containers()) == 1
        stack.stop(timeout=60)


def test_a_killed_provisioner_in_the_middle_leaves_no_container_with_anothers_folder(fresh):
    stack = fresh(backend="docker")
    keep_warm(stack, 1)
    for number, delay in enumerate((0, 0.003, 0.006)):
        wait_ready(stack, 1)
        user = f"user-{number}"
        provisioner = stack.one("terminals-provisioner")
        with stack.connect() as sock:
            body = b'{"command": "echo ' + user.encode() + b' >> ~/me"}'
            sock.sendall(b"POST /execute?wait=5 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + stack.key.encode() +
                         b"\r\nX-User-Id: " + user.encode() + b"\r\nContent-Type: application/json\r\nContent-Length: " +
                         str(len(body)).encode() + b"\r\n\r\n" + body)
            os.sched_yield()
            signal.sigtimedwait([], delay)
            os.kill(provisioner, signal.SIGKILL)
            eventually(lambda: stack.admin("GET", "/status").status == 200, 30)
            assert set(stack.run(user, "cat ~/me 2>/dev/null").split()) <= {user}
    wait_ready(stack, 1)
    assert stack.run("somebody-else", "ls ~") == ""
    running = [row for row in stack.tenants() if row["status"] == "running"]
    eventually(lambda: len(stack.containers()) == len(running) + warm(stack)["ready"], 30)
