"""A provisioner that begins anew, before pods that run: whatever is said of them at the moment, they go on."""
import pytest
from kubernetes_world import OperatorCluster, begin_anew, kubernetes_stack
from stack import eventually


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
        cluster.start_operator()
    cluster.expect_empty()
