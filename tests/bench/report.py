"""What was measured: rows for a Markdown table, figures for a plot, and the machine they belong to."""
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import plot
from measure import median, quartiles, unquiet

RESULTS = Path(__file__).resolve().parents[2] / "build" / "bench"


def number(value):
    """Three digits at least, and none that mean nothing."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def spread(values, unit=""):
    """"median (25 % to 75 %) unit"."""
    low, high = quartiles(values)
    text = number(median(values))
    if len(values) > 1:
        text += f" ({number(low)} to {number(high)})"
    return text + (f" {unit}" if unit else "")


class Report:
    """Rows as the parts add them."""

    def __init__(self, quick):
        self.quick = quick
        self.rows, self.figures, self.notes = [], [], []
        self.missed, self.withheld = [], []
        self.noise = None

    def part(self, name):
        """A new part begins: is the machine quiet enough for it?"""
        print(f"{name} …", file=sys.stderr, flush=True)
        self.noise = unquiet(0.2 if self.quick else 3)

    def _verdict(self, what, values, limit, noise, exact):
        if limit is None:
            return ""
        reason = None if exact else "--quick" if self.quick else self.noise or noise
        if reason:
            self.withheld.append((what, reason))
            return "none: " + reason
        verdict = limit.verdict(values)
        if verdict == "no":
            self.missed.append(what)
        elif verdict == "undecided":
            self.withheld.append((what, "the spread lies across the target"))
        return "**no**" if verdict == "no" else verdict

    def add(self, what, values, unit="", detail="", limit=None, noise=None, exact=False):
        """One row: the median of `values`, its spread, and the verdict on `limit`, if any. `noise`: why this one's control pair forbids
        one. `exact`: counted, so that no noise touches it (memory, instructions, answers)."""
        values = list(values)
        measured = spread(values, unit) + (f"; {detail}" if detail else "")
        verdict = self._verdict(what, values, limit, noise, exact)
        self.rows.append((what, measured, limit.text if limit else "", verdict))
        print(f"  {what}: {measured}" + (f" [{limit.text}: {verdict}]" if limit else ""), file=sys.stderr, flush=True)

    def note(self, text):
        """A sentence below the table: what could not be measured here."""
        self.notes.append(text)
        print(f"  {text}", file=sys.stderr, flush=True)

    def bars(self, title, unit, values, better="more"):
        """A group of bars for the plot: {name: [values]}."""
        self.figures.append({"title": title, "unit": unit, "better": better,
                             "bars": {name: [median(each), *quartiles(each)] for name, each in values.items()}})

    def markdown(self):
        lines = [f"Measured on {machine()}." + (" (`--quick`: the figures mean nothing.)" if self.quick else ""), "",
                 "Medians; in brackets the quartiles. What is compared ran in turns, and is compared within its turn.", "",
                 "| what | measured | target | met |", "|---|---|---|---|"]
        lines += ["| " + " | ".join(row) + " |" for row in self.rows]
        if self.withheld:
            lines += ["", "No verdict, where the machine did not allow one:", ""]
            lines += [f"- {what}: {reason}" for what, reason in self.withheld]
        for note in self.notes:
            lines += ["", note]
        return "\n".join(lines) + "\n"

    def write(self):
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / "results.md").write_text(self.markdown(), encoding="utf-8")
        (RESULTS / "results.svg").write_text(plot.svg(self.figures, machine()), encoding="utf-8")
        (RESULTS / "results.json").write_text(json.dumps(
            {"machine": machine(), "quick": self.quick, "rows": self.rows, "figures": self.figures}, indent=1, ensure_ascii=False),
            encoding="utf-8")
        print(self.markdown(), end="")


def machine():
    """The processor, the kernel, HAProxy, and how the clock is governed."""
    model = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
                  if line.startswith("model name")), platform.machine())
    haproxy = subprocess.run(["haproxy", "-v"], capture_output=True, text=True, check=True).stdout.split()[2]
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    governed = governor.read_text(encoding="ascii").strip() if governor.exists() else "not in our hands"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (f"{os.cpu_count()} × {model}, {memory:.0f} GiB, Linux {platform.release()}, HAProxy {haproxy}, "
            f"CPU frequency governor: {governed}")
