"""A known user's requests: throughput, latency and processor time, beside the limit, the instance alone and a proxy in Node.

The instance is the native one; `GET /files/list` of three files is the small answer. wrk, the contender and the instance share the
machine, so that a rate depends on all three: the processor time of a request is the contender's own.
"""
import contextlib
import tempfile

from contenders import Endpoint, configurable_http_proxy, haproxy_fixed, node_proxy
from measure import Limit, differences, median, ratios, rounds, unsteady
from report import number
from stack import Stack
from wrk import load, transfer

OURS, FIXED, DIRECT, NODE, CONTROL = "Terminals", "HAProxy, fixed backend", "the instance itself", "configurable-http-proxy", "control"
SMALL = "/files/list"


def route_of(stack, user):
    """(port, key) of a user's instance."""
    found = stack.tenant(user)["instance_id"]
    return next((int(route[1]), route[2]) for route in stack.routes().values() if route[3] == found)


@contextlib.contextmanager
def contenders(node, prepare):
    """{name: Endpoint} around one instance of the user `bench`, in which the command `prepare` has run. `node`: the program of
    configurable-http-proxy, or None."""
    with Stack(log_level="WARNING") as stack, contextlib.ExitStack() as others:
        stack.run("bench", prepare)
        stack.wait_hot("bench")
        port, key = route_of(stack, "bench")
        found = {OURS: Endpoint(OURS, stack.port, [("Authorization", f"Bearer {stack.key}"), ("X-User-Id", "bench")],
                                stack.process("haproxy")),
                 FIXED: others.enter_context(haproxy_fixed(port, key)),
                 DIRECT: Endpoint(DIRECT, port, [("Authorization", f"Bearer {key}")], [stack.instance_pid("bench")])}
        if node:
            found[NODE] = others.enter_context(configurable_http_proxy(node, port, key))
        yield found


def answering(report, done):
    """The rounds of those that answered in each of them."""
    for name in [name for name, loads in done.items() if None in loads]:
        report.note(f"{name} was left out where it answered nothing at all.")
        del done[name]
    return done


def small_answers(report, found, connections, count, seconds):
    """One number of connections: rates, latencies, processor time."""
    control = {**found, CONTROL: found[FIXED]}
    done = answering(report, rounds(count, control, lambda endpoint: load(endpoint, SMALL, connections, seconds)))
    rate = {name: [each.rate for each in loads] for name, loads in done.items()}
    cpu = {name: [each.cpu for each in loads] for name, loads in done.items()}
    noise = unsteady(ratios(rate[CONTROL], rate[FIXED]))
    what = f"`GET {SMALL}`, {connections} connection{'s' if connections > 1 else ''}"
    report.add(f"{what}: of the rate of HAProxy with a fixed backend", ratios(rate[OURS], rate[FIXED]),
               detail=f"{number(median(rate[OURS]))} of {number(median(rate[FIXED]))} requests/s, the instance itself "
                      f"{number(median(rate[DIRECT]))}",
               limit=Limit.at_least(0.92) if connections > 1 else None, noise=noise)
    # Processor time hardly depends on what else the machine does: its own control pair says how much.
    steady = unsteady(ratios(cpu[CONTROL], cpu[FIXED]))
    report.add(f"{what}: HAProxy's processor time a request, above a fixed backend's", differences(cpu[OURS], cpu[FIXED]), "µs",
               f"{number(median(cpu[OURS]))} and {number(median(cpu[FIXED]))} µs", Limit.at_most(10, "µs"), steady)
    if connections == 1:
        latency = {name: [each.latency for each in loads] for name, loads in done.items()}
        for name in (FIXED, DIRECT):
            report.add(f"{what}: latency added to {name}", differences(latency[OURS], latency[name]), "µs",
                       f"{number(median(latency[OURS]))} − {number(median(latency[name]))}", Limit.below(100, "µs"), noise)
    if NODE in done:
        times = 6 if connections == 50 else 3
        report.add(f"{what}: times the rate of {NODE}", ratios(rate[OURS], rate[NODE]), "×",
                   f"{number(median(rate[OURS]))} and {number(median(rate[NODE]))} requests/s, there with {number(median(cpu[NODE]))} µs of "
                   "processor a request",
                   Limit.at_least(times, "×"), noise)
    shown = [name for name in found if name in done]
    report.bars(what, "requests/s", {name: rate[name] for name in shown})
    report.bars(f"{what}: processor time a request", "µs", {name: cpu[name] for name in shown}, better="less")


def megabyte(report, found, count, seconds):
    """Bodies of 1 MB, 50 connections, down and up."""
    control = {**found, CONTROL: found[FIXED]}
    ways = (("answers of 1 MB", "/files/view?path=megabyte", 0), ("uploads of 1 MB", "/files/upload?directory=.", 10**6))
    for what, path, upload in ways:
        done = answering(report, rounds(count, control, lambda endpoint, path=path, upload=upload: load(endpoint, path, 50, seconds, upload)))
        rate = {name: [each.rate for each in loads] for name, loads in done.items()}
        report.add(f"{what}, 50 connections: of the rate of HAProxy with a fixed backend", ratios(rate[OURS], rate[FIXED]),
                   detail=", ".join(f"{name} {number(median(rate[name]))}" for name in rate if name != CONTROL) + " MB/s",
                   limit=Limit.at_least(0.92), noise=unsteady(ratios(rate[CONTROL], rate[FIXED])))
        report.bars(f"{what}, 50 connections", "MB/s", {name: each for name, each in rate.items() if name != CONTROL})


def long_bodies(report, found, count, size, source):
    """One body of `size` bytes, down and up."""
    label = f"{size / 1e9:g} GB" if size >= 10**9 else f"{size / 1e6:g} MB"
    control = {**found, CONTROL: found[FIXED]}
    ways = ((f"an answer of {label}", "/files/view?path=long", None), (f"an upload of {label}", "/files/upload?directory=.", source))
    for what, path, upload in ways:
        done = rounds(count, control, lambda endpoint, path=path, upload=upload: transfer(endpoint, path, upload))
        rate = {name: [each[0] / 1e6 for each in moved] for name, moved in done.items()}
        report.add(f"{what}: of the rate of HAProxy with a fixed backend", ratios(rate[OURS], rate[FIXED]),
                   detail=", ".join(f"{name} {number(median(rate[name]))}" for name in found) + " MB/s",
                   limit=Limit.at_least(0.92), noise=unsteady(ratios(rate[CONTROL], rate[FIXED])))
        report.bars(what, "MB/s", {name: rate[name] for name in found})


def bench(report, quick):
    count, seconds = (1, 1) if quick else (9, 3)
    size = 50 * 10**6 if quick else 10**9
    node = None
    try:
        node = node_proxy(may_install=not quick)
    except OSError as problem:
        report.note(f"{NODE} was left out: {problem}")
    with contenders(node, "touch ~/a ~/b ~/c") as found:
        for endpoint in [] if quick else found.values():
            load(endpoint, SMALL, 50, 1)  # warm up
        for connections in (1, 50, 500):
            small_answers(report, found, connections, count, seconds)
    with contenders(node, f"head -c 1000000 /dev/zero > ~/megabyte; head -c {size} /dev/zero > ~/long") as found:
        megabyte(report, found, 1 if quick else 7, seconds)
        with tempfile.NamedTemporaryFile() as source:
            source.truncate(size)
            long_bodies(report, found, 1 if quick else 5, size, source.name)
