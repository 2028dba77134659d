"""Shells over WebSockets: what a browser's terminal, and a badly behaved client, rely on."""
import contextlib
import hashlib
import json
import os
import signal
import socket
import struct
import time
from pathlib import Path

import pytest
from stack import OURS, SLOW, eventually
from wsclient import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, WebSocket

MIB = 1 << 20


def memory(stack):
    """Proportional memory of everything of the stack that a WebSocket's bytes pass through, in bytes."""
    total = 0
    for name in ("terminals-gate", "haproxy", "open-terminal"):
        for pid in stack.process(name):
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1]) * 1024
    return total


def expect_close(code, open_socket, timeout=5):
    """Opening or reading ends with this close code, in a WebSocket way and not as a dropped connection."""
    with open_socket() as shell:
        closed = shell.wait_closed(timeout * SLOW)
    assert closed.code == code, closed
    return closed


@pytest.mark.parametrize("auth", ["message", "query", "header"])
def test_a_shell_opens_with_each_way_to_prove_oneself(stack, user, auth):
    with stack.shell(user, auth=auth) as shell:
        shell.send(b"echo $((6*7))\n")
        shell.read_until(b"42")


@pytest.mark.parametrize("prefix", ["/terminals", "/p/default", "/terminals/p/default"])
def test_a_shell_opens_under_each_prefix(stack, user, prefix):
    with stack.ws(user, stack.new_terminal(user, prefix=prefix), prefix=prefix) as shell:
        shell.send(b"echo $((6*7))\n")
        shell.read_until(b"42")


def test_a_user_named_in_the_header_gets_their_shell(stack, user):
    session = stack.new_terminal(user)
    with stack.ws(None, session, auth="header", headers=[("X-User-Id", user)]) as shell:
        shell.send(b"echo $((6*7))\n")
        shell.read_until(b"42")


def test_what_the_shell_says_comes_in_binary_frames(stack, user):
    with stack.ws(user, stack.new_terminal(user)) as shell:
        opcode, _ = shell.recv()
        assert opcode == BINARY


def test_a_resize_reaches_the_shell(stack, user):
    with stack.shell(user) as shell:
        shell.send(json.dumps({"type": "resize", "cols": 120, "rows": 40}))
        shell.send(b"stty size\n")
        shell.read_until(b"40 120")


@pytest.mark.parametrize("text", ["[1]", "not json", "{}", '{"type":"resize","cols":-1,"rows":0}', '{"type":5}', "5", "null",
                                  '{"type":"resize","cols":"x","rows":[]}', '{"type":"resize","cols":1e99,"rows":99999999}',
                                  '{"type":"ping"}'])
def test_an_odd_text_message_does_not_kill_the_shell(stack, user, text):
    with stack.shell(user) as shell:
        shell.send(text)
        shell.send(b"echo $((6*7))\n")
        shell.read_until(b"42")


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, MIB])
def test_a_frame_of_any_size_arrives_whole(stack, user, size):
    with stack.shell(user) as shell:
        # Raw, because a terminal in line mode holds 4 KiB a line.
        shell.send(b"stty raw -echo; echo go-$((1+1)); head -c %d | sha256sum; stty sane -echo\n" % max(size, 1))
        shell.read_until(b"go-2")
        payload = os.urandom(size)
        shell.send(payload)
        if size == 0:
            payload = b"x"
            shell.send(payload)
        shell.read_until(hashlib.sha256(payload).hexdigest().encode(), 30 * SLOW)


def test_a_message_in_fragments_is_one_message(stack, user):
    with stack.shell(user) as shell:
        shell.send_frame(BINARY, b"echo $((6", final=False)
        shell.send_frame(PING, b"between")  # control frames may come between fragments (RFC 6455 §5.4)
        shell.send_frame(CONTINUATION, b"", final=False)
        shell.send_frame(CONTINUATION, b"*7))\n", final=True)
        shell.read_until(b"42")


def test_the_auth_message_may_come_in_fragments_and_with_company(stack, user):
    message = json.dumps({"type": "auth", "token": stack.key}).encode()
    with stack.ws(user, stack.new_terminal(user), auth=None) as shell:
        shell.send_frame(PING, b"early")
        shell.send_frame(TEXT, message[:7], final=False)
        shell.send_frame(CONTINUATION, message[7:], final=True)
        shell.send(b"echo $((6*7))\n")  # not waiting for anything
        shell.read_until(b"42")


