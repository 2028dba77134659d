"""The real stack of docker-compose.yml, from a clean copy of the tree, as a `Stack` that tests talk to.

Images are built once a session; there is no
registry, so their base is made of this machine's packages (base_image.py).
"""
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import base_image
import docker_engine
from ports import free_port
from stack import REPOSITORY, Stack, eventually

COPIED = ["Dockerfile", "docker-compose.yml", ".dockerignore", "Makefile", "LICENSE", "cli", "common", "dashboard", "fcgi-api", "gate",
          "haproxy", "instance", "provisioner", "scripts", "sql"]
SERVICES = ("provisioner", "api", "gate", "haproxy", "cron")


def engine_environment():
    return {**os.environ, "DOCKER_HOST": f"unix://{docker_engine.engine()}", "DOCKER_BUILDKIT": "0"}


def docker(*arguments, check=True, timeout=120, stdin=""):
    done = subprocess.run([docker_engine.DOCKER, *arguments], env=engine_environment(), input=stdin, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, timeout=timeout)
    assert done.returncode == 0 or not check, f"docker {' '.join(arguments)}: {done.stdout}"
    return done.stdout.strip()


def npm_image(base):
    """No registry is in reach of a build: this image's npm gives what npm gave this machine, for the same package-lock.json."""
    modules = REPOSITORY / "build/dashboard/node_modules"
    with tempfile.TemporaryDirectory(prefix="ttn-", dir="/tmp") as context:
        shutil.copytree(modules, f"{context}/node_modules")
        shutil.copy2(REPOSITORY / "dashboard/package-lock.json", context)
        Path(context, "npm").write_text("#!/bin/sh\n[ \"$1\" = ci ] && cmp package-lock.json /given/package-lock.json && cp -r /given/node_modules .\n")
        Path(context, "npm").chmod(0o755)
        Path(context, "Dockerfile").write_text(f"FROM {base}\nCOPY npm /usr/local/bin/\nCOPY package-lock.json /given/\nCOPY node_modules /given/node_modules\n")
        docker("build", "--quiet", "--tag", "terminals-test-npm:latest", context)
    return "terminals-test-npm:latest"


class Images:
    """Everything built, once, from a clean copy of the tree, by what a user would type: `docker-compose build`."""

    def __init__(self):
        self.tree = Path(tempfile.mkdtemp(prefix="ttc-", dir="/tmp"))
        for name in COPIED:
            source = REPOSITORY / name
            if source.is_dir():
                shutil.copytree(source, self.tree / name)
            else:
                shutil.copy2(source, self.tree / name)
        packages = subprocess.run([REPOSITORY / "scripts/install-deps", "image", "--list"], stdout=subprocess.PIPE, text=True,
                                  check=True).stdout.split()
        base = base_image.make("terminals-test-base", [*packages, "haproxy"], engine_environment())
        self.environment = {
            "BASE_IMAGE": base, "HAPROXY_IMAGE": os.environ.get("TEST_HAPROXY_IMAGE", base), "NODE_IMAGE": npm_image(base),
            "ORCHESTRATOR_IMAGE": "terminals-compose-test:latest", "ORCHESTRATOR_HAPROXY_IMAGE": "terminals-compose-test-haproxy:latest",
            "INSTANCE_IMAGE": "terminals-compose-test-instance:latest", "DOCKER_SOCKET": docker_engine.engine(),
        }
        began = time.monotonic()
        self.compose("build", "init", "instance-image", "haproxy")  # of all services; those that share an image would build it once more
        print(f"images built in {time.monotonic() - began:.0f} s")

    def compose(self, *arguments, environment=None, check=True, timeout=1200):
        command = [os.environ.get("TEST_COMPOSE", "docker-compose"), *arguments]
        clean = {name: value for name, value in engine_environment().items() if not name.startswith("TERMINALS_")}
        began = time.monotonic()
        done = subprocess.run(command, cwd=self.tree, env={**clean, **self.environment, **(environment or {})},
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=timeout)
        print(f"{' '.join(command)}: {time.monotonic() - began:.1f} s")
        assert done.returncode == 0 or not check, f"{' '.join(command)}: {done.stdout[-8000:]}"
        return done.stdout

    def remove(self):
        """What was built stays for the next run, which is then a matter of seconds; not so what older runs left."""
        docker("image", "prune", "-f", "--filter", "label=terminals.stage=builder", "--filter", "until=12h", check=False)
        shutil.rmtree(self.tree, ignore_errors=True)


