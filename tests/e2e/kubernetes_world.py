"""A cluster for a test, and a Terminals in front of it:

    with kubernetes_stack(idle_timeout_seconds=2) as stack:
        stack.run("alice", "true")
        assert stack.cluster.pod("alice", stack)["status"]["phase"] == "Running"
"""
import contextlib
import shutil
import sys
import tempfile
from pathlib import Path

from certificates import make_certificate
from stack import BIN, Stack

sys.path.insert(0, str(Path(__file__).parents[1] / "fakes"))

from kubernetes_api import KubernetesApi, restricted_problems  # noqa: E402
from kubernetes_kubelet import Kubelet  # noqa: E402
from kubernetes_schema import KINDS, selects  # noqa: E402

__all__ = ["IMAGE", "KINDS", "Cluster", "kubernetes_stack", "restricted_problems", "selects"]

IMAGE = "open-terminal:test"
OURS = ("pods", "services", "secrets")


class Cluster:
    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="tk-", dir="/tmp"))
        self.certificate = make_certificate(self.folder / "api.pem", "kubernetes")
        self.api = KubernetesApi(self.certificate)
        self.kubelet = Kubelet(self.api, self.folder / "volumes", BIN / "open-terminal")
        self.kubeconfig = self.api.kubeconfig(self.folder / "kubeconfig")

    def settings(self):
        return {"backend": "kubernetes", "image": IMAGE, "kubernetes_kubeconfig": self.kubeconfig}

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


@contextlib.contextmanager
def kubernetes_stack(cluster=None, **settings):
    own = cluster or Cluster()
    try:
        with Stack(**{**own.settings(), **settings}) as stack:
            stack.cluster = own
            stack.shared = False
            yield stack
        if cluster is None:
            own.expect_empty()
    finally:
        if cluster is None:
            own.close()
