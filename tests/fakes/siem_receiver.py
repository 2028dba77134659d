"""A stand-in for a SIEM's HTTP input: takes events, or has any of the troubles that a receiver may have.

    with SiemReceiver() as siem:
        siem.trouble = "500"
        … Stack(siem_webhook_url=siem.url) …
        siem.trouble = None
"""
import json
import socket
import ssl
import subprocess
import threading
import time


def make_certificate(folder):
    """A self-signed certificate for 127.0.0.1: (certificate file, key file)."""
    certificate, key = folder / "siem.crt", folder / "siem.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
                    "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


class SiemReceiver:
    """`events` are those it took, in order; `posts` all there were, as (seconds, headers, event). `trouble` is None, a
    status ("500", with `retry_after`), "garbage", "close", "silent", "endless", or a function of an event to one of
    these."""

    def __init__(self, certificate=None):
        self.events, self.posts, self.trouble, self.retry_after = [], [], None, None
        self.connections = 0
        self.closing = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.port = self.listener.getsockname()[1]
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}/audit"
        self.tls = None
        if certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*certificate)
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closing.set()
        self.listener.close()

    def actions(self, user=None):
        return [event["action"] for event in self.events if user is None or event["user_id"] == user]

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as reader:
                while self._one(connection, reader):
                    pass
        except OSError:
            pass

    def _one(self, connection, reader):
        request = reader.readline()
        if not request or self.closing.is_set():
            return False
        headers = {}
        while (line := reader.readline().strip()):
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        event = json.loads(reader.read(int(headers["content-length"])))
        headers["(request)"] = request.decode().strip()
        self.posts.append((time.monotonic(), headers, event))
        trouble = self.trouble(event) if callable(self.trouble) else self.trouble
        if trouble is None:
            self.events.append(event)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"text\":\"done\"}")
            return True
        if trouble == "close":
            return False
        if trouble == "garbage":
            connection.sendall(b"\x16\x03\x01 220 mail.example ESMTP\r\n\r\n" * 10)
            return False
        if trouble == "silent":
            self.closing.wait(60)
            return False
        if trouble == "endless":
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            self.events.append(event)
            while not self.closing.is_set():
                connection.sendall(b"x" * 65536)
            return False
        extra = f"Retry-After: {self.retry_after}\r\n" if self.retry_after is not None else ""
        connection.sendall(f"HTTP/1.1 {trouble} Trouble\r\n{extra}Content-Length: 0\r\n\r\n".encode())
        return True
