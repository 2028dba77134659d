"""The README tells the truth: every block that starts with ```sh is run, in order, against a running stack.

The section "With Docker" is run by test_compose.py, against the stack that it is about.

A block is what a reader pastes into a shell in the clone while `make run` runs: here, in the folder in which a stack runs
with all defaults but the port. Lines that start with `make`, `git`, `cd` or `apt` are not run again from inside a test: their
targets must exist. A line `# prints: text` in a block says what the block must print.
"""
import re
import subprocess

import pytest
from stack import REPOSITORY, SLOW, Stack

NOT_RUN = re.compile(r"^\s*(sudo\s+)?(make|git|cd|apt(-get)?)\b")


def blocks(of_docker=False):
    sections = re.split(r"^(?=## )", (REPOSITORY / "README.md").read_text(), flags=re.MULTILINE)
    return [block for section in sections if section.startswith("## With Docker") == of_docker
            for block in re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)]


def targets():
    return set(re.findall(r"^([a-z][a-z-]*):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))


def test_there_is_something_to_paste():
    assert blocks(), "README.md has no ```sh block"


def test_every_make_target_named_exists():
    named = set(re.findall(r"^\s*(?:\$ )?make ([a-z][a-z-]*)", (REPOSITORY / "README.md").read_text(), re.MULTILINE))
    assert named <= targets(), named - targets()
    assert {"run", "test"} <= named


def test_every_file_linked_exists():
    linked = re.findall(r"\]\((?!https?:)([^)#]+)", (REPOSITORY / "README.md").read_text())
    assert linked
    assert not [path for path in linked if not (REPOSITORY / path).exists()]


@pytest.fixture(scope="module")
def running():
    """What `make run` starts: every setting at its default, the key generated."""
    stack = Stack(api_key=None, run_dir=None, data_dir=None, database_url=None, cleanup_interval_seconds=None)
    with stack:
        yield stack


def test_every_block_works_when_pasted(running):
    for block in blocks():
        lines = [line for line in block.splitlines() if not NOT_RUN.match(line)]
        script = re.sub(r"(localhost|127\.0\.0\.1):3000", f"127.0.0.1:{running.port}", "\n".join(lines))
        done = subprocess.run(["sh", "-eu", "-c", script], cwd=running.folder, env=running.environment(), capture_output=True,
                              text=True, timeout=60 * SLOW, check=False)
        shown = f"{script}\n--- printed\n{done.stdout}\n{done.stderr}"
        assert done.returncode == 0, shown
        assert '{"detail"' not in done.stdout, shown
        for wanted in re.findall(r"^# prints: (.*)$", block, re.MULTILINE):
            assert wanted in done.stdout, shown
