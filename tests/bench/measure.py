"""Paired, interleaved measuring, and what may be concluded from it.

Everything compared is measured in rounds (A B A' | B A A' | …, the order turning), and compared within its round, so that what the
machine does besides falls on all alike. One contender is measured twice a round, as if it were two: what that *control pair* differs by
is what the machine makes up. A verdict is given only where the machine is quieter than the question needs.
"""
import os
import random
import statistics
import time
from pathlib import Path

BUSY_MAX = 0.10          # of all processors, by others, while nothing of ours runs
CONTROL_SPREAD_MAX = 0.10  # the interquartile range of the control pair's ratios
CONTROL_SHIFT_MAX = 0.04   # how far from 1 their median may be
RESAMPLES = 2000


def median(values):
    return statistics.median(values)


def quartiles(values):
    """(25 %, 75 %); of a single value, that."""
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def interval(values):
    """The 95 % bootstrap interval of the median. (Seeded: the same values give the same.)"""
    if len(values) < 2:
        return values[0], values[0]
    dice = random.Random(1)
    medians = sorted(median(dice.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return medians[int(0.025 * RESAMPLES)], medians[int(0.975 * RESAMPLES) - 1]


def rounds(count, contenders, measure):
    """{name: [measure(contender) of each round]}; `contenders` is {name: whatever}. Each round begins with another."""
    names = list(contenders)
    results = {name: [] for name in names}
    for number in range(count):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            results[name].append(measure(contenders[name]))
    return results


def ratios(over, under):
    return [a / b for a, b in zip(over, under)]


def differences(over, under):
    return [a - b for a, b in zip(over, under)]


def _busy_ticks():
    """(busy, all) ticks of all processors so far; steal is what a hypervisor took."""
    fields = [int(number) for number in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return sum(fields) - idle, sum(fields)


def busy_elsewhere(seconds):
    """The share of all processors that is in use while we do nothing."""
    busy, total = _busy_ticks()
    time.sleep(seconds)
    busy_after, total_after = _busy_ticks()
    return (busy_after - busy) / max(1, total_after - total)


def unquiet(seconds):
    """Why this machine is too busy to measure on at all, or None."""
    share = busy_elsewhere(seconds)
    if share > BUSY_MAX:
        return f"others use {share * (os.cpu_count() or 1):.1f} of {os.cpu_count()} processors"
    return None


def unsteady(control):
    """Why the ratios of a control pair forbid a verdict, or None."""
    if len(control) < 3:
        return "too few rounds"
    low, high = quartiles(control)
    if high - low > CONTROL_SPREAD_MAX or abs(median(control) - 1) > CONTROL_SHIFT_MAX:
        return f"the same against itself came to {median(control):.2f} ({low:.2f} to {high:.2f})"
    return None


class Limit:
    """A target: `Limit.at_least(0.92)`, `Limit.at_most(60, "µs")`, `Limit.below(60, "MiB")`."""

    def __init__(self, sign, bound, unit, met):
        self.bound, self.text = bound, f"{sign} {bound:g}" + (f" {unit}" if unit else "")
        self._met = met

    @classmethod
    def at_least(cls, bound, unit=""):
        return cls("≥", bound, unit, lambda value: value >= bound)

    @classmethod
    def at_most(cls, bound, unit=""):
        return cls("≤", bound, unit, lambda value: value <= bound)

    @classmethod
    def below(cls, bound, unit=""):
        return cls("<", bound, unit, lambda value: value < bound)

    def verdict(self, values):
        """"yes", "no", or "undecided" where the interval of the median lies on both sides."""
        ends = {self._met(end) for end in interval(values)}
        return "undecided" if len(ends) == 2 else "yes" if True in ends else "no"
