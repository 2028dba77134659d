"""Stands between the provisioner and a Docker engine: counts what is asked at the same time, and can be away.

    with EngineProxy(engine()) as proxy:
        stack = fresh(backend="docker", docker_host=proxy.host)
        with proxy.away(): ...
"""
import contextlib
import os
import re
import socket
import tempfile
import threading
from pathlib import Path


class EngineProxy:
    def __init__(self, engine, port=None):
        """With a port of the loopback, it is there instead of on a Unix socket."""
        self.engine = engine
        self.port = port
        self.folder = tempfile.mkdtemp(prefix="tp-", dir="/tmp")
        self.path = f"{self.folder}/docker.sock"
        self.host = f"unix://{self.path}" if port is None else f"tcp://127.0.0.1:{port}"
        self.lock = threading.Lock()
        self.requests = []
        self.now, self.most = 0, 0  # creates and starts under way
        self.hold = None            # (pattern, threading.Event): a request that matches waits before it is passed on
        self.instead = []           # of dropping() and answering()
        self.sockets = set()
        self.listener = None

    def _listen(self):
        self.listener = socket.socket(socket.AF_UNIX if self.port is None else socket.AF_INET)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(self.path if self.port is None else ("127.0.0.1", self.port))
        self.listener.listen(256)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def _accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        upstream = socket.socket(socket.AF_UNIX)
        with self.lock:
            self.sockets |= {client, upstream}
        try:
            upstream.connect(self.engine)
            threading.Thread(target=self._back, args=(upstream, client), daemon=True).start()
            self._forth(client, upstream)
        except OSError:
            pass
        finally:
            self._close(client, upstream)

    def _close(self, *sockets):
        for one in sockets:
            with self.lock:
                self.sockets.discard(one)
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _forth(self, client, upstream):
        """Requests come one at a time on a connection: curl does not pipeline."""
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                chunk = client.recv(65536)
                if not chunk:
                    return
                data += chunk
            head, _, data = data.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            length = int(length.group(1)) if length else 0
            while len(data) < length:
                data += client.recv(65536)
            body, data = data[:length], data[length:]
            line = head.split(b"\r\n", 1)[0].decode()
            with self.lock:
                self.requests.append(line)
            hold = self.hold
            if hold and re.search(hold[0], line):
                hold[1].wait(60)
            status = self._instead_of(line)
            if status == 0:
                return
            if status == -1:
                self._lost.add(upstream)
            elif status:
                client.sendall(b"HTTP/1.1 %d No\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n"
                               b'{"message":"no"}' % status)
                continue
            if re.search(r"POST \S*/containers/(create|\w+/start)", line):
                with self.lock:
                    self.now += 1
                    self.most = max(self.most, self.now)
                self._counted.add(upstream)
            upstream.sendall(head + b"\r\n\r\n" + body)

    def _back(self, upstream, client):
        try:
            while chunk := upstream.recv(65536):
                if upstream in self._lost:
                    break
                if upstream in self._counted:
                    self._counted.discard(upstream)
                    with self.lock:
                        self.now -= 1
                client.sendall(chunk)
        except OSError:
            pass
        if upstream in self._counted:
            self._counted.discard(upstream)
            with self.lock:
                self.now -= 1
        self._close(client, upstream)

    def _instead_of(self, line):
        for pattern, status, asked in list(self.instead):
            if re.search(pattern, line):
                asked.append(line)
                return status
        return None

    @contextlib.contextmanager
    def answering(self, pattern, status):
        """Until the block ends, a request whose line matches is answered so, and the engine never hears of it. Gives a list of such lines."""
        asked = []
        one = (pattern, status, asked)
        self.instead.append(one)
        try:
            yield asked
        finally:
            self.instead.remove(one)

    def dropping(self, pattern):
        """The same with connections that break instead of an answer."""
        return self.answering(pattern, 0)

    def losing(self, pattern):
        """The same, but the engine does what it is asked; only its answer is lost."""
        return self.answering(pattern, -1)

    def go_away(self):
        """As an engine that was stopped: no socket, and every connection is gone."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for one in list(self.sockets):
            self._close(one)

    def come_back(self):
        self._listen()

    @contextlib.contextmanager
    def away(self):
        self.go_away()
        try:
            yield
        finally:
            self.come_back()

    def __enter__(self):
        self._counted = set()
        self._lost = set()  # sockets whose next answer is lost
        self._listen()
        return self

    def __exit__(self, *_):
        self.go_away()
        Path(self.folder).rmdir()