def test_a_ping_is_answered_with_its_payload(stack, user):
    with stack.shell(user) as shell:
        for payload in (b"", b"x", b"p" * 125):
            shell.send_frame(PING, payload)
            while True:
                opcode, _, got = shell.recv_frame()
                if opcode == PONG:
                    break
            assert got == payload


def test_bulk_output_comes_whole_and_in_order(stack, user):
    with stack.shell(user) as shell:
        shell.send(b"seq 1 300000; echo end-$((1+1))\n")
        text = shell.read_until(b"end-2", 60 * SLOW)
    numbers = [int(line) for line in text.replace(b"\r", b"").split(b"\n") if line.isdigit()]
    assert numbers == list(range(1, 300001))


def test_a_client_that_says_goodbye_is_answered(stack, user):
    with stack.shell(user) as shell:
        shell.send_frame(CLOSE, struct.pack("!H", 1000) + b"bye")
        assert shell.wait_closed(2 * SLOW).code in (1000, 1005)


def test_when_the_shell_exits_the_client_is_closed_within_a_second(stack, user):
    with stack.shell(user) as shell:
        shell.send(b"exit\n")
        closed = shell.wait_closed(1 * SLOW)
    assert closed.code in (1000, 1001, 1005), closed


def test_a_client_that_vanishes_leaves_no_shell_behind(stack, user):
    for leave in ("reset", "end", "close"):
        shell = stack.shell(user)
        shell.send(b"exec sleep 47110\n")
        eventually(lambda: stack.commands("sleep 47110"), what="the shell's sleep")
        if leave == "reset":
            shell.reset()
        elif leave == "end":
            shell.sock.shutdown(socket.SHUT_WR)
        else:
            shell.close()
        eventually(lambda: not stack.commands("sleep 47110"), 5, what=f"the end of the shell after a {leave}")
    eventually(lambda: stack.request(user, "GET", "/api/terminals").json() == [], what="no session left")


def test_a_client_that_vanishes_before_it_proved_itself_leaves_nothing(stack, user):
    session = stack.new_terminal(user)
    pid = stack.one("terminals-gate")
    before = len(os.listdir(f"/proc/{pid}/fd"))
    for _ in range(20):
        stack.ws(user, session, auth=None).reset()
    eventually(lambda: len(os.listdir(f"/proc/{pid}/fd")) <= before, 10, what="the gate closing what is left")
    with stack.ws(user, session) as shell:
        shell.send(b"echo $((6*7))\n")
        shell.read_until(b"42")


@pytest.mark.release_only
def test_a_client_that_stops_reading_stops_the_shell_not_our_memory(fresh, user):
    stack = fresh()
    shell = stack.shell(user, receive_buffer=65536)
    before = memory(stack)
    shell.send(b"exec yes bottleneck\n")
    [writer] = eventually(lambda: stack.commands("yes bottleneck"), what="the writer")

    def written():
        for line in Path(f"/proc/{writer}/io").read_text().splitlines():
            if line.startswith("wchar"):
                return int(line.split()[1])
        return 0

    seen = [-1, written()]

    def stands_still():
        seen.append(written())
        return seen[-1] == seen[-8:][0] and len(seen) > 10

    eventually(stands_still, 15, what="the writer standing still", interval=0.1)
    assert written() < 32 * MIB, "somebody buffers what nobody reads"
    # The sockets' own buffers are the kernel's; ours may hold a frame or two.
    assert memory(stack) - before < 8 * MIB
    # And it goes on once somebody reads. How much that takes is up to the kernel: a socket tells its writer of room only when
    # much of its buffer is free, and there are several on the way.
    still, taken = written(), 0
    while written() == still:
        assert taken < 64 * MIB, "the writer does not go on"
        taken += len(shell.recv()[1])
    shell.reset()
    eventually(lambda: not stack.commands("yes bottleneck"), what="the end of the writer")


