"""`terminals top`: an administrator sees who is active, on a terminal and in a pipe."""
import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios

import pytest

from stack import eventually


class Screen:
    """`terminals top` on a terminal of its own. `text` is all it has written, `frame` what it drew last."""

    def __init__(self, stack, *arguments, columns=120, rows=20):
        self.master, self.slave = pty.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen(stack.command("top", *arguments), cwd=stack.folder, env=stack.environment(),
                                        stdin=self.slave, stdout=self.slave, stderr=subprocess.PIPE)
        self.text = ""

    def resize(self, columns, rows):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self):
        while select.select([self.master], [], [], 0)[0]:
            self.text += os.read(self.master, 65536).decode()
        return self.text

    @property
    def frame(self):
        """The lines of the last frame that was drawn whole."""
        whole = [part for part in self.read().split("\x1b[H") if part.endswith("\x1b[J")]
        return whole[-1].removesuffix("\x1b[J").replace("\x1b[K", "").split("\r\n") if whole else []

    def press(self, key):
        os.write(self.master, key.encode())

    def end(self):
        eventually(lambda: self.read() is not None and self.process.poll() is not None, what="the end of top")
        self.read()
        assert "\x1b[?1049l" in self.text and "\x1b[?25h" in self.text, "the screen was not put back"
        assert termios.tcgetattr(self.slave)[3] == self.before[3], "the terminal is still raw"
        return self.process.returncode

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def screen(stack):
    made = []

    def make(*arguments, **size):
        made.append(Screen(stack, *arguments, **size))
        return made[-1]

    yield make
    for one in made:
        one.close()


def rows(text):
    """The lines below the head of a table."""
    lines = text.splitlines()
    return lines[next(i for i, line in enumerate(lines) if line.startswith("USER ")) + 1:]


def test_once_prints_who_runs(stack, user, other):
    stack.run(user, "true")
    stack.run(other, "true")
    done = stack.terminals("top", "--once")
    assert done.returncode == 0 and "\x1b" not in done.stdout, done
    assert "cold starts" in done.stdout
    mine = [line for line in rows(done.stdout) if line.startswith(user[:27])]
    assert len(mine) == 1 and "running" in mine[0] and "127.0.0.1:" in mine[0], done.stdout
    by_user = [line.split()[0] for line in rows(stack.terminals("top", "--once", "--sort", "user").stdout)]
    assert by_user == sorted(by_user)


def test_who_is_in_use_comes_first(stack, user, other):
    stack.run(other, "true")
    with stack.shell(user) as shell:
        def is_first():
            shell.send(b"echo more\n")
            return rows(stack.terminals("top", "--once").stdout)[0].startswith(user[:27])

        eventually(is_first, 15, what="the user with a shell on top")


def test_a_pipe_gets_one_table_after_the_other(stack, user):
    stack.run(user, "true")
    with subprocess.Popen(stack.command("top", "--interval", "1"), cwd=stack.folder, env=stack.environment(), text=True,
                          stdout=subprocess.PIPE) as process:
        try:
            heads = 0
            while heads < 2:
                line = process.stdout.readline()
                assert line and "\x1b" not in line
                heads += line.startswith("USER ")
        finally:
            process.kill()


def test_on_a_terminal_it_fits_the_window_follows_keys_and_puts_all_back(stack, screen, user):
    stack.run(user, "true")
    top = screen("--interval", "3600", columns=100, rows=10)
    frame = eventually(lambda: top.frame, what="the first frame")
    assert "by idle" in frame[0] and len(frame) <= 10 and max(len(line) for line in frame) <= 100
    top.press("u")
    eventually(lambda: "by user" in top.frame[0], what="the order by user")
    top.resize(40, 6)
    os.kill(top.process.pid, signal.SIGWINCH)
    eventually(lambda: len(top.frame) <= 6 and max(len(line) for line in top.frame) <= 40, what="a smaller table")
    top.press("q")
    assert top.end() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_puts_the_terminal_back(screen, number):
    top = screen("--interval", "3600")
    eventually(lambda: top.frame, what="the first frame")
    os.kill(top.process.pid, number)
    assert top.end() == 0


def test_what_users_are_called_does_not_reach_the_terminal_as_commands(stack, screen):
    name = "e\u0301vil\u009b31m-" + "x" * 200
    stack.request(name, "POST", "/api/v1/tenants/").expect(200)
    top = screen("--interval", "3600")
    eventually(lambda: top.frame, what="the first frame")
    assert "\u009b" not in top.text and "xxxx…" in "".join(top.frame)
    top.press("q")
    top.end()


def test_what_is_away_is_said_and_looked_for_again(fresh):
    stack = fresh(start=False, local_sandbox="none")
    done = stack.terminals("top", "--once")
    assert done.returncode == 1 and "ask http://localhost" in done.stderr
    top = Screen(stack, "--interval", "1")
    try:
        eventually(lambda: "ask http://localhost" in "".join(top.frame), what="a word about it")
        stack.start()
        eventually(lambda: "0 instances" in top.frame[0], what="the table once it runs", timeout=10)
        top.press("q")
        assert top.end() == 0
    finally:
        top.close()
    for arguments in (("--sort", "age"), ("--interval", "0"), ("--interval",), ("twice",)):
        assert stack.terminals("top", *arguments).returncode == 2
