"""terminals-gate alone, between peers that misbehave: how it carries a request and its answer once the destination is known."""
import socket
import threading
import time

import pytest
from gate_peers import (ROUTE, TEXT, UPGRADE, Answer, Gate, allowed, auth, case, echo, frame, header, read_all, read_exactly, read_head,
                        refused, suppress, terminal)
from stack import SLOW, eventually


def test_an_instance_that_says_nothing_is_502_and_one_that_waits_too_long_504():
    with Gate(instance=lambda connection, head: None) as gate:
        gate.request().expect(502, "Terminal instance not reachable")
    with Gate(instance=lambda connection, head: connection.recv(1), proxy_read_timeout_seconds=1) as gate:
        gate.request().expect(504)


def test_an_answer_that_comes_to_a_halt_is_cut():
    def instance(connection, head):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        suppress(connection.recv, 1)  # until the gate gives up

    with Gate(instance=instance, proxy_read_timeout_seconds=1) as gate:
        with gate.send_head() as connection:
            assert read_all(connection).endswith(b"\r\n\r\nhalf")


def test_an_interim_answer_in_two_pieces_is_no_answer_yet():
    def instance(connection, head):
        connection.sendall(b"HTTP/1.1 100 Cont")
        time.sleep(0.1)  # that the gate has seen it has no sign
        connection.sendall(b"inue\r\n\r\n")
        connection.recv(1)

    with Gate(instance=instance, proxy_read_timeout_seconds=1) as gate:
        with gate.send_head() as connection:
            assert read_head(connection) == "HTTP/1.1 100 Continue\r\n\r\n"
            assert b" 504 " in read_all(connection)


def test_interim_answers_pass_before_the_real_one():
    def instance(connection, head):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = read_exactly(connection, 5)
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + body)

    with Gate(instance=instance) as gate:
        connection = gate.send_head(method="POST", headers=["Content-Length: 5", "Expect: 100-continue"])
        assert read_head(connection) == "HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"later")
        assert read_all(connection).endswith(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nlater")
        connection.close()


def test_large_bodies_pass_both_ways_at_once_unchanged():
    block = bytes(range(256)) * 256

    def instance(connection, head):
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        for _ in range(400):
            connection.sendall(read_exactly(connection, len(block)))

    with Gate(instance=instance) as gate:
        connection = gate.send_head(method="POST", headers=[f"Content-Length: {400 * len(block)}"])
        threading.Thread(target=lambda: [connection.sendall(block) for _ in range(400)], daemon=True).start()
        read_head(connection)
        for _ in range(400):
            assert read_exactly(connection, len(block)) == block
        assert connection.recv(1) == b""
        connection.close()


def test_a_client_that_stops_reading_stops_the_instance():
    sent = []

    def instance(connection, head):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)
            sent.append(65536)

    with Gate(instance=instance) as gate:
        with gate.send_head() as connection:
            read_head(connection)
            last = -1
            while last != sum(sent):
                last = sum(sent)
                time.sleep(0.3)  # "does not grow" has no event to wait for
            assert last < 16 << 20
            read_exactly(connection, last)
            eventually(lambda: sum(sent) > last, what="more, once somebody reads")


def chunks(*pieces):
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def read_chunked(connection):
    data = b""
    while not data.endswith(b"0\r\n\r\n"):
        data += read_exactly(connection, 1)
    return data


def test_nothing_behind_a_body_reaches_the_instance():
    got = []

    def instance(connection, head):
        got.append(read_chunked(connection) if "chunked" in head else b"")
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        got.append(read_all(connection))

    with Gate(instance=instance) as gate:
        smuggled = b"POST /execute HTTP/1.1\r\nHost: x\r\n\r\n"
        gate.request(body=smuggled).expect(200)
        body = chunks(b"abc", b"x" * 100000)
        gate.request(method="POST", headers=["Transfer-Encoding: chunked"], body=body + smuggled).expect(200)
        eventually(lambda: len(got) == 4)
        assert got == [b"", b"", body, b""]


