"""What Terminals is compared with, and HAProxy alone with maps of any size.

Each runs as a context manager that gives an `Endpoint`: where to ask, with which headers, and which processes do the work.
"""
import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from ports import free_port
from report import RESULTS
from stack import BIN, REPOSITORY, eventually, route_key

USER, KEY, INSTANCE_KEY = "bench", "key-of-the-orchestrator", "0123456789abcdef" * 2
LOCK = Path(__file__).with_name("configurable-http-proxy")
CONFIGURATION = REPOSITORY / "haproxy/haproxy.cfg"
HAPROXY = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")


class Endpoint:
    """A contender: `name` as the table shows it, the port, the headers of a request, the pids whose work counts as its own, its run
    folder, where it has one, and whether it may drop connections (what we do not answer for)."""

    def __init__(self, name, port, headers, pids=(), folder=None, may_drop=False):
        self.name, self.port, self.headers, self.pids, self.folder = name, port, list(headers), list(pids), folder
        self.may_drop = may_drop


def listening(port):
    """Whether somebody accepts there."""
    socket.create_connection(("127.0.0.1", port)).close()
    return True


def listening_at(path):
    """The same of a Unix socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
    return True


@contextlib.contextmanager
def running(command, port, environment=None, timeout=30, is_ready=lambda: True):
    """A server until the end of the block; it has accepted a connection, and is ready, before it begins."""
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ready():
        if process.poll() is not None:
            raise RuntimeError(f"{command[0]} ended with {process.returncode}")
        return listening(port) and is_ready()

    try:
        eventually(ready, timeout, what=f"a listening {command[0]}", interval=0.002)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def instance(folder):
    """A native instance by itself, without a sandbox: (port, pid)."""
    port = free_port()
    command = [str(BIN / "open-terminal"), "run", "--host", "127.0.0.1", "--port", str(port), "--cwd", str(folder)]
    environment = {**os.environ, "HOME": str(folder), "OPEN_TERMINAL_API_KEY": INSTANCE_KEY}
    with running(command, port, environment) as process:
        yield port, process.pid


@contextlib.contextmanager
def haproxy_fixed(instance_port, instance_key=INSTANCE_KEY, wrapper=(), more=""):
    """The same HAProxy with everything Terminals adds taken away: one backend, no maps, no rules but the key. The limit. `wrapper` goes
    before the command, `more` is configuration after that."""
    port = free_port()
    with tempfile.NamedTemporaryFile("w", suffix=".cfg") as config:
        config.write(f"""
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout tunnel 1h
    http-reuse always
frontend fixed
    bind 127.0.0.1:{port}
    http-request set-header Authorization "Bearer {instance_key}"
    default_backend instance
backend instance
    server instance 127.0.0.1:{instance_port}
{more}
""")
        config.flush()
        with running([*wrapper, HAPROXY, "-db", "-f", config.name], port) as process:
            # It is asked with the same head as Terminals.
            yield Endpoint("HAProxy, fixed backend", port, [("Authorization", f"Bearer {KEY}"), ("X-User-Id", USER)], [process.pid])


def node_proxy(may_install):
    """The program of configurable-http-proxy, installed into build/bench from our lock file if need be. Raises OSError where it cannot
    be had."""
    folder = RESULTS / "configurable-http-proxy"
    program = folder / "node_modules/.bin/configurable-http-proxy"
    if program.exists():
        return program
    if not may_install:
        raise OSError("it is not installed, and --quick installs nothing")
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(LOCK / name, folder)
    done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"npm ci: {done.stderr.strip()[-500:]}")
    return program


@contextlib.contextmanager
def configurable_http_proxy(program, instance_port, instance_key=INSTANCE_KEY):
    """JupyterHub's proxy (what node_proxy() gives) with one default target, which is the least it can do; it changes no header, so the
    client has the instance's key."""
    port = free_port()
    command = [str(program), "--ip", "127.0.0.1", "--port", str(port), "--api-ip", "127.0.0.1", "--api-port", str(free_port()),
               "--default-target", f"http://127.0.0.1:{instance_port}", "--log-level", "error"]
    environment = {**os.environ, "CONFIGPROXY_AUTH_TOKEN": "bench"}
    with running(command, port, environment) as process:
        yield Endpoint("configurable-http-proxy", port, [("Authorization", f"Bearer {instance_key}")], [process.pid], may_drop=True)


def write_routes(path, instance_port, count):
    """routes.map with so many users, all of one instance; the last is the one that asks."""
    value = f"127.0.0.1|{instance_port}|{INSTANCE_KEY}|0123456789abcdef0123456789abcdef"
    with open(path, "w", encoding="ascii") as routes:
        for number in range(count - 1):
            routes.write(f"{route_key(f'user-{number}')} {value}\n")
        routes.write(f"{route_key(USER)} {value}\n")


@contextlib.contextmanager
def haproxy_alone(routes, wrapper=(), more="", configuration=CONFIGURATION):
    """haproxy.cfg with nobody of ours behind it, and `routes` (a file as write_routes() makes it) as its map: all that a hot request
    needs. `wrapper` goes before the command, `more` is configuration after ours."""
    with tempfile.TemporaryDirectory(prefix="tb-", dir="/tmp") as folder:
        port = free_port()
        run_dir = Path(folder)
        (run_dir / "identities.map").write_text(hashlib.sha256(KEY.encode()).hexdigest().upper() + " *\n", encoding="ascii")
        shutil.move(routes, run_dir / "routes.map")
        (run_dir / "more.cfg").write_text(more + "\n", encoding="ascii")
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TERMINALS_")}
        environment = {**clean, "TERMINALS_HOST": "127.0.0.1", "TERMINALS_PORT": str(port), "TERMINALS_RUN_DIR": folder}
        command = [*wrapper, HAPROXY, "-db", "-f", str(configuration), "-f", str(run_dir / "more.cfg")]
        # It listens to clients a moment before its runtime socket has its name.
        with running(command, port, environment, timeout=300, is_ready=lambda: listening_at(run_dir / "haproxy.sock")) as process:
            yield Endpoint("Terminals", port, [("Authorization", f"Bearer {KEY}"), ("X-User-Id", USER)], [process.pid], folder)
