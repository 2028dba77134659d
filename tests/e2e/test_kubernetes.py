"""Both Kubernetes backends against an API server as strict as the real one: who asks, gets a pod; what becomes of it.

What is of one of them alone: test_kubernetes_operator.py, test_kubernetes_credentials.py, test_kubernetes_manifests.py.
"""
import contextlib
import datetime
import ipaddress
import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest
import yaml
from kubernetes_world import ACCOUNT, BACKENDS, IMAGE, KINDS, Cluster, kubernetes_stack, manifests, restricted_problems, roles, selects
from stack import OURS, REPOSITORY, SLOW, eventually


@pytest.fixture(scope="module", params=BACKENDS)
def shared(request):
    """One stack for tests that break nothing."""
    with kubernetes_stack(request.param) as stack:
        yield stack


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


def has_operator(stack):
    return stack.settings["backend"] == "kubernetes-operator"


def policy(stack, name, data):
    stack.admin("POST", "/policies", json_body={"id": name, "data": data}).expect(201)


def expect_gone_pod(stack, name):
    eventually(lambda: name not in stack.cluster.pods(), 10, what=f"the end of pod {name}")


def expect_no_route(stack, address):
    eventually(lambda: not [value for value in stack.haproxy_map("routes").values() if value.startswith(address + "|")], 5,
               what=f"the end of the route to {address}", interval=0.005)


# --- the main job ---

def test_a_request_reaches_a_pod_cold_and_hot(shared, user):
    assert shared.run(user, "echo hello") == "hello\n"
    shared.wait_hot(user)
    before = len(shared.cluster.calls())
    with shared.stopped(*OURS):
        answer = shared.request(user, "POST", "/execute?wait=5", {"command": "echo hot"}, timeout=5).expect(200).json()
        assert answer["status"] == "done"
    asked = [call for call in shared.cluster.calls()[before:] if call[2] == ACCOUNT + "terminals"]
    assert not asked, "a request of a user made us ask the API server"


def test_every_policy_and_context_has_a_pod_and_a_claim_of_its_own(shared, user):
    policy(shared, "team-x", {"env": {"TEAM": "$x$(HOME)$$"}})
    seen = {}
    for prefix, context in (("", None), ("/p/team-x", None), ("", "chat:1"), ("/p/team-x", "chat:1"), ("", "chat:2")):
        headers = {} if context is None else {"X-Terminal-Context-Id": context}
        for heat in ("cold", "hot"):
            text = shared.run(user, f"echo {prefix}{context} >> ~/mark; cat ~/mark", prefix=prefix, headers=headers)
            assert text == f"{prefix}{context}\n" * (1 if heat == "cold" else 2), text
        query = {"policy_id": "team-x" if prefix else "default", "context_id": context or "default"}
        seen[shared.tenant(user, **query)["instance_name"]] = context
        if prefix:
            assert shared.run(user, "echo $TEAM", prefix=prefix, headers=headers) == "$x$(HOME)$$\n"
    assert len(seen) == 5 and set(seen) <= set(shared.cluster.pods())
    assert set(seen) <= set(shared.cluster.api.all("persistentvolumeclaims"))


@pytest.mark.parametrize("name", ["alice@example.org", "Ünï cödé/../x", "a" * 200, "-dash-", "UPPER_case.ok"])
def test_any_user_id_works(shared, name):
    user = name.encode()
    assert shared.run(user, "echo me") == "me\n"
    tenant = next(one for one in shared.tenants() if one["user_id"] == name)
    meta = shared.cluster.api.get("pods", tenant["instance_name"])["metadata"]
    full = meta.get("annotations", {}).get("openwebui.com/user-id") or meta["labels"]["openwebui.com/user-id"]
    assert full == name


def test_a_terminal_works_in_a_pod(shared, user):
    with shared.shell(user) as shell:
        shell.send(b"echo $((6*7))\n")
        shell.read_until(b"42")