@pytest.mark.parametrize("headers,body,status", [
    (["Content-Length: 1001"], b"x" * 1001, 413), (["Content-Length: 1000"], b"x" * 1000, 200),
    (["Transfer-Encoding: chunked"], chunks(*[b"x"] * 1000), 200), (["Transfer-Encoding: chunked"], chunks(*[b"x"] * 1001), 413),
    (["Transfer-Encoding: chunked"], chunks(b"x" * 10_000_000), 413), (["Transfer-Encoding: chunked"], b"5\r\nabcdeX", 400)], ids=case)
def test_bodies_are_counted_without_their_framing(headers, body, status):
    def instance(connection, head):
        read_chunked(connection) if "chunked" in head else read_exactly(connection, 1000)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

    with Gate(instance=instance, max_body_bytes=1000) as gate:
        connection = gate.send_head(method="POST", headers=headers)
        threading.Thread(target=suppress, args=(connection.sendall, body), daemon=True).start()
        Answer(read_all(connection)).expect(status)
        connection.close()


def test_an_instance_that_answers_before_it_has_read_the_body_is_heard():
    def instance(connection, head):
        connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")

    with Gate(instance=instance) as gate:
        connection = gate.send_head(method="POST", headers=["Content-Length: 100000000"])
        threading.Thread(target=suppress, args=(connection.sendall, b"x" * 20_000_000), daemon=True).start()
        assert Answer(read_all(connection)).expect(413).body == b"no"
        connection.close()


def test_when_the_client_goes_away_the_instance_is_told_at_once():
    ended = threading.Event()

    def instance(connection, head):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nsome")
        try:
            assert connection.recv(1) == b""
        except ConnectionError:
            pass
        ended.set()

    for headers in ([], ["Content-Length: 10"]):
        ended.clear()
        with Gate(instance=instance) as gate:
            with gate.send_head(headers=headers) as connection:
                read_head(connection)
            assert ended.wait(1 * SLOW)


def test_any_other_upgrade_is_a_stream_once_the_instance_says_101():
    def instance(connection, head):
        assert header(head, "Upgrade") == "websocket" and header(head, "Connection") == "Upgrade"
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        connection.sendall(read_exactly(connection, 9))

    with Gate(instance=instance) as gate:
        connection = gate.send_head("/proxy/3000/socket", headers=UPGRADE)
        assert read_head(connection).startswith("HTTP/1.1 101")
        connection.sendall(b"any bytes")
        assert read_all(connection) == b"any bytes"
        connection.close()


def test_activity_names_the_routes_in_use_and_only_those():
    end = threading.Event()

    def instance(connection, head):
        end.wait(10 * SLOW)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

    def authorize(parameters):
        return refused("401 Unauthorized", "no") if parameters["HTTP_AUTHORIZATION"] == "Bearer bad" else allowed()

    with Gate(instance=instance, authorize=authorize) as gate:
        gate.request(token="bad").expect(401)
        connection = gate.send_head()
        hello, first, second = gate.provisioner.wait_for("activity", 3)
        assert hello["routes"] == hello["shells"] == [] and hello["websockets"] == 0
        assert first["routes"] == second["routes"] == [ROUTE] and first["shells"] == [] and first["websockets"] == 0
        end.set()
        read_all(connection)
        connection.close()
        eventually(lambda: gate.sockets() == gate.sockets_at_rest())
        count = len(gate.provisioner.all("activity"))
        time.sleep(2.2)  # "says nothing" has no event to wait for
        assert len(gate.provisioner.all("activity")) <= count + 1


def test_sigterm_lets_an_exchange_finish_and_ends_the_rest():
    go = threading.Event()

    def instance(connection, head):
        if header(head, "Upgrade"):
            terminal(echo)(connection, head)
            return
        go.wait(5 * SLOW)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\ndone")

    with Gate(instance=instance) as gate:
        idle = gate.connect()
        shell = gate.open_terminal(behind=frame(TEXT, auth()))
        gate.provisioner.wait_for("audit")
        connection = gate.send_head()
        eventually(lambda: len(gate.instance.heads) == 2)
        gate.process.terminate()
        assert shell.read() is None and idle.recv(1) == b""
        go.set()
        assert read_all(connection).endswith(b"done")
        for sock in (idle, shell.connection, connection):
            sock.close()
        gate.process.wait(5 * SLOW)
        assert [row["action"] for row in gate.provisioner.wait_for("audit", 2)] == ["terminal_opened", "terminal_closed"]
        gate.sockets = lambda: 0  # it is gone, rightly
