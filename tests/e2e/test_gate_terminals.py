"""terminals-gate alone, between peers that misbehave: the WebSocket of a terminal, from its handshake to its end."""
import json
import socket
import threading
import time

import pytest
from gate_peers import (BINARY, CLOSE, INSTANCE_KEY, PING, PONG, ROUTE, TEXT, TOKEN, UPGRADE, Gate, allowed, auth, case, echo, frame,
                        read_exactly, refused, suppress, terminal)
from ports import free_port
from stack import SLOW, eventually


def opens(frames):
    """The terminal works."""
    frames.send(BINARY, b"key")
    assert frames.read() == (BINARY, b"key")
    frames.send(CLOSE, b"\x03\xe8")
    assert frames.read() == (CLOSE, b"\x03\xe8") and frames.read() is None
    frames.connection.close()


def test_a_terminal_opens_for_a_token_in_the_header_the_query_or_the_first_message():
    with Gate(instance=terminal(echo)) as gate:
        opens(gate.open_terminal("/api/terminals/s1", token=TOKEN, user="alice"))
        opens(gate.open_terminal(f"/api/terminals/s1?a=1&token={TOKEN}&user_id=al%69ce&b=%2F"))
        opens(gate.open_terminal(behind=frame(TEXT, auth())))
        for ask in gate.authorizer.asks:
            assert dict(ask)["HTTP_AUTHORIZATION"] == f"Bearer {TOKEN}" and dict(ask)["HTTP_X_USER_ID"] == "alice", ask
            assert TOKEN not in dict(ask)["REQUEST_URI"]
        assert [head.split(" ")[1] for head in gate.instance.heads] == ["/api/terminals/s1", "/api/terminals/s1?a=1&b=%2F", "/api/terminals/s1"]
        for head in gate.instance.heads:
            assert TOKEN not in head and "alice" not in head, head
        assert len(gate.provisioner.wait_for("lookup", 3)) == 3 and gate.provisioner.all("resolve") == []
        audits = [(row["action"], row["user_id"], row["resource_id"]) for row in gate.provisioner.wait_for("audit", 6)]
        assert sorted(audits) == [("terminal_closed", "alice", "s1")] * 3 + [("terminal_opened", "alice", "s1")] * 3


def test_a_user_may_have_so_many_terminals_and_others_as_many():
    with Gate(instance=terminal(echo), user_websocket_limit=2,
              authorize=lambda parameters: allowed(user=dict(parameters)["HTTP_X_USER_ID"])) as gate:
        def open_for(user):
            frames = gate.open_terminal("/api/terminals/s1", token=TOKEN, user=user)
            frames.send(BINARY, b"here")
            return frames, frames.read()

        mine = [open_for("alice") for _ in range(2)]
        assert [first for _, first in mine] == [(BINARY, b"here")] * 2
        refused, first = open_for("alice")
        assert first[0] == CLOSE and first[1][:2] == (1013).to_bytes(2, "big"), first
        refused.connection.close()
        theirs, first = open_for("bob")
        assert first == (BINARY, b"here")
        mine[0][0].connection.close()

        def again():
            frames, got = open_for("alice")
            frames.connection.close()
            return got == (BINARY, b"here")

        eventually(again, what="a place for another terminal")
        for frames in (mine[1][0], theirs):
            frames.connection.close()


def test_the_first_message_may_come_in_any_pieces():
    message = auth()
    fragments = (frame(TEXT, message[:5], final=False) + frame(PING, b"p") + frame(0, message[5:9], final=False) + frame(PONG)
                 + frame(0, message[9:]))
    with Gate(instance=terminal(echo)) as gate:
        frames = gate.open_terminal()
        for byte in fragments:
            frames.connection.sendall(bytes([byte]))
        assert frames.read() == (PONG, b"p")
        opens(frames)
        large = gate.open_terminal(behind=frame(TEXT, message + " " * 60000))
        opens(large)


