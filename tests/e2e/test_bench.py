"""What the benchmarks conclude from figures: a verdict only where the machine allows one. No figure is measured here."""
import sys
import xml.dom.minidom
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "bench"))

import measure  # noqa: E402
import plot  # noqa: E402
import report  # noqa: E402
from measure import Limit  # noqa: E402

QUIET = [0.99, 1.0, 1.01, 1.0, 1.0]


def made(quick=False, noise=None):
    table = report.Report(quick)
    table.noise = noise
    return table


def verdict(table, *arguments, **more):
    table.add("it", *arguments, **more)
    return table.rows[-1][3]


def test_rounds_take_turns_at_being_first():
    order = []
    results = measure.rounds(3, {"a": 1, "b": 2, "c": 3}, lambda contender: order.append(contender) or contender)
    assert order == [1, 2, 3, 2, 3, 1, 3, 1, 2]
    assert results == {"a": [1, 1, 1], "b": [2, 2, 2], "c": [3, 3, 3]}


def test_a_control_pair_that_differs_forbids_a_verdict():
    assert measure.unsteady(QUIET) is None
    assert "0.90" in measure.unsteady([0.90, 0.90, 0.90, 0.90, 0.91])
    assert "to" in measure.unsteady([0.8, 1.2, 1.0, 0.8, 1.2])
    assert measure.unsteady([1.0, 1.0]) == "too few rounds"
    table = made()
    assert verdict(table, [0.95] * 5, limit=Limit.at_least(0.92), noise=measure.unsteady([0.8, 1.2, 1.0, 0.8, 1.2])).startswith("none: the same against itself")
    assert table.withheld and not table.missed


def test_a_busy_machine_gets_no_verdict_but_on_what_is_counted():
    busy = made(noise="others use 1.5 of 2 processors")
    assert verdict(busy, [1.0] * 5, limit=Limit.at_most(2)) == "none: others use 1.5 of 2 processors"
    assert verdict(busy, [1.0], limit=Limit.at_most(2), exact=True) == "yes"
    assert verdict(made(quick=True), [1.0] * 5, limit=Limit.at_most(2)) == "none: --quick"


@pytest.mark.parametrize(
    "values, limit, said",
    [
        ([0.95, 0.96, 0.95, 0.94, 0.95], Limit.at_least(0.92), "yes"),
        ([0.85, 0.86, 0.85, 0.84, 0.85], Limit.at_least(0.92), "**no**"),
        ([0.90, 0.94, 0.91, 0.93, 0.92], Limit.at_least(0.92), "undecided"),
        ([10.0, 10.0, 10.0], Limit.at_most(10, "µs"), "yes"),
        ([10.0, 10.0, 10.0], Limit.below(10, "µs"), "**no**"),
    ],
)
def test_a_verdict_holds_for_all_the_median_may_be(values, limit, said):
    assert verdict(made(), values, limit=limit) == said


def test_the_table_says_what_was_withheld_and_the_plot_is_sound():
    table = made(noise="others use 1.5 of 2 processors")
    table.add("hot <b>rate</b>", [1.0, 2.0, 3.0], "requests/s", limit=Limit.at_least(2))
    table.bars("hot <rate> & more", "requests/s", {"Terminals": [1.0, 2.0, 3.0], "nothing": [0.0]})
    text = table.markdown()
    assert "| hot <b>rate</b> | 2.00 (1.50 to 2.50) requests/s | ≥ 2 | none: others use" in text
    assert "- hot <b>rate</b>: others use 1.5 of 2 processors" in text
    assert "HAProxy" in text and "Linux" in text
    drawn = xml.dom.minidom.parseString(plot.svg(table.figures, "a & b"))
    assert len(drawn.getElementsByTagName("rect")) == 3
