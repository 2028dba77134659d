"""The first request of a user who has no instance: one after the other, and a hundred at once, on each backend that runs here."""
import contextlib
import os
import socket
import subprocess
import threading
import time

import docker_engine
from fake_instance import FakeInstance
from measure import Limit, differences, median
from report import number
from stack import Stack, eventually

FIRST_BYTE_MS = {"bwrap": 25, "none": 8}
SANDBOXES = {"none": "`local` without a sandbox", "bwrap": "`local` with bubblewrap"}


def first_byte(stack, user, method="GET", path="/files/list", body=b""):
    """Milliseconds from connecting to the first byte of the answer."""
    head = (f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stack.key}\r\nX-User-Id: {user}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n").encode()
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", stack.port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(head + body)
        start = sock.recv(65536)
        took = (time.perf_counter() - began) * 1e3
    if not start.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"first request of {user}: {start[:300]!r}")
    return took


def at_once(stack, count, path="/files/list"):
    """(seconds until all are answered, statuses) of the first requests of so many users: each connected before any asks."""
    request = "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nX-User-Id: crowd-{number}\r\nConnection: close\r\n\r\n"
    begin, statuses = threading.Barrier(count + 1), []

    def ask(number_of_user):
        with stack.connect(120) as sock:
            begin.wait()
            sock.sendall(request.format(path=path, key=stack.key, number=number_of_user).encode())
            answer = sock.recv(65536)
            statuses.append(int(answer.split(b" ", 2)[1]))

    threads = [threading.Thread(target=ask, args=(each,)) for each in range(count)]
    for thread in threads:
        thread.start()
    begin.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began, statuses


def crowd(stack, count, instances):
    """Seconds for so many users' first requests at once; an error unless all are answered, each from an instance of its own."""
    took, statuses = at_once(stack, count)
    started = instances()
    if statuses.count(200) != count or started != count:
        raise RuntimeError(f"{statuses.count(200)} × 200 of {count}, {started} instances")
    return took


def one_by_one(report, quick):
    for sandbox, label in SANDBOXES.items():
        listed, ran = [], []
        with Stack(local_sandbox=sandbox, log_level="WARNING") as stack:
            first_byte(stack, "warm-up")
            for user in range(3 if quick else 30):
                listed.append(first_byte(stack, f"list-{user}"))
                ran.append(first_byte(stack, f"run-{user}", "POST", "/execute?wait=5", b'{"command": "echo hello"}'))
        limit = Limit.below(FIRST_BYTE_MS[sandbox], "ms")
        report.add(f"{label}: first byte of a new user's first request, `GET /files/list`", listed, "ms", limit=limit)
        report.add(f"{label}: the same, `POST /execute?wait=5` of `echo hello`", ran, "ms", limit=limit)
        report.bars(f"first byte of a new user's first request, {label}", "ms", {"Terminals": listed}, better="less")


def crowds(report, quick):
    many = 10 if quick else 100
    for sandbox, label in SANDBOXES.items():
        took = []
        for _ in range(1 if quick else 5):
            with Stack(local_sandbox=sandbox, log_level="WARNING") as stack:
                took.append(crowd(stack, many, lambda stack=stack: len(stack.instances())))
        report.add(f"{label}: {many} users' first requests at once", took, "s", f"{many} × 200, {many} instances", Limit.at_most(1.5, "s"))


def warm(report, quick):
    """A policy that keeps two instances ready, asked each time once both are."""
    count = 3 if quick else 20
    for sandbox, label in SANDBOXES.items():
        with Stack(local_sandbox=sandbox, log_level="WARNING") as stack:
            def ready():
                return stack.admin("GET", "/stats").expect(200).json()["warm_starts"]["ready"]

            first_byte(stack, "warm-up")
            stack.admin("PUT", "/policies/default", json_body={"data": {"warm": 2}}).expect(200)
            took = []
            for user in range(count):
                eventually(lambda: ready() == 2, 30, what="two warm instances")
                took.append(first_byte(stack, f"list-{user}"))
            hits = stack.admin("GET", "/stats").expect(200).json()["warm_starts"]["hits"]
            if hits != count:
                raise RuntimeError(f"{hits} of {count} starts were warm")
        report.add(f"{label}: the same of a policy that keeps instances warm", took, "ms", limit=Limit.below(10, "ms"))


def static(report, quick):
    """No instance to start: what the way through gate, authorizer, provisioner and database takes by itself."""
    count, many = (5, 10) if quick else (100, 100)
    with FakeInstance() as fake, Stack(backend="static", static_port=fake.port, static_api_key="k", log_level="WARNING") as stack:
        first_byte(stack, "warm-up", path="/x")
        took = [first_byte(stack, f"user-{user}", path="/x") for user in range(count)]
        report.add("`static`: first byte of a new user's first request", took, "ms")
        took, statuses = at_once(stack, many, "/x")
        if statuses.count(200) != many:
            raise RuntimeError(f"static: {statuses}")
        report.add(f"`static`: {many} users' first requests at once", [took], "s", "all 200")


def docker_run(stack, name, network):
    """Milliseconds of `docker run -d` and until the container answers /health, asked every millisecond."""
    began = time.perf_counter()
    subprocess.run([docker_engine.DOCKER, "-H", stack.settings["docker_host"], "run", "-d", "--init", "--name", name, "--network",
                    network, "-e", "OPEN_TERMINAL_API_KEY=key", stack.settings["image"]], check=True, capture_output=True)
    address = stack.engine.inspect(name)["NetworkSettings"]["Networks"][network]["IPAddress"]
    while True:
        with contextlib.suppress(OSError):
            with socket.create_connection((address, 8000), timeout=5) as sock:
                sock.sendall(b"GET /health HTTP/1.0\r\n\r\n")
                if b" 200 " in sock.recv(4096):
                    return (time.perf_counter() - began) * 1e3
        time.sleep(0.001)


def bench_docker(report, quick):
    count, many = (2, 5) if quick else (15, 50)
    with Stack(backend="docker", log_level="WARNING") as stack:
        first_byte(stack, "warm-up")
        ours, plain = [], []
        for user in range(count):
            ours.append(first_byte(stack, f"list-{user}"))
            name = f"terminals-bench-{os.getpid()}-{user}"
            try:
                plain.append(docker_run(stack, name, "terminals"))
            finally:
                stack.engine.remove(name)
            stack.admin("DELETE", f"/tenants/list-{user}").expect(200)
        report.add("`docker`: first byte of a new user's first request, above `docker run -d` and the first /health", differences(ours, plain), "ms",
                   f"{number(median(ours))} and {number(median(plain))} ms", Limit.at_most(60, "ms"))
        stack.admin("DELETE", "/tenants/warm-up").expect(200)
        took = crowd(stack, many, lambda: len(stack.containers()))
        report.add(f"`docker`: {many} users' first requests at once", [took], "s", f"{many} × 200, {many} containers")
        stack.stop(timeout=120)


def bench(report, quick):
    one_by_one(report, quick)
    warm(report, quick)
    static(report, quick)
    # Last: ext4 makes folders more slowly for minutes after their thousands of files have been deleted.
    crowds(report, quick)
