"""A whole running Terminals for a test, in a few words:

    with Stack(local_sandbox="none", idle_timeout_seconds=2) as stack:
        assert stack.run("alice", "echo hello") == "hello\n"

It has a port and a folder of its own, ends with Ctrl-C, and fails the test if a process is left behind or a sanitizer
reported something.
"""
import contextlib
import functools
import hashlib
import http.client
import itertools
import json
import os
import random
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
import urllib.parse
from pathlib import Path

from ports import free_port
from postgres_server import psql_program
from wsclient import WebSocket

REPOSITORY = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("TERMINALS_BIN", REPOSITORY / "build/release/bin")).resolve()
# A sanitized build is several times slower: deadlines, not the tests, stretch with it.
SLOW = 6 if os.environ.get("TERMINALS_TEST_SLOW") == "1" else 1
SANITIZER_MARKS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:", "AddressSanitizer:DEADLYSIGNAL")
OURS = ("terminals-gate", "terminals-api", "terminals-provisioner")

# Instance ports, below the ephemeral range; each stack has a stretch of its own, and each worker of `pytest -n` its own
# stretches, so that two never race for one.
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_FIRST, _END = (int(port) for port in os.environ.get("TERMINALS_TEST_PORTS", "10000-30000").split("-"))
_EACH = (_END - _FIRST) // 400 // _WORKERS
_STRETCHES = range(_FIRST + 400 * _EACH * _WORKER, _FIRST + 400 * _EACH * (_WORKER + 1), 400)
_next_stretch = itertools.cycle(random.sample(_STRETCHES, len(_STRETCHES)))

POSTGRES = os.environ.get("TERMINALS_TEST_POSTGRES")  # see tests/postgres_server.py; None: SQLite
_databases = itertools.count(1)


