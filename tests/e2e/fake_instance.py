"""An Open Terminal that remembers what reached it, byte for byte, for TERMINALS_BACKEND=static.

Paths: /health answers; /stream sends a chunk every time it can until the reader goes away; /slow answers when told to;
/discard reads any body and says how long it was; a WebSocket upgrade is accepted and records its first message; anything
else echoes the request as JSON.
"""
import base64
import contextlib
import hashlib
import json
import select
import socket
import struct
import threading


class Seen:
    """One request as it arrived."""

    def __init__(self, method, target, headers):
        self.method, self.target, self.headers = method, target, headers
        self.body_length = 0
        self.first_message = None
        self.ended = threading.Event()  # the peer closed, or the answer is complete

    def values(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name):
        values = self.values(name)
        return values[0] if values else None


class FakeInstance:
    def __init__(self, port=0):
        self.listener = socket.create_server(("127.0.0.1", port), backlog=256)
        self.port = self.listener.getsockname()[1]
        self.seen = []
        self.release = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.release.set()
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def of(self, text):
        """The recorded requests whose target contains `text`."""
        return [seen for seen in self.seen if text in seen.target]

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = sock.makefile("rb")
        with contextlib.suppress(OSError, ValueError), sock:
            while self._one(sock, stream):
                pass

    def _one(self, sock, stream):
        first = stream.readline()
        if not first:
            return False
        method, target, _ = first.decode("latin-1").split(" ", 2)
        headers = []
        while True:
            line = stream.readline().decode("latin-1").rstrip("\r\n")
            if not line:
                break
            name, _, value = line.partition(":")
            headers.append((name, value.strip()))
        seen = Seen(method, target, headers)
        if not target.startswith("/health"):
            self.seen.append(seen)
        try:
            if (seen.header("upgrade") or "").lower() == "websocket":
                self._websocket(sock, stream, seen)
                return False
            if target.startswith("/stream"):
                self._stream(sock)
                return False
            if (seen.header("expect") or "").lower() == "100-continue":
                sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._read_body(stream, seen)
            if target.startswith("/slow"):
                self.release.wait(60)
            body = json.dumps({"status": "ok"} if target.startswith("/health") else
                              {"method": method, "target": target, "length": seen.body_length}).encode()
            extra = b"".join(f"Set-Cookie: c{n}={n}\r\n".encode() for n in range(2)) if "cookies" in target else b""
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + extra +
                         b"Content-Length: %d\r\n\r\n" % len(body) + (b"" if method == "HEAD" else body))
            return (seen.header("connection") or "").lower() != "close"
        finally:
            seen.ended.set()

    @staticmethod
    def _read_body(stream, seen):
        if "chunked" in (seen.header("transfer-encoding") or "").lower():
            while True:
                size = int(stream.readline().split(b";")[0], 16)
                left = size
                while left:
                    left -= len(stream.read(min(left, 1 << 20)))
                seen.body_length += size
                stream.readline()
                if size == 0:
                    return
        left = int(seen.header("content-length") or 0)
        while left:
            chunk = stream.read(min(left, 1 << 20))
            if not chunk:
                raise OSError("the body ended early")
            seen.body_length += len(chunk)
            left -= len(chunk)

    @staticmethod
    def _stream(sock):
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"data: tick\n\n"
        while True:
            sock.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            if select.select([sock], [], [], 0.02)[0] and sock.recv(1, socket.MSG_PEEK) == b"":
                return

    @staticmethod
    def _websocket(sock, stream, seen):
        accept = base64.b64encode(hashlib.sha1(
            seen.header("sec-websocket-key").encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()
        sock.sendall(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      f"Sec-WebSocket-Accept: {accept}\r\n\r\n").encode())
        head = stream.read(2)
        length = head[1] & 0x7F
        if length == 126:
            length = struct.unpack("!H", stream.read(2))[0]
        mask = stream.read(4)
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(stream.read(length)))
        seen.first_message = payload
        sock.sendall(b"\x82\x05hello")
        while stream.read(1):
            pass
