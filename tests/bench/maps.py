"""HAProxy with 10 to 1,000,000 routes in its map: does a hot request notice, how long does HAProxy take to start, what does a route weigh.

HAProxy is alone here, with haproxy.cfg and a map written by hand: nothing else takes part in a hot request.
"""
import contextlib
import socket
import tempfile
import time

from contenders import haproxy_alone, instance, write_routes
from measure import Limit, median, ratios, rounds, unsteady
from processes import pss_bytes
from report import number
from stack import route_key
from wrk import load

SIZES = (10, 1000, 100_000, 1_000_000)


def command(folder, text):
    """An answer of the runtime API."""
    with socket.socket(socket.AF_UNIX) as runtime:
        runtime.settimeout(60)
        runtime.connect(f"{folder}/haproxy.sock")
        runtime.sendall(text.encode() + b"\n")
        answer = b""
        while chunk := runtime.recv(65536):
            answer += chunk
        return answer.decode()


def changes(folder, count):
    """Milliseconds of one `add map` and of one `del map`, each the median of so many."""
    path, added, deleted = f"{folder}/routes.map", [], []
    for each in range(count):
        key = route_key(f"new-{each}")
        for times, text in ((added, f"add map {path} {key} 127.0.0.1|1|k|i"), (deleted, f"del map {path} {key}")):
            began = time.perf_counter()
            answer = command(folder, text)
            times.append((time.perf_counter() - began) * 1e3)
            if answer.strip():
                raise RuntimeError(f"{text.split()[0]} map: {answer}")
    return median(added), median(deleted)


def bench(report, quick):
    sizes = SIZES[:3] if quick else SIZES
    count, seconds = (1, 1) if quick else (9, 3)
    started, weight, changed = {}, {}, {}
    with tempfile.TemporaryDirectory(prefix="tb-") as home, instance(home) as (port, _), contextlib.ExitStack() as proxies:
        found = {}
        for size in sizes:
            write_routes(f"{home}/routes.map", port, size)
            began = time.perf_counter()
            endpoint = proxies.enter_context(haproxy_alone(f"{home}/routes.map"))
            started[size] = time.perf_counter() - began
            weight[size] = pss_bytes(endpoint.pids)
            changed[size] = changes(endpoint.folder, 3 if quick else 25)
            if not quick:
                load(endpoint, "/files/list", 50, 1)  # warm up
            found[size] = endpoint
        done = rounds(count, {**found, "control": found[sizes[0]]}, lambda endpoint: load(endpoint, "/files/list", 50, seconds))
    rate = {name: [each.rate for each in runs] for name, runs in done.items()}
    noise = unsteady(ratios(rate["control"], rate[sizes[0]]))
    for size in sizes[1:]:
        report.add(f"hot rate with {size:,} routes, of that with {sizes[0]}", ratios(rate[size], rate[sizes[0]]),
                   detail=f"{number(median(rate[size]))} of {number(median(rate[sizes[0]]))} requests/s; "
                          f"{number(median([each.cpu for each in done[size]]))} µs of processor a request instead of "
                          f"{number(median([each.cpu for each in done[sizes[0]]]))}",
                   limit=Limit.at_least(0.95) if size == sizes[-1] else None, noise=noise)
        report.add(f"HAProxy's start with {size:,} routes", [started[size]], "s",
                   f"one `add map` {number(changed[size][0])} ms, one `del map` {number(changed[size][1])} ms")
    report.add("HAProxy's memory for a route", [(weight[sizes[-1]] - weight[sizes[0]]) / (sizes[-1] - sizes[0])], "bytes", exact=True)
    report.bars("hot rate by the number of routes", "requests/s", {f"{size:,} routes": rate[size] for size in sizes})
