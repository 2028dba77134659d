"""terminals-operator and the backend that asks it: what becomes of Terminal resources, whoever is killed and whatever is deleted."""
import contextlib
import datetime
import json
import os
import re
import signal
import threading

import pytest
from kubernetes_world import ACCOUNT, IMAGE, OperatorCluster, answers, kubernetes_stack, roles, selects
from stack import Stack, eventually

API = "openwebui.com/v1alpha1"


@pytest.fixture(scope="module")
def shared():
    """One stack for tests that break nothing for others."""
    with kubernetes_stack("kubernetes-operator") as stack:
        yield stack


@pytest.fixture
def cluster():
    one = OperatorCluster()
    yield one
    one.close()


def phase(cluster, name):
    return cluster.terminals().get(name, {}).get("status", {}).get("phase")


def expect_phase(cluster, name, wanted, timeout=15):
    eventually(lambda: phase(cluster, name) == wanted, timeout, what=f"phase {wanted} of {name}")


def name_of(stack, user):
    return stack.tenant(user)["instance_name"]


def apply(cluster, name, labels=None, **spec):
    body = {"apiVersion": API, "kind": "Terminal", "metadata": {"name": name, "labels": labels or {}}, "spec": spec}
    return cluster.api.create("terminals", API, "terminals", json.dumps(body).encode(), strict=True)


# --- what one sees ---

