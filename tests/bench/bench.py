#!/usr/bin/python3
"""Measures what Terminals promises, beside what people would use instead: `make bench`, or tests/bench/bench.py [--quick] [PART…].

Every comparison is paired and interleaved on one machine (measure.py); a figure is a median with its quartiles, and a verdict is given
only where the machine was quiet enough for one. The table goes to standard output; it and a plot are in build/bench/ (results.md,
results.svg, results.json). `--quick` runs everything for a moment, to see that it works; its figures mean nothing. `--check` exits with 1
if a target is missed, and with 2 if a verdict had to be withheld.
"""
import argparse
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "e2e"), str(Path(__file__).resolve().parents[1])]

import cold  # noqa: E402
import control  # noqa: E402
import hot_http  # noqa: E402
import hot_websocket  # noqa: E402
import instructions  # noqa: E402
import maps  # noqa: E402
import memory  # noqa: E402
import tenants  # noqa: E402
import tokens_hot  # noqa: E402
from report import Report  # noqa: E402

PARTS = {
    "instructions": (instructions.bench, "what HAProxy executes for a hot request, counted"),
    "http": (hot_http.bench, "hot HTTP: 1, 50 and 500 connections; small answers, bodies of 1 MB and 1 GB"),
    "websocket": (hot_websocket.bench, "shells: echo, bulk, 1,000 at once, 10,000 silent ones"),
    "maps": (maps.bench, "10 to 1,000,000 routes"),
    "tokens": (tokens_hot.bench, "a user's token beside an API key"),
    "cold": (cold.bench, "first requests, one by one and 100 at once, on `local` and `static`"),
    "docker": (cold.bench_docker, "the same with containers"),
    "memory": (memory.bench, "idle instances, and the control processes with 10,000 tenants"),
    "tenants": (tenants.bench, "two nodes with 100,000 and 1,000,000 tenants: start, memory, a dead leader"),
    "control": (control.bench, "tenants created, stopped, deleted, listed"),
}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                        epilog="parts:\n" + "\n".join(f"  {name:14}{what}" for name, (_, what) in PARTS.items()))
    arguments.add_argument("--quick", action="store_true", help="a moment of everything; the figures mean nothing")
    arguments.add_argument("--check", action="store_true", help="exit with 1 if a target is missed, 2 without a verdict")
    arguments.add_argument("parts", nargs="*", metavar="PART")
    chosen = arguments.parse_args()
    unknown = set(chosen.parts) - set(PARTS)
    if unknown:
        arguments.error(f"no such part: {', '.join(sorted(unknown))}")
    report = Report(chosen.quick)
    for name in chosen.parts or PARTS:
        report.part(name)
        PARTS[name][0](report, chosen.quick)
    report.write()
    return 0 if not chosen.check else 1 if report.missed else 2 if report.withheld else 0


if __name__ == "__main__":
    sys.exit(main())
