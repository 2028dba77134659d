"""TLS on the one port: HTTP/1.1 and HTTP/2, shells over both, a certificate that is renewed."""
import json
import os
import signal
import socket
import ssl
import subprocess

import pytest

from certificates import make_certificate
from h2client import Http2
from stack import Stack, eventually

TEXT, BINARY = 1, 2


def peer_certificate(stack):
    context = ssl._create_unverified_context()  # only to look at it
    with socket.create_connection(stack.address, 10) as plain, context.wrap_socket(plain) as wrapped:
        return ssl.DER_cert_to_PEM_cert(wrapped.getpeercert(binary_form=True))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls") / "server.pem", "terminals")


@pytest.fixture(scope="module")
def stack(certificate):
    stack = Stack(tls_cert=certificate)
    try:
        stack.launch()
        eventually(lambda: "Terminals is ready" in stack.log(), 20, what="the start")
        yield stack
        stack.stop()
    finally:
        stack.kill_all()
        stack.remove()


def curl(stack, certificate, path, *arguments, user="curl"):
    done = subprocess.run(
        ["curl", "-sS", "--cacert", certificate.with_suffix(".crt"), f"https://localhost:{stack.port}{path}", "-H",
         f"Authorization: Bearer {stack.key}", "-H", f"X-User-Id: {user}", *arguments],
        capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done
    return done.stdout


def headers(stack, user):
    return [("Authorization", f"Bearer {stack.key}"), ("X-User-Id", user)]


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_a_command_runs_over_tls(stack, certificate, version):
    answer = curl(stack, certificate, "/terminals/execute?wait=5", version, "-H", "Content-Type: application/json", "-d",
                  '{"command": "echo hello"}', "-w", "\n%{http_version}")
    body, _, spoken = answer.rpartition("\n")
    assert json.loads(body)["output"][0]["data"] == "hello\r\n"
    assert spoken == {"--http1.1": "1.1", "--http2": "2"}[version]


def test_the_printed_address_says_https(stack):
    assert f"https://127.0.0.1:{stack.port}" in stack.log()


def test_plain_http_on_the_tls_port_is_no_way_in(stack):
    with socket.create_connection(stack.address, 10) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        sock.settimeout(10)
        try:
            assert b"200" not in sock.recv(1000)
        except ConnectionResetError:
            pass


@pytest.mark.parametrize("version,spoken", [("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)])
def test_only_sound_protocols_are_spoken(stack, version, spoken):
    done = subprocess.run(["openssl", "s_client", version, "-cipher", "DEFAULT@SECLEVEL=0", "-connect", f"127.0.0.1:{stack.port}"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode == 0) == spoken, done
    assert spoken or "alert protocol version" in done.stderr, done


def test_many_users_on_one_connection_never_meet(stack, certificate):
    """Requests of several users are under way at once on one HTTP/2 connection; what HAProxy remembers of a connection must not
    mix them up."""
    users = [f"user-{number}" for number in range(4)]
    for user in users:
        curl(stack, certificate, "/files/write", "-f", "-H", "Content-Type: application/json", "-d",
             json.dumps({"path": "who", "content": user}), user=user)
    client = Http2(stack.address, certificate.with_suffix(".crt"))
    for _ in range(25):
        asked = [(user, client.begin("/files/view?path=/home/user/who", headers(stack, user))) for user in users * 2]
        asked.append((None, client.begin("/files/view?path=/home/user/who", [("X-User-Id", users[0])])))
        client.send()
        for user, number in asked:
            answer = client.answer(number)
            if user is None:
                assert answer.status == 401, answer.body
            else:
                assert (answer.status, answer.body.decode()) == (200, user)
    client.close()


def test_a_shell_over_http2(stack, certificate):
    """RFC 8441: a WebSocket as one stream of a connection, its token in the first message, other requests beside it."""
    client = Http2(stack.address, certificate.with_suffix(".crt"))
    made = client.request("/api/terminals", headers(stack, "shell"), "POST")
    assert made.status == 200, made.body
    session = json.loads(made.body)["id"]
    number = client.websocket(f"/api/terminals/{session}?user_id=shell")
    assert client.streams[number].status == 200
    client.send_frame(number, TEXT, json.dumps({"type": "auth", "token": stack.key}).encode())
    client.send_frame(number, BINARY, b"echo over-$((1+1))\n")
    client.read_until(number, b"over-2")
    assert client.request("/health").status == 200
    client.close()


def test_a_renewed_certificate_counts_after_a_reload(stack, certificate):
    before = peer_certificate(stack)
    assert before == certificate.with_suffix(".crt").read_text()
    make_certificate(certificate, "renewed")
    os.kill(stack.serve_pid, signal.SIGHUP)
    eventually(lambda: peer_certificate(stack) == certificate.with_suffix(".crt").read_text() != before, 15, what="the new certificate")
    assert "hello" in curl(stack, certificate, "/execute?wait=5", "-H", "Content-Type: application/json", "-d",
                           '{"command": "echo hello"}')


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_certificate_that_is_none_stops_the_start_with_its_name(fresh, tmp_path, content):
    path = tmp_path / "bad.pem"
    if content is not None:
        path.write_text(content)
    stack = fresh(start=False, tls_cert=path)
    stack.launch()
    assert stack.wait_exit() != 0
    assert str(path) in stack.log()
