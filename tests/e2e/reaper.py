"""Runs one command as a subreaper, and ends when nothing that it started, directly or not, is left.

Every process of a stack stays a descendant of this one, however it daemonises and whoever is killed above it, so a test
can ask "what is left?" and get the whole answer. Lines on the report descriptor: `pid N` when the command runs,
`exit N` when it ended (negative: the signal). Usage: reaper.py REPORT_FD COMMAND [ARGUMENT...]
"""
import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def main():
    report = int(sys.argv[1])
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # The tests speak to the command, not to us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    child = os.fork()
    if child == 0:
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        os.close(report)
        try:
            os.execvp(sys.argv[2], sys.argv[2:])
        except OSError as problem:
            print(f"exec {sys.argv[2]}: {problem}", file=sys.stderr)
            os._exit(127)
    os.write(report, f"pid {child}\n".encode())
    while True:
        try:
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:
            return
        if pid == child:
            os.write(report, f"exit {os.waitstatus_to_exitcode(status)}\n".encode())


main()