def test_the_key_is_in_a_secret_and_in_no_pod(shared, user):
    shared.run(user, "true")
    pod = shared.cluster.pod(user, shared)
    environment = {entry["name"]: entry for entry in pod["spec"]["containers"][0]["env"]}
    assert set(environment["OPEN_TERMINAL_API_KEY"]) == {"name", "valueFrom"}
    assert pod["spec"]["automountServiceAccountToken"] is False and pod["spec"]["enableServiceLinks"] is False
    eventually(lambda: set(shared.cluster.api.all("secrets")) == set(shared.cluster.pods()) == set(shared.cluster.api.all("services")),
               what="a secret and a service for each pod and no other")


def test_a_start_asks_no_more_than_it_must(shared, user, other):
    def start(who):
        nonlocal before
        before = len(shared.cluster.calls())
        shared.run(who, "true")
        # Nothing of a start waits for its service.
        eventually(lambda: len(asked("POST")) >= 4, what="all that a start makes")

    def asked(method):
        calls = [(one[0], one[1].split("?")[0].partition("/namespaces/terminals/")[2].split("/")[0]) for one in shared.cluster.calls()[before:]]
        return sorted(kind for which, kind in calls if which == method and kind not in ("terminals", "leases", "events"))

    before = 0
    start(other)  # meanwhile whoever has just begun lists what there is
    eventually(lambda: all(shared.cluster.calls("GET", f"{plural}?") for plural in ("pods", "services", "secrets")), what="these lists")
    start(user)
    assert asked("POST") == ["persistentvolumeclaims", "pods", "secrets", "services"]
    assert len(asked("GET")) <= 1, asked("GET")


def test_fifty_at_once(backend):
    with kubernetes_stack(backend, start_concurrency=64) as stack:
        answers = {}

        def one(number):
            answers[number] = stack.run(f"many-{number}", f"echo {number}", timeout=60)

        threads = [threading.Thread(target=one, args=(number,)) for number in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == {number: f"{number}\n" for number in range(50)}
        assert len(stack.cluster.pods()) == 50
        assert not stack.cluster.calls(status=409) and not stack.cluster.calls(status=422)


# --- files ---

def test_a_claim_survives_a_stop_and_purge_removes_it(shared, user):
    shared.run(user, "echo kept > ~/kept")
    name = shared.tenant(user)["instance_name"]
    shared.admin("POST", "/terminals/stop", json_body={"user_id": user}).expect(200)
    expect_gone_pod(shared, name)
    eventually(lambda: name not in shared.cluster.api.all("secrets") and name not in shared.cluster.api.all("services"),
               what="the end of its secret and service")
    assert shared.run(user, "cat ~/kept") == "kept\n"
    shared.admin("DELETE", f"/tenants/{user}?purge=true").expect((200, 204))
    eventually(lambda: name not in shared.cluster.api.all("persistentvolumeclaims"), what="the end of the claim")
    assert shared.run(user, "cat ~/kept 2>/dev/null; true") == ""


def test_a_reset_empties_the_claim(shared, user):
    shared.run(user, "echo old > ~/old; mkdir -p ~/.hidden/deep; echo x > ~/..odd; echo x > ~/-rf; mkdir ~/lost+found")
    name = shared.tenant(user)["instance_name"]
    uid = shared.cluster.api.get("persistentvolumeclaims", name)["metadata"]["uid"]
    shared.admin("POST", "/terminals/refresh", json_body={"user_id": user, "only_idle": False, "reset": True}).expect(200)
    assert set(shared.run(user, "ls -A ~").split()) - {".local"} == {"lost+found"}  # the instance makes that one itself
    assert shared.cluster.api.get("persistentvolumeclaims", name)["metadata"]["uid"] == uid, "the claim is another"
    eventually(lambda: f"{name}-purge" not in shared.cluster.pods(), what="the end of the pod that emptied it")


def test_a_scheduled_reset_empties_the_claim(backend):
    with kubernetes_stack(backend) as stack:
        policy(stack, "weekly", {})
        stack.run("alice", "echo old > ~/old", prefix="/p/weekly")
        stack.run("alice", "echo kept > ~/kept")
        at = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=2)).isoformat(timespec="seconds")
        stack.admin("PUT", "/policies/weekly/lifecycle", json_body={"reset": {"schedule": at}}).expect(200)
        eventually(lambda: "reset=1" in stack.terminals("reap").stdout.split(), 15, what="the reset", interval=0.2)
        assert stack.run("alice", "cat ~/old 2>/dev/null; true", prefix="/p/weekly") == ""
        assert stack.run("alice", "cat ~/kept") == "kept\n"
        assert "reset=0" in stack.terminals("reap").stdout.split(), "it was reset twice"


