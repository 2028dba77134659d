#!/usr/bin/python3
"""Runs every check and test there is, and closes with one line: `N passed, N failed`.

    tests/run.py                 everything, as CI does
    tests/run.py unit e2e        only these stages
    tests/run.py --sanitize ...  engine, unit and e2e on the ASan + UBSan build only

Each stage says how many of its tests passed and failed; a stage that dies counts as one failure. What failed is listed
once more before that line, and what each stage cost, in seconds of the clock and of a processor. In CI (CI=true) a skipped
test is a failure too. Where only a few tests of a stage fail, they are run once more, with none of its others beside them: one that
passes then counts as passed, and is listed with what it failed with, because there is a race in it or in what it tests.
The end-to-end tests wait more than they compute: so the engine's, which one worker runs, then a moment of the benchmarks, and what runs on
PostgreSQL once more, are beside the others', and fuzz and lint beside everything at the lowest priority.
"""
import argparse
import concurrent.futures
import contextlib
import glob
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import textwrap
import time
import xml.etree.ElementTree

import postgres_server

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CI = os.environ.get("CI") == "true"
JOBS = str(os.cpu_count() or 2)
E2E_WORKERS = str(2 * int(JOBS) + 1)  # they wait more than they compute
# Below the ephemeral range, for instances (tests/e2e/stack.py): the engine's tests and what follows them run at the same time as others.
E2E_PORTS, ENGINE_PORTS = "10000-28000", "28000-30000"
EVIDENCE_MAX_CHARACTERS = 2000  # of one failure, in the list at the end
EVIDENCE_MAX_LINES = 20  # of one unit test
BENCH_MAX_SECONDS = 600  # their quick run takes one or two minutes
AGAIN_MAX = 3  # so many failures of a stage may be due to what was beside them; more are not
# cppcheck 2.10 follows neither the cleanup attribute (memleak) nor the lists of uthash and the fields of what they hold
# (uninitvar and ctuuninitvar, which both compilers and the sanitizers find), knows a libc whose NULL is no pointer (varFuncNullUB), and
# trips over some statement expressions by itself (internalAstError).
CPPCHECK_SUPPRESSED = ["missingIncludeSystem", "memleak", "uninitvar", "ctuuninitvar", "varFuncNullUB", "internalAstError"]
C_FOLDERS = ["common", "gate", "fcgi-api", "provisioner", "instance", "cli"]


PYTEST = ["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider"]


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.failures = []  # (name, evidence): repeated at the end, where somebody looks first
        self.doubts = []  # likewise, of what passed when it was run again

    def add(self, passed, failed, skipped=0):
        self.passed += passed
        self.failed += failed
        self.skipped += skipped

    def blame(self, name, evidence=""):
        self.failures.append((name, evidence))

    def doubt(self, name, evidence):
        self.doubts.append((name, evidence))

    def check(self, name, ok, evidence=""):
        print(f"{'ok    ' if ok else 'FAILED'} {name}", flush=True)
        self.add(int(ok), int(not ok))
        if not ok:
            self.blame(name, evidence)


class Costs:
    """What each stage took. A processor's seconds are those of all processes that were waited for: not of daemons (dockerd)."""

    def __init__(self):
        self.rows = []  # (name, seconds, processor's seconds), in the order of their ends

    @staticmethod
    def processor_seconds():
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        return spent.ru_utime + spent.ru_stime

    def add(self, name, seconds, processor_seconds):
        self.rows.append((name, seconds, processor_seconds))
        print(f"=== {name}: {seconds:.0f} s, processor {processor_seconds:.0f} s", flush=True)

    @contextlib.contextmanager
    def of(self, name):
        started, spent = time.monotonic(), self.processor_seconds()
        yield
        self.add(name, time.monotonic() - started, self.processor_seconds() - spent)

    def table(self):
        return "\n".join([f"{'':24}{'wall s':>8}{'CPU s':>8}"] + [f"{name:24}{seconds:8.0f}{spent:8.0f}" for name, seconds, spent in self.rows])


costs = Costs()


def run(command, **options):
    print("+ " + " ".join(command), flush=True)
    return subprocess.run(command, cwd=ROOT, check=False, **options)


def sources(*patterns):
    return sorted(path for pattern in patterns for path in glob.glob(pattern, root_dir=ROOT, recursive=True))


