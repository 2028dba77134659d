"""Both Kubernetes backends: a user's files go when they shall, and no file of anybody who has come back meanwhile."""
import threading

import pytest
from kubernetes_world import BACKENDS, begin_anew, kubernetes_stack
from stack import eventually

PODS = "/api/v1/namespaces/terminals/pods"


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


def reset(stack, user):
    return stack.admin("POST", "/terminals/refresh", json_body={"user_id": user, "only_idle": False, "reset": True}, timeout=90)


def expect_end_of(stack, pod):
    eventually(lambda: pod not in stack.cluster.pods(), 30, what=f"the end of {pod}")


def test_a_purge_that_outlives_its_provisioner_takes_no_file_of_the_next_instance(backend):
    with kubernetes_stack(backend) as stack:
        stack.run("alice", "echo old > ~/old")
        pod = stack.tenant("alice")["instance_name"] + "-purge"
        stack.cluster.kubelet.delay = 4
        thread = threading.Thread(target=reset, args=(stack, "alice"))  # who answers that is killed
        thread.start()
        eventually(lambda: pod in stack.cluster.pods(), 30, what="the pod that empties the claim", interval=0.005)
        begin_anew(stack)
        stack.cluster.kubelet.delay = 0.01
        eventually(lambda: stack.run("alice", "echo new > ~/new; echo done", timeout=30) == "done\n", 60, what="service")
        thread.join()
        expect_end_of(stack, pod)
        assert stack.run("alice", "ls ~") == "new\n"


def test_a_purge_whose_pod_nobody_was_told_of_takes_no_file_of_the_next_instance(backend):
    with kubernetes_stack(backend) as stack:
        stack.run("alice", "echo old > ~/old")
        pod = stack.tenant("alice")["instance_name"] + "-purge"
        stack.cluster.kubelet.delay = 2
        with stack.cluster.api.breaking("POST", PODS, after=True) as asked:
            assert reset(stack, "alice").expect(200).json()["reset"] == 0
        assert asked
        stack.cluster.kubelet.delay = 0.01
        stack.run("alice", "echo new > ~/new", timeout=30)
        expect_end_of(stack, pod)
        assert stack.run("alice", "cat ~/new") == "new\n"
        assert reset(stack, "alice").expect(200).json()["reset"] == 1
        assert stack.run("alice", "ls ~") == ""


def test_a_purge_pod_whose_end_nobody_answered_goes_later_and_blocks_no_purge(backend):
    """Nothing but the one answer is lost: the watches go on, so no list tells of what is left."""
    with kubernetes_stack(backend) as stack:
        stack.run("alice", "echo old > ~/old")
        pod = stack.tenant("alice")["instance_name"] + "-purge"
        with stack.cluster.api.breaking("DELETE", f"{PODS}/{pod}") as asked:
            assert reset(stack, "alice").expect(200).json()["reset"] == 1
        assert asked and pod in stack.cluster.pods()
        expect_end_of(stack, pod)
        assert reset(stack, "alice").expect(200).json()["reset"] == 1


def test_a_start_waits_for_a_purge_pod_that_found_no_node_and_stays(backend):
    with kubernetes_stack(backend) as stack:
        stack.run("alice", "echo old > ~/old")
        pod = stack.tenant("alice")["instance_name"] + "-purge"
        stack.cluster.kubelet.has_room = False
        with stack.cluster.api.breaking("DELETE", f"{PODS}/{pod}"):
            assert reset(stack, "alice").expect(200).json()["reset"] == 0
        stack.cluster.kubelet.has_room = True
        stack.run("alice", "echo new > ~/new")
        expect_end_of(stack, pod)
        assert stack.run("alice", "cat ~/new") == "new\n"


def test_a_purge_ends_though_its_pod_came_and_went_unseen():
    """While no watch was open. Of a pod that was never seen, nobody hears that it is gone."""
    with kubernetes_stack() as stack:
        stack.run("alice", "echo old > ~/old")
        stack.admin("POST", "/terminals/stop", json_body={"user_id": "alice"}).expect(200)
        api, pod, answers = stack.cluster.api, stack.tenant("alice")["instance_name"] + "-purge", []
        stack.cluster.kubelet.delay = 3600
        with api.held("GET", PODS) as is_away:
            api.cut_watches()
            eventually(is_away.is_set, 30, what="another watch")
            thread = threading.Thread(target=lambda: answers.append(reset(stack, "alice")))
            thread.start()
            eventually(lambda: stack.cluster.calls("POST", "pods", 201)[1:], 30, what="the pod that empties the claim")
            api.remove("pods", pod)
            api.compact()
        thread.join()
        assert answers[0].expect(200).json()["reset"] == 0
        stack.cluster.kubelet.delay = 0.01
        assert reset(stack, "alice").expect(200).json()["reset"] == 1


def test_a_sleeping_terminal_is_not_overlooked_before_all_have_been_listed():
    with kubernetes_stack("kubernetes-operator") as stack:
        cluster = stack.cluster
        stack.run("alice", "true")
        name = stack.tenant("alice")["instance_name"]
        cluster.put_to_sleep(name)
        eventually(lambda: stack.tenant("alice")["status"] == "stopped", 15, what="the provisioner's notice")
        cluster.api.go_away()
        begin_anew(stack)
        eventually(lambda: stack.admin("DELETE", "/tenants/alice?purge=true").status == 503, 30, what="a refusal")
        cluster.api.listen()
        eventually(lambda: stack.admin("DELETE", "/tenants/alice?purge=true").status in (200, 204), 30, what="the deletion")
        eventually(lambda: name not in cluster.terminals() and name not in cluster.api.all("persistentvolumeclaims"), 15,
                   what="the end of the Terminal and the files")
