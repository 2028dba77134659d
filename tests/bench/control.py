"""The control plane: tenants made, stopped and listed.

Made and stopped: on `static`, where nothing but our own processes works for it, and on `local`, with an instance of each. Listed: 1,000
tenants, 20 of them running.
"""
import concurrent.futures
import contextlib
import os
import sqlite3
import time

from fake_instance import FakeInstance
from measure import Limit
from stack import Stack, route_key

ASKING = 8  # at a time


def all_of(ask, names):
    """Calls a second, so many at a time."""
    began = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(ASKING) as pool:
        list(pool.map(ask, names))
    return len(names) / (time.perf_counter() - began)


def made_and_stopped(report, label, stack, names):
    made = all_of(lambda name: stack.request(name, "POST", "/api/v1/tenants/").expect((200, 201)), names)
    stopped = all_of(lambda name: stack.admin("POST", f"/tenants/{name}/stop").expect(200), names)
    removed = all_of(lambda name: stack.admin("DELETE", f"/tenants/{name}").expect((200, 204)), names)
    for what, rate in (("created", made), ("stopped", stopped), ("deleted", removed)):
        report.add(f"{label}: tenants {what} a second, {ASKING} calls at a time", [rate], "/s")


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


def listed(report, quick):
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
        report.add(f"`GET /tenants/` with {total:,} tenants", times, "ms", f"{len(answer.body) / 1024:.0f} KiB", Limit.below(50, "ms"))
        stack.stop()
    finally:
        stack.kill_all()
        stack.remove()


def bench(report, quick):
    with FakeInstance() as fake, Stack(backend="static", static_port=fake.port, static_api_key="k", log_level="WARNING") as stack:
        made_and_stopped(report, "`static`", stack, [f"user-{number}" for number in range(20 if quick else 1000)])
    with Stack(log_level="WARNING") as stack:
        made_and_stopped(report, "`local` with bubblewrap", stack, [f"user-{number}" for number in range(5 if quick else 100)])
    listed(report, quick)
