#!/usr/bin/python3
"""A PostgreSQL of the tests' own, in a temporary folder, on a Unix socket only.

    tests/postgres_server.py COMMAND...    runs it with TERMINALS_TEST_POSTGRES naming such a server

It forgets at a power cut what a real one keeps (fsync is off; it may be killed). What initdb makes, most of a processor's two
seconds, is made once and then copied.
"""
import contextlib
import glob
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse

TEMPLATES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "build/postgres")


def programs():
    """The folder of the newest initdb and postgres that Debian's packages have brought."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[4]))
    if not found:
        raise RuntimeError("no PostgreSQL in /usr/lib/postgresql: scripts/install-deps test installs it")
    return found[-1]


def psql_program():
    """Not /usr/bin/psql: Debian's script of that name takes five times as long as what it looks for."""
    return f"{programs()}/psql"


def unprivileged():
    """As whom PostgreSQL runs, which refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("root needs a user `postgres` or `nobody` to run PostgreSQL as")


def copy(source, target):
    """A folder with all that is in it, its owners and rights."""
    subprocess.run(["cp", "-a", "--reflink=auto", source, target], check=True)


class PostgresServer:
    def __init__(self, extra=(), address=None):
        """On TCP as well where it has an address, for its /24, without a password."""
        self.user = unprivileged()
        self.folder = tempfile.mkdtemp(prefix="terminals-pg-")
        os.chmod(self.folder, 0o755)
        self.sockets = os.path.join(self.folder, "s")
        os.mkdir(self.sockets)
        if self.user:
            os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)
            os.chown(self.sockets, self.user.pw_uid, self.user.pw_gid)
        self.data = os.path.join(self.folder, "data")
        self.extra = [*extra, "-c", f"listen_addresses={address or ''}"]
        self.process = None
        self._make_data()
        if address:
            with open(os.path.join(self.data, "pg_hba.conf"), "a") as rules:
                rules.write(f"host all all {address}/24 trust\n")
        self.start()

    def _as_user(self):
        if self.user is None:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}

    def _run(self, command):
        subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=self.folder,
                       env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"}, **self._as_user())

    def _make_data(self):
        """initdb, or a copy of what it has made before. Several processes may be at it at once."""
        initdb = [f"{programs()}/initdb", "--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C"]
        template = os.path.join(TEMPLATES, hashlib.sha256(f"{initdb} {self.user}".encode()).hexdigest()[:16])
        if os.path.isdir(template):
            copy(template, self.data)
            return
        self._run([*initdb, "-D", self.data])
        os.makedirs(TEMPLATES, exist_ok=True)
        new = tempfile.mkdtemp(dir=TEMPLATES)
        copy(self.data, f"{new}/data")
        with contextlib.suppress(OSError):  # somebody else was quicker
            os.rename(f"{new}/data", template)
        shutil.rmtree(new)

    def _is_ready(self):
        """What `pg_ctl --wait` looks for: the eighth line of postmaster.pid."""
        try:
            with open(os.path.join(self.data, "postmaster.pid")) as file:
                lines = file.read().split("\n")
        except FileNotFoundError:
            return False
        return lines[0] == str(self.process.pid) and lines[7:8] and lines[7].strip() == "ready"

    def start(self):
        settings = {"fsync": "off", "full_page_writes": "off", "max_connections": "300", "shared_buffers": "32MB",
                    "unix_socket_directories": self.sockets, "autovacuum": "off"}
        arguments = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(
                [f"{programs()}/postgres", "-D", self.data, *arguments, *self.extra], stdout=log, stderr=log,
                cwd=self.folder, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"}, **self._as_user())
        deadline = time.monotonic() + 30
        while not self._is_ready():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"PostgreSQL did not start: {self.log()}")
            time.sleep(0.02)

    def log(self):
        with open(os.path.join(self.folder, "log"), errors="replace") as file:
            return file.read()[-3000:]

    def stop(self, how=signal.SIGINT):
        """SIGINT: at once, in good order. SIGQUIT: as in a crash. (postgres(1))"""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(30)
            self.process = None

    def pause(self):
        """From here on it takes bytes and answers none, as behind a cable that was cut."""
        self._signal_all(signal.SIGSTOP)

    def resume(self):
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number):
        backends = subprocess.run(["pgrep", "-P", str(self.process.pid)], stdout=subprocess.PIPE, text=True, check=False)
        for pid in [self.process.pid, *map(int, backends.stdout.split())]:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass  # it ended between the two lines above

    def url(self, database="postgres", **more):
        query = urllib.parse.urlencode({"host": self.sockets, **more}, quote_via=urllib.parse.quote)
        return f"postgresql://postgres@/{database}?{query}"

    def sql(self, text, database="postgres"):
        """What `psql` prints for it: a line a row, columns separated by |."""
        done = subprocess.run([psql_program(), "-qAtX", "-v", "ON_ERROR_STOP=1", "-h", self.sockets, "-U", "postgres",
                               "-d", database, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{text}: {done.stderr}")
        return done.stdout.strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)


def main():
    with PostgresServer() as server:
        return subprocess.run(sys.argv[1:], env=dict(os.environ, TERMINALS_TEST_POSTGRES=server.url()),
                              check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