def test_frames_behind_the_first_message_are_not_lost():
    with Gate(instance=terminal(echo)) as gate:
        frames = gate.open_terminal(behind=frame(TEXT, auth()) + b"".join(frame(BINARY, b"%d" % n) for n in range(100)))
        frames.connection.sendall(frame(BINARY, b"x" * 100_000))
        for number in range(100):
            assert frames.read() == (BINARY, b"%d" % number)
        assert frames.read() == (BINARY, b"x" * 100_000)
        opens(frames)


@pytest.mark.parametrize("first", [
    frame(BINARY, auth()), frame(TEXT, "not JSON"), frame(TEXT, "[1]"), frame(TEXT, '{"type":"auth","token":5}'), frame(TEXT, '{"type":"auth"}'),
    frame(TEXT, '{"type":"auth","token":"\u00e9"}'), frame(TEXT, '{"type":"auth","token":"a\\u0000b"}'), frame(TEXT, '{"type":"auth","token":"a b"}'),
    frame(TEXT, '{"type":"auth","token":""}'), frame(TEXT, ""), frame(TEXT, b"\xff"), frame(TEXT, auth() + " " * 70000), frame(TEXT, b"{" * 1_000_000),
    frame(TEXT, "x" * 40000, final=False) + frame(0, "x" * 40000), frame(TEXT, '{"type":"other","token":"x"}')], ids=case)
def test_a_first_message_that_proves_nothing_is_4001(first):
    with Gate() as gate:
        frames = gate.open_terminal()
        threading.Thread(target=suppress, args=(frames.connection.sendall, first), daemon=True).start()
        frames.expect_close(4001)
        frames.connection.close()
        assert gate.authorizer.asks == []


@pytest.mark.parametrize("first,again,last", [
    (b"", frame(PONG), frame(TEXT, auth())), (b"", frame(PING), frame(TEXT, auth())),
    (frame(TEXT, b"", final=False), frame(0, b"", final=False), frame(0, auth()))], ids=["pongs", "pings", "fragments"])
def test_who_has_proved_nothing_may_not_send_for_ever(first, again, last):
    with Gate() as gate:
        frames = gate.open_terminal()
        threading.Thread(target=suppress, args=(frames.connection.sendall, first + again * 300_000 + last), daemon=True).start()
        got = (PONG, b"")
        while got[0] == PONG:
            got = frames.read()
        assert got[0] == CLOSE and got[1][:2] == (4001).to_bytes(2, "big"), got
        frames.connection.close()
        assert gate.authorizer.asks == []


@pytest.mark.parametrize("first,again", [(frame(TEXT, b"{", final=False), frame(PING)), (b"\x81\xff" + (1 << 40).to_bytes(8, "big") + bytes(4), b"      ")],
                         ids=["fragments", "spaces"])
def test_a_first_message_without_an_end_is_not_held_for_ever(first, again):
    with Gate(instance=terminal(echo)) as gate:
        frames = gate.open_terminal(token=TOKEN)
        threading.Thread(target=suppress, args=(frames.connection.sendall, first + again * 300_000), daemon=True).start()
        assert frames.read() is None
        frames.connection.close()


def test_an_instance_that_does_not_read_stops_a_client_whose_first_message_is_not_there_yet():
    pings, last = frame(PING, b"x" * 100) * 10_000, frame(TEXT, "the end")
    may_read, sent = threading.Event(), []

    def instance(frames):
        frames.read()  # its key
        may_read.wait()
        read_exactly(frames.connection, 30 * len(pings) + len(last))
        frames.send(TEXT, "all of it")

    def send(connection):
        for _ in range(30):
            connection.sendall(pings)
            sent.append(1)
        connection.sendall(last)

    with Gate(instance=terminal(instance)) as gate:
        frames = gate.open_terminal(token=TOKEN)
        sender = threading.Thread(target=send, args=(frames.connection,), daemon=True)
        sender.start()
        before = -1
        while before != len(sent):
            before = len(sent)
            time.sleep(0.3)  # "does not grow" has no event to wait for
        assert before < 30
        may_read.set()
        sender.join()
        assert frames.read() == (TEXT, b"all of it")
        frames.connection.close()


