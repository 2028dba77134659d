"""What test_api_alone.py needs around terminals-api: a FastCGI client that can misbehave, a provisioner that can be away, slow or
mad, and the process itself."""
import hashlib
import json
import os
import queue
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
from pathlib import Path

from stack import BIN, SANITIZER_MARKS, SLOW, eventually

BEGIN, END, PARAMS, STDIN, STDOUT = 1, 3, 4, 5, 6
RESPONDER, AUTHORIZER = 1, 2
KEY = "key-of-the-orchestrator"


def upper_hex(text):
    return hashlib.sha256(text.encode()).hexdigest().upper()


# --- FastCGI 1.0, the client's side ---


def record(kind, content=b"", request_id=1):
    return struct.pack("!BBHHBx", 1, kind, request_id, len(content), 0) + content


def records(kind, content):
    """A stream: as many records as it takes, and the empty one that ends it."""
    pieces = [content[at : at + 65535] for at in range(0, len(content), 65535)]
    return b"".join(record(kind, piece) for piece in pieces) + record(kind)


def begin(role, keep=False):
    return record(BEGIN, struct.pack("!HB5x", role, int(keep)))


def pairs(parameters):
    """Name-value pairs (§3.4) from a list of (name, value), repetitions and all."""
    coded = b""
    for name, value in parameters:
        name, value = (text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape") for text in (name, value))
        for text in (name, value):
            coded += struct.pack("!B", len(text)) if len(text) < 128 else struct.pack("!I", len(text) | 0x80000000)
        coded += name + value
    return coded


class Reply:
    def __init__(self, stdout):
        head, _, self.body = stdout.partition(b"\r\n\r\n")
        lines = head.decode("utf-8", "surrogateescape").split("\r\n")
        self.headers = [tuple(line.split(": ", 1)) for line in lines]
        self.status = int(self.header("Status").split(" ")[0])

    def header(self, name):
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) <= 1, self.headers
        return values[0] if values else None

    def json(self):
        return json.loads(self.body)

    def expect(self, status):
        assert self.status == status, f"got {self.status}, wanted {status}: {self.headers} {self.body[:1000]}"
        assert self.header("content-type") == "application/json" and self.header("cache-control") == "no-store", self.headers
        return self

    def expect_detail(self, status, detail):
        self.expect(status)
        assert self.json() == {"detail": detail}, self.body
        return self


def read_reply(sock):
    """Everything up to END_REQUEST; None if the peer closed before that."""
    stdout, data = b"", b""
    while True:
        while len(data) < 8 or len(data) < 8 + sum(struct.unpack_from("!HB", data, 4)):
            more = sock.recv(65536)
            if not more:
                return None
            data += more
        kind, length, padding = data[1], *struct.unpack_from("!HB", data, 4)
        if kind == STDOUT:
            stdout += data[8 : 8 + length]
        if kind == END:
            return Reply(stdout)
        data = data[8 + length + padding :]


# --- the provisioner ---


