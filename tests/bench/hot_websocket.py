"""Shells: the echo of a keystroke, a bulk `cat`, a thousand shells at once, and what a silent one keeps in our processes.

The client is shell_load.c for all. A shell through Terminals is HAProxy and the gate between it and the instance; what it is compared
with is the same instance asked directly, and the same over a fixed HAProxy.
"""
import contextlib
import resource
import subprocess
import sys
from pathlib import Path

import shells
from contenders import haproxy_fixed, listening
from hot_http import CONTROL, DIRECT, FIXED, OURS, route_of
from measure import Limit, differences, median, ratios, rounds, unsteady
from ports import free_port
from processes import cpu_seconds, pss_bytes
from report import number
from stack import Stack, eventually

PASSED = ("haproxy", "terminals-gate")  # what a shell's bytes pass through


class Way:
    """One way to a user's shells: the port, the token of the first message, the query that names the user, who works for it."""

    def __init__(self, port, token, query="", pids=()):
        self.port, self.token, self.query, self.pids = port, token, query, list(pids)

    def paths(self, sessions):
        return [f"/api/terminals/{session}{self.query}" for session in sessions]


@contextlib.contextmanager
def ways(prepare, most_shells=64):
    """(stack, {name: Way}) to one instance of the user `bench`."""
    with Stack(log_level="WARNING", local_sandbox="none") as stack:
        stack.admin("PUT", "/policies/default", json_body={"data": {"env": {"OPEN_TERMINAL_MAX_SESSIONS": str(most_shells)}}}).expect(200)
        stack.run("bench", prepare)
        port, key = route_of(stack, "bench")
        with haproxy_fixed(port, key) as fixed:
            yield stack, {OURS: Way(stack.port, stack.key, "?user_id=bench", [pid for name in PASSED for pid in stack.process(name)]),
                          FIXED: Way(fixed.port, key, pids=fixed.pids), DIRECT: Way(port, key)}


def with_shells(stack, count, way, *mode):
    """A run of shell_load over so many new shells. It returns once they are gone: a second after their client has left."""
    sessions = [stack.new_terminal("bench") for _ in range(count)]
    done = shells.run(way.port, way.paths(sessions), way.token, *mode)
    eventually(lambda: stack.request("bench", "GET", "/api/terminals").json() == [], 120, what="the end of the shells", interval=0.1)
    return done


def keystrokes(report, stack, found, count, seconds):
    done = rounds(count, {**found, CONTROL: found[DIRECT]}, lambda way: with_shells(stack, 1, way, "echo", seconds, 500)["median_us"])
    noise = unsteady(ratios(done[CONTROL], done[DIRECT]))
    report.add("echo of a keystroke in a shell: added to the instance itself", differences(done[OURS], done[DIRECT]), "µs",
               f"{number(median(done[OURS]))} − {number(median(done[DIRECT]))}; a fixed HAProxy adds "
               f"{number(median(differences(done[FIXED], done[DIRECT])))}", Limit.at_most(60, "µs"), noise)
    report.bars("echo of a keystroke", "µs", {name: done[name] for name in found}, better="less")


def bulk(report, stack, found, count, size):
    done = rounds(count, {**found, CONTROL: found[DIRECT]},
                  lambda way: with_shells(stack, 1, way, "bulk", size)["bytes_per_second"] / 1e6)
    report.add("bulk `cat` in a shell: of the instance's own rate", ratios(done[OURS], done[DIRECT]),
               detail=f"{number(median(done[OURS]))} of {number(median(done[DIRECT]))} MB/s; a fixed HAProxy {number(median(done[FIXED]))}",
               limit=Limit.at_least(0.9), noise=unsteady(ratios(done[CONTROL], done[DIRECT])))
    report.bars("bulk `cat` in a shell", "MB/s", {name: done[name] for name in found})


def many(report, quick):
    """So many shells, each of which sends its next byte when the last has come back."""
    count, seconds = (20, 1) if quick else (1000, 5)
    with ways("true", count + 1) as (stack, found):
        def measure(way):
            before = cpu_seconds(way.pids)
            done = with_shells(stack, count, way, "echo", seconds, 0)
            return done["rate"], done["late_us"], (cpu_seconds(way.pids) - before) / max(1, done["count"]) * 1e6

        done = rounds(1 if quick else 5, {**found, CONTROL: found[DIRECT]}, measure)
        rate, late, cpu = ({name: [each[what] for each in runs] for name, runs in done.items()} for what in range(3))
        report.add(f"{count:,} shells at once: echoes a second, of the instance's own", ratios(rate[OURS], rate[DIRECT]),
                   detail=f"{number(median(rate[OURS]))} of {number(median(rate[DIRECT]))}; "
                          f"99 % within {number(median(late[OURS]) / 1000)} and {number(median(late[DIRECT]) / 1000)} ms; "
                          f"{number(median(cpu[OURS]))} µs of HAProxy and gate an echo (opening included), "
                          f"a fixed HAProxy {number(median(cpu[FIXED]))}")
        report.bars(f"{count:,} shells at once", "echoes/s", {name: rate[name] for name in found})


def enough_descriptors():
    """Raises our limit on open files, for what we start too; how many there may be."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(most, 65536), max(most, 65536)))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def silent(report, quick):
    """What the gate and HAProxy keep for each shell that is open and silent."""
    count = 50 if quick else 10000
    count = min(count, enough_descriptors() // 3)  # two sockets each in HAProxy and in the gate, and some air
    port = free_port()
    with subprocess.Popen([sys.executable, str(Path(__file__).with_name("silent_peer.py")), str(port)]) as peer:
        try:
            eventually(lambda: listening(port), what="the silent peer")
            with Stack(backend="static", static_port=port, static_api_key="k", log_level="WARNING") as stack:
                stack.request("bench", "GET", "/health-of-it").expect(200)
                pids = [pid for name in PASSED for pid in stack.process(name)]
                warm = [f"/api/terminals/warm-{number}?user_id=bench" for number in range(100)]
                with shells.Held(stack.port, warm, stack.key):
                    pass  # what the first ones cost once for all
                before = pss_bytes(pids)
                with shells.Held(stack.port, [f"/api/terminals/s-{number}?user_id=bench" for number in range(count)], stack.key):
                    each = (pss_bytes(pids) - before) / count
        finally:
            peer.terminate()
    report.add(f"{count:,} open silent shells: HAProxy's and the gate's memory for each", [each / 1000], "KB",
               f"a process may open {enough_descriptors():,} files here", Limit.below(60, "KB"), exact=True)


def bench(report, quick):
    count, seconds, size = (1, 0.3, 1 << 20) if quick else (9, 2, 96 << 20)
    with ways(f"head -c {size} /dev/zero > ~/big") as (stack, found):
        keystrokes(report, stack, found, count, seconds)
        bulk(report, stack, found, count, size)
    many(report, quick)
    silent(report, quick)