def psql(url, text):
    """The rows that a statement gives, as tuples of texts; None is SQL NULL."""
    done = subprocess.run([psql_program(), "-qAtX", "-v", "ON_ERROR_STOP=1", "-F", "\x1f", "-P", "null=\x1e", "-d", url, "-f", "-"],
                          input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, f"{text[:1000]}: {done.stderr}"
    lines = done.stdout.split("\n")[:-1]  # and not splitlines(), to which the other separators are ends of lines too
    return [tuple(None if value == "\x1e" else value for value in line.split("\x1f")) for line in lines]


def eventually(check, timeout=5, what="it", interval=0.02):
    """Waits until `check()` returns something true, and returns that. An AssertionError inside counts as not yet, and
    is what the test fails with in the end."""
    deadline = time.monotonic() + timeout * SLOW
    problem = None
    while True:
        try:
            value = check()
            if value:
                return value
            problem = None
        except (AssertionError, OSError, http.client.HTTPException) as failed:
            problem = failed
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {timeout * SLOW} s: {problem!r}")
        time.sleep(interval)


@functools.cache
def reaper_program():
    """reaper.c, which nobody may have compiled yet. One comes with each stack: Python would take longer to start than all that it does."""
    source = Path(__file__).with_name("reaper.c")
    program = REPOSITORY / "build" / f"reaper-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}"
    if not program.exists():
        program.parent.mkdir(exist_ok=True)
        made = program.with_name(f"{program.name}.{os.getpid()}")  # several workers may be at it at once
        subprocess.run(["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-o", made, source], check=True)
        made.rename(program)
    return program


def route_key(user, policy="default", context="default"):
    """The key of routes.map (docs/internals.md)."""
    user = user if isinstance(user, bytes) else user.encode()
    return hashlib.sha256(policy.encode() + b"\n" + context.encode() + b"\n" + user).hexdigest().upper()


class Response:
    """What came back. `headers` keeps repetitions: a list of (lower-case name, value)."""

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = [(name.lower(), value) for name, value in headers]
        self.body = body

    def header(self, name):
        values = [value for key, value in self.headers if key == name.lower()]
        return values[0] if values else None

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    def json(self):
        return json.loads(self.body)

    def expect(self, status):
        """This response, or a failure that shows all of it."""
        wanted = status if isinstance(status, (tuple, list, set)) else (status,)
        assert self.status in wanted, f"got {self.status}, wanted {status}: {self.text[:1000]} {self.headers}"
        return self

    @property
    def detail(self):
        return self.json()["detail"]

    def expect_error(self, status):
        """An error in the shape of all our errors (API.md)."""
        self.expect(status)
        assert (self.header("content-type") or "").startswith("application/json"), self.headers
        assert isinstance(self.detail, (str, list)) and self.detail, self.text
        assert self.header("x-request-id"), f"no X-Request-Id on {self.status}: {self.headers}"
        return self


def read_response(sock, method="GET"):
    reply = http.client.HTTPResponse(sock, method=method)
    reply.begin()
    body = reply.read()
    return Response(reply.status, reply.getheaders(), body)


class Stack:
    """`settings` are TERMINALS_ settings in lower case without the prefix; None leaves one out."""

    current = []  # for the report of a failing test; conftest.py takes the removed ones off

    def __init__(self, user=None, folder=None, environment=None, machine=None, **settings):
        """`machine` is one of network.py, or this one."""
        self.run_as = user
        self.machine = machine
        self.enter, self.host = (machine.enter, machine.address) if machine else ([], "127.0.0.1")
        self.own_folder = folder is None
        self.folder = Path(folder or tempfile.mkdtemp(prefix="tt-", dir="/tmp"))
        self.programs = BIN if user is None else self._copy_programs()
        self.port = settings.pop("port", None) or free_port()
        self.key = settings.get("api_key", "key-of-the-orchestrator")
        self.settings = {
            "backend": "local", "api_key": self.key, "run_dir": self.folder / "run", "data_dir": self.folder / "homes",
            "database_url": self._database(settings), "host": self.host, "port": self.port,
            "local_binary": self.programs / "open-terminal", "local_port_range_start": next(_next_stretch),
            "cleanup_interval_seconds": 0, **settings,
        }
        if self.settings["backend"] == "docker":
            self._use_docker()
        self.extra_environment = environment or {}
        self.reaper = None
        self.serve_pid = None
        self.exit_status = None
        self.out_path, self.err_path = self.folder / "out", self.folder / "err"
        self.removed = False
        self.last_log = ""
        Stack.current.append(self)

    def _database(self, settings):
        """A database of its own: a file or, where TERMINALS_TEST_POSTGRES names a server, one there."""
        self.database = None
        if "database_url" in settings or POSTGRES is None:
            return f"sqlite:///{self.folder}/terminals.db"
        self.database = f"tt_{os.getpid()}_{next(_databases)}"
        psql(POSTGRES, f"CREATE DATABASE {self.database}")
        return POSTGRES.replace("/postgres?", f"/{self.database}?")

    def sql(self, text, on_postgres=None):
        """The rows that a statement gives, as tuples of texts; None is SQL NULL."""
        if self.database:
            return psql(self.settings["database_url"], on_postgres or text)
        with contextlib.closing(sqlite3.connect(self.folder / "terminals.db", timeout=20)) as database, database:
            return [tuple(None if value is None else str(value) for value in row) for row in database.execute(text)]

    def _use_docker(self):
        """An engine and an image, unless the test has its own."""
        import docker_engine  # which imports us

        for name in [name for name in self.settings if name.startswith("local_")]:
            del self.settings[name]
        self.settings.setdefault("docker_host", f"unix://{docker_engine.engine()}")
        self.engine = docker_engine.Client(self.settings["docker_host"].removeprefix("unix://"))
        self.settings.setdefault("image", docker_engine.image())

    def containers(self):
        """What the engine has of this stack, by name."""
        mark = Path(self.settings["data_dir"]) / ".deployment"
        return self.engine.containers(**{"terminals.deployment": mark.read_text()}) if mark.exists() else {}

    def container(self, user, **query):
        """The name of a user's container."""
        return self.tenant(user, **query)["instance_name"]

    def recover(self, user, path="/health"):
        """What HAProxy makes of a request whose instance takes no connection: the gate's second socket gets it."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(60 * SLOW)
            sock.connect(f"{self.folder}/run/gate-recover.sock")
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nX-Terminals-Route: {route_key(user)}\r\n\r\n".encode())
            return read_response(sock)

    def _copy_programs(self):
        """The programs where any user can reach them: the clone may lie below /root."""
        programs = self.folder / "build/release/bin"
        if not programs.exists():
            shutil.copytree(BIN, programs)
            shutil.copytree(REPOSITORY / "haproxy", self.folder / "haproxy")
        return programs

    # --- life ---

    def environment(self):
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TERMINALS_")}
        clean.update({f"TERMINALS_{name.upper()}": str(value).lower() if isinstance(value, bool) else str(value)
                      for name, value in self.settings.items() if value is not None})
        clean.update(self.extra_environment)
        return clean

    def command(self, *arguments):
        """The command line of `terminals …`, as the user this stack runs as."""
        prefix = list(self.enter)
        if self.run_as is not None:
            prefix += ["setpriv", f"--reuid={self.run_as}", f"--regid={self.run_as}", "--clear-groups",
                       "--no-new-privs", "--"]
        return [*prefix, str(self.programs / "terminals"), *arguments]

    def launch(self, *arguments):
        """Starts `terminals serve` without waiting for anything."""
        self.folder.chmod(0o755)
        if self.run_as is not None:
            os.chown(self.folder, self.run_as, self.run_as)
        reader, writer = os.pipe()
        with open(self.out_path, "ab") as out, open(self.err_path, "ab") as err:
            self.reaper = subprocess.Popen(
                [str(reaper_program()), str(writer), *self.command("serve", *arguments)],
                cwd=self.folder, env=self.environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                pass_fds=[writer])
        os.close(writer)
        self.report = os.fdopen(reader, "rb", buffering=0)
        self.report_text = ""
        self.exit_status = None
        self.serve_pid = None
        eventually(lambda: self._poll_report() or self.serve_pid, 20, what="the reaper's first line")
        return self

    def _poll_report(self):
        while select.select([self.report], [], [], 0)[0]:
            chunk = self.report.read(4096)
            if not chunk:
                break
            self.report_text += chunk.decode()
        for line in self.report_text.splitlines():
            word, _, number = line.partition(" ")
            if word == "pid":
                self.serve_pid = int(number)
            elif word == "exit":
                self.exit_status = int(number)
        return self.exit_status is not None

    def start(self):
        self.launch()

        def healthy():
            if self._poll_report():
                raise RuntimeError(f"terminals serve ended with {self.exit_status}:\n{self.log()}")
            return self.request(None, "GET", "/health", key=None, timeout=2).status == 200

        try:
            eventually(healthy, 20, what="/health of the new stack")
        except BaseException:
            self.kill_all()
            raise
        return self

    def wait_exit(self, timeout=15):
        """The exit status of `terminals serve`."""
        eventually(self._poll_report, timeout, what="the end of terminals serve")
        return self.exit_status

    def stop(self, number=signal.SIGINT, timeout=15):
        """Ends the stack as its user would; everything it started must go with it."""
        if self.reaper is None:
            return
        if not self._poll_report():
            # What was left stopped cannot end.
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            with contextlib.suppress(ProcessLookupError):  # one that ends by itself: its report is on the way
                os.kill(self.serve_pid, number)
        try:
            self.wait_exit(timeout)
            self.expect_nothing_left()
        finally:
            self.kill_all()
        self.expect_no_sanitizer_report()

    def expect_nothing_left(self, timeout=3):
        try:
            self.reaper.wait(timeout * SLOW)
        except subprocess.TimeoutExpired:
            raise AssertionError("left behind: " + "; ".join(self.describe(p) for p in self.processes())) from None

    def kill_all(self):
        if self.reaper is None:
            return
        with contextlib.suppress(ProcessLookupError):
            while self.reaper.poll() is None:
                for pid in self.processes():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                time.sleep(0.01)
        self.reaper.wait()
        self.reaper = None
        self.report.close()

    def remove(self):
        self.last_log, self.removed = self.log(), True
        if self.settings["backend"] == "docker":
            with contextlib.suppress(OSError, AssertionError):
                self.engine.remove(*self.containers())
        if self.database:
            psql(POSTGRES, f"DROP DATABASE IF EXISTS {self.database} WITH (FORCE)")
        if self.own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.kill_all()
            self.remove()
            raise

    def __exit__(self, failed, *_):
        try:
            if failed:
                self.kill_all()
            else:
                self.stop()
        finally:
            self.remove()

    # --- evidence ---

    def log(self, limit=20000):
        if self.removed:
            return self.last_log
        texts = []
        for path in (self.out_path, self.err_path):
            if path.exists():
                texts.append(f"--- {path.name}\n" + path.read_text(errors="replace")[-limit:])
        return "\n".join(texts)

    def err(self):
        return self.err_path.read_text(errors="replace")

    def expect_no_sanitizer_report(self):
        for path in [self.err_path, self.out_path, *self.folder.glob("run/**/*"), *self.folder.glob("*.log")]:
            if path.is_file() and path.stat().st_size < 64 << 20:
                text = path.read_text(errors="replace")
                for mark in SANITIZER_MARKS:
                    assert mark not in text, f"{path}:\n{text[text.index(mark) - 200:][:6000]}"

    # --- processes ---

    def processes(self):
        """Every process of this stack, as {pid: parent pid}."""
        if self.reaper is None:
            return {}
        parents = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError):
                    # Not by pathlib and a text file: this is done for every process of the machine, again and again.
                    descriptor = os.open(f"/proc/{entry}/stat", os.O_RDONLY)
                    try:
                        text = os.read(descriptor, 4096)
                    finally:
                        os.close(descriptor)
                    after_name = text[text.rindex(b")") + 2:].split(None, 2)
                    if after_name[0] not in b"ZX":
                        parents[int(entry)] = int(after_name[1])
        found = {}

        def belongs(pid):
            while pid in parents:
                if parents[pid] == self.reaper.pid:
                    return True
                pid = parents[pid]
            return False

        for pid, parent in parents.items():
            if belongs(pid):
                found[pid] = parent
        return found

    @staticmethod
    def name_of(pid):
        with contextlib.suppress(OSError):
            return os.path.basename(os.readlink(f"/proc/{pid}/exe")).replace(" (deleted)", "")
        with contextlib.suppress(OSError):
            return os.path.basename(Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode())
        return ""

    @staticmethod
    def describe(pid):
        with contextlib.suppress(OSError):
            return f"{pid} " + Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return f"{pid} (gone)"

    def process(self, name):
        """The pids of all processes of this program, parents first: process("haproxy") is master, then worker."""
        found = self.processes()
        mine = [pid for pid in found if self.name_of(pid) == name]
        return sorted(mine, key=lambda pid: (found[pid] in mine, pid))

    def one(self, name):
        pids = self.process(name)
        assert len(pids) == 1, f"{name}: {[self.describe(pid) for pid in pids]}"
        return pids[0]

    def commands(self, text):
        """The pids whose command line contains `text`, instances and our own excepted."""
        hits = []
        for pid in self.processes():
            if self.name_of(pid) not in ("open-terminal", "bwrap", "haproxy", "terminals", *OURS):
                with contextlib.suppress(OSError):
                    line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    if text in line:
                        hits.append(pid)
        return hits

    def instances(self):
        """The pids of the open-terminal processes, without children of theirs that are about to exec."""
        parents = self.processes()
        pids = {pid for pid in parents if self.name_of(pid) == "open-terminal"}
        return sorted(pid for pid in pids if parents[pid] not in pids)

    def instance_pid(self, user, **query):
        """The pid (seen from outside) of a user's instance: who listens on its port."""
        port = self.tenant(user, **query)["port"]
        inodes = set()
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].split(":")[1], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
        for pid in self.instances():
            with contextlib.suppress(OSError):
                for descriptor in os.listdir(f"/proc/{pid}/fd"):
                    with contextlib.suppress(OSError):
                        if os.readlink(f"/proc/{pid}/fd/{descriptor}") in inodes:
                            return pid
        raise AssertionError(f"nobody of {self.instances()} listens on port {port}, the instance of {user}")

    @contextlib.contextmanager
    def stopped(self, *names):
        """These programs stand still (SIGSTOP) meanwhile."""
        pids = [pid for name in names for pid in self.process(name)]
        assert len(pids) >= len(names), f"not all of {names} run"
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield pids
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def terminals(self, *arguments, timeout=60):
        """Runs `terminals …` beside the running stack, as cron or an administrator would."""
        return subprocess.run(self.command(*arguments), cwd=self.folder, env=self.environment(), text=True,
                              capture_output=True, timeout=timeout * SLOW, check=False)

    # --- HTTP ---

    @property
    def address(self):
        return (self.host, self.port)

    def connect(self, timeout=30):
        sock = socket.create_connection(self.address, timeout * SLOW)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def headers(self, user, key="", headers=()):
        """The headers of a request on behalf of `user` (None: no X-User-Id); key None: no Authorization."""
        lines = []
        if key is not None:
            lines.append(("Authorization", f"Bearer {key or self.key}"))
        if user is not None:
            lines.append(("X-User-Id", user))
        lines.extend(headers.items() if isinstance(headers, dict) else headers)
        return lines

    def request(self, user, method, path, json_body=None, body=None, headers=(), key="", timeout=60):
        """One request on a connection of its own. Sends `path` as it stands, headers in order and repeated if given so;
        `json_body` becomes the body, else `body` (bytes, or an iterator of chunks: chunked)."""
        connection = http.client.HTTPConnection(*self.address, timeout=timeout * SLOW)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in self.headers(user, key, headers):
                connection.putheader(name, value.encode() if isinstance(value, str) else value)
            if json_body is not None:
                body = json.dumps(json_body).encode()
                connection.putheader("Content-Type", "application/json")
            chunked = body is not None and not isinstance(body, bytes)
            if chunked:
                connection.putheader("Transfer-Encoding", "chunked")
            elif body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body, encode_chunked=chunked)
            reply = connection.getresponse()
            return Response(reply.status, reply.getheaders(), reply.read())
        finally:
            connection.close()

    def raw(self, data, method="GET", timeout=30, end=False):
        """Sends these bytes and parses one answer; `end` half-closes after them."""
        with self.connect(timeout) as sock:
            sock.sendall(data)
            if end:
                sock.shutdown(socket.SHUT_WR)
            return read_response(sock, method)

    def admin(self, method, path, **rest):
        return self.request(None, method, "/api/v1" + path, **rest)

    def tenants(self, query=""):
        return self.admin("GET", "/tenants/" + query).expect(200).json()

    def tenant(self, user, **query):
        text = "?" + urllib.parse.urlencode(query) if query else ""
        return self.admin("GET", f"/tenants/{urllib.parse.quote(user, safe='')}{text}").expect(200).json()

    def execute(self, user, command, wait=20, prefix="", **rest):
        """POST /execute?wait=…, and its answer."""
        return self.request(user, "POST", f"{prefix}/execute?wait={wait}", {"command": command}, **rest)

    def run(self, user, command, **rest):
        """What a command prints in that user's instance, line ends as in a file."""
        answer = self.execute(user, command, **rest).expect(200).json()
        assert answer["status"] == "done", answer
        return "".join(part["data"] for part in answer["output"]).replace("\r\n", "\n")

    def home(self, user):
        """The home folder of a user with a plain name, seen from outside."""
        return Path(self.settings["data_dir"]) / user

    def routes(self):
        """routes.map as on disk, but for lines that were struck out: {route key: [address, port, instance key, instance id]}."""
        lines = (self.folder / "run/routes.map").read_text().splitlines()
        return {line.split(" ", 1)[0]: line.split(" ", 1)[1].split("|") for line in lines if line.strip() and line[0] != "#"}

    def haproxy_map(self, name):
        """What HAProxy holds in memory of `routes` or `identities`: {key: value}."""
        return self.read_haproxy_map(self.folder / "run/haproxy.sock", f"{self.folder}/run/{name}.map")

    @staticmethod
    def read_haproxy_map(socket_path, map_path):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5 * SLOW)
            sock.connect(str(socket_path))
            sock.sendall(f"show map {map_path}\n".encode())
            text = b""
            while chunk := sock.recv(1 << 16):
                text += chunk
        fields = [line.split(" ", 2) for line in text.decode().splitlines() if line.count(" ") >= 2]
        return {key: value for _, key, value in fields}

    def wait_hot(self, *users):
        """Waits until HAProxy knows these users' routes. An answer and the map's update race each other by milliseconds,
        which is no harm but to a test that stops everybody else."""
        eventually(lambda: self.haproxy_map("identities") or self.settings.get("open"), what="an identity in HAProxy")
        eventually(lambda: {route_key(user) for user in users} <= set(self.haproxy_map("routes")),
                   what=f"routes of {users} in HAProxy")

    # --- shells ---

    def new_terminal(self, user, prefix="", **rest):
        """POST /api/terminals: the id of a new session."""
        return self.request(user, "POST", f"{prefix}/api/terminals", **rest).expect(200).json()["id"]

    def ws(self, user, session, auth="message", prefix="", headers=(), **rest):
        """A WebSocket on a session, authenticated in one of the three ways (or `auth` None: not at all)."""
        query = {"user_id": user} if user is not None else {}
        headers = list(headers)
        if auth == "query":
            query["token"] = self.key
        elif auth == "header":
            headers = [("Authorization", f"Bearer {self.key}"), *headers]
        text = "?" + urllib.parse.urlencode(query) if query else ""
        rest.setdefault("timeout", 15 * SLOW)
        socket_ = WebSocket(self.address, f"{prefix}/api/terminals/{session}{text}", headers, **rest)
        if auth == "message":
            socket_.send(json.dumps({"type": "auth", "token": self.key}))
        return socket_

    def shell(self, user, **rest):
        """A new shell with an open WebSocket that has shown its prompt and echoes nothing."""
        socket_ = self.ws(user, self.new_terminal(user), **rest)
        # Without echo and prompt a test reads only what its commands print. The arithmetic keeps the echo of the
        # command line itself from matching.
        socket_.send(b"stty -echo; PS1=; PS2=; PROMPT_COMMAND=; echo ready-$((1+1))\n")
        socket_.read_until(b"ready-2")
        return socket_