class FakeProvisioner:
    """Answers with `script(request)`: a dict is completed with id and ok, bytes are sent as they are, None is no answer at all.
    Each request has a thread, so a script may block."""

    def __init__(self, path, script=lambda request: {}):
        self.path, self.script = str(path), script
        self.requests = []
        self.changed = threading.Condition()
        self.connections = []
        self.listener = None

    def start(self):
        Path(self.path).unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(128)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()
        return self

    def stop(self):
        """Dies: every connection ends, and nobody listens."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the other side was faster
        self.connections.clear()

    def _accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection):
        lock = threading.Lock()
        with connection.makefile("rb") as lines:
            try:
                for line in lines:
                    request = json.loads(line)
                    with self.changed:
                        self.requests.append(request)
                        self.changed.notify_all()
                    threading.Thread(target=self._answer, args=(connection, lock, request), daemon=True).start()
            except OSError:
                pass  # stop()

    def _answer(self, connection, lock, request):
        answer = {} if request["op"] in ("ping", "set_api_keys", "audit", "activity") else self.script(request)
        if answer is None:
            return
        if isinstance(answer, dict):
            answer = json.dumps({"id": request["id"], "ok": "code" not in answer, **answer}).encode() + b"\n"
        try:
            with lock:
                connection.sendall(answer)
        except OSError:
            pass  # stop()

    def all(self, operation):
        with self.changed:
            return [request for request in self.requests if request["op"] == operation]

    def wait_for(self, operation, count=1, timeout=5):
        """The first `count` requests for an operation, as soon as they are there."""
        with self.changed:
            found = lambda: [request for request in self.requests if request["op"] == operation]  # noqa: E731
            assert self.changed.wait_for(lambda: len(found()) >= count, timeout * SLOW), f"{operation}: {self.requests}"
            return found()[:count]


# --- terminals-api ---


class Api:
    """terminals-api in a folder of its own, with a provisioner that answers by `script`."""

    def __init__(self, script=lambda request: {}, provisioner=True, **settings):
        self.folder = Path(tempfile.mkdtemp(prefix="api-", dir="/tmp"))
        self.provisioner = FakeProvisioner(self.folder / "provisioner.sock", script)
        self.with_provisioner = provisioner
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("TERMINALS_")}
        for name, value in {"run_dir": self.folder, "api_key": KEY, **settings}.items():
            if value is not None:
                self.environment[f"TERMINALS_{name.upper()}"] = str(value)
        self.process = None

    def __enter__(self):
        if self.with_provisioner:
            self.provisioner.start()
        self.log_file = (self.folder / "log").open("wb")
        self.process = subprocess.Popen([BIN / "terminals-api"], env=self.environment, cwd=self.folder, stderr=self.log_file)
        eventually(lambda: " ready" in self.log() or self.process.poll() is not None, what="terminals-api's start")
        assert self.process.poll() is None, self.log()
        return self

    def __exit__(self, *exception):
        status = self.end()
        log = self.log()
        if self.provisioner.listener is not None and self.provisioner.listener.fileno() >= 0:
            self.provisioner.stop()
        shutil.rmtree(self.folder)
        assert not any(mark in log for mark in SANITIZER_MARKS), log
        if exception[0] is None:
            assert status == 0, f"ended with {status}: {log}"

    def end(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(5 * SLOW)

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def connect(self, name, timeout=10):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(timeout * SLOW)
        sock.connect(str(self.folder / f"{name}.sock"))
        return sock

    def ask(self, name, role, parameters, body=b"", timeout=10):
        with self.connect(name, timeout) as sock:
            sock.sendall(begin(role) + records(PARAMS, pairs(parameters)) + (records(STDIN, body) if role == RESPONDER else b""))
            reply = read_reply(sock)
            assert reply is not None, f"no answer: {self.log()}"
            return reply

    def authorize(self, *more, token=KEY, user="alice", uri="/files/list", timeout=10):
        """Asks the authorizer; `more` are parameters besides the usual ones, and a None leaves one of those out."""
        parameters = [("REQUEST_METHOD", "GET"), ("TERMINALS_CLIENT", "192.0.2.7"), ("TERMINALS_REQUEST_ID", "request-1")]
        parameters += [] if uri is None else [("REQUEST_URI", uri)]
        parameters += [] if token is None else [("HTTP_AUTHORIZATION", f"Bearer {token}")]
        parameters += [] if user is None else [("HTTP_X_USER_ID", user)]
        return self.ask("api-auth", AUTHORIZER, parameters + list(more), timeout=timeout)

    def call(self, method, uri, *more, token=KEY, body=b"", pool=None, timeout=10):
        """Asks the API as HAProxy would, on the socket it would choose."""
        waits = method == "DELETE" or (method == "POST" and uri.startswith(("/api/v1/tenants", "/api/v1/terminals")))
        parameters = [("REQUEST_METHOD", method), ("REQUEST_URI", uri), ("TERMINALS_CLIENT", "192.0.2.7")]
        parameters += [] if token is None else [("HTTP_AUTHORIZATION", f"Bearer {token}")]
        parameters += [("CONTENT_LENGTH", str(len(body)))] if body else []
        return self.ask(pool or ("api-operations" if waits else "api-admin"), RESPONDER, parameters + list(more), body, timeout)

    def call_in_background(self, *arguments, **options):
        """A queue that the reply, or what went wrong, will be put into."""
        answers = queue.Queue()

        def run():
            try:
                answers.put(self.call(*arguments, **options))
            except (AssertionError, OSError) as failed:
                answers.put(failed)

        threading.Thread(target=run, daemon=True).start()
        return answers