def purge_pod(cluster, name):
    """The pod that removed the files of the instance of this name."""
    with cluster.api.lock:
        return next(value for _, kind, plural, value in cluster.api.history
                    if (kind, plural, value["metadata"]["name"]) == ("ADDED", "pods", f"{name}-purge"))


@pytest.mark.parametrize("mode, access", [("shared", "ReadWriteMany"), ("shared-rwo", "ReadWriteOnce")])
def test_users_of_a_shared_claim_do_not_meet(backend, mode, access):
    with kubernetes_stack(backend, kubernetes_storage_mode=mode, kubernetes_storage_class="nfs", kubernetes_storage_size="50Gi") as stack:
        for name in ("alice", "bob"):
            stack.run(name, f"echo {name} > ~/who; ln -s /etc ~/link")
        assert stack.run("alice", "cat ~/who; ls -1 ~") == "alice\nlink\nwho\n"
        claims = stack.cluster.api.all("persistentvolumeclaims")
        assert set(claims) == {"terminals-shared"} and claims["terminals-shared"]["spec"] == {
            "accessModes": [access], "storageClassName": "nfs", "resources": {"requests": {"storage": "50Gi"}}}
        affinity = stack.cluster.pod("alice", stack)["spec"].get("affinity")
        assert (affinity is not None) == (mode == "shared-rwo"), affinity
        folder = stack.cluster.kubelet.folder / "terminals-shared"
        assert sorted(path.name for path in folder.iterdir()) == ["alice", "bob"]
        stack.admin("DELETE", "/tenants/alice?purge=true").expect((200, 204))
        assert [path.name for path in folder.iterdir()] == ["bob"] and (folder / "bob/who").read_text() == "bob\n"
        eventually(lambda: len(stack.cluster.pods()) == 1, what="the end of the pod that removed the files")
        assert stack.run("alice", "ls ~") == ""
        for name in ("alice", "bob"):  # nobody runs any more whose node would be the place
            stack.admin("POST", "/terminals/stop", json_body={"user_id": name}).expect(200)
        eventually(lambda: not stack.cluster.pods(), what="the end of all pods")
        stack.admin("DELETE", "/tenants/bob?purge=true").expect((200, 204))
        assert [path.name for path in folder.iterdir()] == ["alice"]


def test_the_pod_that_removes_files_fits_where_the_instance_did(backend):
    template = {"spec": {"imagePullSecrets": [{"name": "registry"}], "tolerations": [{"key": "tenants", "operator": "Exists"}],
                         "nodeSelector": {"pool": "tenants"}, "terminationGracePeriodSeconds": 1}}
    with kubernetes_stack(backend, kubernetes_storage_mode="shared", kubernetes_tolerations='[{"key": "all", "operator": "Exists"}]') as stack:
        stack.cluster.kubelet.node_labels["pool"] = "tenants"
        policy(stack, "own", {"podTemplate": template, "cpu_limit": "250m", "memory_limit": "64Mi"})
        stack.run("alice", "true", prefix="/p/own")
        name = stack.tenant("alice", policy_id="own")["instance_name"]
        resources = stack.cluster.pods()[name]["spec"]["containers"][0]["resources"]
        stack.admin("DELETE", "/tenants/alice?purge=true&policy_id=own").expect((200, 204))
        spec = purge_pod(stack.cluster, name)["spec"]
        assert spec["imagePullSecrets"] == [{"name": "registry"}] and spec["nodeSelector"] == {"pool": "tenants"}
        assert [one["key"] for one in spec["tolerations"]] == ["tenants", "all"]
        assert spec["containers"][0]["resources"] == resources, "a quota of cpu and memory refuses pods that name none"


