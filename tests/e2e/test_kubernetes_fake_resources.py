"""The fake API server is as strict about custom resources, leases and owners as a real one: or the tests of the operator would
prove nothing."""
import copy
import http.client
import json
import ssl

import pytest
from kubernetes_world import OperatorCluster, manifests
from stack import eventually

TERMINALS = "/apis/openwebui.com/v1alpha1/namespaces/terminals/terminals"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/terminals/leases"
MERGE = "application/merge-patch+json"


@pytest.fixture(scope="module")
def cluster():
    one = OperatorCluster()
    one.kubelet.delay = 3600  # pods stay as they are
    one.api.rules.clear()
    yield one
    one.close()


def ask(cluster, method, path, body=None, kind="application/json", **headers):
    context = ssl.create_default_context(cafile=cluster.certificate.with_suffix(".crt"))
    connection = http.client.HTTPSConnection("127.0.0.1", cluster.api.port, context=context, timeout=10)
    connection.request(method, path, None if body is None else json.dumps(body),
                       {"Authorization": "Bearer token-of-terminals", "Content-Type": kind, **headers})
    answer = connection.getresponse()
    try:
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def terminal(name, **spec):
    return {"apiVersion": "openwebui.com/v1alpha1", "kind": "Terminal", "metadata": {"name": name}, "spec": {"userId": "alice", **spec}}


def definition(change):
    value = copy.deepcopy(manifests("crd.yaml", overlay="kubernetes-operator")[0])
    value["metadata"]["name"], value["spec"]["names"]["plural"] = "others.openwebui.com", "others"
    change(value, value["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"])
    return value


@pytest.mark.parametrize("words, change", [
    ("must be specified", lambda value, spec: spec.update(list={"type": "array"})),
    ("must not be empty for specified object fields", lambda value, spec: spec.update(free={"description": "no type"})),
    ("mutual exclusive", lambda value, spec: spec["resources"].update(additionalProperties={"type": "string"})),
    ("unknown field", lambda value, spec: spec["image"].update(maxlength=3)),
    ("must be empty to be structural", lambda value, spec: spec["image"].update(anyOf=[{"type": "string"}])),
    ("storage version", lambda value, spec: value["spec"]["versions"][0].update(storage=False)),
    ('must be spec.names.plural+"."+spec.group', lambda value, spec: value["metadata"].update(name="x")),
])
def test_a_definition_has_to_be_structural(cluster, words, change):
    status, answer = ask(cluster, "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition(change))
    assert (status, answer["reason"]) == (422, "Invalid") and words in answer["message"], answer


@pytest.mark.parametrize("status, words, body", [
    (400, 'unknown field "spec.imege"', terminal("bad", imege="x")),
    (422, "spec.userId: Required value", {**terminal("bad"), "spec": {"image": "x"}}),
    (422, "must be of type integer", terminal("bad", idleTimeoutMinutes="30")),
    (422, "out of range", terminal("bad", idleTimeoutMinutes=-1)),
    (422, "should match", terminal("bad", persistence={"size": "a lot"})),
    (422, "should match", terminal("bad", resources={"limits": {"cpu": "two"}})),
    (422, "metadata.name", terminal("Not_A_Name")),
])
def test_a_resource_has_to_fit_its_schema(cluster, status, words, body):
    code, answer = ask(cluster, "POST", TERMINALS + "?fieldValidation=Strict", body)
    assert code == status and words in answer["message"], answer


def test_what_a_schema_does_not_know_is_pruned(cluster):
    code, made = ask(cluster, "POST", TERMINALS, terminal("pruned", imege="x", podTemplate={"any": {"thing": 1}}))
    assert code == 201 and made["spec"] == {"userId": "alice", "podTemplate": {"any": {"thing": 1}}}
    ask(cluster, "DELETE", TERMINALS + "/pruned")


def test_the_status_has_a_way_of_its_own(cluster):
    code, made = ask(cluster, "POST", TERMINALS, {**terminal("one"), "status": {"phase": "Running"}})
    assert code == 201 and "status" not in made and made["metadata"]["generation"] == 1
    code, changed = ask(cluster, "PUT", TERMINALS + "/one", {**made, "spec": {"userId": "alice", "image": "x"}, "status": {"phase": "Idle"}})
    assert code == 200 and "status" not in changed and changed["metadata"]["generation"] == 2
    code, answer = ask(cluster, "PUT", TERMINALS + "/one", made)
    assert (code, answer["reason"]) == (409, "Conflict")
    code, answer = ask(cluster, "PUT", TERMINALS + "/one", terminal("one"))
    assert code == 422 and "must be specified for an update" in answer["message"]
    code, patched = ask(cluster, "PATCH", TERMINALS + "/one/status", {"status": {"phase": "Idle"}, "spec": {"image": "y"}}, kind=MERGE)
    assert code == 200 and patched["status"] == {"phase": "Idle"} and patched["spec"]["image"] == "x"
    assert patched["metadata"]["generation"] == 2
    guarded = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "status": {"phase": "Error"}}
    assert ask(cluster, "PATCH", TERMINALS + "/one/status", guarded, kind=MERGE)[0] == 409
    code, answer = ask(cluster, "PATCH", TERMINALS + "/one/status", {"status": {"phase": "Sleepy"}}, kind=MERGE)
    assert code == 422 and "Unsupported value" in answer["message"]
    version = cluster.api.version
    assert ask(cluster, "PATCH", TERMINALS + "/one/status", {"status": {"phase": "Idle"}}, kind=MERGE)[0] == 200
    assert cluster.api.version == version, "a patch that changes nothing was told to everybody"
    ask(cluster, "DELETE", TERMINALS + "/one")


