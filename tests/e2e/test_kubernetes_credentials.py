"""Who Terminals is to the API server, and whom it believes to be one."""
import pytest
from kubernetes_world import ACCOUNT, IMAGE, Cluster, OperatorCluster, kubernetes_stack
from stack import eventually


# --- credentials ---

def test_a_token_file_is_read_anew_as_it_rotates():
    cluster = Cluster()
    token = cluster.folder / "token"
    token.write_text("token-of-terminals\n")
    cluster.api.kubeconfig(cluster.kubeconfig, user={"tokenFile": "token"})
    try:
        with kubernetes_stack(cluster=cluster) as stack:
            stack.run("alice", "true")
            token.with_suffix(".new").write_text("another-token")
            token.with_suffix(".new").rename(token)  # as the kubelet does
            cluster.api.tokens = {"another-token": "system:serviceaccount:terminals:terminals"}
            cluster.api.cut_watches()
            assert stack.run("bob", "echo in") == "in\n"
    finally:
        cluster.close()


def test_a_client_certificate_works_and_an_expired_token_is_named():
    cluster = Cluster()
    pem = str(cluster.certificate.with_suffix(".crt"))
    cluster.api.kubeconfig(cluster.kubeconfig, user={"client-certificate": pem, "client-key": str(cluster.certificate.with_suffix(".key"))})
    try:
        with kubernetes_stack(cluster=cluster) as stack:
            assert stack.run("alice", "echo in") == "in\n"
            assert {call[2] for call in cluster.calls("POST")} == {"kubernetes"}
        cluster.api.kubeconfig(cluster.kubeconfig, user={"token": "expired"})
        with kubernetes_stack(cluster=cluster) as stack:
            assert "401 Unauthorized" in stack.execute("alice", "true", timeout=30).expect_error(503).detail
    finally:
        cluster.close()


@pytest.mark.parametrize("change, words", [
    ({"user": {"exec": {"command": "aws"}}}, "credential plugins are programs"),
    ({"insecure-skip-tls-verify": True}, "always verified"),
    ({"server": "http://127.0.0.1:1"}, "in the clear"),
])
def test_a_kubeconfig_that_cannot_be_used_stops_the_start(fresh, tmp_path, change, words):
    cluster = Cluster()
    try:
        path = cluster.api.kubeconfig(tmp_path / "config", **change)
        stack = fresh(start=False, backend="kubernetes", image=IMAGE, kubernetes_kubeconfig=path).launch()
        eventually(lambda: words in stack.err(), 15, what=f"`{words}` in the log")
    finally:
        cluster.close()


def test_an_api_server_with_another_certificate_gets_no_token(fresh, tmp_path):
    cluster, impostor = Cluster(), Cluster()
    try:
        path = cluster.api.kubeconfig(tmp_path / "config", server=f"https://127.0.0.1:{impostor.api.port}")
        stack = fresh(backend="kubernetes", image=IMAGE, kubernetes_kubeconfig=path)
        detail = stack.execute("alice", "true", timeout=30).expect_error(503).detail
        assert detail == "The Kubernetes API server does not answer" and "certificate" in stack.err()
        assert not impostor.calls()
    finally:
        cluster.close()
        impostor.close()


def test_an_operator_reads_its_token_anew_and_goes_on():
    cluster = OperatorCluster()
    try:
        with kubernetes_stack(cluster=cluster) as stack:
            stack.run("alice", "true")
            token = cluster.folder / "operators-token"
            token.write_text("first\n")
            cluster.stop_operator()
            cluster.start_operator(user={"tokenFile": str(token)})
            cluster.api.tokens["first"] = cluster.api.tokens.pop("token-of-operator")
            stack.run("bob", "true", timeout=30)
            token.with_suffix(".new").write_text("second")
            token.with_suffix(".new").rename(token)
            cluster.api.tokens["second"] = cluster.api.tokens.pop("first")
            cluster.api.cut_watches()
            assert stack.run("carol", "echo in", timeout=30) == "in\n"
            assert {call[2] for call in cluster.calls("POST", "api/v1/namespaces/terminals/pods")} == {ACCOUNT + "terminals-operator"}
    finally:
        cluster.close()
