"""What the tests of terminals-gate alone (test_gate_*.py) need around terminals-gate: a FastCGI authorizer and an instance that do what a test says, and the
process itself, whose sockets the tests talk to as HAProxy would. The provisioner is api_peers.FakeProvisioner."""
import base64
import hashlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
from pathlib import Path

from api_peers import END, PARAMS, STDOUT, FakeProvisioner, record, upper_hex
from stack import BIN, SANITIZER_MARKS, SLOW, eventually
from wsclient import xor_mask

INSTANCE_KEY = "key-of-the-instance"
TOKEN = "token-of-the-client"
ROUTE = upper_hex("default\ndefault\nalice")
STDERR = 7
UPGRADE = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]


def case(value):
    """The name of a test's case: cut, since pytest puts it into the environment."""
    return repr(value)[:40]


def suppress(function, *arguments):
    try:
        function(*arguments)
    except OSError:
        pass


class Listener:
    """Accepts connections and gives each a thread that runs self.serve(connection)."""

    def __init__(self):
        self.listener = None

    def listen(self, family, address):
        self.listener = socket.socket(family)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(address)
        self.listener.listen(128)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def stop(self):
        if self.listener is not None:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None

    def _accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.settimeout(20 * SLOW)
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection):
        with connection:
            try:
                self.serve(connection)
            except OSError:
                pass  # the gate ended it, which is what some tests are about

    def serve(self, connection):
        raise NotImplementedError


# --- terminals-api ---


def allowed(user="alice", policy="default", context="default"):
    return f"Status: 200 OK\r\nVariable-User: {user}\r\nVariable-Policy: {policy}\r\nVariable-Context: {context}\r\n\r\n".encode()


def refused(status, detail, *headers):
    lines = [f"Status: {status}", "Content-Type: application/json", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + json.dumps({"detail": detail})).encode()


def fcgi_answer(stdout):
    return record(STDOUT, stdout) + record(STDOUT) + record(END, bytes(8))


def read_exactly(connection, count):
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise ConnectionError("end of stream")
        data += more
    return data


def read_params(connection):
    """The name-value pairs of a request that has parameters only (FastCGI 1.0 §6.3), as a list."""
    stream = b""
    while True:
        kind, length, padding = struct.unpack("!xBxxHBx", read_exactly(connection, 8))
        content = read_exactly(connection, length)
        read_exactly(connection, padding)
        if kind == PARAMS:
            if not content:
                break
            stream += content
        else:
            assert struct.unpack("!HB", content[:3]) == (2, 0), "an authorizer request without keep-conn"
    found, at = [], 0
    while at < len(stream):
        lengths = []
        for _ in range(2):
            if stream[at] < 128:
                lengths.append(stream[at])
                at += 1
            else:
                lengths.append(struct.unpack_from("!I", stream, at)[0] & 0x7FFFFFFF)
                at += 4
        texts = []
        for length in lengths:
            texts.append(stream[at : at + length].decode("utf-8", "surrogateescape"))
            at += length
        found.append(tuple(texts))
    return found


class FakeAuthorizer(Listener):
    """Answers with `script(parameters)`: CGI text is wrapped into FastCGI, a function is called with the connection."""

    def __init__(self, path, script):
        super().__init__()
        self.path, self.script, self.asks = str(path), script, []

    def start(self):
        Path(self.path).unlink(missing_ok=True)
        self.listen(socket.AF_UNIX, self.path)

    def serve(self, connection):
        parameters = read_params(connection)
        self.asks.append(parameters)
        answer = self.script(dict(parameters))
        if callable(answer):
            answer(connection)
        else:
            connection.sendall(fcgi_answer(answer))


# --- an instance ---