def test_a_lease_is_written_by_one_at_a_time(cluster):
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"},
             "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000000Z"}}
    code, made = ask(cluster, "POST", LEASES, lease)
    assert code == 201
    assert ask(cluster, "PUT", LEASES + "/l", lease)[0] == 422
    assert ask(cluster, "PUT", LEASES + "/l", made)[0] == 200
    made["spec"]["holderIdentity"] = "b"
    code, _ = ask(cluster, "PUT", LEASES + "/l", made)
    assert code == 200, "nothing had been written in between"
    assert ask(cluster, "PUT", LEASES + "/l", made)[0] == 409
    bad = {**lease, "metadata": {"name": "m"}, "spec": {**lease["spec"], "renewTime": "2026-01-01T00:00:00Z"}}
    code, answer = ask(cluster, "POST", LEASES, bad)
    assert code == 400 and "parsing time" in answer["message"]


def test_metadata_can_be_had_alone(cluster):
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"key": "secret"}}
    ask(cluster, "POST", "/api/v1/namespaces/terminals/secrets", secret)
    accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    code, answer = ask(cluster, "GET", "/api/v1/namespaces/terminals/secrets", Accept=accept)
    assert (code, answer["kind"]) == (200, "PartialObjectMetadataList")
    assert [set(item) for item in answer["items"]] == [{"metadata"}]


def test_what_has_lost_its_owner_is_collected(cluster):
    _, owner = ask(cluster, "POST", TERMINALS, terminal("owner"))
    reference = {"apiVersion": "openwebui.com/v1alpha1", "kind": "Terminal", "name": "owner", "uid": owner["metadata"]["uid"]}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "owned", "ownerReferences": [reference]}}
    assert ask(cluster, "POST", "/api/v1/namespaces/terminals/secrets", secret)[0] == 201
    ask(cluster, "DELETE", TERMINALS + "/owner")
    eventually(lambda: "owned" not in cluster.api.all("secrets"), what="the garbage collector")


def test_a_finalizer_holds_what_is_deleted(cluster):
    body = terminal("held")
    body["metadata"]["finalizers"] = ["example.org/hold"]
    ask(cluster, "POST", TERMINALS, body)
    ask(cluster, "DELETE", TERMINALS + "/held")
    assert cluster.terminals()["held"]["metadata"]["deletionTimestamp"]
    assert ask(cluster, "PATCH", TERMINALS + "/held", {"metadata": {"finalizers": None}}, kind=MERGE)[0] == 200
    assert "held" not in cluster.terminals()
