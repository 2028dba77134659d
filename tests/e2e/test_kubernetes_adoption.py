"""A provisioner that begins anew, before pods that run: whatever is said of them at the moment, they go on."""
import contextlib
import os
import signal

import pytest
from kubernetes_world import OperatorCluster, begin_anew, kubernetes_stack
from stack import eventually

SECRETS = "/api/v1/namespaces/terminals/secrets/"


@pytest.fixture
def cluster():
    one = OperatorCluster()
    yield one
    one.close()


def expect_the_same(stack, pod):
    assert "did not outlive" not in stack.err()
    assert stack.run("alice", "cat ~/mine") == "mine\n"
    assert stack.cluster.pod("alice", stack)["metadata"]["uid"] == pod["metadata"]["uid"], "the pod that ran was ended"


def test_what_the_operator_cannot_do_at_the_moment_ends_no_pod_that_runs(cluster):
    """An `Error` may be about the service of a pod, or about its claim."""
    with kubernetes_stack(cluster=cluster) as stack:
        stack.run("alice", "echo mine > ~/mine")
        pod = cluster.pod("alice", stack)
        cluster.stop_operator()
        condition = {"type": "Ready", "status": "False", "reason": "CannotBeMade", "message": "403 Forbidden"}
        cluster.patch_status(pod["metadata"]["name"], phase="Error", message="403 Forbidden", conditions=[condition])
        begin_anew(stack)
        eventually(lambda: "adopted at" in stack.err() or "did not outlive" in stack.err(), 30, what="a decision about what runs")
        expect_the_same(stack, pod)
    cluster.expect_empty()


def test_a_pod_whose_key_is_not_told_in_time_is_not_ended_for_it(cluster):
    with kubernetes_stack(cluster=cluster) as stack:
        stack.run("alice", "echo mine > ~/mine")
        pod = cluster.pod("alice", stack)
        with contextlib.ExitStack() as block:
            asked = [block.enter_context(cluster.api.held("GET", SECRETS + pod["metadata"]["name"])) for _ in range(10)]
            begin_anew(stack)
            eventually(lambda: "adopted at" in stack.err() or "did not outlive" in stack.err(), 30, what="a decision about what runs")
            assert asked[0].is_set() and not asked[-1].is_set()
            expect_the_same(stack, pod)
    cluster.expect_empty()


def test_an_adoption_ends_though_its_pod_is_replaced_by_one_that_does_not_come(cluster):
    with kubernetes_stack(cluster=cluster) as stack:
        stack.run("alice", "true")
        pod = cluster.pod("alice", stack)
        name = pod["metadata"]["name"]
        os.kill(cluster.kubelet.process_of(pod).pid, signal.SIGSTOP)
        known = len(cluster.calls("GET", f"secrets/{name}", 200))
        begin_anew(stack)
        eventually(lambda: len(cluster.calls("GET", f"secrets/{name}", 200)) > known, 30, what="the question for its key")
        with contextlib.suppress(AssertionError):  # whoever looks for strangers may ask, too
            eventually(lambda: len(cluster.calls("GET", f"secrets/{name}", 200)) > known + 1, 2)
        cluster.kubelet.has_room = False
        cluster.api.delete("pods", "terminals", name, {"gracePeriodSeconds": 0})
        eventually(lambda: "did not outlive" in stack.err(), 30, what="the end of the adoption")
        assert stack.tenant("alice")["status"] in ("stopped", "error")
        cluster.kubelet.has_room = True
        assert stack.run("alice", "echo here") == "here\n"
    cluster.expect_empty()


def program_after(cluster, seconds):
    """The instance's program, which begins so late."""
    path = cluster.folder / f"after-{seconds}"
    path.write_text(f'#!/bin/sh\nsleep {seconds}; exec {cluster.kubelet.program} "$@"\n')
    path.chmod(0o755)
    return path


def expect_route_to_another(stack, pod):
    def follows():
        address = stack.cluster.pods().get(pod["metadata"]["name"], {}).get("status", {}).get("podIP")
        routes = [value.split("|")[0] for value in stack.haproxy_map("routes").values()]
        return address and address != pod["status"]["podIP"] and address in routes

    eventually(follows, 60, what="the route to the new pod")
    assert stack.run("alice", "cat ~/mine") == "mine\n"


def test_a_pod_that_is_made_anew_may_take_as_long_as_a_start(cluster):
    """Its packages are installed before it answers, say."""
    with kubernetes_stack(cluster=cluster) as stack:
        stack.run("alice", "echo mine > ~/mine")
        pod = cluster.pod("alice", stack)
        terminal = cluster.terminal("alice", stack)["metadata"]["uid"]
        cluster.kubelet.program = program_after(cluster, 11)
        cluster.api.delete("pods", "terminals", pod["metadata"]["name"], {"gracePeriodSeconds": 0})
        expect_route_to_another(stack, pod)
        assert cluster.terminal("alice", stack)["metadata"]["uid"] == terminal, "its Terminal was deleted"
    cluster.expect_empty()


def test_a_pod_that_goes_before_it_has_answered_does_not_take_its_terminal_with_it(cluster):
    with kubernetes_stack(cluster=cluster, start_timeout_seconds=8) as stack:
        stack.run("alice", "echo mine > ~/mine")
        pod = cluster.pod("alice", stack)
        name, program = pod["metadata"]["name"], cluster.kubelet.program
        terminal = cluster.terminal("alice", stack)["metadata"]["uid"]
        known = len(cluster.calls("GET", f"secrets/{name}", 200))
        cluster.kubelet.program = program_after(cluster, 3600)
        cluster.api.delete("pods", "terminals", name, {"gracePeriodSeconds": 0})
        eventually(lambda: len(cluster.calls("GET", f"secrets/{name}", 200)) > known, 30, what="a look at the pod that does not answer")
        cluster.kubelet.program, cluster.kubelet.delay = program, 12  # the next comes when that one has been given up
        cluster.api.delete("pods", "terminals", name, {"gracePeriodSeconds": 0})
        expect_route_to_another(stack, pod)
        assert cluster.terminal("alice", stack)["metadata"]["uid"] == terminal, "its Terminal was deleted"
    cluster.expect_empty()