@pytest.mark.release_only
def test_a_shell_that_stops_reading_stops_the_client_not_our_memory(fresh, user):
    stack = fresh()
    shell = stack.shell(user)
    shell.send(b"stty raw -echo; echo go-$((1+1)); exec sleep 47110\n")
    shell.read_until(b"go-2")
    before = memory(stack)
    shell.sock.setblocking(False)
    frame = bytes([0x80 | BINARY, 0x80 | 126]) + struct.pack("!H", 60000) + b"\0\0\0\0" + b"x" * 60000
    sent, last_progress, pending = 0, time.monotonic(), b""
    while time.monotonic() - last_progress < 1.5 * SLOW and sent < 256 * MIB:
        pending = pending or frame
        try:
            count = shell.sock.send(pending)
            pending, sent, last_progress = pending[count:], sent + count, time.monotonic()
        except BlockingIOError:
            time.sleep(0.01)
    assert sent < 64 * MIB, "everything is taken from a client though nobody reads it"
    assert memory(stack) - before < 8 * MIB
    # HAProxy 2.6 does not see that a client has left while it holds bytes of it (idle cleanup ends such a shell); but when
    # HAProxy itself goes, the gate must not wait for the instance to take those bytes.
    os.kill(stack.process("haproxy")[-1], signal.SIGKILL)
    eventually(lambda: not stack.commands("sleep 47110"), what="the end of the shell")
    shell.reset()


# --- close codes (DESIGN.md) ---

@pytest.mark.parametrize("first", [
    "hello", "[]", "5", "null", "{", '{"type":"auth"}', '{"type":"auth","token":5}', '{"type":"auth","token":null}',
    '{"type":"auth","token":"wrong"}', '{"type":"auth","token":""}', '{"type":"auth","token":"sch\\u00f6n"}',
    '{"type":"auth","token":"a\\nb"}', '{"type":"auth","token":"a\\u0000b"}', '{"type":"other","token":"%KEY%"}',
    b'{"type":"auth","token":"%KEY%"}', "", "[" * 5000, '{"type":"auth","token":"' + "x" * 60000 + '"}',
])
def test_4001_when_the_first_message_proves_nothing(stack, first):
    first = first.replace("%KEY%", stack.key) if isinstance(first, str) else first.replace(b"%KEY%", stack.key.encode())

    def open_socket():
        shell = stack.ws("nobody-here", "some-session", auth=None)
        shell.send(first)
        return shell

    expect_close(4001, open_socket)


def test_4001_for_a_wrong_token_in_query_or_header(stack):
    expect_close(4001, lambda: _plain(stack, "/api/terminals/s?user_id=u&token=wrong"))
    expect_close(4001, lambda: _plain(stack, "/api/terminals/s?user_id=u", [("Authorization", "Bearer wrong")]))
    expect_close(4001, lambda: _plain(stack, "/api/terminals/s?user_id=u", [("Authorization", "Basic eDp5")]))


def _plain(stack, path, headers=()):
    return WebSocket(stack.address, path, headers, timeout=15 * SLOW)


def test_4001_when_the_proof_does_not_come_within_ten_seconds(stack):
    began = time.monotonic()
    with stack.ws("u", "s", auth=None) as shell:
        shell.send_frame(PING, b"a ping is no proof")
        assert shell.wait_closed(14 * SLOW).code == 4001
    assert time.monotonic() - began > 8


def test_4002_when_no_user_is_named(stack):
    expect_close(4002, lambda: stack.ws(None, "some-session"))
    expect_close(4002, lambda: stack.ws("", "some-session"))
    expect_close(4002, lambda: stack.ws(None, "some-session", auth="header"))


def test_4003_when_what_is_asked_is_not_allowed(stack):
    expect_close(4003, lambda: stack.ws("u" * 300, "some-session"))
    expect_close(4003, lambda: stack.ws("u", "some-session", headers=[("X-Terminal-Context-Id", "nonsense")]))
    expect_close(4003, lambda: stack.ws("u", "some-session", prefix="/p/-bad-"))


def test_4004_when_there_is_no_such_session(stack, user):
    stack.run(user, "true")
    expect_close(4004, lambda: stack.ws(user, "no-such-session"))


