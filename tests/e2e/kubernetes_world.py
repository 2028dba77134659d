"""A cluster for a test, and a Terminals in front of it:

    with kubernetes_stack(idle_timeout_seconds=2) as stack:
        stack.run("alice", "true")
        assert stack.cluster.pod("alice", stack)["status"]["phase"] == "Running"

`kubernetes_stack("kubernetes-operator")` has terminals-operator beside it; provisioner and operator then have exactly the rights
that deploy/kubernetes-operator gives them.
"""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from certificates import make_certificate
from stack import BIN, REPOSITORY, SANITIZER_MARKS, Stack, eventually

sys.path.insert(0, str(Path(__file__).parents[1] / "fakes"))

from kubernetes_api import KubernetesApi  # noqa: E402
from kubernetes_gc import GarbageCollector  # noqa: E402
from kubernetes_kubelet import Kubelet, answers, loopback_address  # noqa: E402
from kubernetes_pod_security import restricted_problems  # noqa: E402
from kubernetes_schema import KINDS, selects  # noqa: E402

__all__ = ["ACCOUNT", "API", "BACKENDS", "IMAGE", "KINDS", "Cluster", "OperatorCluster", "answers", "begin_anew", "kubernetes_stack", "manifests",
           "restricted_problems", "roles", "selects"]

IMAGE = "open-terminal:test"
OURS = ("pods", "services", "secrets")
BACKENDS = ("kubernetes", "kubernetes-operator")
ACCOUNT = "system:serviceaccount:terminals:"
API = "openwebui.com/v1alpha1"  # of Terminals


def _merged(old, patch):
    """A strategic merge, as far as the patches of deploy/ need it: lists of containers and env go by name."""
    if isinstance(patch, dict) and isinstance(old, dict):
        return {**old, **{key: _merged(old[key], value) if key in old else value for key, value in patch.items()}}
    if isinstance(patch, list) and patch and isinstance(patch[0], dict) and "name" in patch[0]:
        named = {value["name"]: value for value in patch}
        return [_merged(value, named.pop(value["name"], {})) for value in old] + list(named.values())
    return patch


def _documents(path):
    """libyaml reads them, in a seventh of the time that Python takes: a tenth of a second for each cluster with an operator."""
    return list(yaml.load_all(path.read_text(), yaml.CSafeLoader))


def manifests(*names, overlay="kubernetes"):
    """What `kubectl apply -k deploy/<overlay>` sends, patches applied; or what is in these files."""
    folder = REPOSITORY / "deploy" / overlay
    listed, = _documents(folder / "kustomization.yaml")
    found = []
    for name in names or listed["resources"]:
        if (folder / name).is_dir():
            found += manifests(overlay=os.path.relpath((folder / name).resolve(), REPOSITORY / "deploy"))
        else:
            found += _documents(folder / name)
    for patch in [] if names else listed.get("patches", []):
        value, = _documents(folder / patch["path"])
        at = next(n for n, one in enumerate(found) if (one["kind"], one["metadata"]["name"]) == (value["kind"], value["metadata"]["name"]))
        found[at] = _merged(found[at], value)
    return found


def roles(overlay):
    """The rules of each service account."""
    return {value["metadata"]["name"]: value["rules"] for value in manifests(overlay=overlay) if value["kind"] == "Role"}


class Cluster:
    def __init__(self, host="127.0.0.1", pod_address=loopback_address):
        self.folder = Path(tempfile.mkdtemp(prefix="tk-", dir="/tmp"))
        self.certificate = make_certificate(self.folder / "api.pem", "kubernetes", host)
        self.api = KubernetesApi(self.certificate, host=host)
        namespace, = manifests("namespace.yaml")
        self.api.namespaces = {namespace["metadata"]["name"]: namespace["metadata"]["labels"]}
        self.kubelet = Kubelet(self.api, self.folder / "volumes", BIN / "open-terminal", pod_address)
        self.kubeconfig = self.api.kubeconfig(self.folder / "kubeconfig")

    backend = "kubernetes"

    def settings(self):
        return {"backend": self.backend, "image": IMAGE, "kubernetes_kubeconfig": self.kubeconfig}

    def close(self):
        self.kubelet.close()
        self.api.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def pods(self):
        return self.api.all("pods")

    def pod(self, user, stack, **query):
        """The pod of a user."""
        return self.api.get("pods", stack.tenant(user, **query)["instance_name"])

    def expect_empty(self):
        """Nothing of any instance is left but claims."""
        left = {plural: sorted(self.api.all(plural)) for plural in OURS if self.api.all(plural)}
        assert not left, left
        assert not self.kubelet.running(), "a process of a pod is left"

    def calls(self, method="", plural="", status=None):
        """The requests that the API server has seen."""
        return [seen for seen in self.api.seen if seen[0].startswith(method) and f"/{plural}" in seen[1]
                and (status is None or seen[3] == status)]


def _environment():
    return {key: value for key, value in os.environ.items() if not key.startswith("TERMINALS_")}


