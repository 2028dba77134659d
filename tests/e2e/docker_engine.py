"""A Docker engine for the tests, and the image they run: the native open-terminal and a static busybox, nothing else.

    engine()            the address of an engine that answers: the machine's, or one that is started for this session
    image()             the name of the test image in it, built once a session
    Engine()            an engine of a test's own, to be stopped and started at will
"""
import atexit
import contextlib
import functools
import hashlib
import http.client
import io
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import urllib.parse
from pathlib import Path

from stack import BIN, SLOW, eventually

DOCKER = "/usr/bin/docker"
MACHINES = "/var/run/docker.sock"
BUSYBOX = Path("/bin/busybox")
APPLETS = ("awk base64 cat chmod chown cp cut date dd df du echo env false find free grep head hostname id kill ln ls md5sum "
           "mkdir mktemp mv nc nproc od ping ps pwd rm sed seq setsid sh sleep sort stat stty tail tee test touch tr true "
           "tty uname wc wget which whoami yes").split()
LABEL = "app.kubernetes.io/managed-by=terminals"


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=60):
        super().__init__("docker", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Client:
    """Asks an engine, without the 30 ms of the docker command."""

    def __init__(self, path):
        self.path = path

    def ask(self, method, path, body=None, timeout=60):
        connection = UnixConnection(self.path, timeout * SLOW)
        with contextlib.closing(connection):
            data = None if body is None else json.dumps(body)
            connection.request(method, f"/v1.41{path}", data, {"Content-Type": "application/json"} if data else {})
            answer = connection.getresponse()
            text = answer.read()
        try:
            return answer.status, json.loads(text) if text.strip() else None
        except ValueError:
            return answer.status, text

    def do(self, method, path, body=None):
        status, answer = self.ask(method, path, body)
        assert status < 400, f"{method} {path}: {status} {answer}"
        return answer

    def containers(self, **labels):
        """All containers that some Terminals made, by name; narrowed down by labels."""
        wanted = [LABEL, *[f"{name}={value}" for name, value in labels.items()]]
        filters = urllib.parse.quote(json.dumps({"label": wanted}))
        return {entry["Names"][0].lstrip("/"): entry
                for entry in self.do("GET", f"/containers/json?all=1&filters={filters}") if entry["Names"]}

    def inspect(self, name):
        return self.do("GET", f"/containers/{name}/json")

    def remove(self, *names):
        for name in names:
            self.ask("DELETE", f"/containers/{name}?force=1&v=1")


def answers(path):
    with contextlib.suppress(OSError, http.client.HTTPException):
        return Client(path).ask("GET", "/_ping", timeout=5)[0] == 200
    return False


class Engine:
    """A dockerd with folders of its own. Beside another one it has a network namespace of its own, too: it would take away
    the other's bridge and flush its rules. What runs in it is reached over a pair of interfaces."""

    def __init__(self, is_alone=False):
        self.folder = Path(tempfile.mkdtemp(prefix="td-", dir="/tmp"))
        self.socket = f"{self.folder}/docker.sock"
        self.process = None
        self.arguments = [
            "dockerd", "--data-root", f"{self.folder}/data", "--exec-root", f"{self.folder}/exec", "--pidfile",
            f"{self.folder}/pid", "-H", f"unix://{self.socket}"]
        self.namespace = None if is_alone else f"td{os.getpid()}x{random.randrange(1000)}"
        if self.namespace:
            self._make_namespace(f"10.{random.randrange(210, 250)}.{random.randrange(255)}")

    def _make_namespace(self, prefix):
        outside, inside = f"{self.namespace}o"[:15], f"{self.namespace}i"[:15]
        for command in (f"ip netns add {self.namespace}", f"ip link add {outside} type veth peer {inside}",
                        f"ip link set {inside} netns {self.namespace}", f"ip addr add {prefix}.1/30 dev {outside}",
                        f"ip link set {outside} up", f"ip -n {self.namespace} addr add {prefix}.2/30 dev {inside}",
                        f"ip -n {self.namespace} link set {inside} up", f"ip -n {self.namespace} link set lo up",
                        f"ip -n {self.namespace} route add default via {prefix}.1",
                        f"ip route add {prefix}.128/25 via {prefix}.2"):
            subprocess.run(command.split(), check=True)
        self.arguments = ["nsenter", f"--net=/run/netns/{self.namespace}", *self.arguments, "--iptables=false",
                          "--ip6tables=false", "--ip-masq=false", "--default-address-pool", f"base={prefix}.128/25,size=27"]

    def start(self):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(self.arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)
        eventually(lambda: answers(self.socket), 60, what=f"an engine in {self.folder}")
        return self

    def stop(self, number=signal.SIGTERM):
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(60 * SLOW)
            self.process = None

    def remove(self):
        with contextlib.suppress(OSError, AssertionError, http.client.HTTPException):
            client = Client(self.socket)
            client.remove(*client.containers())
            for network in client.do("GET", "/networks"):
                client.ask("DELETE", f"/networks/{network['Id']}")
        self.stop()
        with contextlib.suppress(ValueError, OSError):
            os.kill(int((self.folder / "exec/containerd/containerd.pid").read_text()), signal.SIGTERM)
        for line in Path("/proc/self/mounts").read_text().splitlines():
            if line.split()[1].startswith(str(self.folder)):
                subprocess.run(["umount", "-l", line.split()[1]], check=False, capture_output=True)
        if self.namespace:
            subprocess.run(["ip", "netns", "del", self.namespace], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


@functools.cache
def engine():
    """The path of the socket of an engine that answers."""
    if answers(MACHINES):
        return MACHINES
    own = Engine(is_alone=True)
    atexit.register(own.remove)
    return own.start().socket


def libraries(program):
    """The shared libraries and the loader that a program needs."""
    text = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    paths = [word for line in text.splitlines() for word in line.split() if word.startswith("/")]
    return sorted(set(paths))


def root_file_system(program=None):
    """The image's files, as a tar."""
    program = program or BIN / "open-terminal"
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        def folder(name, mode=0o755, owner=0):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid, info.gid = tarfile.DIRTYPE, mode, owner, owner
            tar.addfile(info)

        def file(name, content, mode=0o644):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), mode
            tar.addfile(info, io.BytesIO(content))

        for name, mode in (("bin", 0o755), ("etc", 0o755), ("usr/bin", 0o755), ("home", 0o755), ("root", 0o700),
                           ("tmp", 0o1777), ("run", 0o755), ("var/tmp", 0o1777), ("proc", 0o755), ("sys", 0o755),
                           ("dev", 0o755)):
            folder(name, mode)
        folder("home/user", 0o755, 1000)
        file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n")
        file("etc/group", b"root:x:0:\nuser:x:1000:\n")
        file("etc/nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files dns\n")
        file("bin/busybox", BUSYBOX.read_bytes(), 0o755)
        for applet in APPLETS:
            info = tarfile.TarInfo(f"bin/{applet}")
            info.type, info.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(info)
        file("usr/bin/open-terminal", Path(program).read_bytes(), 0o755)
        for path in libraries(program):
            file(path.lstrip("/"), Path(path).read_bytes(), 0o755)
    return stream.getvalue()


CHANGES = ("USER 1000:1000", "WORKDIR /home/user", "EXPOSE 8000", "ENV PATH=/usr/bin:/bin", "ENV HOME=/home/user",
           "ENV SHELL=/bin/sh", "ENV ASAN_OPTIONS=detect_leaks=0", 'CMD ["/usr/bin/open-terminal", "run"]')


_imported = set()  # (engine, name): removed at the end of the session


def _remove_imported():
    for path, name in _imported:
        with contextlib.suppress(OSError, http.client.HTTPException):
            Client(path).ask("DELETE", f"/images/{name}")


def import_image(path, name, root=None, changes=CHANGES):
    """Makes an image of a root file system (the test image's unless another is given); returns its name with a tag that says
    what is in it."""
    root = root if root is not None else root_file_system()
    name += ":" + hashlib.sha256(root + repr(changes).encode()).hexdigest()[:12]
    if not _imported:
        atexit.register(_remove_imported)
    _imported.add((path, name))
    if Client(path).ask("GET", f"/images/{name}/json")[0] != 200:
        command = [DOCKER, "-H", f"unix://{path}", "import", *[word for change in changes for word in ("-c", change)], "-", name]
        done = subprocess.run(command, input=root, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
    return name


@functools.cache
def image(path=None):
    """The name of the test image."""
    return import_image(path or engine(), "terminals-test-native")


def client(path=None):
    return Client(path or engine())


def wait_gone(name, path=None, timeout=30):
    eventually(lambda: client(path).ask("GET", f"/containers/{name}/json")[0] == 404, timeout, what=f"the end of {name}")
