"""A first request may be anything, may come a hundredfold, and may be abandoned."""
import contextlib
import hashlib
import http.client
import json
import os
import threading
import time

import pytest
from stack import BIN, SLOW, eventually, read_response

UPLOAD_MIB = 1024 if os.environ.get("TERMINALS_TEST_FULL") == "1" else 200 if SLOW == 1 else 20


def slow_start(folder, script):
    """An open-terminal whose start is this shell script; `$REAL` is the true one."""
    path = folder / "slow-open-terminal"
    path.write_text(f"#!/bin/sh\nREAL={BIN / 'open-terminal'}\n{script}\n")
    path.chmod(0o755)
    return path


def at_once(count, function):
    """Calls function(n) in `count` threads that start together; returns what they returned or raised."""
    gate, results = threading.Barrier(count), [None] * count

    def call(number):
        gate.wait()
        try:
            results[number] = function(number)
        except Exception as problem:  # the evidence belongs to the assertion
            results[number] = problem

    threads = [threading.Thread(target=call, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_a_hundred_users_first_requests_at_once(fresh):
    stack = fresh()
    answers = at_once(100, lambda n: stack.execute(f"user-{n}", f"echo {n} > ~/n.txt; cat ~/n.txt", timeout=120))
    wrong = [answer if isinstance(answer, Exception) else f"{answer.status} {answer.text[:200]}"
             for answer in answers if isinstance(answer, Exception) or answer.status != 200]
    assert not wrong, f"{len(wrong)} of 100 failed: {wrong[:3]}"
    assert ["".join(part["data"] for part in answer.json()["output"]).strip() for answer in answers] == \
        [str(n) for n in range(100)]
    assert len(stack.instances()) == 100
    assert len(stack.tenants("?limit=1000")) == 100
    rows = stack.admin("GET", "/audit-logs?limit=1000&action=tenant_created").expect(200).json()
    assert len(rows["audit_logs"] if isinstance(rows, dict) else rows) == 100, "an instance was started twice"


def test_one_users_simultaneous_first_requests_share_one_start(fresh, user):
    stack = fresh()
    answers = at_once(30, lambda n: stack.run(user, f"echo {n} >> ~/all.txt; echo {n}", timeout=60))
    assert answers == [f"{n}\n" for n in range(30)], [a for a in answers if isinstance(a, Exception)][:3]
    assert len(stack.instances()) == 1
    assert sorted(stack.run(user, "cat ~/all.txt").split(), key=int) == [str(n) for n in range(30)]


def multipart(size, name="big.bin"):
    """A multipart body with one file of `size` bytes, in pieces, and the SHA-256 of the file."""
    digest = hashlib.sha256()
    block = os.urandom(1 << 16)

    def pieces():
        yield (f'--B\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
               "Content-Type: application/octet-stream\r\n\r\n").encode()
        left = size
        while left:
            piece = block[:min(left, len(block))]
            digest.update(piece)
            left -= len(piece)
            yield piece
        yield b"\r\n--B--\r\n"

    return pieces(), digest


def test_a_chunked_upload_may_be_the_first_request(stack, user):
    size = UPLOAD_MIB << 20
    pieces, digest = multipart(size)
    answer = stack.request(user, "POST", "/files/upload?directory=.", body=pieces, timeout=300,
                           headers=[("Content-Type", "multipart/form-data; boundary=B")])
    assert answer.expect(200).json()["size"] == size
    assert stack.run(user, "sha256sum < ~/big.bin", wait=120).split()[0] == digest.hexdigest()
    stack.request(user, "DELETE", "/files/delete?path=big.bin").expect(200)


@pytest.mark.release_only
def test_a_chunked_upload_is_not_buffered(static, fake, user):
    """No process of ours grows with the body."""
    def resident():
        total = 0
        for name in ("terminals-gate", "haproxy"):
            for pid in static.process(name):
                total += int(open(f"/proc/{pid}/statm", encoding="ascii").read().split()[1]) * 4096
        return total

    before, peak, done = resident(), [0], threading.Event()

    def watch():
        while not done.is_set():
            peak[0] = max(peak[0], resident())
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        pieces, _ = multipart(64 << 20)
        static.request(user, "POST", "/discard", body=pieces, timeout=120).expect(200)
    finally:
        done.set()
        watcher.join()
    assert fake.of("/discard")[0].body_length > 64 << 20
    assert peak[0] - before < 8 << 20, f"grew by {peak[0] - before} bytes"


def test_expect_100_continue_is_honoured_first_and_later(stack, user):
    for path in ("cold.txt", "hot.txt"):
        body = json.dumps({"path": path, "content": "waited"}).encode()
        with stack.connect() as sock:
            sock.sendall((f"POST /files/write HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stack.key}\r\nX-User-Id: {user}\r\n"
                          f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n").encode())
            head = b""
            while b"\r\n\r\n" not in head:
                head += sock.recv(1)
            assert head.startswith(b"HTTP/1.1 100"), head
            sock.sendall(body)
            read_response(sock, "POST").expect(200)
    assert stack.run(user, "cat ~/cold.txt ~/hot.txt") == "waitedwaited"


def test_the_body_is_not_asked_for_before_the_request_is_allowed(static, fake):
    for key, status, user in (("wrong", 401, "u"), (static.key, 422, "")):
        with static.connect() as sock:
            sock.sendall((f"POST /discard HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nX-User-Id: {user}\r\n"
                          "Content-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n").encode())
            answer = sock.recv(65536)
        assert answer.startswith(f"HTTP/1.1 {status}".encode()), answer
    assert not fake.seen


def test_a_refusal_arrives_even_while_the_client_is_sending(static, fake):
    with static.connect() as sock:
        sock.sendall(b"POST /discard HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer wrong\r\nX-User-Id: u\r\n"
                     b"Content-Length: 1000000000\r\n\r\n" + b"x" * 200000)
        assert sock.recv(65536).startswith(b"HTTP/1.1 401")
    assert not fake.seen


def test_head_may_be_the_first_request(static, user):
    answer = static.request(user, "HEAD", "/x").expect(200)
    assert answer.body == b""
    static.request(user, "HEAD", "/x").expect(200)


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
def test_any_method_may_be_the_first_request(static, fake, user, method):
    static.request(user, method, "/x", body=b"" if method in ("PUT", "PATCH") else None).expect(200)
    static.request(user, method, "/x", body=b"" if method in ("PUT", "PATCH") else None).expect(200)
    assert [seen.method for seen in fake.seen] == [method, method]


def test_an_answer_that_never_ends_streams_from_the_first_request(static, fake, user):
    for _ in ("cold", "hot"):
        with static.connect() as sock:
            sock.sendall((f"GET /stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {static.key}\r\n"
                          f"X-User-Id: {user}\r\n\r\n").encode())
            got = b""
            while got.count(b"data: tick") < 20:
                chunk = sock.recv(65536)
                assert chunk, got
                got += chunk
        seen = fake.of("/stream")[-1]
        eventually(seen.ended.is_set, 5, what="the instance learning that nobody reads any more")


def test_a_client_that_leaves_during_the_start_leaves_a_started_instance(fresh, user, tmp_path):
    marker = tmp_path / "go"
    stack = fresh(local_sandbox="none",
                  local_binary=slow_start(tmp_path, f'while [ ! -e {marker} ]; do sleep 0.05; done; exec "$REAL" "$@"'))
    gate = stack.one("terminals-gate")
    before = len(os.listdir(f"/proc/{gate}/fd"))
    for _ in range(10):
        sock = stack.connect()
        sock.sendall((f"POST /execute?wait=5 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stack.key}\r\n"
                      f"X-User-Id: {user}\r\nContent-Length: 1000\r\n\r\n").encode())
        eventually(lambda: stack.tenants() and stack.tenants()[0]["status"] == "provisioning", what="the start")
        sock.close()
    eventually(lambda: len(os.listdir(f"/proc/{gate}/fd")) <= before, what="the gate letting go of who left")
    marker.touch()
    eventually(lambda: stack.tenant(user)["status"] == "running", what="the start's end")
    assert stack.run(user, "echo there") == "there\n"
    assert len(stack.instances()) == 1


def test_a_start_that_takes_too_long_is_504(fresh, user, tmp_path):
    stack = fresh(local_sandbox="none", start_timeout_seconds=1, local_binary=slow_start(tmp_path, "exec sleep 47112"))
    stack.execute(user, "true").expect_error(504)
    eventually(lambda: not stack.commands("sleep 47112"), 10, what="the end of the failed start")
    assert stack.tenant(user)["status"] == "error"
    assert stack.tenant(user)["error"]


def test_a_start_that_fails_is_502_and_the_next_may_succeed(fresh, user, tmp_path):
    marker = tmp_path / "repaired"
    stack = fresh(local_sandbox="none",
                  local_binary=slow_start(tmp_path, f'[ -e {marker} ] || exit 3; exec "$REAL" "$@"'))
    stack.execute(user, "true").expect_error(502)
    assert stack.tenant(user)["status"] == "error"
    marker.touch()
    assert stack.run(user, "echo fine") == "fine\n"
    assert stack.tenant(user)["error"] is None


def test_one_users_endless_start_does_not_hold_up_another(fresh, tmp_path):
    stack = fresh(local_sandbox="none", local_binary=slow_start(
        tmp_path, 'case "$PWD$HOME" in *slowpoke*) sleep 4713;; esac; exec "$REAL" "$@"'))
    with stack.connect() as sock:
        sock.sendall(f"GET /files/list HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stack.key}\r\nX-User-Id: slowpoke\r\n\r\n".encode())
        eventually(lambda: stack.tenants(), what="the slow start")
        began = time.monotonic()
        assert stack.run("quick", "echo quick") == "quick\n"
        assert time.monotonic() - began < 3 * SLOW
        stack.admin("GET", "/stats").expect(200)


def test_a_keep_alive_connection_may_serve_different_users(stack, user, other):
    connection = http.client.HTTPConnection(*stack.address, timeout=30)
    with contextlib.closing(connection):
        for who in (user, other, user, other):
            body = json.dumps({"path": "who.txt", "content": who})
            connection.request("POST", "/files/write", body, dict(stack.headers(who)) | {"Content-Type": "application/json"})
            assert connection.getresponse().read()
        for who in (user, other):
            connection.request("GET", "/files/read?path=who.txt", headers=dict(stack.headers(who)))
            assert json.loads(connection.getresponse().read())["content"] == who


def test_two_requests_in_one_packet_are_two_requests(stack, user, other):
    """Pipelined, cold, for two users: neither's bytes may reach the other's instance."""
    with stack.connect() as sock:
        for_both = "".join(
            f"GET /files/cwd HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stack.key}\r\nX-User-Id: {who}\r\n\r\n"
            for who in (user, other))
        sock.sendall(for_both.encode())
        sock.settimeout(20 * SLOW)
        got = b""
        while got.count(b"HTTP/1.1 200") < 2:
            chunk = sock.recv(65536)
            assert chunk, got
            got += chunk
