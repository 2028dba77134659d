"""Scripted peers for haproxy_world.py: HTTP and FastCGI servers of a few lines that record what they were sent, and a
client that sends bytes as they are."""

import contextlib
import hashlib
import json
import re
import socket
import struct
import threading


def upper_hex(text):
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest().upper()


def route_key(user, policy="default", context="default"):
    return upper_hex(f"{policy}\n{context}\n{user}")


class Message:
    """A request or an answer: its first line, its headers in order, its body."""

    def __init__(self, head, body=b""):
        lines = head.decode("latin-1").split("\r\n")
        self.first_line = lines[0]
        self.headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:] if line]
        self.body = body

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name):
        values = self.all(name)
        return values[0] if values else None

    @property
    def status(self):
        return int(self.first_line.split(" ")[1])

    @property
    def target(self):
        return self.first_line.split(" ")[1]

    @property
    def detail(self):
        return json.loads(self.body)["detail"]

    def __repr__(self):
        return f"{self.first_line} {self.headers} {self.body[:200]!r}"


class Wire:
    """Reads HTTP/1.1 messages from a socket."""

    def __init__(self, connection):
        self.connection = connection
        self.buffer = b""

    def fill(self):
        data = self.connection.recv(65536)
        self.buffer += data
        return bool(data)

    def until(self, mark):
        while mark not in self.buffer:
            if not self.fill():
                return None
        before, self.buffer = self.buffer.split(mark, 1)
        return before

    def exactly(self, count):
        while len(self.buffer) < count:
            if not self.fill():
                break
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def chunks(self):
        body = b""
        while True:
            size = int(self.until(b"\r\n").split(b";")[0], 16)
            body += self.exactly(size)
            self.exactly(2)
            if size == 0:
                return body

    def message(self, bodiless=False, to_end=False):
        head = self.until(b"\r\n\r\n")
        if head is None:
            return None
        message = Message(head)
        if bodiless or re.match(r"HTTP/1.1 (1..|204|304)", message.first_line):
            return message
        if (message.get("Transfer-Encoding") or "").lower() == "chunked":
            message.body = self.chunks()
        elif message.get("Content-Length") is not None:
            message.body = self.exactly(int(message.get("Content-Length")))
        elif to_end:
            while self.fill():
                pass
            message.body, self.buffer = self.buffer, b""
        return message


def answer(status=200, headers=(), body=b"{}"):
    lines = [f"HTTP/1.1 {status} X", *headers]
    if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


class Peer:
    """A server. `script(request)` returns the bytes to answer with; None hangs up."""

    def __init__(self, address, script=None):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.listener = socket.socket(family)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(address)
        self.listener.listen(64)
        self.address = self.listener.getsockname()
        self.script = script or (lambda request: answer())
        self.requests = []
        self.connections = 0
        self.open = set()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self.open.add(connection)
            threading.Thread(target=self.serve_safely, args=(connection,), daemon=True).start()

    def serve_safely(self, connection):
        try:
            self.serve(connection)
        except OSError:
            pass
        finally:
            self.open.discard(connection)
            connection.close()

    def serve(self, connection):
        wire = Wire(connection)
        while True:
            head = wire.until(b"\r\n\r\n")
            if head is None:
                return
            if "100-continue" in (Message(head).get("Expect") or "").lower():
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            wire.buffer = head + b"\r\n\r\n" + wire.buffer
            request = wire.message()
            self.requests.append(request)
            reply = self.script(request)
            if reply is None:
                return
            connection.sendall(reply)
            if b"101 " in reply[:13]:
                while data := connection.recv(65536):
                    connection.sendall(data)
                return

    def stop(self):
        """From now on connections are refused: without the shutdown, accept() would take one more."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in list(self.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    @property
    def last(self):
        return self.requests[-1]


class FastCgiPeer(Peer):
    """A FastCGI responder: `requests` holds the parameters of each request as a list of pairs."""

    def serve(self, connection):
        wire = Wire(connection)
        parameters = b""
        while True:
            header = wire.exactly(8)
            if len(header) < 8:
                return
            _, kind, request_id, length, padding = struct.unpack("!BBHHBx", header)
            content = wire.exactly(length + padding)[:length]
            if kind == 9:  # FCGI_GET_VALUES
                connection.sendall(struct.pack("!BBHHBx", 1, 10, 0, 0, 0))
            elif kind == 4:
                parameters += content
            elif kind == 5 and length == 0:
                break
        self.requests.append(dict(self.pairs(parameters)))
        body = b"Status: 200 OK\r\nContent-Type: application/json\r\n\r\n{}"
        connection.sendall(
            struct.pack("!BBHHBx", 1, 6, request_id, len(body), 0)
            + body
            + struct.pack("!BBHHBx", 1, 6, request_id, 0, 0)
            + struct.pack("!BBHHBxIB3x", 1, 3, request_id, 8, 0, 0, 0)
        )

    @staticmethod
    def pairs(data):
        def length(at):
            if data[at] < 0x80:
                return data[at], at + 1
            return struct.unpack_from("!I", data, at)[0] & 0x7FFFFFFF, at + 4

        at = 0
        while at < len(data):
            name, at = length(at)
            value, at = length(at)
            yield data[at : at + name].decode("latin-1"), data[at + name : at + name + value].decode("latin-1")
            at += name + value


class Client:
    """One connection to HAProxy."""

    def __init__(self, port, timeout=10):
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.wire = Wire(self.connection)

    def send(self, data):
        self.connection.sendall(data if isinstance(data, bytes) else data.encode("utf-8", "surrogateescape"))
        return self

    def message(self, bodiless=False):
        return self.wire.message(bodiless=bodiless, to_end=True)

    def request(self, target, headers=(), method="GET", body=None):
        lines = [f"{method} {target} HTTP/1.1", "Host: terminals.example", *headers]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines) + "\r\n\r\n")
        if body:
            self.send(body)
        while True:
            got = self.message(bodiless=method == "HEAD")
            if got is None or got.status >= 200 or got.status == 101:
                return got

    def ended(self):
        """True once the other side has closed."""
        try:
            return self.connection.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self):
        self.connection.close()
