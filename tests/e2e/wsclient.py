"""A small synchronous WebSocket client (RFC 6455) that lets a test say exactly which bytes go out.

python3-websockets, which behaves well, is the client of test_open_webui.py; this one is for everything a well-behaved
client would not do: odd frame sizes, fragments, a reader that stops, a socket that is reset.
"""
import base64
import os
import select
import socket
import struct
import time

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


def xor_mask(payload, mask):
    """A payload under its mask of 4 bytes, or what was under it (RFC 6455 §5.3): as one number, for byte by byte takes a second per megabyte."""
    key = int.from_bytes((mask * (len(payload) // 4 + 1))[:len(payload)], "big")
    return (int.from_bytes(payload, "big") ^ key).to_bytes(len(payload), "big")


class Refused(Exception):
    """The handshake was answered with something else than 101."""

    def __init__(self, status, body):
        super().__init__(f"handshake answered {status}: {body[:300]!r}")
        self.status = status
        self.body = body


class Closed(Exception):
    """The server closed: `code` is its close code, 1005 for none, 1006 for a connection that just ended."""

    def __init__(self, code, reason=""):
        super().__init__(f"closed with {code} {reason}")
        self.code = code
        self.reason = reason


class WebSocket:
    def __init__(self, address, path, headers=(), timeout=15, receive_buffer=None):
        self.timeout = timeout
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(timeout)
        self.sock.connect(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {path} HTTP/1.1", f"Host: {address[0]}:{address[1]}", "Upgrade: websocket",
                 "Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"]
        lines += [f"{name}: {value}" for name, value in headers]
        self.sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        while b"\r\n\r\n" not in self.buffer:
            self._fill(time.monotonic() + timeout)
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        self.handshake = head.decode("latin-1").split("\r\n")
        status = int(self.handshake[0].split()[1])
        if status != 101:
            try:
                while True:
                    self._fill(time.monotonic() + 2)
            except (Closed, TimeoutError):
                pass
            self.sock.close()
            raise Refused(status, self.buffer)

    def _fill(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self.sock], [], [], left)[0]:
            raise TimeoutError(f"no bytes from the WebSocket; so far {self.buffer[-200:]!r}")
        try:
            chunk = self.sock.recv(1 << 18)
        except ConnectionError as problem:
            raise Closed(1006, str(problem)) from None
        if not chunk:
            raise Closed(1006, "end of stream")
        self.buffer += chunk

    def send_frame(self, opcode, payload=b"", final=True):
        """One frame as it stands; clients mask (RFC 6455 §5.3)."""
        first = opcode | (0x80 if final else 0)
        if len(payload) < 126:
            head = struct.pack("!BB", first, 0x80 | len(payload))
        elif len(payload) < 1 << 16:
            head = struct.pack("!BBH", first, 0x80 | 126, len(payload))
        else:
            head = struct.pack("!BBQ", first, 0x80 | 127, len(payload))
        mask = os.urandom(4)
        self.sock.sendall(head + mask + xor_mask(payload, mask))

    def send(self, message):
        """A whole message: str as text, bytes as binary."""
        if isinstance(message, str):
            self.send_frame(TEXT, message.encode())
        else:
            self.send_frame(BINARY, message)

    def recv_frame(self, timeout=None):
        """(opcode, final, payload) of the next frame, whatever it is."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)

        def need(count):
            while len(self.buffer) < count:
                self._fill(deadline)

        need(2)
        first, second = self.buffer[0], self.buffer[1]
        assert not second & 0x80, "a server must not mask (RFC 6455 §5.1)"
        assert not first & 0x70, "no extension was negotiated (RFC 6455 §5.2)"
        length, start = second & 0x7F, 2
        if length == 126:
            need(4)
            length, start = struct.unpack("!H", self.buffer[2:4])[0], 4
        elif length == 127:
            need(10)
            length, start = struct.unpack("!Q", self.buffer[2:10])[0], 10
        need(start + length)
        payload = self.buffer[start:start + length]
        self.buffer = self.buffer[start + length:]
        return first & 0x0F, bool(first & 0x80), payload

    def recv(self, timeout=None):
        """The next data message as (opcode, payload). Answers pings, raises Closed on a close frame."""
        parts, kind = [], None
        while True:
            opcode, final, payload = self.recv_frame(timeout)
            if opcode == CLOSE:
                code = struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else 1005
                try:
                    self.send_frame(CLOSE, payload)
                except OSError:
                    pass
                raise Closed(code, payload[2:].decode("utf-8", "replace"))
            if opcode == PING:
                self.send_frame(PONG, payload)
            elif opcode in (TEXT, BINARY, CONTINUATION):
                kind = opcode if opcode != CONTINUATION else kind
                parts.append(payload)
                if final:
                    return kind, b"".join(parts)

    def read_until(self, wanted, timeout=None):
        """Everything the shell says up to and including `wanted` (bytes)."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        seen = b""
        while wanted not in seen:
            try:
                seen += self.recv(max(0.001, deadline - time.monotonic()))[1]
            except TimeoutError:
                raise AssertionError(f"the shell never said {wanted!r}, but: {seen[-2000:]!r}") from None
        return seen

    def wait_closed(self, timeout=None):
        """Reads to the end and returns the Closed."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        try:
            while True:
                self.recv(max(0.001, deadline - time.monotonic()))
        except Closed as closed:
            return closed

    def reset(self):
        """Vanishes: RST instead of a goodbye."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self, code=1000):
        try:
            self.send_frame(CLOSE, struct.pack("!H", code))
        except OSError:
            pass
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()
