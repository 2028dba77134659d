"""What idle instances weigh, and all control processes with ten thousand tenants.

Ten thousand sandboxes do not fit a small machine, so these users share one instance (`static`): the tenants in the database, the
provisioner's memory and HAProxy's routes are real.
"""
import threading
import time

from fake_instance import FakeInstance
from measure import Limit
from processes import pss_bytes
from stack import Stack

CONTROL = ("terminals", "terminals-gate", "terminals-api", "terminals-provisioner", "haproxy")
SETTLE_SECONDS = 2  # until allocators have given back what they do


def idle_instances(report, quick):
    for sandbox, label, users in (("bwrap", "with its bwrap processes", 20), ("none", "without a sandbox", 1000)):
        users = 5 if quick else users
        with Stack(local_sandbox=sandbox, log_level="WARNING") as stack:
            ask_for_all(stack, users, "/files/list")
            time.sleep(SETTLE_SECONDS)
            each = pss_bytes(stack.process("open-terminal") + stack.process("bwrap")) / users
            ask_for_all(stack, users, "/files/list")
            running = len(stack.instances())
            stack.stop(timeout=300)
        if running != users:
            raise RuntimeError(f"{running} instances of {users} users")
        report.add(f"Pss of an idle instance, {label}", [each / 2**20], "MiB", f"of {users:,}, each of which answers", Limit.below(3, "MiB"), exact=True)


def ask_for_all(stack, users, path):
    """A request of each, eight at a time."""
    failures = []

    def ask(part):
        try:
            for user in part:
                stack.request(f"user-{user}", "GET", path).expect(200)
        except (AssertionError, OSError) as problem:
            failures.append(problem)

    threads = [threading.Thread(target=ask, args=(range(start, users, 8),)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def control_processes(report, quick):
    tenants = 200 if quick else 10000
    with FakeInstance() as fake, Stack(backend="static", static_port=fake.port, static_api_key="k", log_level="WARNING") as stack:
        empty = sum(pss_bytes(stack.process(name)) for name in CONTROL)
        ask_for_all(stack, tenants, "/x")
        routes = len(stack.routes())
        if routes != tenants:
            raise RuntimeError(f"{routes} routes for {tenants} tenants")
        time.sleep(SETTLE_SECONDS)
        sizes = {name: pss_bytes(stack.process(name)) for name in CONTROL}
    parts = ", ".join(f"{name.removeprefix('terminals-')} {size / 2**20:.1f}" for name, size in sizes.items())
    report.add(f"Pss of all control processes with {tenants:,} tenants in the maps", [sum(sizes.values()) / 2**20], "MiB", parts,
               Limit.below(60, "MiB"), exact=True)
    report.add("… of which for each tenant", [(sum(sizes.values()) - empty) / tenants / 1000], "KB", exact=True)


def bench(report, quick):
    idle_instances(report, quick)
    control_processes(report, quick)
