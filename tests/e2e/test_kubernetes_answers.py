"""Both Kubernetes backends, where the API server's answers are late, lost, or odd."""
import contextlib
import copy
import threading

import pytest
from kubernetes_world import API, Cluster, OperatorCluster, begin_anew, kubernetes_stack
from stack import eventually

CORE = "/api/v1/namespaces/terminals"
TERMINALS = f"/apis/{API}/namespaces/terminals/terminals"


@pytest.fixture
def cluster():
    one = OperatorCluster()
    yield one
    one.close()


def stop(stack, user):
    return stack.admin("POST", "/terminals/stop", json_body={"user_id": user}, timeout=20)


# --- odd ---

def test_a_pod_that_was_made_without_a_uid_fails_its_start_and_nothing_else():
    with kubernetes_stack() as stack:
        provisioner = stack.one("terminals-provisioner")
        with stack.cluster.api.answering("POST", f"{CORE}/pods", 201, {}):
            assert "without a uid" in stack.execute("alice", "true").expect_error(502).detail
        assert stack.run("alice", "echo here") == "here\n"
        assert stack.one("terminals-provisioner") == provisioner


def without_address(status):
    del status["podIP"], status["podIPs"]


def with_a_sidecar_that_crashes(status):
    status["initContainerStatuses"] = [{"name": "side", "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}}]


@pytest.mark.parametrize("backend, change", [("kubernetes", without_address), ("kubernetes", with_a_sidecar_that_crashes),
                                             ("kubernetes-operator", with_a_sidecar_that_crashes)])
def test_what_a_pods_status_says_beside_it_ends_no_instance_that_runs(backend, change):
    with kubernetes_stack(backend) as stack:
        stack.run("alice", "echo mine > ~/mine")
        pod = stack.cluster.pod("alice", stack)
        said = copy.deepcopy(pod)
        change(said["status"])
        assert stack.cluster.api.put("pods", said)
        stack.run("bob", "true")  # whose pod is told of after that
        assert stack.tenant("alice")["status"] == "running"
        assert stack.run("alice", "cat ~/mine") == "mine\n"
        assert stack.cluster.pod("alice", stack)["metadata"]["uid"] == pod["metadata"]["uid"]
        assert stack.cluster.api.put("pods", pod)


# --- not now ---

def test_a_service_and_a_secret_go_after_their_pod_though_nobody_knows_it():
    """Nobody has a row of it, it is on its way out, and then the API server cannot do what it is asked for at first."""
    cluster = Cluster()
    try:
        with kubernetes_stack(cluster=cluster) as stack:
            stack.run("alice", "true")
            pod = cluster.pod("alice", stack)
            stack.kill_all()  # the database goes with its folder
            stack.reaper = None
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        cluster.kubelet.known.add(uid)  # whose end it leaves to us
        cluster.api.delete("pods", "terminals", name, {})
        known = len(cluster.calls("GET", "secrets?"))
        busy = {"kind": "Status", "reason": "InternalError", "message": "etcdserver: leader changed", "code": 500}
        with cluster.api.answering("DELETE", f"{CORE}/secrets/{name}", 500, busy), kubernetes_stack(cluster=cluster):
            eventually(lambda: len(cluster.calls("GET", "secrets?")) > known, 30, what="a look at what is left")
            cluster.api.remove("pods", name)
            eventually(lambda: not cluster.api.all("services") and not cluster.api.all("secrets"), 40, what="the end of both")
            assert cluster.calls("DELETE", f"secrets/{name}", 500)
        eventually(lambda: cluster.expect_empty() is None, what="the end of all")
    finally:
        cluster.close()


# --- lost ---

def test_a_terminal_whose_end_nobody_answered_goes_though_no_pod_of_it_runs(cluster):
    """Nothing but the one answer is lost: the watches go on, so no list tells of what is left."""
    with kubernetes_stack(cluster=cluster) as stack:
        stack.admin("POST", "/policies", json_body={"id": "noimage", "data": {"image": "no/such:1"}}).expect(201)
        with cluster.api.breaking("DELETE", f"{TERMINALS}/") as asked:
            assert "no/such:1" in stack.execute("alice", "true", prefix="/p/noimage").expect_error(502).detail
            assert asked and cluster.terminals()
        eventually(lambda: not cluster.terminals() and not cluster.pods(), 30, what="the end of the Terminal and its pod")
    cluster.expect_empty()


# --- late ---

def test_a_stop_does_not_wait_for_the_word_of_when_it_was_used(cluster):
    with kubernetes_stack(cluster=cluster) as stack:
        stack.run("alice", "true")
        name = stack.tenant("alice")["instance_name"]
        begin_anew(stack)  # who writes down at once when it is used
        eventually(lambda: "adopted at" in stack.err(), 30, what="the adoption of what runs")
        with cluster.api.held("PATCH", cluster.status_path(name), lambda body: "lastActivityAt" in body["status"]) as is_written:
            stack.run("alice", "true")
            eventually(lambda: stack.terminals("reap") and is_written.is_set(), 30, what="the word of when it was used")
            stop(stack, "alice").expect(200)
        assert stack.tenant("alice")["status"] == "stopped"
    cluster.expect_empty()


def test_a_stop_is_answered_though_what_it_waits_for_ends_first(cluster):
    with kubernetes_stack(cluster=cluster) as stack:
        stack.run("alice", "true")
        name = stack.tenant("alice")["instance_name"]
        stop(stack, "alice").expect(200)
        with cluster.api.held("GET", f"{CORE}/secrets/{name}") as is_asked_for:
            starting = threading.Thread(target=stack.execute, args=("alice", "true"))
            starting.start()
            eventually(is_asked_for.is_set, 30, what="the question for its key")
            answers = []
            stopping = threading.Thread(target=lambda: answers.append(stop(stack, "alice")))
            stopping.start()
            eventually(lambda: stack.tenant("alice")["status"] == "stopping", 30, what="the stop")
            cluster.api.delete("terminals", "terminals", name, {})
            stopping.join()
            starting.join()
            assert [answer.status for answer in answers] == [200]
        assert stack.tenant("alice")["status"] == "stopped"
    cluster.expect_empty()


def test_a_terminal_that_is_made_during_a_list_is_not_gone_because_that_lacks_it(cluster):
    with kubernetes_stack(cluster=cluster) as stack:
        stack.run("bob", "true")
        known = len(cluster.calls("POST", "terminals?", 201))
        with contextlib.ExitStack() as block:
            lists = [block.enter_context(cluster.api.held("GET", TERMINALS, query="limit=", after=True)) for _ in ("provisioner", "operator")]
            cluster.api.compact()
            cluster.api.cut_watches()
            eventually(lambda: all(one.is_set() for one in lists), 30, what="both lists")
            answers = []
            thread = threading.Thread(target=lambda: answers.append(stack.execute("alice", "true")))
            thread.start()
            eventually(lambda: len(cluster.calls("POST", "terminals?", 201)) > known, 30, what="the Terminal")
        thread.join()
        answers[0].expect(200)
    cluster.expect_empty()