class OperatorCluster(Cluster):
    """With the definition of Terminals, a garbage collector, and operators."""
    backend = "kubernetes-operator"

    def __init__(self):
        super().__init__()
        self.api.tokens["token-of-operator"] = ACCOUNT + "terminals-operator"
        for account, rules in roles("kubernetes-operator").items():
            self.api.rules[ACCOUNT + account] = rules
        self.collector = GarbageCollector(self.api)
        for value in manifests("crd.yaml", overlay="kubernetes-operator"):
            self.api.create("customresourcedefinitions", "apiextensions.k8s.io/v1", None, json.dumps(value).encode(), strict=True)
        self.operators = {}  # name: Popen
        self.operators_settings = {}

    def start_operator(self, name="operator-0", user=None):
        config = self.api.kubeconfig(self.folder / f"kubeconfig-{name}", user=user or {"token": "token-of-operator"})
        environment = _environment()
        self.run_folder(name).mkdir(exist_ok=True)
        settings = {"image": IMAGE, "kubernetes_kubeconfig": config, "run_dir": self.run_folder(name), **self.operators_settings}
        environment.update({f"TERMINALS_{key.upper()}": str(value).lower() if isinstance(value, bool) else str(value)
                            for key, value in settings.items()}, HOSTNAME=name)
        with open(self.folder / f"{name}.err", "ab") as err:
            self.operators[name] = subprocess.Popen([BIN / "terminals-operator"], env=environment, stdin=subprocess.DEVNULL,
                                                    stdout=err, stderr=err, cwd=self.folder)

    def run_folder(self, name="operator-0"):
        return self.folder / f"run-{name}"

    def probe_operator(self, kind="livenessProbe", name="operator-0"):
        """What the kubelet would hear: it runs the command that the manifest says. (status, words)"""
        container, = next(value for value in manifests("operator.yaml", overlay="kubernetes-operator") if value["kind"] == "Deployment"
                          )["spec"]["template"]["spec"]["containers"]
        program, *arguments = container[kind]["exec"]["command"]
        result = subprocess.run([BIN / program, *arguments], env={**_environment(), "TERMINALS_RUN_DIR": str(self.run_folder(name))},
                                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        return result.returncode, result.stderr

    def stop_operator(self, name="operator-0", number=signal.SIGTERM):
        process = self.operators.pop(name)
        process.send_signal(number)
        assert process.wait(30) == (0 if number == signal.SIGTERM else -number), self.operators_log(name)

    def operators_log(self, name="operator-0"):
        return (self.folder / f"{name}.err").read_text(errors="replace")

    def leader(self):
        lease = self.api.get("leases", "terminals-operator")
        return lease["spec"]["holderIdentity"] if lease else ""

    def terminals(self):
        return self.api.all("terminals")

    def terminal(self, user, stack, **query):
        return self.api.get("terminals", stack.tenant(user, **query)["instance_name"])

    @staticmethod
    def status_path(name):
        return f"/apis/{API}/namespaces/terminals/terminals/{name}/status"

    def patch_status(self, name, **status):
        """As an operator does."""
        body = json.dumps({"status": status}).encode()
        return self.api.patch("terminals", API, "terminals", name, body, strict=False, is_status=True)

    def put_to_sleep(self, name):
        """As if nobody had used it for years."""
        with self.api.lock:
            terminal = self.api.get("terminals", name)
            terminal["metadata"]["creationTimestamp"] = "2020-01-01T00:00:00Z"
            terminal["status"] = {**terminal.get("status", {}), "lastActivityAt": "2020-01-01T00:00:00Z"}
            assert self.api.put("terminals", terminal)

    def expect_empty(self):
        assert not self.terminals(), self.terminals()
        eventually(lambda: super(OperatorCluster, self).expect_empty() is None, 15, what="the end of all objects")

    def close(self):
        for name in list(self.operators):
            self.stop_operator(name)
        logs = {path: path.read_text(errors="replace") for path in self.folder.glob("operator-*.err")}
        super().close()
        for path, text in logs.items():
            assert not any(mark in text for mark in SANITIZER_MARKS), f"{path}: {text[-6000:]}"


OPERATORS_SETTINGS = ("kubernetes_", "image", "allowed_images", "max_", "log_level")


@contextlib.contextmanager
def kubernetes_stack(backend="kubernetes", cluster=None, **settings):
    own = cluster or (OperatorCluster() if backend == "kubernetes-operator" else Cluster())
    try:
        if own.backend == "kubernetes-operator" and not own.operators:
            own.operators_settings.update({key: value for key, value in settings.items() if key.startswith(OPERATORS_SETTINGS)})
            own.start_operator()
        with Stack(**{**own.settings(), **settings}) as stack:
            stack.cluster = own
            stack.shared = False
            yield stack
        if cluster is None:
            own.expect_empty()
    finally:
        if cluster is None:
            own.close()


def begin_anew(stack):
    """The provisioner is killed, and another takes over what runs."""
    os.kill(stack.one("terminals-provisioner"), signal.SIGKILL)
