"""The manifests of deploy/: a strict API server takes them, and they give what is needed and nothing else."""
import ipaddress
import json
import os
import re
import signal

import pytest
from kubernetes_world import ACCOUNT, KINDS, Cluster, OperatorCluster, kubernetes_stack, manifests, restricted_problems, roles, selects
from stack import REPOSITORY, eventually

OVERLAYS = ("kubernetes", "kubernetes-operator")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_strict_api_server_takes_every_manifest(overlay):
    cluster = Cluster()
    try:
        applied = manifests(overlay=overlay)
        assert {value["kind"] for value in applied} >= {"Namespace", "Role", "Deployment", "Service", "NetworkPolicy"}
        for value in applied + manifests("ingress-example.yaml"):
            version, plural, is_namespaced, _ = KINDS[value["kind"]]
            assert value["apiVersion"] == version
            namespace = value["metadata"]["namespace"] if is_namespaced else None
            cluster.api.create(plural, version, namespace, json.dumps(value).encode(), strict=True)
    finally:
        cluster.close()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_our_own_pods_fit_the_restricted_standard_and_write_nowhere(overlay):
    deployments = [value for value in manifests(overlay=overlay) if value["kind"] == "Deployment"]
    assert len(deployments) == (2 if overlay == "kubernetes-operator" else 1)
    known = set(re.findall(r"^\| `([A-Z_]+)`", (REPOSITORY / "docs/settings.md").read_text(), re.M)) | {"IDLE_TIMEOUT_MINUTES"}
    for deployment in deployments:
        spec = deployment["spec"]["template"]["spec"]
        assert not list(restricted_problems(spec)) and spec["securityContext"]["runAsNonRoot"]
        for container in spec["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"]
            for variable in container.get("env", []):
                assert variable["name"].removeprefix("TERMINALS_") in known, variable


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_kubelet_can_ask_every_container_of_ours_whether_it_lives(overlay):
    for deployment in (value for value in manifests(overlay=overlay) if value["kind"] == "Deployment"):
        spec = deployment["spec"]["template"]["spec"]
        for container in spec["containers"]:
            assert container["livenessProbe"]["timeoutSeconds"] > 1, f"{container['name']}: the default is short for a busy node"
            folder = next(one["value"] for one in container["env"] if one["name"] == "TERMINALS_RUN_DIR")
            mounted = [mount["name"] for mount in container["volumeMounts"]
                       if folder == mount["mountPath"] or folder.startswith(mount["mountPath"] + "/")]
            assert [volume for volume in spec["volumes"] if volume["name"] in mounted and "emptyDir" in volume], \
                f"{container['name']}: its root is read-only, and it writes to {folder}"
        assert any("readinessProbe" in container for container in spec["containers"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_start_opens_files_of_ours_to_a_group(overlay):
    """With an fsGroup the kubelet makes every file of a claim g+rw at each mount (pkg/volume/volume_linux.go), or only at the first."""
    for deployment in (value for value in manifests(overlay=overlay) if value["kind"] == "Deployment"):
        spec = deployment["spec"]["template"]["spec"]
        if any("persistentVolumeClaim" in volume for volume in spec["volumes"]):
            assert spec["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"


def test_haproxy_is_reached_while_another_container_of_its_pod_starts_anew():
    """A pod with a container that does not run is not ready, and its address leaves a service that does not say otherwise."""
    service = next(value for value in manifests() if value["kind"] == "Service")
    deployment = next(value for value in manifests() if value["kind"] == "Deployment")
    assert selects(service["spec"]["selector"], deployment["spec"]["template"]["metadata"]["labels"])
    assert len(deployment["spec"]["template"]["spec"]["containers"]) == 1 or service["spec"]["publishNotReadyAddresses"]


def test_the_operators_overlay_says_so_to_the_provisioner():
    deployment = next(value for value in manifests(overlay="kubernetes-operator") if value["metadata"]["name"] == "terminals"
                      and value["kind"] == "Deployment")
    provisioner = next(one for one in deployment["spec"]["template"]["spec"]["containers"] if one["name"] == "provisioner")
    assert [one["value"] for one in provisioner["env"] if one["name"] == "TERMINALS_BACKEND"] == ["kubernetes-operator"]


def test_the_control_pods_settings_exist():
    deployment = next(value for value in manifests() if value["kind"] == "Deployment")
    spec = deployment["spec"]["template"]["spec"]
    known = set(re.findall(r"^\| `([A-Z_]+)`", (REPOSITORY / "docs/settings.md").read_text(), re.M))
    aliases = {"IDLE_TIMEOUT_MINUTES"}
    for container in spec["containers"]:
        for variable in container.get("env", []):
            assert variable["name"].removeprefix("TERMINALS_") in known | aliases, variable
    keys = next(value for value in manifests() if value["kind"] == "ConfigMap")["data"]
    named = [entry["valueFrom"]["configMapKeyRef"]["key"] for container in spec["containers"] for entry in container["env"]
             if "configMapKeyRef" in entry.get("valueFrom", {})]
    assert set(named) == set(keys), "a value that nobody reads, or one that is missing"
    tokens = [container["name"] for container in spec["containers"]
              if any(mount["name"] == "token" for mount in container["volumeMounts"])]
    assert tokens == ["provisioner"]


def test_all_works_with_exactly_the_rights_of_the_manifests():
    with kubernetes_stack(kubernetes_storage_mode="shared") as stack:
        role = next(value for value in manifests() if value["kind"] == "Role")
        stack.cluster.api.rules["system:serviceaccount:terminals:terminals"] = role["rules"]
        assert stack.run("alice", "echo in") == "in\n"
        os.kill(stack.one("terminals-provisioner"), signal.SIGKILL)
        eventually(lambda: stack.run("alice", "echo again", timeout=5) == "again\n", 15, what="service after a kill")
        stack.admin("DELETE", "/tenants/alice?purge=true").expect((200, 204))
        stack.run("bob", "true")
        used = {(method, path.split("?")[0].split("/")[5]) for method, path, _, _ in stack.cluster.calls()}
        assert {("GET", "pods"), ("POST", "pods"), ("DELETE", "persistentvolumeclaims")} & used
        refused = stack.cluster.calls(status=403)
        assert not refused, refused


def test_one_users_pod_cannot_reach_anothers():
    """As far as manifests can say it: the policy selects every pod of an instance, and lets in nobody but Terminals."""
    with kubernetes_stack() as stack:
        stack.run("alice", "true")
        labels = stack.cluster.pod("alice", stack)["metadata"]["labels"]
    policies = [value["spec"] for value in manifests() if value["kind"] == "NetworkPolicy"]
    mine = [spec for spec in policies if selects(spec["podSelector"]["matchLabels"], labels)]
    assert len(mine) == 1 and set(mine[0]["policyTypes"]) == {"Ingress", "Egress"}
    sources = [peer["podSelector"]["matchLabels"] for rule in mine[0]["ingress"] for peer in rule["from"]]
    assert sources and not any(selects(source, labels) for source in sources)
    blocks = [peer["ipBlock"] for rule in mine[0]["egress"] for peer in rule["to"] if "ipBlock" in peer]
    pod = ipaddress.ip_address("10.1.2.3")
    for block in blocks:
        assert pod not in ipaddress.ip_network(block["cidr"]) or any(pod in ipaddress.ip_network(net) for net in block["except"])


def used_rights(cluster):
    """(account, verb, group, resource) of everything that was asked and allowed."""
    used = set()
    for method, path, user, status in cluster.api.seen:
        match = re.match(r"/(?:api|apis/([^/]+))/[^/]+/namespaces/[^/]+/([a-z]+)(?:/([^/?]+))?(?:/(status))?(.*)", path)
        if match and user and user.startswith(ACCOUNT) and status != 403:
            verb = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}.get(method) or (
                "watch" if "watch=true" in match[5] else "get" if match[3] else "list")
            used.add((user.removeprefix(ACCOUNT), verb, match[1] or "", match[2] + (f"/{match[4]}" if match[4] else "")))
    return used


def test_the_operators_overlay_gives_exactly_the_rights_that_are_used():
    cluster = OperatorCluster()
    cluster.collector.is_enabled = False  # the operator cleans up alone
    try:
        with kubernetes_stack(cluster=cluster, kubernetes_storage_mode="shared", kubernetes_lease_seconds=3) as stack:
            policy = {"id": "own", "data": {"storage_mode": "per-user"}}
            stack.admin("POST", "/policies", json_body=policy).expect(201)
            stack.run("alice", "true")
            stack.run("alice", "true", prefix="/p/own")
            name = stack.tenant("alice", policy_id="own")["instance_name"]
            for plural in ("services", "secrets"):
                cluster.api.delete(plural, "terminals", name, {})

            def is_repaired():
                secret, pod = cluster.api.get("secrets", name), cluster.api.get("pods", name)
                return name in cluster.api.all("services") and secret and pod and \
                    pod["metadata"]["annotations"]["terminals.secret-uid"] == secret["metadata"]["uid"] and \
                    stack.tenant("alice", policy_id="own")["status"] == "running"

            eventually(is_repaired, 15, what="the repair")
            cluster.put_to_sleep(name)
            eventually(lambda: stack.tenant("alice", policy_id="own")["status"] == "stopped", 15, what="sleep")
            stack.admin("PUT", "/policies/own", json_body={"data": {"storage_mode": "per-user", "env": {"A": "b"}}}).expect(200)
            assert stack.run("alice", "echo $A", prefix="/p/own", timeout=30) == "b\n"
            cluster.stop_operator()
            cluster.start_operator("operator-1")
            for policy_id in ("default", "own"):
                stack.admin("DELETE", f"/tenants/alice?purge=true&policy_id={policy_id}").expect((200, 204))
            eventually(lambda: not any(map(cluster.api.all, ("pods", "services", "secrets"))), 20, what="the end of all objects")
            cluster.api.cut_watches()  # a request is recorded when it ends
            assert stack.terminals("gc").returncode == 0
            granted = {(account, verb, group, resource) for account, rules in roles("kubernetes-operator").items() for rule in rules
                       for verb in rule["verbs"] for group in rule["apiGroups"] for resource in rule["resources"]}
            eventually(lambda: granted <= used_rights(cluster), what=f"use of {granted - used_rights(cluster)}, or they are too many")
            assert not cluster.calls(status=403), cluster.calls(status=403)
    finally:
        cluster.close()
