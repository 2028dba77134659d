#!/usr/bin/python3
"""What HAProxy executes for a hot request, counted by valgrind: the same on any machine, however busy it is. (User space only: system
calls are counted, not what the kernel does in them.)

    tests/bench/instructions.py [CONFIGURATION…]   counts for these files instead, and for the fixed backend, for who works on haproxy.cfg
"""
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "e2e"), str(Path(__file__).resolve().parents[1])]

from contenders import CONFIGURATION, haproxy_alone, haproxy_fixed, instance, write_routes  # noqa: E402

WARM_UP, COUNTED = 50, 200
# Nothing of HAProxy's own goes on meanwhile: one thread, and no health check of terminals-api, which is not there.
ALONE = "global\n    nbthread 1"


def ask(sock, request):
    """One request and its whole answer."""
    sock.sendall(request)
    data = b""
    while b"\r\n\r\n" not in data:
        data += received(sock)
    head, body = data.split(b"\r\n\r\n", 1)
    if b" 200 " not in head.split(b"\r\n")[0]:
        raise RuntimeError(head.decode())
    length = int(re.search(rb"content-length: *(\d+)", head, re.IGNORECASE).group(1))
    while len(body) < length:
        body += received(sock)


def received(sock):
    chunk = sock.recv(65536)
    if not chunk:
        raise RuntimeError("HAProxy hung up")
    return chunk


def counting(output):
    """The command that goes before HAProxy's."""
    return ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={output}", "--instr-atstart=no"]


def switch(pid, state):
    subprocess.run(["callgrind_control", "-i", state, str(pid)], check=True, capture_output=True)


def ask_counted(endpoint):
    lines = ["GET /files/list HTTP/1.1", f"Host: 127.0.0.1:{endpoint.port}", *[f"{name}: {value}" for name, value in endpoint.headers]]
    request = ("\r\n".join(lines) + "\r\n\r\n").encode()
    with socket.create_connection(("127.0.0.1", endpoint.port), 120) as sock:
        for _ in range(WARM_UP):
            ask(sock, request)
        switch(endpoint.pids[0], "on")
        for _ in range(COUNTED):
            ask(sock, request)
        switch(endpoint.pids[0], "off")


def counted(output):
    """Instructions a request, of a profile."""
    totals = re.search(r"^totals: (\d+)", Path(output).read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    return int(totals.group(1)) / COUNTED


def instructions(contender, output):
    with contender as endpoint:
        ask_counted(endpoint)
    return counted(output)


def count_all(configurations, folder):
    """{name: instructions a request} of the fixed backend and of these files."""
    found = {}
    home = folder / "home"
    home.mkdir()
    for name in "abc":
        (home / name).touch()
    with instance(home) as (port, _):
        output = folder / "fixed.out"
        found["fixed"] = instructions(haproxy_fixed(port, wrapper=counting(output), more=ALONE), output)
        for number, path in enumerate(configurations):
            quiet = folder / f"{number}.cfg"
            quiet.write_text(re.sub(r" check inter 1s.*", "", Path(path).read_text(encoding="utf-8")), encoding="utf-8")
            write_routes(folder / "routes.map", port, 1)
            output = folder / f"{number}.out"
            found[str(path)] = instructions(haproxy_alone(folder / "routes.map", wrapper=counting(output), more=ALONE, configuration=quiet), output)
    return found


def bench(report, quick):
    del quick  # a count is a count
    if shutil.which("valgrind") is None:
        report.note("HAProxy's instructions were not counted: no valgrind here.")
        return
    with tempfile.TemporaryDirectory(prefix="tb-") as folder:
        found = count_all([CONFIGURATION], Path(folder))
    ours, fixed = found[str(CONFIGURATION)], found["fixed"]
    report.add("instructions HAProxy executes for a hot request, beyond those of a fixed backend", [ours - fixed], "",
               f"{ours:,.0f} and {fixed:,.0f}", exact=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="tb-") as temporary:
        for what, total in count_all(sys.argv[1:] or [CONFIGURATION], Path(temporary)).items():
            print(f"{total:10,.0f}  {what}")