@pytest.mark.parametrize("first", [frame(TEXT, auth(), masked=False), b"\xf1\x80" + bytes(4), b"\x83\x80" + bytes(4), frame(0, b"x"),
                                   frame(PING, b"x" * 126), b"\x81\xfe\x00\x01" + bytes(5), frame(PING, b"", final=False)], ids=case)
def test_a_frame_against_the_protocol_is_1002(first):
    with Gate() as gate:
        frames = gate.open_terminal(behind=first)
        frames.expect_close(1002)
        frames.connection.close()


def test_a_client_may_close_before_it_proves_itself():
    with Gate() as gate:
        frames = gate.open_terminal(behind=frame(CLOSE, b"\x03\xe9bye"))
        assert frames.read() == (CLOSE, b"\x03\xe9") and frames.read() is None
        frames.connection.close()
        for half in (b"", b"\x81", frame(TEXT, auth())[:20]):
            gate.open_terminal(behind=half).connection.close()


@pytest.mark.parametrize("status,code", [("401 Unauthorized", 4001), ("422 Unprocessable Content", 4002), ("403 Forbidden", 4003),
                                         ("400 Bad Request", 4003), ("404 Not Found", 4003), ("503 Service Unavailable", 4003)], ids=case)
def test_a_refused_terminal_gets_its_close_code(status, code):
    with Gate(authorize=lambda parameters: refused(status, "no")) as gate:
        frames = gate.open_terminal(behind=frame(TEXT, auth()))
        frames.expect_close(code)
        frames.connection.close()
        assert gate.provisioner.all("lookup") == []


@pytest.mark.parametrize("target,user,code", [
    ("/api/terminals/s1?user_id=bob", "alice", 4003), ("/api/terminals/s1?user_id=a&user_id=b", None, 4003),
    ("/api/terminals/s1?user_id=a%00b", None, 4003), ("/api/terminals/s1?token=a%20b", None, 4001), ("/api/terminals/s1?token=a&token=b", None, 4001)], ids=case)
def test_contradictory_claims_are_refused(target, user, code):
    with Gate() as gate:
        frames = gate.open_terminal(target, user=user)
        frames.expect_close(code)
        frames.connection.close()
        assert gate.authorizer.asks == []


def test_a_terminal_whose_instance_is_not_there_is_4004_or_4003():
    with Gate(resolve=lambda request: {"code": "not_found", "detail": "it does not run"}) as gate:
        frames = gate.open_terminal(behind=frame(TEXT, auth()))
        frames.expect_close(4004)
        frames.connection.close()
    port = free_port()
    with Gate(resolve=lambda request: gate.destination(port)) as gate:
        frames = gate.open_terminal(behind=frame(TEXT, auth()))
        frames.expect_close(4003)
        frames.connection.close()
        assert gate.provisioner.all("recover") == []


