"""haproxy.cfg run by the real HAProxy against scripted peers, for the tests of what it decides, rewrites, refuses and answers by itself."""
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from haproxy_peers import Client, FastCgiPeer, Peer, answer, route_key, upper_hex
from ports import free_port

CONFIGURATION = Path(__file__).resolve().parents[2] / "haproxy" / "haproxy.cfg"
HAPROXY = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")
KEY = "orchestrator-key"
INSTANCE_KEY = "instance-key"
INSTANCE_ID = "0123456789abcdef0123456789abcdef"
UPGRADE = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


class World:
    """HAProxy, a gate, a terminals-api and an instance for the user `u`. `configuration` is another text than haproxy.cfg's."""

    def __init__(self, configuration=None, **settings):
        self.folder = Path(tempfile.mkdtemp(prefix="ha"))
        self.port = free_port()
        self.instance = Peer(("127.0.0.1", 0))
        self.instance.script = lambda request: answer(body=b"instance")
        self.gate = Peer(str(self.folder / "gate.sock"), lambda request: answer(body=b"gate"))
        self.recover = Peer(str(self.folder / "gate-recover.sock"), lambda request: answer(body=b"recovered"))
        self.admin = FastCgiPeer(str(self.folder / "api-admin.sock"))
        self.operations = FastCgiPeer(str(self.folder / "api-operations.sock"))
        (self.folder / "identities.map").write_text(f"{upper_hex(KEY)} *\n{upper_hex('jwt-of-u')} u\n")
        self.route("u")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TERMINALS_")},
            "TERMINALS_HOST": "127.0.0.1",
            "TERMINALS_PORT": str(self.port),
            "TERMINALS_RUN_DIR": str(self.folder),
            **{f"TERMINALS_{name}": value for name, value in settings.items()},
        }
        self.configuration = CONFIGURATION
        if configuration is not None:
            self.configuration = self.folder / "haproxy.cfg"
            self.configuration.write_text(configuration)
        self.log = (self.folder / "log").open("wb")
        self.process = None

    def route(self, user, policy="default", context="default", to=None, more=""):
        host, port = to or self.instance.address
        with (self.folder / "routes.map").open("a") as routes:
            routes.write(f"{route_key(user, policy, context)} {host}|{port}|{INSTANCE_KEY}|{INSTANCE_ID}\n{more}")

    def start(self):
        """Returns when both the worker and the master answer: before that a master loses the signals it gets."""
        command = [HAPROXY, "-W", "-S", f"{self.folder}/haproxy-master.sock,mode,600", "-f", str(self.configuration)]
        self.process = subprocess.Popen(command, env=self.environment, stderr=self.log, stdout=self.log)
        deadline = time.monotonic() + 10
        while True:
            try:
                Client(self.port).close()
                if "worker" in self.command("show proc", "haproxy-master.sock"):
                    return self
            except OSError:
                assert self.process.poll() is None and time.monotonic() < deadline, self.logged()
            time.sleep(0.02)

    def logged(self):
        return (self.folder / "log").read_text()

    def stop(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(10)
        for peer in (self.instance, self.gate, self.recover, self.admin, self.operations):
            peer.stop()
        self.log.close()
        shutil.rmtree(self.folder)

    def get(self, target, headers=(), **more):
        client = Client(self.port)
        try:
            return client.request(target, headers, **more)
        finally:
            client.close()

    def hot(self, target, headers=(), user="u", **more):
        return self.get(target, [f"Authorization: Bearer {KEY}", f"X-User-Id: {user}", *headers], **more)

    def command(self, text, name="haproxy.sock"):
        with socket.socket(socket.AF_UNIX) as runtime:
            runtime.connect(str(self.folder / name))
            runtime.sendall(text.encode() + b"\n")
            runtime.shutdown(socket.SHUT_WR)  # the master hangs up only then
            output = b""
            while data := runtime.recv(65536):
                output += data
            return output.decode()

    def untouched(self):
        """How many requests each peer has seen."""
        peers = (self.instance, self.gate, self.recover, self.admin, self.operations)
        return [len(peer.requests) for peer in peers]


@pytest.fixture(scope="module")
def shared():
    world = World().start()
    yield world
    world.stop()


@pytest.fixture
def world(shared):
    for peer in (shared.instance, shared.gate, shared.recover, shared.admin, shared.operations):
        peer.requests.clear()
    shared.instance.script = lambda request: answer(body=b"instance")
    shared.gate.script = lambda request: answer(body=b"gate")
    return shared


@pytest.fixture
def make_world():
    worlds = []

    def make(**settings):
        worlds.append(World(**settings))
        return worlds[-1]

    yield make
    for made in worlds:
        made.stop()