def c_sources():
    return sources(*[f"{folder}/**/*.c" for folder in C_FOLDERS])


def all_c():
    return sources("tests/**/*.[ch]", *[f"{folder}/**/*.[ch]" for folder in C_FOLDERS])


def make(build, *targets, sanitize=False):
    """With the names of functions and lines, and no more for a debugger: a seventh less to compile."""
    return run(["make", "-s", f"-j{JOBS}", f"BUILD={build}", f"SANITIZE={int(sanitize)}", "CFLAGS=-g1", *targets]).returncode == 0


def stage_build(tally, sanitize):
    if not sanitize:
        tally.check("gcc builds everything without a warning", make("build/release", "all"))
    tally.check("gcc builds everything with sanitizers", make("build/sanitize", "all", sanitize=True))
    output, status = output_of([*PYTEST, "-qq", "--collect-only", "tests/e2e"], 600)  # and compiles them, for all who run them
    if status != 0:
        print(output)
    tally.check("pytest reads every test", status == 0)


def stage_lint(tally, _):
    tally.check("clang-format", run(["clang-format", "--dry-run", "-Werror", *all_c()]).returncode == 0)
    shell = [path for path in sources("scripts/*", "haproxy/*", "tests/*.sh", ".ci/run")
             if open(os.path.join(ROOT, path), "rb").readline().startswith(b"#!/bin/sh")]
    tally.check("shellcheck", run(["shellcheck", *shell]).returncode == 0)
    tally.check("cppcheck", run(
        ["cppcheck", "--quiet", "--std=c11", "--enable=warning,performance,portability", "--inline-suppr",
         "--error-exitcode=1", f"-j{JOBS}", "-I.", "-D_GNU_SOURCE", *[f"--suppress={kind}" for kind in CPPCHECK_SUPPRESSED],
         *c_sources()]).returncode == 0)
    tidy = subprocess.run(
        ["xargs", "-P", JOBS, "-n", "12", "sh", "-c",
         'clang-tidy --quiet "$@" -- -std=gnu17 -D_GNU_SOURCE -I. -Ibuild/release 2>/dev/null', "tidy"],
        input="\n".join(c_sources()), text=True, cwd=ROOT, check=False)
    tally.check("clang-tidy", tidy.returncode == 0)


def runnable(pattern):
    return [path for path in sources(pattern) if os.path.isfile(path) and os.access(path, os.X_OK)]


def side_by_side(function, items):
    """Yields (item, function(item)) in order, one for each processor at a time."""
    with concurrent.futures.ThreadPoolExecutor(int(JOBS)) as pool:
        yield from zip(items, pool.map(function, items))


def output_of(command, seconds, **more_environment):
    """(what it wrote, its exit status, or -1 if it had to be killed after so many seconds)"""
    try:
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                              timeout=seconds, check=False, env=dict(os.environ, **more_environment))
        return done.stdout, done.returncode
    except subprocess.TimeoutExpired as late:
        return (late.stdout or b"").decode(errors="replace"), -1


def needs_database(program, build):
    with open(os.path.join(ROOT, os.path.relpath(program, build) + ".c")) as source:
        return re.search(r'"tests/unit/provisioner/(world|test_database)\.h"', source.read()) is not None


def unit_tests(build, server):
    """(what it is called, its program, its environment besides ours) of each; what needs a database runs once more, on PostgreSQL."""
    programs = runnable(f"{build}/tests/unit/*/test_*")
    on_postgres = {"TERMINALS_TEST_POSTGRES": server.url()}
    return ([(program, program, {}) for program in programs] +
            [(f"{program} on PostgreSQL", program, on_postgres) for program in programs if needs_database(program, build)])


def run_unit_test(test):
    _, program, more_environment = test
    return output_of([program], 300, **more_environment)


def end_of(text):
    """Of what a unit test printed, the part that says why it failed: its end, or how a sanitizer's report begins."""
    report = re.search(r"==\d+==ERROR: |\S+ runtime error: ", text)
    return "\n".join(text[report.start():].splitlines()[:EVIDENCE_MAX_LINES] if report else text.splitlines()[-EVIDENCE_MAX_LINES:])