@pytest.mark.parametrize("answer,code", [
    (b"HTTP/1.1 403 Forbidden\r\n\r\n", 4004), (b"HTTP/1.1 404 Not Found\r\n\r\n", 4004), (b"HTTP/1.1 500 Oops\r\n\r\n", 4003), (b"", 4003),
    (b"garbage\r\n\r\n", 4003), (b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n", 4003)], ids=case)
def test_an_instance_that_does_not_open_the_terminal(answer, code):
    with Gate(instance=lambda connection, head: connection.sendall(answer)) as gate:
        frames = gate.open_terminal(behind=frame(TEXT, auth()))
        frames.expect_close(code)
        frames.connection.close()
        assert gate.provisioner.all("audit") == []


@pytest.mark.parametrize("pieces", [
    [frame(TEXT, auth())], [frame(TEXT, auth()[:5], final=False), frame(PING, b"p"), frame(0, auth()[5:])],
    [bytes([byte]) for byte in frame(TEXT, auth())], [frame(PING, b"p"), frame(TEXT, " " + auth())]], ids=case)
def test_an_instance_never_sees_the_token_of_a_client_that_was_proved_already(pieces):
    seen = []

    def instance(frames):
        assert json.loads(frames.read()[1]) == {"type": "auth", "token": INSTANCE_KEY}
        frames.send(TEXT, "prompt")
        while (got := frames.read()) is not None:
            seen.append(got)

    with Gate(instance=terminal(instance)) as gate:
        frames = gate.open_terminal(token=TOKEN)
        assert frames.read() == (TEXT, b"prompt")  # nothing of the instance's waits for the client's first message
        for piece in pieces:
            frames.connection.sendall(piece)
        frames.send(BINARY, b"ls\n")
        eventually(lambda: (BINARY, b"ls\n") in seen)
        frames.connection.close()
        assert [got for got in seen if got != (PING, b"p")] == [(BINARY, b"ls\n")], seen


@pytest.mark.parametrize("opcode,payload", [(TEXT, "ls\n"), (TEXT, '{"type":"resize","cols":120,"rows":40}'), (TEXT, "x" * 1_000_000), (BINARY, b"x" * 1_000_000),
                                            (TEXT, ""), (BINARY, auth())], ids=case)
def test_a_first_message_that_is_no_auth_passes(opcode, payload):
    with Gate(instance=terminal(echo)) as gate:
        frames = gate.open_terminal(token=TOKEN)
        threading.Thread(target=frames.send, args=(opcode, payload), daemon=True).start()
        assert frames.read() == (opcode, payload if isinstance(payload, bytes) else payload.encode())
        opens(frames)


def test_when_one_side_of_a_terminal_ends_the_other_ends_within_a_second():
    ended = threading.Event()

    def stays(frames):
        while frames.read() is not None:
            pass
        ended.set()

    with Gate(instance=terminal(stays)) as gate:
        frames = gate.open_terminal(behind=frame(TEXT, auth()))
        gate.provisioner.wait_for("audit")
        frames.connection.shutdown(socket.SHUT_WR)
        assert ended.wait(1 * SLOW)
        assert frames.read() is None
        ended.clear()
        frames = gate.open_terminal(behind=frame(TEXT, auth()))
        gate.provisioner.wait_for("audit", 3)
        frames.connection.close()
        assert ended.wait(1 * SLOW)
    with Gate(instance=terminal(lambda frames: frames.send(TEXT, "last words"))) as gate:
        frames = gate.open_terminal(behind=frame(TEXT, auth()))
        assert frames.read() == (TEXT, b"last words") and frames.read() is None
        frames.connection.close()


@pytest.mark.parametrize("headers,status", [
    ([h for h in UPGRADE if "Key" not in h], 400), ([h for h in UPGRADE if "Version" not in h], 426), ([h.replace("13", "8") for h in UPGRADE], 426),
    ([h.replace("==", "=") for h in UPGRADE], 400), ([*UPGRADE, UPGRADE[3]], 400), ([h for h in UPGRADE if "Connection" not in h], 400),
    ([*UPGRADE, "Content-Length: 5"], 400)], ids=case)
def test_a_bad_handshake_is_refused_in_http(headers, status):
    with Gate() as gate:
        answer = gate.request("/api/terminals/s1", headers=headers).expect(status)
        assert answer.header("Sec-WebSocket-Version") == ("13" if status == 426 else None)
        assert gate.authorizer.asks == []


def test_a_silent_terminal_is_no_activity_but_counts():
    with Gate(instance=terminal(echo)) as gate:
        frames = gate.open_terminal(behind=frame(TEXT, auth()))
        reports = gate.provisioner.wait_for("activity", 4)
        assert [report["websockets"] for report in reports] == [0, 1, 1, 1], reports
        assert reports[-1]["routes"] == reports[-1]["shells"] == []
        frames.send(BINARY, b"key")
        frames.read()
        eventually(lambda: gate.provisioner.all("activity")[-1]["shells"] == [ROUTE])
        assert gate.provisioner.all("activity")[-1]["routes"] == []
        opens(frames)
        eventually(lambda: gate.provisioner.all("activity")[-1]["websockets"] == 0)
