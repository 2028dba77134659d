"""Two nodes with 100,000 tenants who are all there, and with 1,000,000 of whom a tenth is: how long until a node serves, what a sweep
takes, what the processes weigh, and how long a cold request waits for the next leader when the old one dies.

The tenants are rows written into PostgreSQL, of one instance that all share (`static`); the rest is as it always is.
"""
import contextlib
import hashlib
import os
import subprocess
import time
import uuid

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fake_instance import FakeInstance
from measure import Limit
from memory import CONTROL, SETTLE_SECONDS
from postgres_server import PostgresServer, psql_program
from processes import pss_bytes
from stack import Stack, eventually, route_key

PATIENCE_SECONDS = 300
ENCRYPTION_KEY = "of-all"
COLUMNS = ("id", "user_id", "policy_id", "context_id", "route_key", "instance_id", "instance_name", "backend_type", "backend_reference", "host",
           "port", "key_encrypted", "status", "created_at", "updated_at", "last_accessed_at", "started_at")
NULL = r"\N"


def row(number, is_running, port, seal, now_ms):
    """As COPY takes it, with the sealed key of an instance that has none (provisioner/vault.h)."""
    user, tenant, instance, nonce = f"user-{number}", str(uuid.uuid4()), uuid.uuid4().hex, os.urandom(12)
    there = [instance, "127.0.0.1", str(port), r"\\x" + (b"\1" + nonce + seal.encrypt(nonce, b"", tenant.encode())).hex(), "running", str(now_ms)]
    instance, host, port, key, status, started = there if is_running else [NULL, NULL, NULL, NULL, "stopped", NULL]
    return "\t".join([tenant, user, "default", "default", route_key(user), instance, f"static-{user}", "static", instance, host, port, key,
                      status, str(now_ms + number), str(now_ms + number), str(now_ms), started]) + "\n"


def make_rows(url, count, running, port):
    """The first of them are there, and have just been active."""
    seal, now_ms = AESGCM(hashlib.sha256(ENCRYPTION_KEY.encode()).digest()), int(time.time() * 1000)
    with subprocess.Popen([psql_program(), "-qX", "-v", "ON_ERROR_STOP=1", "-d", url, "-c",
                           f"COPY tenants ({', '.join(COLUMNS)}) FROM STDIN", "-c", "ANALYZE"], stdin=subprocess.PIPE, text=True) as psql:
        for number in range(count):
            psql.stdin.write(row(number, number < running, port, seal, now_ms))
    if psql.returncode != 0:
        raise RuntimeError("psql takes no rows")


def wait_for_routes(node, count):
    eventually(lambda: len(node.haproxy_map("routes")) == count, PATIENCE_SECONDS, what="all routes", interval=0.1)


def weight(node):
    sizes = {name: pss_bytes(node.process(name)) / 2**20 for name in CONTROL}
    return sum(sizes.values()), ", ".join(f"{name.removeprefix('terminals-')} {size:.1f}" for name, size in sizes.items())


def seconds_of(do, *arguments, **more):
    began = time.perf_counter()
    do(*arguments, **more)
    return time.perf_counter() - began


def bench_size(report, nodes, count, running, limits):
    of_all = f"{count:,} tenants, {running:,} running"
    began = time.perf_counter()
    nodes[0].start()
    eventually(lambda: nodes[0].request(None, "GET", "/health", key=None).status == 200, PATIENCE_SECONDS, what="/health")
    healthy = time.perf_counter() - began
    wait_for_routes(nodes[0], running)
    report.add(f"start of a node until `/health`, {of_all}", [healthy], "s", f"all routes after {time.perf_counter() - began:.1f} s", limits.get("start"))
    nodes[1].start()
    report.add("… of a second one: all routes, after it is ready", [seconds_of(wait_for_routes, nodes[1], running)], "s")
    nodes[0].request("user-1", "GET", "/x").expect(200)

    time.sleep(SETTLE_SECONDS)
    for name, node in (("the leader", nodes[0]), ("a follower", nodes[1])):
        size, parts = weight(node)
        report.add(f"Pss of the control processes of {name}, {of_all}", [size], "MiB", parts, limits.get("memory"), exact=True)
    report.add(f"`terminals reap`, {of_all}", [seconds_of(nodes[0].terminals, "reap", timeout=PATIENCE_SECONDS)], "s", limit=limits.get("reap"))

    nodes[0].kill_all()
    waited = seconds_of(lambda: nodes[1].request("new", "GET", "/x", timeout=PATIENCE_SECONDS).expect(200))
    report.add("a cold request at the other node when the leader has just died", [waited], "s", "six of them are the lease")


def bench(report, quick):
    sizes = [(500, 500, {})]
    if not quick:
        sizes = [(100_000, 100_000, {"start": Limit.below(5, "s"), "reap": Limit.below(1, "s"), "memory": Limit.below(300, "MiB")}),
                 (1_000_000, 100_000, {})]
    with PostgresServer() as server, FakeInstance() as fake:
        for count, running, limits in sizes:
            name = f"tenants_{count}"
            server.sql(f"CREATE DATABASE {name}")
            nodes = [Stack(backend="static", static_port=fake.port, encryption_key=ENCRYPTION_KEY, log_level="WARNING",
                           database_url=server.url(name)) for _ in range(2)]
            with contextlib.ExitStack() as ends:
                for node in nodes:
                    ends.callback(node.remove)
                    ends.callback(node.kill_all)
                if nodes[0].terminals("db", "upgrade").returncode != 0:
                    raise RuntimeError("the migrations fail")
                make_rows(server.url(name), count, running, fake.port)
                bench_size(report, nodes, count, running, limits)
