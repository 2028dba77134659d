#!/usr/bin/python3
"""Measures what Terminals promises, and prints a Markdown table: `make bench`, or tests/bench/bench.py [--quick] [PART...].

Every comparison is paired and interleaved (A B A B …) on one machine, one instance and one HAProxy binary; a figure is
the median over the pairs. Parts: docker, hot, cold, warm, memory, shell, crowd, tenants, auth. `--quick` runs everything for a moment, to see
that it works; its figures mean nothing. `--check` exits with 1 if a target is missed.

What is compared with what:
  docker   connect → first byte of the answer for a user never seen before, whose container is made for it, and `docker run -d`
           of the same image until its first /health; then 50 users' first requests at once.
  hot      wrk through Terminals, through the same HAProxy with one fixed backend and no maps (haproxy_fixed() below), and
           straight to the instance.
  cold     connect → first byte of the answer, for users never seen before, one after the other.
  warm     the same, for a policy that keeps two instances warm, each once both are ready.
  memory   Pss of idle instances with their bwrap processes; Pss of haproxy, terminals, -gate, -api and -provisioner once
           10,000 users have made a request. Ten thousand sandboxes do not fit a small machine, so these users share one
           instance (`static`): the tenants in the database, the provisioner's memory and HAProxy's routes are real.
  shell    one byte there and back through `cat` in a raw terminal, and a bulk `cat`, by the same client over two
           WebSockets of one instance: through Terminals and straight to the instance.
  crowd    100 users' first requests at once.
  auth     wrk through Terminals with a user's token, validated by Open WebUI or here, and with an API key.
  tenants  GET /api/v1/tenants/?limit=1000 with 1,000 tenants, 20 of them running.
"""
import argparse
import contextlib
import json
import os
import platform
import re
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "e2e"), str(Path(__file__).resolve().parents[1])]

import docker_engine  # noqa: E402
from fakes.open_webui import OpenWebUI  # noqa: E402
from fake_instance import FakeInstance  # noqa: E402
from stack import Stack, eventually, free_port, route_key  # noqa: E402
from tokens import SECRET, digest, jwt  # noqa: E402
from wsclient import WebSocket  # noqa: E402

CONTROL = ("terminals", "terminals-gate", "terminals-api", "terminals-provisioner", "haproxy")


class Table:
    """The rows to print, and whether a target was missed."""

    def __init__(self):
        self.rows, self.missed = [], []

    def add(self, what, measured, target, met):
        self.rows.append((what, measured, target, "" if met is None else "yes" if met else "**no**"))
        if met is False:
            self.missed.append(what)
        print(f"  {what}: {measured}" + (f" (target {target})" if target else ""), file=sys.stderr, flush=True)

    def print(self):
        print("| what | measured | target | met |\n|---|---|---|---|")
        for row in self.rows:
            print("| " + " | ".join(row) + " |")


def median(values):
    return statistics.median(values)


def pss_bytes(pids):
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def wrk(port, connections, seconds, headers):
    """(requests a second, median latency in µs); fails on any answer that is not 2xx or 3xx."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    for name, value in headers:
        command += ["-H", f"{name}: {value}"]
    text = subprocess.run([*command, f"http://127.0.0.1:{port}/files/list"], capture_output=True, text=True, check=True,
                          timeout=seconds + 60).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise RuntimeError(f"wrk met errors:\n{text}")
    rate = float(re.search(r"Requests/sec:\s*([\d.]+)", text).group(1))
    number, unit = re.search(r"50%\s+([\d.]+)(us|ms|s)", text).groups()
    return rate, float(number) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


@contextlib.contextmanager
def haproxy_fixed(instance_port, instance_key):
    """The same HAProxy with everything Terminals adds taken away: one backend, no maps, no rules but the key."""
    port = free_port()
    with tempfile.NamedTemporaryFile("w", suffix=".cfg") as config:
        config.write(f"""
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend fixed
    bind 127.0.0.1:{port}
    http-request set-header Authorization "Bearer {instance_key}"
    default_backend instance
backend instance
    server instance 127.0.0.1:{instance_port}
