"""Starts the native instance by itself: on a free port, with a home folder of its own, as an ordinary user."""
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from ports import free_port

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("TERMINALS_BIN", ROOT / "build" / "release" / "bin"))
REFERENCE = Path(__file__).parent / "reference"
KEY = "k"
ORDINARY_USER = 1000
SLOW = 6 if os.environ.get("TERMINALS_TEST_SLOW") == "1" else 1  # as in stack.py


def is_sanitized():
    """Whether the program was built with AddressSanitizer, which needs far more memory."""
    return b"__asan_init" in (BIN / "open-terminal").read_bytes()


def memory_kib(instance):
    """The instance's proportional memory, its children's excluded."""
    status = Path(f"/proc/{instance.process.pid}/smaps_rollup").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("Pss:")).split()[1])


def eventually(condition, what, seconds=5):
    end = time.monotonic() + seconds * SLOW
    while not condition():
        assert time.monotonic() < end, f"timed out waiting until {what}"
        time.sleep(0.005)


class Answer:
    """Status, headers (lower-case names) and body of one HTTP answer."""

    def __init__(self, response):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:500]!r}>"


class StartedByHand:
    """An instance that a test starts in a way of its own: sets `process`, and `port` by free_port()."""

    def wait_until_up(self):
        eventually(self.is_up, "it answers", 20)
        return self

    def is_up(self):
        try:
            return self.call("GET", "/health").status == 200
        except OSError:
            return False

    def call(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, json.dumps(body) if body else None,
                           {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"})
        return Answer(connection.getresponse())

    def execute(self, command):
        """(status, output) of a command"""
        result = self.call("POST", "/execute?wait=20", {"command": command}).json()
        return result["status"], "".join(entry["data"] for entry in result["output"])


class InstanceProcess:
    """`with InstanceProcess() as instance:`; root becomes user 1000, so that permissions mean something."""

    def __init__(self, fixtures=False, key=KEY, arguments=(), env=(), command="run", prefix=()):
        self.key = key
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="instance-"))
        self.home = self.folder / "home"
        self.home.mkdir()
        self.folder.chmod(0o755)
        self.is_root = os.getuid() == 0
        self.identity = {"user": ORDINARY_USER, "group": ORDINARY_USER, "extra_groups": []} if self.is_root else {}
        if fixtures:
            subprocess.run(["bash", REFERENCE / "open-terminal-fixtures.sh", self.home], check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "PATH": "/usr/bin:/bin"})
        if self.is_root:
            os.chown(self.home, ORDINARY_USER, ORDINARY_USER)
        # A copy, because user 1000 may not be let into the source tree.
        self.binary = Path(shutil.copy(BIN / "open-terminal", self.folder))
        self.prefix = list(prefix)  # a command that runs the rest of its arguments in its own place
        self.arguments = list(arguments)
        self.command = command
        self.env = dict(env)
        self.log_path = self.folder / "log"
        self.process = None

    def start(self):
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(self.home), "LANG": "C.UTF-8", **self.env}
        if self.key is not None:
            environment["OPEN_TERMINAL_API_KEY"] = self.key
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
            if name in os.environ:
                environment[name] = os.environ[name]
        with open(self.log_path, "ab") as log:
            # As in the background of a script, where SIGINT is ignored: ^C must work in its shells all the same.
            self.process = subprocess.Popen(
                [*self.prefix, self.binary, self.command, "--host", "127.0.0.1", "--port", str(self.port), *self.arguments],
                env=environment, cwd=self.home, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN), **self.identity)
        end = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return self
            except OSError:
                assert self.process.poll() is None, f"the instance ended: {self.log()}"
                assert time.monotonic() < end, f"the instance does not listen: {self.log()}"
                time.sleep(0.002)

    def set_limit(self, limit):
        """As prlimit(1) writes it, while the instance runs; as its own user, since root in a container may not."""
        subprocess.run(["prlimit", f"--{limit}", "--pid", str(self.process.pid)], check=True, **self.identity)

    __enter__ = lambda self: self.start()  # noqa: E731

    def __exit__(self, *_):
        self.stop()

    def log(self):
        return self.log_path.read_text(errors="replace")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        log = self.log()
        shutil.rmtree(self.folder, ignore_errors=True)
        assert "Sanitizer" not in log and "runtime error" not in log, log
        assert status in (0, -signal.SIGKILL), f"exit status {status}: {log}"

    def call(self, method, path, body=None, headers=(), key=..., timeout=30, connection=None):
        """One request; a dict as body is sent as JSON."""
        send = dict(headers)
        key = self.key if key is ... else key
        if key is not None:
            send.setdefault("Authorization", f"Bearer {key}")
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            send.setdefault("Content-Type", "application/json")
        own = connection is None
        if own:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body=body, headers=send)
            return Answer(connection.getresponse())
        finally:
            if own:
                connection.close()

    def execute(self, command, wait=10, **body):
        """Runs a command and returns what is known of it, with its output put together in "text"."""
        answer = self.call("POST", f"/execute?wait={wait}", {"command": command, **body}, timeout=wait + 30)
        assert answer.status == 200, answer
        result = answer.json()
        result["text"] = "".join(entry["data"] for entry in result["output"])
        return result

    def descendants(self):
        """The processes below the instance, as {pid: command line}."""
        parents = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                except OSError:
                    pass
        below, found = {self.process.pid}, {}
        while True:
            more = {pid for pid, parent in parents.items() if parent in below and pid not in below}
            if not more:
                break
            below |= more
        for pid in below - {self.process.pid}:
            try:
                found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                pass
        return found