def read_head(connection):
    """A head, byte by byte: nothing behind it is taken."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            raise ConnectionError(f"end of stream in a head: {head!r}")
        head += byte
    return head.decode("latin-1")


def header(head, name):
    values = [line.split(":", 1)[1].strip() for line in head.split("\r\n")[1:] if line.lower().startswith(name.lower() + ":")]
    assert len(values) <= 1, head
    return values[0] if values else None


def accept_key(key):
    return base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()


class ScriptedInstance(Listener):
    """Runs `script(connection, head)` for each request."""

    def __init__(self, script=None):
        super().__init__()
        self.script = script or self.hello
        self.heads = []
        self.listen(socket.AF_INET, ("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    @staticmethod
    def hello(connection, head):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")

    def serve(self, connection):
        head = read_head(connection)
        self.heads.append(head)
        self.script(connection, head)


def terminal(then):
    """A script: accepts the WebSocket, then calls then(frames)."""

    def script(connection, head):
        accept = accept_key(header(head, "Sec-WebSocket-Key"))
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                           b"Sec-WebSocket-Accept: " + accept.encode() + b"\r\n\r\n")
        then(Frames(connection, masks=False))

    return script


# --- WebSocket frames, either side ---

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def frame(opcode, payload=b"", masked=True, final=True):
    payload = payload if isinstance(payload, bytes) else payload.encode()
    head = bytes([opcode | (0x80 if final else 0)])
    mask_bit = 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes([mask_bit | len(payload)])
    elif len(payload) < 1 << 16:
        head += struct.pack("!BH", mask_bit | 126, len(payload))
    else:
        head += struct.pack("!BQ", mask_bit | 127, len(payload))
    if not masked:
        return head + payload
    mask = hashlib.sha256(payload).digest()[:4]  # the same in every run: frames are part of the names of tests
    return head + mask + xor_mask(payload, mask)


class Frames:
    def __init__(self, connection, masks=True):
        self.connection, self.masks = connection, masks

    def send(self, opcode, payload=b"", final=True):
        self.connection.sendall(frame(opcode, payload, masked=self.masks, final=final))

    def read(self):
        """The next frame as (opcode, payload), or None at the end of the stream."""
        try:
            first, second = read_exactly(self.connection, 2)
            length = second & 0x7F
            if length > 125:
                length = struct.unpack("!H" if length == 126 else "!Q", read_exactly(self.connection, 2 if length == 126 else 8))[0]
            assert bool(second & 0x80) != self.masks, "a client masks, a server does not (RFC 6455 §5.1)"
            mask = read_exactly(self.connection, 4) if second & 0x80 else bytes(4)
            payload = read_exactly(self.connection, length)
            return first & 0x0F, xor_mask(payload, mask)
        except ConnectionError:
            return None

    def expect_close(self, code):
        got = self.read()
        assert got is not None and got[0] == CLOSE, got
        assert struct.unpack("!H", got[1][:2])[0] == code, got
        assert self.connection.recv(1) == b"", "nothing after a close frame"


# --- the process ---


class Answer:
    def __init__(self, data):
        head, self.has_body, self.body = data.partition(b"\r\n\r\n")
        self.head = head.decode("latin-1")
        self.status = int(self.head.split(" ", 2)[1]) if data else None

    def header(self, name):
        return header(self.head, name)

    def expect(self, status, detail=None):
        assert self.status == status, f"{self.head}\n{self.body[:500]}"
        if detail is not None:
            assert self.header("Content-Type") == "application/json" and json.loads(self.body) == {"detail": detail}, self.body
        return self


def read_all(connection):
    data = b""
    while True:
        more = connection.recv(1 << 16)
        if not more:
            return data
        data += more


class Gate:
    """terminals-gate in a folder of its own, with everybody it talks to."""

    def __init__(self, instance=None, authorize=None, resolve=None, authorizer=True, provisioner=True, **settings):
        self.folder = Path(tempfile.mkdtemp(prefix="gate-", dir="/tmp"))
        self.instance = ScriptedInstance(instance)
        self.provisioner = FakeProvisioner(self.folder / "provisioner.sock", resolve or (lambda request: self.destination()))
        self.authorizer = FakeAuthorizer(self.folder / "api-auth.sock", authorize or (lambda parameters: allowed()))
        self.with_authorizer, self.with_provisioner = authorizer, provisioner
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("TERMINALS_")}
        for name, value in {"run_dir": self.folder, "log_level": "DEBUG", "access_log": "true", **settings}.items():
            self.environment[f"TERMINALS_{name.upper()}"] = str(value)

    def destination(self, port=None):
        return {"address": "127.0.0.1", "port": port or self.instance.port, "key": INSTANCE_KEY, "instance_id": "i-1", "route_key": ROUTE}

    def __enter__(self):
        if self.with_provisioner:
            self.provisioner.start()
        if self.with_authorizer:
            self.authorizer.start()
        self.log_file = (self.folder / "log").open("wb")
        self.process = subprocess.Popen([BIN / "terminals-gate"], env=self.environment, cwd=self.folder, stderr=self.log_file)
        ready = "connected to" if self.with_provisioner else "ready"
        eventually(lambda: ready in self.log() or self.process.poll() is not None, what="terminals-gate's start")
        assert self.process.poll() is None, self.log()
        return self

    def __exit__(self, *exception):
        if exception[0] is None:
            # Whatever a test did, nothing of it is left (pipes and the like may be kept for the next).
            eventually(lambda: self.sockets() <= self.sockets_at_rest(), what=f"the end of all connections: {self.sockets()}")
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(10 * SLOW)
        log = self.log()
        self.instance.stop()
        self.authorizer.stop()
        if self.provisioner.listener is not None and self.provisioner.listener.fileno() >= 0:
            self.provisioner.stop()
        shutil.rmtree(self.folder)
        assert not any(mark in log for mark in SANITIZER_MARKS), log
        assert TOKEN not in log and INSTANCE_KEY not in log, log
        if exception[0] is None:
            assert status == 0, f"ended with {status}: {log}"

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def sockets(self):
        found = 0
        for name in os.listdir(f"/proc/{self.process.pid}/fd"):
            try:
                found += os.readlink(f"/proc/{self.process.pid}/fd/{name}").startswith("socket:")
            except FileNotFoundError:
                pass  # closed since
        return found

    @staticmethod
    def sockets_at_rest():
        return 2 + 1  # two listeners and the provisioner

    def connect(self, name="gate"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(20 * SLOW)
        connection.connect(str(self.folder / f"{name}.sock"))
        return connection

    def send_head(self, target="/files/list", method="GET", headers=(), connection=None, name="gate", user="alice", token=TOKEN):
        """Sends a head as HAProxy would and returns the connection."""
        connection = connection or self.connect(name)
        lines = [f"{method} {target} HTTP/1.1", "Host: terminals.example", "X-Request-Id: request-1",
                 "X-Terminals-Policy: default", "X-Terminals-Client: 192.0.2.7"]
        lines += [] if token is None else [f"Authorization: Bearer {token}"]
        lines += [] if user is None else [f"X-User-Id: {user}"]
        connection.sendall(("\r\n".join([*lines, *headers]) + "\r\n\r\n").encode("latin-1"))
        return connection

    def request(self, *arguments, body=b"", **named):
        with self.send_head(*arguments, **named) as connection:
            connection.sendall(body)
            return Answer(read_all(connection))

    def open_terminal(self, target="/api/terminals/s1?user_id=alice", headers=(), token=None, user=None, behind=b""):
        """The handshake, with `behind` right behind it; returns the frames."""
        key = base64.b64encode(os.urandom(16)).decode()
        connection = self.connect()
        upgrade = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}"]
        self.send_head(target, headers=[*upgrade, *headers], connection=connection, token=token, user=user)
        connection.sendall(behind)
        head = read_head(connection)
        assert head.startswith("HTTP/1.1 101 ") and header(head, "Sec-WebSocket-Accept") == accept_key(key), head
        assert header(head, "Sec-WebSocket-Extensions") is None and header(head, "Sec-WebSocket-Protocol") is None
        return Frames(connection)


def auth(token=TOKEN):
    return json.dumps({"type": "auth", "token": token})


def echo(frames):
    """A shell of sorts: the first message must be ours; then everything comes back."""
    assert json.loads(frames.read()[1]) == {"type": "auth", "token": INSTANCE_KEY}
    while (got := frames.read()) is not None:
        if got[0] == CLOSE:
            frames.send(CLOSE, got[1])
            return
        frames.send(got[0], got[1])