""")
        config.flush()
        process = subprocess.Popen(["haproxy", "-db", "-f", config.name], stderr=subprocess.DEVNULL)
        try:
            eventually(lambda: socket.create_connection(("127.0.0.1", port)).close() or True, what="the fixed HAProxy")
            yield port
        finally:
            process.terminate()
            process.wait()


def route_of(stack, user):
    """(port, key) of a user's instance."""
    instance = stack.tenant(user)["instance_id"]
    return next((int(route[1]), route[2]) for route in stack.routes().values() if route[3] == instance)


def bench_hot(table, quick):
    pairs, seconds = (1, 1) if quick else (7, 5)
    with Stack(log_level="WARNING") as stack:
        stack.run("bench", "touch ~/a ~/b ~/c")
        port, key = route_of(stack, "bench")
        ours = [("Authorization", f"Bearer {stack.key}"), ("X-User-Id", "bench")]
        straight = [("Authorization", f"Bearer {key}")]
        with haproxy_fixed(port, key) as fixed_port:
            targets = {"ours": (stack.port, ours), "fixed": (fixed_port, ours), "direct": (port, straight)}
            for port_, headers in targets.values():
                wrk(port_, 50, 1, headers)  # warm up
            rates = {name: [] for name in targets}
            latencies = {name: [] for name in targets}
            for _ in range(pairs):
                for name, (port_, headers) in targets.items():
                    rates[name].append(wrk(port_, 50, seconds, headers)[0])
                for name, (port_, headers) in targets.items():
                    latencies[name].append(wrk(port_, 1, max(1, seconds // 2), headers)[1])
    ratio = median([a / b for a, b in zip(rates["ours"], rates["fixed"])])
    table.add("hot `GET /files/list`, 50 connections, of a fixed backend's rate",
              f"{ratio:.2f} ({median(rates['ours']):,.0f} of {median(rates['fixed']):,.0f} requests/s; "
              f"straight to the instance {median(rates['direct']):,.0f})", "≥ 0.85", ratio >= 0.85)
    for name, label in (("fixed", "over a fixed backend"), ("direct", "over the instance itself")):
        added = median([a - b for a, b in zip(latencies["ours"], latencies[name])])
        table.add(f"median latency added at one connection, {label}",
                  f"{added:.0f} µs ({median(latencies['ours']):.0f} − {median(latencies[name]):.0f})", "< 100 µs", added < 100)


def first_byte(stack, user, method, path, body=b""):
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


def cpu_seconds(pids):
    """What these processes have used so far, all threads."""
    return sum(int(task.read_text(encoding="ascii").split()[0]) for pid in pids
               for task in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def bench_auth(table, quick):
    """One stack, one instance, one user; the only difference is who the token makes them. What HAProxy computes for a request is
    compared: unlike a rate, that hardly depends on what else the machine does."""
    pairs, seconds = (1, 1) if quick else (10, 2)
    with OpenWebUI() as chat:
        token = jwt("bench")
        chat.users[token] = "bench"
        for mode, settings in (("Open WebUI", {"open_webui_url": chat.url}), ("local JWT", {"jwt_secret": SECRET})):
            with Stack(log_level="WARNING", token_cache_ttl=3600, **settings) as stack:
                stack.run("bench", "touch ~/a ~/b ~/c")
                stack.request("bench", "GET", "/files/list", key=token).expect(200)
                eventually(lambda stack=stack: digest(token) in stack.haproxy_map("identities"), what="a hot token")
                haproxy = stack.process("haproxy")

                def cost(key, stack=stack, haproxy=haproxy):
                    """Microseconds of HAProxy's for one request."""
                    before = cpu_seconds(haproxy)
                    rate, _ = wrk(stack.port, 50, seconds, [("Authorization", f"Bearer {key}"), ("X-User-Id", "bench")])
                    return (cpu_seconds(haproxy) - before) / (rate * seconds) * 1e6

                cost(stack.key), cost(token)  # warm up
                costs = []
                for pair in range(pairs):
                    keys = (token, stack.key) if pair % 2 else (stack.key, token)
                    both = {key: cost(key) for key in keys}
                    costs.append((both[token], both[stack.key]))
            ratio = median([a / b for a, b in costs])
            table.add(f"HAProxy's work for a hot request with a user's token ({mode}), of that with an API key",
                      f"{ratio:.2f} ({median([a for a, _ in costs]):.0f} of {median([b for _, b in costs]):.0f} µs)", "≤ 1.05",
                      ratio <= 1.05)


def bench_cold(table, quick):
    count = 3 if quick else 20
    for sandbox, limit in (("bwrap", 40), ("none", 20)):
        with Stack(local_sandbox=sandbox, log_level="WARNING") as stack:
            first_byte(stack, "warm-up", "GET", "/files/list")
            listed, ran = [], []
            for number in range(count):
                listed.append(first_byte(stack, f"list-{number}", "GET", "/files/list"))
                ran.append(first_byte(stack, f"run-{number}", "POST", "/execute?wait=5", b'{"command": "echo hello"}'))
        label = "with bubblewrap" if sandbox == "bwrap" else "without a sandbox"
        table.add(f"first byte of a new user's first request, {label}",
                  f"{median(listed):.1f} ms (`GET /files/list`), {median(ran):.1f} ms (`echo hello`)", f"< {limit} ms",
                  max(median(listed), median(ran)) < limit)


def bench_warm(table, quick):
    count = 3 if quick else 20
    for sandbox in ("bwrap", "none"):
        with Stack(local_sandbox=sandbox, log_level="WARNING") as stack:
            def ready():
                return stack.admin("GET", "/stats").expect(200).json()["warm_starts"]["ready"]

            first_byte(stack, "warm-up", "GET", "/files/list")
            stack.admin("PUT", "/policies/default", json_body={"data": {"warm": 2}}).expect(200)
            took = []
            for number in range(count):
                eventually(lambda: ready() == 2, 30, what="two warm instances")
                took.append(first_byte(stack, f"list-{number}", "GET", "/files/list"))
            hits = stack.admin("GET", "/stats").expect(200).json()["warm_starts"]["hits"]
            if hits != count:
                raise RuntimeError(f"{hits} of {count} starts were warm")
        label = "with bubblewrap" if sandbox == "bwrap" else "without a sandbox"
        table.add(f"the same of a policy that keeps instances warm, {label}", f"{median(took):.1f} ms", "< 10 ms", median(took) < 10)


def control_pss(stack):
    return {name: pss_bytes(stack.process(name)) for name in CONTROL}


def bench_memory(table, quick):
    users = 3 if quick else 20
    for sandbox in ("bwrap", "none"):
        with Stack(local_sandbox=sandbox, log_level="WARNING") as stack:
            for number in range(users):
                stack.request(f"user-{number}", "GET", "/files/list").expect(200)
            time.sleep(0.2 if quick else 2)
            each = pss_bytes(stack.process("open-terminal") + stack.process("bwrap")) / users
            label = "with its bwrap processes" if sandbox == "bwrap" else "without a sandbox"
            table.add(f"Pss of an idle instance, {label}", f"{each / 2**20:.2f} MiB", "< 3 MiB", each < 3 * 2**20)
    tenants = 200 if quick else 10000
    with FakeInstance() as fake, Stack(backend="static", static_port=fake.port, static_api_key="k",
                                       log_level="WARNING") as stack:
        began = time.perf_counter()
        threads = [threading.Thread(target=lambda part: [stack.request(f"user-{n}", "GET", "/x").expect(200) for n in part],
                                    args=(range(start, tenants, 8),)) for start in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - began
        routes = len(stack.routes())
        if routes != tenants:
            raise RuntimeError(f"{routes} routes for {tenants} tenants")
        time.sleep(0.2 if quick else 2)
        each = control_pss(stack)
        total = sum(each.values())
        parts = ", ".join(f"{name.removeprefix('terminals-')} {size / 2**20:.1f}" for name, size in each.items())
        table.add(f"Pss of all control processes with {tenants:,} tenants in the maps", f"{total / 2**20:.1f} MiB ({parts})",
                  "< 60 MiB", total < 60 * 2**20)
        table.add(f"… whose {tenants:,} first requests took", f"{took / tenants * 1e3:.2f} ms each (8 at a time, Python client)",
                  "", None)


def raw_shell(address, path, token, headers=()):
    """A WebSocket to a shell that is a raw `cat`."""
    shell = WebSocket(address, path, headers, timeout=60)
    shell.send(json.dumps({"type": "auth", "token": token}))
    shell.send(b"stty raw -echo; PS1=; echo ready-$((1+1))\n")
    shell.read_until(b"ready-2")
    return shell


def drain(sock, buffer, wanted):
    """Reads binary frames until `wanted` payload bytes have come; the rest of the buffer stays out of it."""
    got, data = 0, bytearray(buffer)
    while True:
        at = 0
        while len(data) - at >= 2:
            length, start = data[at + 1] & 0x7F, at + 2
            if length == 126:
                length, start = int.from_bytes(data[at + 2:at + 4], "big"), at + 4
            elif length == 127:
                length, start = int.from_bytes(data[at + 2:at + 10], "big"), at + 10
            if len(data) < start + length:
                break
            got += length
            at = start + length
        del data[:at]
        if got >= wanted:
            return bytes(data)
        chunk = sock.recv(1 << 20)
        if not chunk:
            raise RuntimeError(f"the shell ended after {got} of {wanted} bytes")
        data += chunk


def keystrokes(shell, count):
    """Microseconds of `count` single bytes there and back."""
    frame = bytes([0x82, 0x81]) + b"\0\0\0\0" + b"x"
    times = []
    for _ in range(count):
        began = time.perf_counter()
        shell.sock.sendall(frame)
        shell.buffer = drain(shell.sock, shell.buffer, 1)
        times.append((time.perf_counter() - began) * 1e6)
        time.sleep(0.0005)  # somebody types; they do not flood
    return times


def bulk(shell, size):
    """Bytes a second of a `cat` of `size` bytes."""
    began = time.perf_counter()
    shell.send(b"cat big\n")
    shell.buffer = drain(shell.sock, shell.buffer, size)
    return size / (time.perf_counter() - began)


def bench_shell(table, quick):
    rounds, strokes, size = (2, 20, 1 << 20) if quick else (9, 300, 96 << 20)
    with Stack(log_level="WARNING") as stack:
        stack.run("bench", f"head -c {size} /dev/zero > ~/big")
        port, key = route_of(stack, "bench")
        instance = ("127.0.0.1", port)

        def both():
            sessions = [stack.new_terminal("bench") for _ in range(2)]
            return (raw_shell(stack.address, f"/api/terminals/{sessions[0]}?user_id=bench", stack.key),
                    raw_shell(instance, f"/api/terminals/{sessions[1]}", key))

        ours, direct = both()
        for shell in (ours, direct):
            shell.send(b"echo cat-$((1+1)); exec cat\n")
            shell.read_until(b"cat-2")
            time.sleep(0.2)
            with contextlib.suppress(TimeoutError):
                shell.recv(0.1)
            keystrokes(shell, 20)
        added, through, straight = [], [], []
        for _ in range(rounds):
            a, b = median(keystrokes(ours, strokes)), median(keystrokes(direct, strokes))
            through.append(a)
            straight.append(b)
            added.append(a - b)
        for shell in (ours, direct):
            shell.close()
        table.add("echo of a keystroke, added over the instance itself",
                  f"{median(added):.0f} µs ({median(through):.0f} − {median(straight):.0f})", "≤ 150 µs", median(added) <= 150)

        ours, direct = both()
        for shell in (ours, direct):
            bulk(shell, size)
        rates = [(bulk(ours, size), bulk(direct, size)) for _ in range(rounds)]
        ratio = median([a / b for a, b in rates])
        table.add("bulk `cat` in a shell, of the instance's own rate",
                  f"{ratio:.2f} ({median([a for a, _ in rates]) / 1e6:.0f} of {median([b for _, b in rates]) / 1e6:.0f} MB/s)",
                  "≥ 0.80", ratio >= 0.8)
        for shell in (ours, direct):
            shell.close()


def at_once(stack, count):
    """(seconds for all, statuses) of the first requests of so many users."""
    gate, statuses = threading.Barrier(count + 1), []

    def ask(number):
        gate.wait()
        statuses.append(stack.execute(f"user-{number}", "echo hello", timeout=120).status)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    gate.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began, statuses


def bench_crowd(table, quick):
    count = 10 if quick else 100
    with Stack(log_level="WARNING") as stack:
        took, statuses = at_once(stack, count)
        instances = len(stack.instances())
    met = statuses.count(200) == count == instances
    table.add(f"{count} users' first requests at once", f"{statuses.count(200)} × 200, {instances} instances, {took:.1f} s in all",
              f"{count} × 200, {count} instances", met)


def clone_tenants(database, user, count):
    """Copies a stopped tenant's row, as if so many users had been here and left."""
    with contextlib.closing(sqlite3.connect(database)) as db, db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(tenants)")]
        row = dict(zip(columns, db.execute("SELECT * FROM tenants WHERE user_id = ?", (user,)).fetchone()))
        for number in range(count):
            copy = dict(row)
            for column, value in row.items():
                if column == "id":
                    copy[column] = os.urandom(16).hex() if isinstance(value, str) else None
                elif column == "instance_id":
                    copy[column] = os.urandom(16).hex() if value is not None else None
                elif column in ("user_id", "instance_name"):
                    copy[column] = f"{value}-{number}"
                elif column == "route_key":
                    copy[column] = route_key(f"{user}-{number}")
            db.execute(f"INSERT INTO tenants ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
                       [copy[column] for column in columns])


def bench_tenants(table, quick):
    running, total, asks = (2, 50, 3) if quick else (20, 1000, 50)
    stack = Stack(log_level="WARNING")
    try:
        stack.start()
        stack.run("gone", "true")
        stack.admin("POST", "/tenants/gone/stop").expect(200)
        stack.stop()
        clone_tenants(stack.folder / "terminals.db", "gone", total - running - 1)
        stack.start()
        for number in range(running):
            stack.run(f"here-{number}", "true")
        times = []
        for _ in range(asks):
            began = time.perf_counter()
            answer = stack.admin("GET", "/tenants/?limit=1000").expect(200)
            times.append((time.perf_counter() - began) * 1e3)
        if len(answer.json()) != min(total, 1000):
            raise RuntimeError(f"{len(answer.json())} tenants instead of {total}")
        table.add(f"`GET /tenants/` with {total:,} tenants", f"{median(times):.1f} ms ({len(answer.body) / 1024:.0f} KiB)", "< 50 ms",
                  median(times) < 50)
        stack.stop()
    finally:
        stack.kill_all()
        stack.remove()


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


def bench_docker(table, quick):
    count, crowd = (2, 5) if quick else (15, 50)
    with Stack(backend="docker", log_level="WARNING") as stack:
        first_byte(stack, "warm-up", "GET", "/files/list")
        ours, plain = [], []
        for number in range(count):
            ours.append(first_byte(stack, f"list-{number}", "GET", "/files/list"))
            name = f"terminals-bench-{os.getpid()}-{number}"
            try:
                plain.append(docker_run(stack, name, "terminals"))
            finally:
                stack.engine.remove(name)
            stack.admin("DELETE", f"/tenants/list-{number}").expect(200)
        above = median([one - other for one, other in zip(ours, plain)])
        table.add("Docker: first byte of a new user's first request, above `docker run -d` and the first /health",
                  f"{above:+.0f} ms ({median(ours):.0f} and {median(plain):.0f} ms)", "≤ 60 ms", above <= 60)
        stack.admin("DELETE", "/tenants/warm-up").expect(200)
        took, statuses = at_once(stack, crowd)
        containers = len(stack.containers())
        table.add(f"Docker: {crowd} users' first requests at once",
                  f"{statuses.count(200)} × 200, {containers} containers, {took:.1f} s in all", f"{crowd} × 200, {crowd} containers",
                  statuses.count(200) == crowd == containers)
        stack.stop(timeout=120)


PARTS = {"docker": bench_docker, "hot": bench_hot, "cold": bench_cold, "warm": bench_warm, "memory": bench_memory,
         "shell": bench_shell, "crowd": bench_crowd, "tenants": bench_tenants, "auth": bench_auth}


def machine():
    model = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    haproxy = subprocess.run(["haproxy", "-v"], capture_output=True, text=True, check=True).stdout.split()[2]
    return f"{os.cpu_count()} × {model}, Linux {platform.release()}, HAProxy {haproxy}"


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true", help="a moment of everything; the figures mean nothing")
    arguments.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    arguments.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    chosen = arguments.parse_args()
    unknown = set(chosen.parts) - set(PARTS)
    if unknown:
        arguments.error(f"no such part: {', '.join(sorted(unknown))}")
    table = Table()
    for name in chosen.parts or PARTS:
        print(f"{name} …", file=sys.stderr, flush=True)
        PARTS[name](table, chosen.quick)
    print(f"Measured on {machine()}" + (" (quick: figures mean nothing)" if chosen.quick else "") + ".\n")
    table.print()
    return 1 if chosen.check and table.missed else 0


if __name__ == "__main__":
    sys.exit(main())