def cmocka_evidence(output):
    """What each test that did not pass has printed, down to its `[  FAILED  ]`, or to the end of all if the program died in it."""
    of_tests = [part for part in re.split(r"(?=\[ RUN      \] |\[==========\] )", output) if part.startswith("[ RUN")]
    failed = [end_of(part) for part in of_tests if "[       OK ] " not in part and "[  SKIPPED ] " not in part]
    return "\n".join(failed) or end_of(output)


def cmocka_counts(output, status):
    passed, failed, skipped = (sum(int(n) for n in re.findall(rf"\[  {word} \] (\d+) test", output))
                               for word in ("PASSED ", "FAILED ", "SKIPPED"))
    return passed, failed if status == 0 else max(failed, 1), skipped


def cmocka(tally, build, server):
    failed = []
    for test, (output, status) in side_by_side(run_unit_test, unit_tests(build, server)):
        counts = cmocka_counts(output, status)
        print(f"{'ok    ' if status == 0 else 'FAILED'} {test[0]} ({counts[0]} tests)", flush=True)
        if status == 0:
            tally.add(*counts)
        else:
            print(output)
            failed.append((test, cmocka_evidence(output), counts))
    for test, evidence, counts in failed:
        output, status = run_unit_test(test) if len(failed) <= AGAIN_MAX else ("", -1)
        if status == 0:
            tally.doubt(test[0], evidence)
            tally.add(*cmocka_counts(output, status))
        else:
            tally.blame(test[0], evidence)
            tally.add(*counts)


def stage_unit(tally, sanitize):
    with postgres_server.PostgresServer() as server:
        for build, is_sanitized in [("build/release", False), ("build/sanitize", True)]:
            if is_sanitized or not sanitize:
                if make(build, "unit-tests", sanitize=is_sanitized):
                    cmocka(tally, build, server)
                else:
                    tally.check(f"unit tests build in {build}", False)


def stage_fuzz(tally, _):
    seconds = os.environ.get("FUZZ_SECONDS", "1")
    tally.check("clang builds everything without a warning", make("build/release", "clang-programs"))
    if not make("build/release", "fuzzers"):
        tally.check("fuzzers build", False)
        return

    def fuzz(fuzzer):
        with tempfile.TemporaryDirectory(prefix="corpus-") as corpus:
            seeds = os.path.join(ROOT, "tests/fuzz/seeds", os.path.basename(fuzzer))
            return output_of([fuzzer, f"-max_total_time={seconds}", "-verbosity=0", "-print_final_stats=0",
                              "-artifact_prefix=build/fuzz/", corpus] + ([seeds] if os.path.isdir(seeds) else []), None)

    for fuzzer, (output, status) in side_by_side(fuzz, runnable("build/fuzz/fuzz_*")):
        if status != 0:
            print(output)
        tally.check(f"{fuzzer} finds nothing in {seconds} s", status == 0)


def pytest_evidence(problem):
    """Which lines it failed in, and what it said."""
    where = re.findall(r"^>.*|^[\w./]+\.py:\d+: .*", problem.text or "", re.MULTILINE)
    return "\n".join([*where, problem.get("message", "")])


def node_id(case):
    """What pytest calls a test, of a report's entry. (pytest-xdist has appended @ and the name of its group.)"""
    name = re.sub(r"@[^@\]]*$", "", case.get("name"))
    return f"{case.get('classname').replace('.', '/')}.py::{name}"


def pytest_once(name, arguments, environment):
    """(how many tests passed, how many were skipped, {node id: evidence} of what failed, its exit status); None: it died."""
    report = os.path.join(ROOT, "build", f"report-{name}.xml")
    with contextlib.suppress(FileNotFoundError):
        os.remove(report)
    status = run([*PYTEST, "-q", "-ra", "--durations=8", f"--junitxml={report}", *arguments], env=environment).returncode
    try:
        suite = xml.etree.ElementTree.parse(report).getroot().find("testsuite")
    except (OSError, xml.etree.ElementTree.ParseError):
        return None
    failed = {}
    for case in suite.iter("testcase"):
        for problem in [*case.findall("failure"), *case.findall("error")]:
            failed[node_id(case)] = pytest_evidence(problem)
    skipped = int(suite.get("skipped"))
    return int(suite.get("tests")) - len(failed) - skipped, skipped, failed, status


