"""The fake API server refuses what a real one refuses: or the tests of the `kubernetes` backend would prove nothing."""
import http.client
import json
import ssl

import pytest
from kubernetes_world import Cluster


@pytest.fixture(scope="module")
def cluster():
    one = Cluster()
    one.kubelet.delay = 3600  # pods stay as they are
    yield one
    one.close()


def ask(cluster, method, path, body=None, token="token-of-terminals", kind="application/json"):
    context = ssl.create_default_context(cafile=cluster.certificate.with_suffix(".crt"))
    connection = http.client.HTTPSConnection("127.0.0.1", cluster.api.port, context=context, timeout=10)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": kind}
    connection.request(method, "/api/v1/namespaces/terminals/" + path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    try:
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def pod(name="p", **spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


def refused(cluster, status, reason, *arguments, words="", **named):
    code, answer = ask(cluster, *arguments, **named)
    assert (code, answer.get("reason"), answer.get("kind")) == (status, reason, "Status"), (code, answer)
    assert words in answer["message"], answer


STRICT = "pods?fieldValidation=Strict"


@pytest.mark.parametrize("status, reason, body, words", [
    (400, "BadRequest", pod(hostNetwrk=True), 'unknown field "spec.hostNetwrk"'),
    (400, "BadRequest", pod(hostNetwork="yes"), "cannot unmarshal"),
    (400, "BadRequest", {**pod(), "kind": "Service"}, "does not match"),
    (422, "Invalid", pod("Not_A_Name"), "metadata.name"),
    (422, "Invalid", {**pod(), "metadata": {"name": "p", "labels": {"user": "a@b"}}}, "metadata.labels"),
    (422, "Invalid", pod(containers=[]), "spec.containers"),
    (422, "Invalid", pod(restartPolicy="Sometimes"), "restartPolicy"),
    (422, "Invalid", pod(containers=[{"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/"}]}]), "Not found"),
    (422, "Invalid", pod(containers=[{"name": "c", "image": "i", "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}}]),
     "less than or equal"),
    (422, "Invalid", {**pod(), "metadata": {"name": "p", "ownerReferences": [{"kind": "Terminal", "name": "p", "uid": "u"}]}}, "apiVersion"),
    (422, "Invalid", pod(volumes=[{"name": "v", "persistentVolumeClaim": {}}]), "claimName"),
    (422, "Invalid", pod(containers=[{"name": "c", "image": "i", "livenessProbe": {"exec": {}}}]), "exec.command"),
    (422, "Invalid", pod(containers=[{"name": "c", "image": "i", "ports": [{"containerPort": 1, "name": "no-name-is-so-long"}]}]), "15 characters"),
    (403, "Forbidden", pod(hostPID=True), 'violates PodSecurity "baseline:latest": host namespaces'),
    (403, "Forbidden", pod(containers=[{"name": "c", "image": "i", "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}]),
     "non-default capabilities"),
])
def test_a_creation_has_to_be_right(cluster, status, reason, body, words):
    refused(cluster, status, reason, "POST", STRICT, body, words=words)
    assert not cluster.pods()


def test_without_strict_validation_unknown_fields_are_dropped_silently(cluster):
    assert ask(cluster, "POST", "pods", pod("dropped", hostNetwrk=True))[0] == 201
    ask(cluster, "DELETE", "pods/dropped")


def test_what_exists_changes_by_the_rules(cluster):
    code, made = ask(cluster, "POST", STRICT, {**pod("one"), "status": {"phase": "Running"}})
    assert code == 201 and made["status"] == {"phase": "Pending"}, "a status was written through the main resource"
    refused(cluster, 409, "AlreadyExists", "POST", STRICT, pod("one"))
    refused(cluster, 422, "Invalid", "PUT", "pods/one", {**made, "spec": {**made["spec"], "hostNetwork": True}}, words="may not change")
    code, changed = ask(cluster, "PUT", "pods/one", {**made, "metadata": {**made["metadata"], "labels": {"a": "b"}},
                                                     "status": {"phase": "Running"}})
    assert code == 200 and changed["status"] == {"phase": "Pending"} and changed["metadata"]["labels"] == {"a": "b"}
    refused(cluster, 409, "Conflict", "PUT", "pods/one", made, words="the object has been modified")
    code, changed = ask(cluster, "PUT", "pods/one/status", {**changed, "status": {"phase": "Running"}})
    assert code == 200 and changed["status"] == {"phase": "Running"}
    refused(cluster, 415, "UnsupportedMediaType", "PATCH", "pods/one", {}, words="merge-patch")
    refused(cluster, 415, "UnsupportedMediaType", "POST", "pods", pod("two"), kind="text/plain")
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": "another"}}
    refused(cluster, 409, "Conflict", "DELETE", "pods/one", options, words="Precondition failed")
    assert ask(cluster, "DELETE", "pods/one", {**options, "preconditions": {"uid": made["metadata"]["uid"]}})[0] == 200
    refused(cluster, 404, "NotFound", "GET", "pods/one")


def test_a_claim_in_use_stays_until_its_pod_has_gone(cluster):
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"},
             "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}
    assert ask(cluster, "POST", "persistentvolumeclaims", claim)[0] == 201
    refused(cluster, 422, "Invalid", "PUT", "persistentvolumeclaims/c",
            {**claim, "spec": {**claim["spec"], "accessModes": ["ReadWriteMany"]}}, words="immutable")
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}
    assert ask(cluster, "POST", STRICT, pod("user", volumes=[volume]))[0] == 201
    assert ask(cluster, "DELETE", "persistentvolumeclaims/c")[1]["metadata"]["deletionTimestamp"]
    assert ask(cluster, "GET", "persistentvolumeclaims/c")[0] == 200
    ask(cluster, "DELETE", "pods/user")
    refused(cluster, 404, "NotFound", "GET", "persistentvolumeclaims/c")


def test_who_asks_has_to_be_known_and_allowed(cluster):
    refused(cluster, 401, "Unauthorized", "GET", "pods", token="expired")
    cluster.api.rules["system:serviceaccount:terminals:terminals"] = [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]
    refused(cluster, 403, "Forbidden", "GET", "pods", words="cannot list resource")
    refused(cluster, 404, "NotFound", "GET", "pods/none")
    cluster.api.rules.clear()


def test_watches_and_lists_expire(cluster):
    for number in range(3):
        ask(cluster, "POST", "secrets", {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"s{number}"}})
    code, page = ask(cluster, "GET", "secrets?limit=2")
    assert code == 200 and len(page["items"]) == 2 and page["metadata"]["remainingItemCount"] == 1
    after = f"secrets?limit=2&continue={page['metadata']['continue']}"
    assert [item["metadata"]["name"] for item in ask(cluster, "GET", after)[1]["items"]] == ["s2"]
    cluster.api.compact()
    refused(cluster, 410, "Expired", "GET", after)
    cluster.api.gone_as_event = False
    refused(cluster, 410, "Expired", "GET", "secrets?watch=true&resourceVersion=1001")
    cluster.api.gone_as_event = True
    code, event = ask(cluster, "GET", "secrets?watch=true&resourceVersion=1001")
    assert (code, event["type"], event["object"]["code"]) == (200, "ERROR", 410)
