"""docs/operations.md tells the truth: its ```sh blocks are run in order against a running stack, and every command and flag that it
names exists."""
import re
import subprocess

import pytest

from stack import BIN, REPOSITORY, SLOW, Stack

PAGE = (REPOSITORY / "docs/operations.md").read_text()


@pytest.fixture(scope="module")
def running():
    with Stack(local_sandbox="none") as stack:
        stack.run("alice", "echo mine > notes")
        yield stack


def test_every_block_works_when_pasted(running):
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 6
    environment = running.environment()
    environment["PATH"] = f"{BIN}:{environment['PATH']}"
    for block in blocks:
        done = subprocess.run(["sh", "-eu", "-c", block], cwd=running.folder, env=environment, capture_output=True, text=True,
                              timeout=120 * SLOW, check=False)
        shown = f"{block}\n--- printed\n{done.stdout}\n{done.stderr}"
        assert done.returncode == 0 and "unknown" not in done.stderr, shown


def test_every_command_and_flag_named_exists(running):
    help_of = {}
    named = re.findall(r"(?:`|^    |^)terminals ([a-z]+)([^`\n]*)", PAGE, re.MULTILINE)
    assert len(named) > 10
    for command, rest in named:
        if command not in help_of:
            done = running.terminals(command, "--help")
            help_of[command] = done.stdout + done.stderr + running.terminals("help").stdout
            assert f"  {command} " in help_of[command], command
        for flag in re.findall(r"--[a-z-]+", rest):
            assert flag in help_of[command], f"terminals {command} {flag}"