def pytest(tally, build, name, arguments, slow=False, postgres=None, workers=E2E_WORKERS, ports=E2E_PORTS):
    environment = dict(os.environ, TERMINALS_BIN=os.path.join(ROOT, build, "bin"), TERMINALS_TEST_PORTS=ports)
    environment.pop("TERMINALS_TEST_POSTGRES", None)
    if postgres:
        environment["TERMINALS_TEST_POSTGRES"] = postgres
    if slow:
        environment["TERMINALS_TEST_SLOW"] = "1"
    done = pytest_once(name, ["-n", workers, "--dist", "loadgroup", *arguments], environment)
    if done is None:
        tally.check(f"pytest {name}", False)
        return
    passed, skipped, failed, status = done
    again = pytest_once(f"{name}-again", sorted(failed), environment) if 0 < len(failed) <= AGAIN_MAX else None
    for test, evidence in failed.items():
        if again and again[3] in (0, 1) and test not in again[2]:
            tally.doubt(f"{name}: {test}", evidence)
            passed += 1
        else:
            tally.blame(f"{name}: {test}", evidence)
            tally.add(0, 1)
    tally.add(passed, 0, skipped)
    if status != 0 and not failed:
        tally.blame(f"{name}: pytest ended with {status}")
        tally.add(0, 1)


# What runs once more with PostgreSQL: what is about state, or says that the main job is done. The engine's tests are not.
ON_POSTGRES = ["tests/e2e/test_tenants.py", "tests/e2e/test_keys_at_rest.py", "tests/e2e/test_recovery.py",
               "tests/e2e/test_main_job.py", "tests/e2e/test_audit.py", "tests/e2e/test_policies.py", "-k",
               "not docker and not compose and not static and not bwrap and not receiver and not body and not mistake"]


def stage_postgres(tally, _):
    if not make("build/release", "all"):
        tally.check("the release build", False)
        return
    with postgres_server.PostgresServer() as server:
        pytest(tally, "build/release", "e2e-postgres", ON_POSTGRES, postgres=server.url(), workers="2", ports=ENGINE_PORTS)


def stage_engine(tally, sanitize):
    """What needs a Docker engine, one test after the other."""
    if not sanitize:
        with costs.of("engine: release"):
            if make("build/release", "all"):
                pytest(tally, "build/release", "engine", ["tests/e2e", "-m", "engine"], workers="1", ports=ENGINE_PORTS)
            else:
                tally.check("the release build", False)
    with costs.of("engine: sanitized"):
        if make("build/sanitize", "all", sanitize=True):
            pytest(tally, "build/sanitize", "engine-sanitize", ["tests/e2e", "-m", "engine and not release_only"], slow=True, workers="1",
                   ports=ENGINE_PORTS)
        else:
            tally.check("the sanitizer build", False)


def stage_e2e(tally, sanitize):
    tally.check("npm gives what drives the admin page", make("build/release", "browser-modules"))
    if not sanitize:
        if make("build/release", "all"):
            with costs.of("e2e: release"):
                pytest(tally, "build/release", "e2e", ["tests/e2e", "-m", "not engine"])
        else:
            tally.check("the release build", False)
    if make("build/sanitize", "all", sanitize=True):
        with costs.of("e2e: sanitized"):
            pytest(tally, "build/sanitize", "e2e-sanitize", ["tests/e2e", "-m", "not engine and not release_only"], slow=True)
    else:
        tally.check("the sanitizer build", False)


def stage_bench(tally, _):
    if not make("build/release", "all", "bench-tools"):
        tally.check("the benchmarks build", False)
        return

    environment = dict(os.environ, TERMINALS_TEST_PORTS=ENGINE_PORTS, TERMINALS_BIN=os.path.join(ROOT, "build/release/bin"))

    def once():
        with tempfile.TemporaryFile("w+", errors="replace") as file:
            # timeout(1) interrupts it first, so that it ends what it has started.
            done = run(["timeout", "--signal=INT", "--kill-after=60", str(BENCH_MAX_SECONDS), "/usr/bin/python3", "tests/bench/bench.py", "--quick"],
                       stdout=file, stderr=subprocess.STDOUT, env=environment)
            file.seek(0)
            output = file.read()
        print(output, flush=True)
        return done.returncode == 0, output[-EVIDENCE_MAX_CHARACTERS:]

    name = "the benchmarks run"
    is_ok, evidence = once()
    if not is_ok and once()[0]:
        tally.doubt(name, evidence)
        is_ok = True
    tally.check(name, is_ok, evidence)