def test_4004_when_the_instance_does_not_run_and_nothing_is_started(stack, user):
    expect_close(4004, lambda: stack.ws(user, "some-session"))
    stack.admin("GET", f"/tenants/{user}").expect(404)


def test_a_session_belongs_to_its_user(stack, user, other):
    session = stack.new_terminal(user)
    stack.run(other, "true")
    expect_close(4004, lambda: stack.ws(other, session))


def test_two_shells_of_a_user_are_two_shells(stack, user):
    with stack.shell(user) as one, stack.shell(user) as two:
        one.send(b"mark=one; echo $mark-$((1+1))\n")
        one.read_until(b"one-2")
        two.send(b"echo [$mark]-$((1+1))\n")
        two.read_until(b"[]-2")


def test_an_open_shell_needs_neither_api_nor_provisioner(stack, user):
    with stack.shell(user) as shell, stack.stopped("terminals-api", "terminals-provisioner"):
        shell.send(b"echo $((6*7))\n")
        shell.read_until(b"42")


def test_a_handshake_that_is_none_is_refused_politely(stack, user):
    session = stack.new_terminal(user)
    head = f"GET /api/terminals/{session}?user_id={user} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stack.key}\r\n"
    for lines in ("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
                  "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 7\r\n"
                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"):
        answer = stack.raw((head + lines + "\r\n").encode())
        assert answer.status in (400, 426), answer.text
    # Without any upgrade it is an ordinary request about that session.
    assert stack.request(user, "GET", f"/api/terminals/{session}").expect(200).json()["id"] == session


def test_the_end_of_an_instance_ends_its_shells_within_a_second(fresh, user):
    stack = fresh()
    shell = stack.shell(user)
    os.kill(stack.instance_pid(user), signal.SIGKILL)
    shell.wait_closed(1 * SLOW)


def test_an_instance_never_sees_a_clients_token(static, fake):
    static.request("u", "GET", "/x").expect(200)
    for auth in ("message", "query", "header"):
        session = f"session-{auth}"
        with static.ws("u", session, auth=auth, headers=[("X-Terminal-Context-Id", "default"),
                                                         ("Proxy-Authorization", f"Bearer {static.key}")]) as shell:
            assert shell.recv()[1] == b"hello"
        [seen] = fake.of(session)
        everything = seen.target + repr(seen.headers) + seen.first_message.decode()
        assert static.key not in everything, everything
        assert json.loads(seen.first_message) == {"type": "auth", "token": "key-of-the-instance"}
        assert not seen.values("x-user-id") and not seen.values("sec-websocket-extensions"), seen.headers


def test_extensions_and_subprotocols_are_not_negotiated(stack, user):
    with stack.ws(user, stack.new_terminal(user), headers=[("Sec-WebSocket-Extensions", "permessage-deflate"),
                                                           ("Origin", "https://chat.example")]) as shell:
        assert not [line for line in shell.handshake if line.lower().startswith("sec-websocket-extensions")]
        shell.send(b"echo $((6*7))\n")
        shell.read_until(b"42")


def test_a_frame_without_mask_ends_the_connection(stack, user):
    with stack.shell(user) as shell:
        shell.sock.sendall(bytes([0x80 | BINARY, 2]) + b"ls")  # RFC 6455 §5.1
        assert shell.wait_closed(3 * SLOW).code in (1002, 1006)
    assert stack.run(user, "echo fine") == "fine\n"


def test_an_unmasked_or_oversized_first_message_is_4001_or_a_protocol_error(stack):
    for data in (bytes([0x80 | TEXT, 2]) + b"{}",
                 bytes([0x80 | TEXT, 0x80 | 127]) + struct.pack("!Q", 1 << 40) + b"\0\0\0\0",
                 bytes([0xF0 | TEXT, 0x80]) + b"\0\0\0\0",
                 bytes([0x80 | 0x3, 0x80]) + b"\0\0\0\0"):
        shell = stack.ws("u", "s", auth=None)
        shell.sock.sendall(data)
        try:
            assert shell.wait_closed(3 * SLOW).code in (1002, 1003, 1009, 4001)
        finally:
            shell.sock.close()
    assert stack.request(None, "GET", "/health", key=None).status == 200
    assert [stack.one(name) for name in OURS]