def test_a_folder_of_a_shared_claim_is_emptied_also_where_the_kubelet_owns_what_is_above_it():
    with kubernetes_stack(kubernetes_storage_mode="shared") as stack:
        policy(stack, "own", {})
        stack.run("alice", "echo mine > ~/mine", prefix="/p/own")
        name = stack.tenant("alice", policy_id="own")["instance_name"]
        stack.admin("DELETE", "/tenants/alice?purge=true&policy_id=own").expect((200, 204))
        assert not list((stack.cluster.kubelet.folder / "terminals-shared").rglob("mine"))
        *command, path, kept = purge_pod(stack.cluster, name)["spec"]["containers"][0]["command"]
        assert path == "/files/.policies/alice/own" and kept == ""
    nobody = {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}

    def run(folder):
        done = subprocess.run([*command, folder, kept], capture_output=True, text=True, timeout=30, **nobody)
        assert (done.returncode, done.stderr) == (0, ""), done

    with tempfile.TemporaryDirectory() as volume:
        os.chmod(volume, 0o755)
        above, outside = Path(volume) / "alice", Path(volume) / "outside"
        folder = above / "own"
        (folder / "lost+found" / "..x").mkdir(parents=True)
        for path in (folder / ".hidden", folder / "-rf", outside):
            path.write_text("x")
        (folder / "link").symlink_to(volume)
        if nobody:
            for path in (outside, folder, *folder.rglob("*")):
                os.chown(path, 65534, 65534, follow_symlinks=False)
        above.chmod(0o555)
        try:
            for _ in range(2):  # the second finds nothing
                run(folder)
                assert not list(folder.iterdir()) and outside.exists()
        finally:
            above.chmod(0o777)
        for _ in range(2):
            run(folder)
            assert not folder.exists()


# --- what a policy may say ---

