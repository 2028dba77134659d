"""Shells over WebSockets by shell_load (shell_load.c), which `make bench` builds."""
import json
import subprocess

from stack import BIN

SHELL_LOAD = BIN.parent / "bench/shell_load"


def _input(paths, token):
    return "".join(f"{path} {token}\n" for path in paths) + "\n"


def run(port, paths, token, *mode, timeout=300):
    """What one run of `shell_load PORT MODE…` says, over a shell for each path."""
    done = subprocess.run([SHELL_LOAD, str(port), *[str(word) for word in mode]], input=_input(paths, token), capture_output=True,
                          text=True, timeout=timeout, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"shell_load {port} {mode}: {done.stderr}")
    return json.loads(done.stdout)


class Held:
    """Open shells in which nobody types, until the end of the block."""

    def __init__(self, port, paths, token):
        self.process = subprocess.Popen([SHELL_LOAD, str(port), "hold"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines = _input(paths, token)

    def __enter__(self):
        self.process.stdin.write(self.lines)
        self.process.stdin.flush()
        if not self.process.stdout.readline():
            raise RuntimeError("not all shells could be opened")
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()