STAGES = {"build": stage_build, "engine": stage_engine, "fuzz": stage_fuzz, "lint": stage_lint, "unit": stage_unit, "e2e": stage_e2e,
          "bench": stage_bench, "postgres": stage_postgres}


class Aside:
    """Stages in a process of their own, one after the other."""

    def __init__(self, names, niceness, sanitize=False):
        self.name = " and ".join(names)
        self.output = tempfile.TemporaryFile("w+")
        self.report = tempfile.NamedTemporaryFile("r", prefix="report-")
        self.process = subprocess.Popen(["nice", "-n", str(niceness), sys.executable, os.path.abspath(__file__), "--in-turn", *names,
                                         "--report", self.report.name, *(["--sanitize"] if sanitize else [])],
                                        cwd=ROOT, stdout=self.output, stderr=subprocess.STDOUT)

    def join(self, tally):
        status = self.process.wait()
        self.output.seek(0)
        print(self.output.read(), flush=True)
        try:
            report = json.load(self.report)
        except ValueError:  # it was killed, say
            report = None
        if report is None or status != 0:
            tally.check(f"{self.name} came to its end", False)
            return
        tally.add(report["passed"], report["failed"], report["skipped"])
        tally.failures += report["failures"]
        tally.doubts += report["doubts"]
        costs.rows += report["costs"]


def write_report(path, tally):
    """For Aside.join()."""
    with open(path, "w") as file:
        json.dump({"passed": tally.passed, "failed": tally.failed, "skipped": tally.skipped, "failures": tally.failures,
                   "doubts": tally.doubts, "costs": costs.rows}, file)


def keep_python_compiled():
    """Beside what else is built: a worker of pytest's otherwise compiles all tests, asserts rewritten, before its first one."""
    os.environ["PYTHONPYCACHEPREFIX"] = os.path.join(ROOT, "build/pycache")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("stages", nargs="*", help="of: " + ", ".join(STAGES))
    parser.add_argument("--sanitize", action="store_true", help="engine, unit and e2e on the sanitizer build only")
    parser.add_argument("--in-turn", action="store_true", help="nothing beside anything else")
    parser.add_argument("--report", help="write what is to be said at the end to this file, as JSON, instead of saying it")
    arguments = parser.parse_args()
    wanted = arguments.stages or (["engine", "unit", "e2e"] if arguments.sanitize else list(STAGES))
    if unknown := set(wanted) - set(STAGES):
        parser.error(f"no such stage: {', '.join(sorted(unknown))}")
    if len(wanted) > 1 and not arguments.in_turn:
        wanted.append("build")  # first, so that no two stages build the same thing at once
    keep_python_compiled()
    tally = Tally()
    asides = []
    if arguments.in_turn:
        beside = []
    else:
        beside = [(names, niceness) for group, niceness, of in [(("engine", "bench", "postgres"), 0, "e2e"), (("fuzz", "lint"), 19, "build")]
                  if of in wanted and (names := [name for name in group if name in wanted])]
    for name in [name for name in STAGES if name in wanted]:
        if any(name in names for names, _ in beside):
            continue
        print(f"\n=== {name}", flush=True)
        with costs.of(name):
            STAGES[name](tally, arguments.sanitize)
        if name == "build":
            asides = [Aside(names, niceness, arguments.sanitize) for names, niceness in beside]
    for aside in asides:
        aside.join(tally)
    if arguments.report:
        write_report(arguments.report, tally)
        return
    for verdict, list_of in [("PASSED ONLY WHEN RUN AGAIN", tally.doubts), ("FAILED", tally.failures)]:
        for name, evidence in list_of:
            print(f"\n{verdict} {name}\n{textwrap.indent(evidence[:EVIDENCE_MAX_CHARACTERS], '    ')}".rstrip())
    if tally.skipped:
        print(f"\n{tally.skipped} tests were skipped" + (", which counts as failure in CI" if CI else ""))
        if CI:
            tally.failed += tally.skipped
    print(f"\n{costs.table()}")
    print(f"\n{tally.passed} passed, {tally.failed} failed")
    sys.exit(1 if tally.failed or not tally.passed else 0)


if __name__ == "__main__":
    main()