def test_limits_template_and_placement_reach_the_pod(backend):
    settings = {"kubernetes_labels": "team=x,stage=test", "kubernetes_node_selector": '{"disk": "ssd"}', "max_cpu": "2",
                "kubernetes_tolerations": '[{"key": "only", "operator": "Exists"}]', "kubernetes_service_type": "NodePort"}
    template = {"metadata": {"annotations": {"note": "n"}, "labels": {"openwebui.com/user-id": "forged"}},
                "spec": {"restartPolicy": "Always", "nodeSelector": {"zone": "a"}, "volumes": [{"name": "scratch", "emptyDir": {}}],
                         "containers": [{"name": "sidecar", "image": IMAGE},
                                        {"name": "open-terminal", "image": "evil:1", "workingDir": "/srv",
                                         "env": [{"name": "OPEN_TERMINAL_API_KEY", "value": "mine"}, {"name": "MORE", "value": "1"}],
                                         "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"},
                                                          {"name": "scratch", "mountPath": "/home/user"}]}]}}
    with kubernetes_stack(backend, **settings) as stack:
        stack.cluster.kubelet.node_labels.update(disk="ssd", zone="a")
        stack.cluster.kubelet.images.add("big:1")
        policy(stack, "big", {
            "image": "big:1", "cpu_limit": "4", "memory_limit": "128Mi", "storage": "7Gi", "podTemplate": template})
        assert stack.run("alice", "echo $MORE; echo ${#OPEN_TERMINAL_API_KEY}", prefix="/p/big").split()[0] == "1"
        pod = stack.cluster.pod("alice", stack, policy_id="big")
        spec, meta = pod["spec"], pod["metadata"]
        ours = next(container for container in spec["containers"] if container["name"] == "open-terminal")
        assert ours["image"] == "big:1" and ours["workingDir"] == "/srv" and spec["restartPolicy"] == "Never"
        assert {"name": "MORE", "value": "1"} in ours["env"] and not any(entry.get("value") == "mine" for entry in ours["env"])
        assert ours["resources"] == {"limits": {"cpu": "2", "memory": "128Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}}
        assert {mount["mountPath"]: mount["name"] for mount in ours["volumeMounts"]} == {
            "/scratch": "scratch", "/home/user": "terminals-home"}
        assert spec["nodeSelector"] == {"disk": "ssd", "zone": "a"} and spec["tolerations"] == [{"key": "only", "operator": "Exists"}]
        assert meta["labels"]["team"] == "x" and meta["labels"]["openwebui.com/user-id"] == "alice"
        assert meta["annotations"]["note"] == "n" and "sidecar" in [container["name"] for container in spec["containers"]]
        claim = stack.cluster.api.get("persistentvolumeclaims", meta["name"])
        assert claim["spec"]["resources"]["requests"]["storage"] == "7Gi" and claim["metadata"]["labels"]["stage"] == "test"
        assert stack.cluster.api.get("services", meta["name"])["spec"]["type"] == "NodePort"


def test_restricted_pods_pass_the_standard_of_that_name(backend):
    with kubernetes_stack(backend, kubernetes_restricted=True) as stack:
        stack.cluster.api.namespaces["terminals"] = {"pod-security.kubernetes.io/enforce": "restricted"}
        assert stack.run("alice", "echo in") == "in\n"
        for name, spec in {"net": {"hostNetwork": True}, "path": {"volumes": [{"name": "x", "hostPath": {"path": "/"}}]},
                           "nfs": {"volumes": [{"name": "x", "nfs": {"server": "s", "path": "/"}}]},
                           "root": {"securityContext": {"runAsUser": 0}}}.items():
            policy(stack, name, {"podTemplate": {"spec": spec}})
            assert "restricted" in stack.execute("alice", "true", prefix=f"/p/{name}").expect_error(502).detail
        weak = {"spec": {"containers": [{"name": "open-terminal", "securityContext": {
            "privileged": True, "capabilities": {"add": ["SYS_ADMIN"]}}}, {"name": "side", "image": IMAGE}]}}
        policy(stack, "weak", {"podTemplate": weak})
        assert stack.run("alice", "echo still in", prefix="/p/weak") == "still in\n"


def test_a_template_cannot_bring_images_that_are_not_allowed():
    with kubernetes_stack(allowed_images="good/*", kubernetes_image=IMAGE) as stack:
        spec = {"spec": {"containers": [{"name": "side", "image": "bad/x:1"}]}}
        policy(stack, "side", {"podTemplate": spec})
        assert "bad/x:1" in stack.execute("alice", "true", prefix="/p/side").expect_error(502).detail


# --- what cannot start says why, at once ---

def fails(stack, user, status, *words, prefix=""):
    began = time.monotonic()
    detail = stack.execute(user, "true", prefix=prefix, timeout=60).expect_error(status).detail
    assert time.monotonic() - began < 15 * SLOW, "it took as long as a timeout"
    assert all(word in detail for word in words), detail
    policy = prefix.rpartition("/")[2] or "default"
    assert all(word in stack.tenant(user, policy_id=policy)["error"] for word in words)


def test_a_pod_that_cannot_start_says_why(shared, user):
    policy(shared, "noimage", {"image": "no/such:1"})
    policy(shared, "typo", {"podTemplate": {"spec": {"hostNetwrk": True}}})
    policy(shared, "label", {"podTemplate": {"metadata": {"labels": {"a": "b c"}}}})
    crash = {"spec": {"containers": [{"name": "open-terminal", "command": ["/bin/sh", "-c", "echo last words; exit 7"]}]}}
    policy(shared, "crash", {"podTemplate": crash})
    fails(shared, user, 502, "no/such:1", "ImagePull", prefix="/p/noimage")  # ErrImagePull, or soon ImagePullBackOff
    fails(shared, user, 502, 'unknown field "spec.hostNetwrk"', prefix="/p/typo")
    fails(shared, user, 502, "422 Invalid", "b c", prefix="/p/label")
    fails(shared, user, 502, "status 7", "last words", prefix="/p/crash")
    for name in (f"terminal-{part}" for part in ("noimage", "typo", "label", "crash")):
        assert not [pod for pod in shared.cluster.pods() if name in pod]


def test_quota_room_and_rights_are_named(backend):
    with kubernetes_stack(backend) as stack:
        stack.run("first", "true")
        stack.cluster.api.quota = {"pods": 1}
        fails(stack, "second", 503, "exceeded quota")
        stack.cluster.api.quota = {"persistentvolumeclaims": 1}
        stack.admin("POST", "/terminals/stop", json_body={"user_id": "first"}).expect(200)
        assert stack.run("first", "echo again") == "again\n", "a claim that exists counted against the quota"
        stack.cluster.api.quota = {}
        stack.cluster.kubelet.has_room = False
        fails(stack, "third", 503, "Unschedulable", "Insufficient memory")
        stack.cluster.kubelet.has_room = True
        account = ACCOUNT + ("terminals-operator" if has_operator(stack) else "terminals")
        rules = roles("kubernetes-operator")["terminals-operator"] if has_operator(stack) else roles("kubernetes")["terminals"]
        stack.cluster.api.rules[account] = [{**rule, "verbs": [verb for verb in rule["verbs"] if verb != "create"]} for rule in rules]
        fails(stack, "fourth", 502, "403 Forbidden", "cannot create resource")
        stack.cluster.api.rules[account] = rules
        assert stack.run("third", "echo now") == "now\n"


def test_a_busy_api_server_is_asked_again_as_it_says(backend):
    with kubernetes_stack(backend) as stack:
        stack.cluster.api.throttle = 1
        stack.cluster.api.quota, stack.cluster.api.quota_conflicts = {"pods": 10}, 3
        assert stack.run("alice", "echo done") == "done\n"
        assert len(stack.cluster.calls(status=429)) == 1 and len(stack.cluster.calls(status=409)) == 3


# --- who is who ---

def test_a_name_that_only_looks_alike_is_an_error(shared, user, other):
    """Twelve hex digits can collide: nobody gets another's pod or claim."""
    shared.run(user, "true")
    shared.admin("POST", "/terminals/stop", json_body={"user_id": user}).expect(200)
    api, name = shared.cluster.api, shared.tenant(user)["instance_name"]

    def label(value):
        claim = api.get("persistentvolumeclaims", name)
        claim["metadata"]["labels"]["openwebui.com/user-id"] = value
        assert api.put("persistentvolumeclaims", claim)

    label(other)
    fails(shared, user, 502, "another user's")
    label(user)


# --- idle, death, recovery ---

def test_an_idle_pod_is_stopped_and_comes_back():
    with kubernetes_stack(idle_timeout_seconds=1) as stack:
        stack.run("alice", "echo kept > ~/kept")

        def reaped():
            stack.terminals("reap")
            return not stack.cluster.pods()

        eventually(reaped, 15, what="the end of the idle pod", interval=0.3)
        assert stack.tenant("alice")["status"] == "stopped"
        assert stack.run("alice", "cat ~/kept") == "kept\n"


@pytest.mark.parametrize("how", ["deleted", "evicted", "crashed"])
def test_a_pod_that_goes_by_anothers_hand_loses_its_route_at_once(shared, user, how):
    shared.run(user, "echo kept > ~/kept")
    pod, api = shared.cluster.pod(user, shared), shared.cluster.api
    address = pod["status"]["podIP"]
    shared.wait_hot(user)
    if how == "deleted":
        api.delete("pods", "terminals", pod["metadata"]["name"], {"gracePeriodSeconds": 2})
    elif how == "evicted":
        pod["status"].update(phase="Failed", reason="Evicted", message="The node was low on resource: memory.")
        assert api.put("pods", pod)
    else:
        os.kill(shared.cluster.kubelet.process_of(pod).pid, signal.SIGKILL)
    expect_no_route(shared, address)
    if how == "evicted" and not has_operator(shared):  # who makes another pod at once
        assert "Evicted" in shared.tenant(user)["error"]
    assert shared.run(user, "cat ~/kept", timeout=30) == "kept\n"
    assert shared.cluster.pod(user, shared)["metadata"]["uid"] != pod["metadata"]["uid"]


def test_a_claim_that_is_being_deleted_is_waited_for(shared, user):
    shared.run(user, "echo old > ~/old")
    name = shared.tenant(user)["instance_name"]
    shared.cluster.api.delete("persistentvolumeclaims", "terminals", name, {})
    shared.admin("POST", "/terminals/stop", json_body={"user_id": user}).expect(200)
    assert shared.run(user, "cat ~/old 2>/dev/null; echo fresh") == "fresh\n"


def test_watches_that_end_and_expire_lose_nothing(shared, user, other):
    api = shared.cluster.api
    for number, as_event in enumerate((True, False)):
        api.gone_as_event = as_event
        shared.run(f"{user}-{number}", "true")
        pod = shared.cluster.pod(f"{user}-{number}", shared)
        with api.lock:
            api.delete("pods", "terminals", pod["metadata"]["name"], {"gracePeriodSeconds": 0})
            api.compact()
        api.cut_watches()
        expect_no_route(shared, pod["status"]["podIP"])
        assert shared.run(f"{user}-{number}", "echo again", timeout=30) == "again\n"
    api.cut_watches()
    assert shared.run(other, "echo new") == "new\n"
    lists = [call for call in shared.cluster.calls("GET", "pods?") if "limit=" in call[1] and call[2] == ACCOUNT + "terminals"]
    assert len(lists) <= 5, "a cut watch is resumed, not listed"


def test_while_the_api_server_is_away_what_runs_serves_on(backend):
    with kubernetes_stack(backend) as stack:
        stack.run("alice", "echo mine > ~/mine")
        pod = stack.cluster.pod("alice", stack)
        stack.cluster.api.go_away()
        eventually(lambda: "does not answer" in stack.err(), 15, what="notice of the API server's absence")
        assert stack.run("alice", "cat ~/mine") == "mine\n"
        assert "does not answer" in stack.execute("bob", "true", timeout=30).expect_error(503).detail
        os.kill(stack.one("terminals-provisioner"), signal.SIGKILL)
        eventually(lambda: stack.run("alice", "cat ~/mine", timeout=5) == "mine\n", 15, what="service after a kill, with no API server")
        assert stack.tenant("alice")["status"] == "running"
        stack.cluster.api.listen()
        eventually(lambda: stack.run("bob", "echo here", timeout=10) == "here\n", 15, what="service when it is back")
        assert stack.run("alice", "cat ~/mine") == "mine\n"
        assert stack.cluster.pod("alice", stack)["metadata"]["uid"] == pod["metadata"]["uid"]


@contextlib.contextmanager
def silenced(stack, *pods):
    """Their containers stand still, and the kubelet takes them for running."""
    def send(number):
        for pod in pods:
            stack.cluster.kubelet.process_of(pod).send_signal(number)

    send(signal.SIGSTOP)
    try:
        yield
    finally:
        send(signal.SIGCONT)


def test_a_pod_that_is_only_silent_is_not_ended(backend):
    with kubernetes_stack(backend, start_timeout_seconds=10) as stack:
        stack.run("alice", "echo mine > ~/mine")
        pod = stack.cluster.pod("alice", stack)
        name = pod["metadata"]["name"]
        answers = []
        thread = threading.Thread(target=lambda: answers.append(stack.recover("alice")))
        with silenced(stack, pod):
            thread.start()
            eventually(lambda: f"instance `{name}` runs, but" in stack.err(), 20, what="that it is noticed")
        thread.join()
        assert answers and answers[0].expect(200)
        with silenced(stack, pod):
            os.kill(stack.one("terminals-provisioner"), signal.SIGKILL)
            eventually(lambda: f"pod `{name}` is kept, though" in stack.err(), 40, what="its adoption")
        assert stack.run("alice", "cat ~/mine", timeout=30) == "mine\n"
        assert stack.cluster.pod("alice", stack)["metadata"]["uid"] == pod["metadata"]["uid"]


def test_what_could_not_be_removed_is_once_the_api_server_answers():
    """Nothing but the one answer is lost: the watches go on, so no list tells of what is left."""
    with kubernetes_stack() as stack:
        policy(stack, "noimage", {"image": "no/such:1"})
        with stack.cluster.api.breaking("DELETE", "/api/v1/namespaces/terminals/pods/") as asked:
            fails(stack, "alice", 502, "no/such:1", prefix="/p/noimage")
            assert asked and stack.cluster.pods()
        eventually(lambda: not stack.cluster.pods(), 30, what="the end of the pod that could not start")


def test_a_killed_provisioner_leaves_no_orphan_and_loses_no_pod():
    with kubernetes_stack() as stack:
        stack.run("alice", "echo mine > ~/mine")
        uid = stack.cluster.pod("alice", stack)["metadata"]["uid"]
        for number in range(5):
            name = f"victim-{number}"
            asking = threading.Thread(target=lambda who=name: contextlib.suppress(Exception).__enter__() or stack.execute(who, "true"))
            before = len(stack.cluster.calls("POST"))
            asking.start()
            eventually(lambda least=before + number: len(stack.cluster.calls("POST")) >= least, what="a start", interval=0.001)
            os.kill(stack.one("terminals-provisioner"), signal.SIGKILL)
            asking.join()
            eventually(lambda: stack.run("alice", "cat ~/mine", timeout=5) == "mine\n", 10, what="service after kill -9")
        assert stack.cluster.pod("alice", stack)["metadata"]["uid"] == uid, "alice's pod was not adopted"

        def settled():
            running = {tenant["instance_name"] for tenant in stack.tenants() if tenant["status"] == "running"}
            left = {plural: set(stack.cluster.api.all(plural)) for plural in ("pods", "services", "secrets")}
            assert all(names == running for names in left.values()), (running, left)
            return True

        eventually(settled, 15, what="a pod, service and secret for each running tenant and no other")


def test_a_pod_whose_row_was_lost_is_found():
    cluster = Cluster()
    try:
        with kubernetes_stack(cluster=cluster) as stack:
            stack.run("alice@example.org", "echo mine > ~/mine")
            pod = stack.cluster.pod("alice@example.org", stack)
            stack.kill_all()  # the database goes with its folder
            stack.reaper = None
        with kubernetes_stack(cluster=cluster) as stack:
            eventually(lambda: [tenant["status"] for tenant in stack.tenants()] == ["running"], what="the old pod's tenant")
            assert stack.run("alice@example.org", "cat ~/mine") == "mine\n"
            assert cluster.pod("alice@example.org", stack)["metadata"]["uid"] == pod["metadata"]["uid"]
        cluster.expect_empty()
    finally:
        cluster.close()