class ComposeStack(Stack):
    """`settings` as for Stack; what HTTP and shells are concerned, it is one."""

    def __init__(self, images, **settings):
        super().__init__(**settings)
        self.images = images
        self.project = self.folder.name.replace("_", "").lower()
        self.state = self.folder / "state"
        self.settings = {name: value for name, value in settings.items() if value is not None}
        self.settings.setdefault("host", "127.0.0.1")
        self.settings["port"] = self.port = settings.get("port") or free_port()

    def variables(self):
        return {**{f"TERMINALS_{name.upper()}": str(value) for name, value in self.settings.items()},
                "COMPOSE_PROJECT_NAME": self.project, "STATE_DIR": str(self.state), **self.extra_environment}

    def compose(self, *arguments, **rest):
        return self.images.compose(*arguments, environment=self.variables(), **rest)

    def start(self):
        try:
            self.compose("up", "-d", "--no-build")
            if "api_key" not in self.settings:
                self.key = (self.state / "api/api.key").read_text().strip()
            self.wait_healthy()
        except BaseException:
            self.kill_all()
            raise
        return self

    def wait_healthy(self, timeout=120):
        eventually(lambda: self.request(None, "GET", "/health", key=None, timeout=2).expect(200), timeout, what="/health")

    def stop(self, *_, **__):
        self.kill_all()

    def remove(self):
        self.removed = True
        if not os.environ.get("TEST_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)

    def kill_all(self):
        if not self.removed:
            self.last_log = self.log()
            self.compose("down", "-v", "-t", "2", check=False)
            docker("rmi", "-f", f"terminals-compose-test:{self.project}", check=False)
            client = docker_engine.client()
            client.remove(*self.containers(client))

    def log(self, limit=40000):
        return self.last_log if self.removed else self.compose("logs", "--no-color", "--tail=200", check=False)[-limit:]

    # --- containers ---

    def containers(self, client=None):
        """What the engine has of this stack's users, by name. `down` leaves them."""
        mark = self.state / "homes/.deployment"
        client = client or docker_engine.client()
        return client.containers(**{"terminals.deployment": mark.read_text()}) if mark.exists() else {}

    def container(self, service):
        """The id of a service's container, running or not."""
        return docker("ps", "-aq", "--no-trunc", "--filter", f"label=com.docker.compose.project={self.project}",
                      "--filter", f"label=com.docker.compose.service={service}")

    def inspect(self, service):
        return json.loads(docker("inspect", self.container(service)))[0]

    def running(self, service):
        return bool(self.container(service)) and self.inspect(service)["State"]["Running"]

    @contextlib.contextmanager
    def stopped(self, *names):
        """These services do not run meanwhile."""
        services = [name.replace("terminals-", "") for name in names]
        docker("stop", "-t", "5", *[self.container(service) for service in services])
        try:
            yield
        finally:
            docker("start", *[self.container(service) for service in services])

    def routes(self):
        lines = (self.run_folder() / "routes.map").read_text().splitlines()
        return {line.split(" ", 1)[0]: line.split(" ", 1)[1].split("|") for line in lines if line[:1] not in ("", "#")}

    def run_folder(self):
        return Path(docker("volume", "inspect", "-f", "{{.Mountpoint}}", f"{self.project}_run"))

    def haproxy_map(self, name):
        return self.read_haproxy_map(self.run_folder() / "haproxy.sock", f"/run/terminals/{name}.map")

    def memory_bytes(self):
        """What the services use, by service: the kernel's count without what it could drop (as `docker stats` says it)."""
        used = {}
        for service in SERVICES:
            pid = self.inspect(service)["State"]["Pid"]
            used[service] = cgroup_memory(pid)
        return used


def cgroup_memory(pid):
    groups = dict(line.split(":", 2)[1:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
    if "memory" in groups:
        folder = Path("/sys/fs/cgroup/memory") / groups["memory"].lstrip("/")
        usage, key = folder / "memory.usage_in_bytes", "total_inactive_file"
    else:
        folder = Path("/sys/fs/cgroup") / groups[""].lstrip("/")
        usage, key = folder / "memory.current", "inactive_file"
    stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    return int(usage.read_text()) - int(stat[key])
