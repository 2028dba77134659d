"""The README tells the truth: every block that starts with ```sh is run, in order, against a running stack.

A block is what a reader pastes into a shell. Lines that start with `make` or `git`, and `cd` into the clone, are not run
again from inside a test: the targets must exist. `$KEY`/`$TERMINALS_API_KEY`, port 3000 and `http://localhost:3000` stand
for what `make run` printed. A line `# prints: text` in a block says what the block must print.
"""
import re
import subprocess

import pytest
from stack import REPOSITORY, SLOW, Stack

README = REPOSITORY / "README.md"
NOT_RUN = re.compile(r"^\s*(sudo\s+)?(make|git|cd|apt(-get)?)\b")


def blocks():
    if not README.exists():
        return []
    return re.findall(r"^```sh\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)


def targets():
    return set(re.findall(r"^([a-z][a-z-]*):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))


def test_there_is_something_to_paste():
    assert blocks(), "README.md has no ```sh block"


def test_every_make_target_named_exists():
    named = {word for block in blocks() for line in block.splitlines() for word in re.findall(r"^\s*make ([a-z][a-z-]*)", line)}
    assert named <= targets(), named - targets()
    assert {"run", "test"} <= targets()


@pytest.fixture(scope="module")
def running():
    with Stack() as stack:
        yield stack


def test_every_block_works_when_pasted(running):
    for block in blocks():
        lines = [line for line in block.splitlines() if not NOT_RUN.match(line)]
        script = "\n".join(lines)
        if not script.strip() or all(line.lstrip().startswith("#") or not line.strip() for line in lines):
            continue
        script = script.replace("localhost:3000", f"127.0.0.1:{running.port}").replace("127.0.0.1:3000", f"127.0.0.1:{running.port}")
        environment = running.environment() | {"KEY": running.key, "PORT": str(running.port), "TERMINALS_API_KEY": running.key,
                                               "TERMINALS_KEY": running.key}
        done = subprocess.run(["sh", "-eu", "-c", script], cwd=REPOSITORY, env=environment, capture_output=True, text=True,
                              timeout=60 * SLOW, check=False)
        shown = f"{script}\n--- printed\n{done.stdout}\n{done.stderr}"
        assert done.returncode == 0, shown
        assert '{"detail"' not in done.stdout, shown
        for wanted in re.findall(r"^# prints: (.*)$", block, re.MULTILINE):
            assert wanted in done.stdout, shown