def test_a_terminal_says_how_it_is_and_describe_shows_events(shared, user):
    shared.run(user, "true")
    cluster, name = shared.cluster, name_of(shared, user)
    expect_phase(cluster, name, "Running")
    terminal = cluster.terminals()[name]
    status = terminal["status"]
    assert status["podName"] == status["serviceName"] == status["apiKeySecret"] == name
    assert status["serviceUrl"] == f"http://{name}.terminals.svc:8000"
    assert [(one["type"], one["status"]) for one in status["conditions"]] == [("Ready", "True")]

    def reasons():
        return [event["reason"] for event in cluster.api.all("events").values()
                if event["involvedObject"]["uid"] == terminal["metadata"]["uid"]]

    eventually(lambda: "Running" in reasons(), what="an event")
    for plural in ("pods", "services", "secrets"):
        owner, = cluster.api.all(plural)[name]["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("Terminal", terminal["metadata"]["uid"], True)
    assert "ownerReferences" not in cluster.api.all("persistentvolumeclaims")[name]["metadata"], "files would go with the Terminal"


def test_a_start_asks_little(shared, user):
    """Five calls an instance start beyond the writes, at most."""
    cluster, many = shared.cluster, 8
    shared.run(user, "true")
    before = len(cluster.calls())
    threads = [threading.Thread(target=shared.run, args=(f"{user}-{number}", "true")) for number in range(many)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    calls = [call for call in cluster.calls()[before:] if "/leases" not in call[1] and "watch=true" not in call[1]]
    reads = [call for call in calls if call[0] == "GET"]
    writes = [call for call in calls if call[0] != "GET" and "/events" not in call[1]]
    assert len(reads) <= 5 * many and not [call for call in calls if call[3] >= 400], reads
    # The Terminal, claim, secret, pod and service; and how it stands, two or three times.
    assert len(writes) <= 8 * many, writes


# --- what is deleted ---

@pytest.mark.parametrize("plural", ["pods", "services", "secrets", "terminals"])
def test_what_somebody_deletes_comes_back(shared, user, plural):
    shared.run(user, "echo kept > ~/kept")
    cluster, name = shared.cluster, name_of(shared, user)
    uid = cluster.api.get(plural, name)["metadata"]["uid"]
    cluster.api.delete(plural, "terminals", name, {})

    def is_back():
        assert shared.run(user, "cat ~/kept", timeout=30) == "kept\n"  # of a Terminal nothing comes back until somebody asks
        return (cluster.api.get(plural, name) or {"metadata": {"uid": uid}})["metadata"]["uid"] != uid

    eventually(is_back, 20, what=f"another of {plural}")
    expect_phase(cluster, name, "Running")
    eventually(lambda: shared.run(user, "cat ~/kept", timeout=30) == "kept\n" and shared.tenant(user)["status"] == "running", 15)


def test_a_pod_that_comes_back_elsewhere_is_followed_without_being_asked_for(shared, user):
    shared.run(user, "true")
    cluster, name = shared.cluster, name_of(shared, user)
    shared.wait_hot(user)
    old = cluster.pods()[name]
    cluster.api.delete("pods", "terminals", name, {"gracePeriodSeconds": 0})

    def follows():
        address = cluster.pods().get(name, {}).get("status", {}).get("podIP")
        routes = [value.split("|")[0] for value in shared.haproxy_map("routes").values()]
        return address and address != old["status"]["podIP"] and address in routes and old["status"]["podIP"] not in routes

    eventually(follows, 10, what="the route to the new pod")


def test_what_lost_its_owner_goes(cluster):
    cluster.collector.is_enabled = False  # the operator sees to it alone
    cluster.start_operator()
    apply(cluster, "mine", userId="alice", image=IMAGE)
    expect_phase(cluster, "mine", "Running")
    cluster.api.delete("terminals", "terminals", "mine", {"propagationPolicy": "Orphan"})
    cluster.expect_empty()
    assert list(cluster.api.all("persistentvolumeclaims")) == ["mine"], "a user's files went with the Terminal"


def test_a_terminal_deleted_in_the_foreground_goes_after_what_it_owns(shared, user):
    shared.run(user, "echo kept > ~/kept")
    cluster, name = shared.cluster, name_of(shared, user)
    uid = cluster.terminals()[name]["metadata"]["uid"]
    cluster.api.delete("terminals", "terminals", name, {"propagationPolicy": "Foreground"})
    eventually(lambda: cluster.api.get("terminals", name) is None and name not in cluster.pods(), 15, what="the end of both")
    eventually(lambda: shared.run(user, "cat ~/kept", timeout=30) == "kept\n", 15, what="another with the same files")
    assert cluster.terminals()[name]["metadata"]["uid"] != uid


# --- sleep ---

def test_what_nobody_uses_sleeps_and_the_next_request_wakes_it(shared, user):
    shared.run(user, "echo kept > ~/kept")
    cluster, name = shared.cluster, name_of(shared, user)
    uid = cluster.terminals()[name]["metadata"]["uid"]
    cluster.put_to_sleep(name)
    expect_phase(cluster, name, "Idle")
    eventually(lambda: name not in cluster.pods(), what="the end of the pod")
    eventually(lambda: shared.tenant(user)["status"] == "stopped", what="the provisioner's notice")
    assert name in cluster.api.all("persistentvolumeclaims") and "podName" not in cluster.terminals()[name]["status"]
    assert shared.run(user, "cat ~/kept", timeout=30) == "kept\n"
    expect_phase(cluster, name, "Running")
    assert cluster.terminals()[name]["metadata"]["uid"] == uid, "it was not woken but made anew"
    selector, labels = cluster.api.get("services", name)["spec"]["selector"], cluster.pods()[name]["metadata"]["labels"]
    assert selects(selector, labels), f"its service leads nowhere: {selector} {labels}"


@pytest.mark.parametrize("purge", [False, True], ids=["its_files_stay", "its_files_go"])
def test_a_sleeping_terminal_goes_with_its_tenant(shared, user, purge):
    shared.run(user, "echo kept > ~/kept")
    cluster, name = shared.cluster, name_of(shared, user)
    cluster.put_to_sleep(name)
    expect_phase(cluster, name, "Idle")
    eventually(lambda: shared.tenant(user)["status"] == "stopped", what="the provisioner's notice")
    shared.admin("DELETE", f"/tenants/{user}{'?purge=true' if purge else ''}").expect((200, 204))
    eventually(lambda: name not in cluster.terminals() and not any(name in cluster.api.all(plural) for plural in
                                                                   ("pods", "services", "secrets")), 15, what="the end of all of it")
    if purge:
        eventually(lambda: name not in cluster.api.all("persistentvolumeclaims"), 15, what="the end of the files")
    else:
        assert shared.run(user, "cat ~/kept", timeout=30) == "kept\n"


def test_a_tenant_deleted_while_its_pod_is_made_anew_does_not_come_back(shared, user):
    shared.run(user, "true")
    cluster, name = shared.cluster, name_of(shared, user)
    cluster.kubelet.has_room = False  # another pod finds no node
    try:
        cluster.api.delete("pods", "terminals", name, {"gracePeriodSeconds": 0})
        eventually(lambda: shared.tenant(user)["status"] != "running", what="the provisioner's notice")
        shared.admin("DELETE", f"/tenants/{user}").expect((200, 204))
    finally:
        cluster.kubelet.has_room = True
    eventually(lambda: name not in cluster.terminals() and name not in cluster.pods(), 15, what="the end of all of it")
    assert user not in [tenant["user_id"] for tenant in shared.tenants()]


def test_a_sleeping_terminals_tenant_is_not_forgotten_while_nobody_can_be_asked(cluster):
    with kubernetes_stack(cluster=cluster) as stack:
        stack.run("alice", "true")
        name = name_of(stack, "alice")
        cluster.put_to_sleep(name)
        eventually(lambda: stack.tenant("alice")["status"] == "stopped", 15, what="the provisioner's notice")
        cluster.api.go_away()
        eventually(lambda: stack.admin("DELETE", "/tenants/alice").status == 503, 15, what="a refusal")
        assert stack.tenant("alice")["status"] == "stopped"
        cluster.api.listen()
        eventually(lambda: stack.admin("DELETE", "/tenants/alice").status in (200, 204), 15, what="the deletion")
        eventually(lambda: name not in cluster.terminals(), 15, what="the end of the Terminal")
    cluster.expect_empty()


# --- who is woken while something is said of what was before ---

def status_path(name):
    return f"/apis/{API}/namespaces/terminals/terminals/{name}/status"


def patch_status(cluster, name, **status):
    body = json.dumps({"status": status}).encode()
    return cluster.api.patch("terminals", API, "terminals", name, body, strict=False, is_status=True)


def asked(stack, user):
    """A request under way, which wakes a Terminal: (thread, answers)."""
    answers_to = []
    thread = threading.Thread(target=lambda: answers_to.append(stack.execute(user, "echo here", timeout=60)))
    thread.start()
    return thread, answers_to


def test_a_failure_of_before_a_wake_up_is_not_told_to_who_wakes(shared, user):
    """The operator has decided that there is no room, and says so only when there is room again and somebody has asked."""
    shared.run(user, "true")
    cluster, name = shared.cluster, name_of(shared, user)
    cluster.api.quota = {"pods": 0}
    try:
        with cluster.api.held("PATCH", status_path(name), lambda body: body["status"].get("phase") == "Error") as is_decided:
            cluster.api.delete("pods", "terminals", name, {"gracePeriodSeconds": 0})
            eventually(is_decided.is_set, 30, what="the operator's word that there is no room")
            cluster.api.quota = {}
            eventually(lambda: shared.tenant(user)["status"] != "running", 15, what="the provisioner's notice")
            thread, answers_to = asked(shared, user)
            expect_phase(cluster, name, "Pending")
    finally:
        cluster.api.quota = {}
    thread.join()
    answers_to[0].expect(200)
    expect_phase(cluster, name, "Running")


def test_the_end_of_the_pod_before_is_not_told_to_who_wakes(cluster):
    """An operator that has heard of the wake-up, and not yet that it may make another pod, speaks of the one that ended."""
    with kubernetes_stack(cluster=cluster) as stack:
        stack.run("alice", "true")
        name, pod = name_of(stack, "alice"), cluster.pod("alice", stack)
        cluster.stop_operator()
        pod["status"].update(phase="Failed", reason="Evicted", message="The node was low on resource: memory.")
        assert cluster.api.put("pods", pod)
        eventually(lambda: stack.tenant("alice")["status"] != "running", 15, what="the provisioner's notice")
        thread, answers_to = asked(stack, "alice")
        expect_phase(cluster, name, "Pending")
        condition = {"type": "Ready", "status": "False", "reason": "PodEnded", "message": "its pod ended: Evicted"}
        patch_status(cluster, name, phase="Error", message="its pod ended: Evicted", conditions=[condition])
        cluster.start_operator()
        thread.join()
        answers_to[0].expect(200)
        assert cluster.pod("alice", stack)["metadata"]["uid"] != pod["metadata"]["uid"]
    cluster.expect_empty()


def test_who_wakes_does_not_wait_for_the_pause_after_a_pod_that_ended(cluster):
    """Pods that end soon are made anew with growing pauses; nobody who asks meanwhile is told of the last one."""
    cluster.start_operator()
    crash = {"spec": {"containers": [{"name": "open-terminal", "command": ["/bin/sh", "-c", "exit 7"]}]}}
    apply(cluster, "crash", userId="alice", image=IMAGE, persistence={"enabled": False}, podTemplate=crash)

    def wakes():
        """Once it is in such a pause: what had happened by then."""
        with cluster.api.lock:
            pod, said = cluster.pods().get("crash"), phase(cluster, "crash")
            made = sum(event[1:3] == ("ADDED", "pods") for event in cluster.api.history)
            if made < 3 or said != "Error" or pod is None or pod["status"]["phase"] != "Failed":
                return None
            patch_status(cluster, "crash", phase="Pending", lastActivityAt=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
            return len(cluster.api.history)

    known = eventually(wakes, 30, what="a pause after a pod that ended", interval=0.005)

    def since():
        with cluster.api.lock:
            return [(kind, plural, value.get("status", {}).get("phase")) for _, kind, plural, value in cluster.api.history[known:]]

    eventually(lambda: any(event[:2] == ("ADDED", "pods") for event in since()), 30, what="another pod")
    before = since()[:[event[:2] for event in since()].index(("ADDED", "pods"))]
    assert ("MODIFIED", "terminals", "Error") not in before, "what ended before was called a failure of what was asked for"
    cluster.api.delete("terminals", "terminals", "crash", {})
    cluster.expect_empty()


# --- Terminals that others make ---

def test_a_terminal_that_somebody_applies_is_served(cluster):
    cluster.start_operator()
    spec = {"containers": [{"name": "open-terminal", "workingDir": "/srv"}], "volumes": []}
    apply(cluster, "by-hand", userId="bob@example.org", contextId="chat:7", image=IMAGE, packages=["cowsay", "fig-let"],
          pipPackages="httpx polars", env=[{"name": "A", "value": "$(HOME)"}, {"name": "OPEN_TERMINAL_API_KEY", "value": "mine"}],
          podTemplate={"spec": spec}, resources={"limits": {"cpu": "2"}}, persistence={"enabled": False}, restricted=True)
    expect_phase(cluster, "by-hand", "Running")
    pod = cluster.pods()["by-hand"]
    ours, = pod["spec"]["containers"]
    env = {one["name"]: one.get("value") for one in ours["env"]}
    assert env == {"A": "$(HOME)", "OPEN_TERMINAL_PACKAGES": "cowsay fig-let", "OPEN_TERMINAL_PIP_PACKAGES": "httpx polars",
                   "OPEN_TERMINAL_API_KEY": None}
    assert ours["workingDir"] == "/srv" and ours["resources"]["limits"]["cpu"] == "2"
    assert ours["securityContext"]["allowPrivilegeEscalation"] is False
    assert pod["metadata"]["annotations"]["openwebui.com/user-id"] == "bob@example.org"
    assert not cluster.api.all("persistentvolumeclaims")
    eventually(lambda: answers(pod["status"]["podIP"]), what="an answer of the instance")
    cluster.api.delete("terminals", "terminals", "by-hand", {})
    cluster.expect_empty()


@pytest.mark.parametrize("spec, words", [
    ({"env": {"A": {"b": "c"}}}, "`spec.env.A` is no text"),
    ({"packages": 7}, "`spec.packages` is neither"),
    ({"contextId": "nonsense"}, "`spec.contextId`"),
    ({"podTemplate": {"spec": {"hostNetwork": True}}, "restricted": True}, "restricted"),
    ({"podTemplate": {"spec": {"hostNetwrk": True}}}, 'unknown field "spec.hostNetwrk"'),
])
def test_a_spec_that_cannot_be_says_why(shared, user, spec, words):
    name = re.sub(r"[^a-z0-9-]", "", user.lower()) + "-x"
    apply(shared.cluster, name, **{"userId": user, "image": IMAGE, **spec})
    expect_phase(shared.cluster, name, "Error")
    status = shared.cluster.terminals()[name]["status"]
    assert words in status["message"] and status["conditions"][0]["status"] == "False", status
    shared.cluster.api.delete("terminals", "terminals", name, {})


def test_what_the_backend_without_operator_made_is_replaced_and_its_files_stay(cluster):
    rules = cluster.api.rules[ACCOUNT + "terminals"]
    cluster.start_operator()
    cluster.api.rules[ACCOUNT + "terminals"] = roles("kubernetes")["terminals"]
    with Stack(**{**cluster.settings(), "backend": "kubernetes"}) as stack:
        stack.run("alice", "echo kept > ~/kept")
        stack.kill_all()  # its pod runs on, and its database goes
        stack.reaper = None
    cluster.api.rules[ACCOUNT + "terminals"] = rules
    name, = cluster.pods()
    uid = cluster.pods()[name]["metadata"]["uid"]
    with kubernetes_stack(cluster=cluster) as stack:
        assert stack.run("alice", "cat ~/kept", timeout=30) == "kept\n"
        assert cluster.pods()[name]["metadata"]["uid"] != uid and cluster.pods()[name]["metadata"]["ownerReferences"]
    cluster.expect_empty()


# --- what the kubelet hears ---

def test_a_leader_and_who_waits_for_the_lease_are_both_well_and_who_hangs_is_noticed(cluster):
    for name in ("operator-0", "operator-1"):
        cluster.start_operator(name)
        for kind in ("livenessProbe", "readinessProbe"):
            eventually(lambda kind=kind, name=name: cluster.probe_operator(kind, name) == (0, ""), 20, what=f"the {kind} of {name}")
    eventually(cluster.leader, 20, what="a leader")
    hung = cluster.operators[cluster.leader()]
    hung.send_signal(signal.SIGSTOP)
    name = next(name for name, process in cluster.operators.items() if process is hung)
    try:
        eventually(lambda: cluster.probe_operator(name=name)[0] == 1, 40, what="notice that it hangs")
        assert "has not been heard" in cluster.probe_operator(name=name)[1]
    finally:
        hung.send_signal(signal.SIGCONT)
    eventually(lambda: cluster.probe_operator(name=name) == (0, ""), 20, what="its recovery")


def test_an_operator_without_an_api_server_is_alive_and_not_ready(cluster):
    cluster.api.go_away()
    cluster.start_operator()
    eventually(lambda: cluster.probe_operator() == (0, ""), 20, what="life")
    eventually(lambda: "waits for the Kubernetes API server" in cluster.probe_operator("readinessProbe")[1], 20, what="that it is not ready")
    cluster.api.listen()
    eventually(lambda: cluster.probe_operator("readinessProbe") == (0, ""), 20, what="readiness")


# --- who is killed ---

def test_another_operator_takes_over(cluster):
    cluster.operators_settings["kubernetes_lease_seconds"] = 6  # who is slow must not lose it, and the test waits for its end
    cluster.start_operator("operator-0")
    eventually(lambda: cluster.leader() == "operator-0", 20, what="a leader")
    cluster.start_operator("operator-1")
    eventually(lambda: "watching pods" in cluster.operators_log("operator-1"), 20, what="the second operator")
    apply(cluster, "one", userId="alice", image=IMAGE)
    expect_phase(cluster, "one", "Running")
    assert cluster.leader() == "operator-0"
    cluster.stop_operator("operator-0")  # politely: at once
    eventually(lambda: cluster.leader() == "operator-1", 15, what="the second to lead")
    apply(cluster, "two", userId="bob", image=IMAGE)
    expect_phase(cluster, "two", "Running")
    cluster.start_operator("operator-0")
    cluster.stop_operator("operator-1", signal.SIGKILL)  # and when its lease has run out
    apply(cluster, "three", userId="carol", image=IMAGE)
    expect_phase(cluster, "three", "Running", 30)
    assert cluster.leader() == "operator-0"
    assert cluster.api.get("leases", "terminals-operator")["spec"]["leaseTransitions"] >= 2
    for name in list(cluster.terminals()):
        cluster.api.delete("terminals", "terminals", name, {})
    cluster.expect_empty()


def test_all_are_killed_in_turn_and_it_converges(cluster):
    with kubernetes_stack(cluster=cluster) as stack:
        stack.run("alice", "echo mine > ~/mine")
        asking = []
        for number in range(6):
            thread = threading.Thread(
                target=lambda who=f"victim-{number}": contextlib.suppress(Exception).__enter__() or stack.execute(who, "true", timeout=30))
            before = len(cluster.calls("POST"))
            thread.start()
            asking.append(thread)
            # Killed after as many writes as its number says, or, where it needs fewer, when it has started.
            eventually(lambda least=before + number, asked=thread: len(cluster.calls("POST")) >= least or not asked.is_alive(), 30,
                       what="a start", interval=0.001)
            if number % 3 == 0:
                cluster.stop_operator(number=signal.SIGKILL)
                cluster.start_operator()
            elif number % 3 == 1:
                os.kill(stack.one("terminals-provisioner"), signal.SIGKILL)
            else:
                cluster.api.go_away()
                cluster.api.listen()
            cluster.api.cut_watches()
            eventually(lambda: stack.run("alice", "cat ~/mine", timeout=10) == "mine\n", 30, what="service after a kill")
        for thread in asking:
            thread.join()

        def settled():
            tenants = stack.tenants()
            running = {tenant["instance_name"] for tenant in tenants if tenant["status"] == "running"}
            wrong = {plural: names ^ running for plural in ("terminals", "pods", "services", "secrets")
                     if (names := set(cluster.api.all(plural))) != running}
            assert not wrong, (wrong, {tenant["instance_name"]: (tenant["status"], tenant["error"]) for tenant in tenants})
            return True

        eventually(settled, 30, what="a Terminal, pod, service and secret for each running tenant and no other")
        assert stack.run("alice", "cat ~/mine") == "mine\n"
    cluster.expect_empty()


def test_a_pod_whose_key_cannot_be_read_at_the_moment_is_not_ended_for_it(cluster):
    with kubernetes_stack(cluster=cluster) as stack:
        stack.run("alice", "echo mine > ~/mine")
        pod = cluster.pod("alice", stack)
        with cluster.api.breaking("GET", "/api/v1/namespaces/terminals/secrets/") as asked:
            os.kill(stack.one("terminals-provisioner"), signal.SIGKILL)
            eventually(lambda: asked and "adopted at" in stack.err(), 15, what="its adoption all the same")
            assert stack.run("alice", "cat ~/mine") == "mine\n"
        assert stack.tenant("alice")["status"] == "running" and "did not outlive" not in stack.err()
        # It is watched as any other.
        cluster.api.delete("pods", "terminals", pod["metadata"]["name"], {"gracePeriodSeconds": 0})
        eventually(lambda: (cluster.pod("alice", stack) or pod)["metadata"]["uid"] != pod["metadata"]["uid"], 15, what="another pod")
        eventually(lambda: stack.run("alice", "echo here", timeout=5) == "here\n", 15, what="service by that one")
    cluster.expect_empty()


def test_without_an_operator_a_start_waits_for_one(cluster):
    with kubernetes_stack(cluster=cluster) as stack:
        cluster.stop_operator()
        answer = []
        thread = threading.Thread(target=lambda: answer.append(stack.run("alice", "echo late", timeout=60)))
        thread.start()
        eventually(cluster.terminals, what="the Terminal")
        cluster.start_operator()
        thread.join()
        assert answer == ["late\n"]


def test_doctor_and_gc_know_terminals(shared, user, other):
    shared.run(user, "true")
    shared.run(other, "true")
    cluster, name = shared.cluster, name_of(shared, user)
    cluster.put_to_sleep(name)
    eventually(lambda: shared.tenant(user)["status"] == "stopped", 15, what="sleep")
    shared.run(user, "true", timeout=30)
    labels = cluster.terminals()[name]["metadata"]["labels"]
    assert labels["terminals.instance-id"] == shared.tenant(user)["instance_id"], "gc would take it for nobody's"
    doctor = shared.terminals("doctor")
    assert "all that are needed in namespace" in doctor.stdout, doctor.stdout + doctor.stderr
