"""What several files of docker tests need."""
import hashlib
import os
import signal

from stack import eventually


def name_of(user):
    return f"terminals-{hashlib.sha256(user.encode()).hexdigest()[:12]}"


def status(stack, user):
    return stack.tenant(user)["status"]


def restart_provisioner(stack, number=signal.SIGKILL, meanwhile=lambda: None):
    """kill -9, something while it is away, and the supervisor's new one."""
    serve = stack.serve_pid
    pid = stack.one("terminals-provisioner")
    os.kill(serve, signal.SIGSTOP)  # nobody starts a new one yet
    os.kill(pid, number)
    try:
        eventually(lambda: pid not in stack.processes(), 20, what="the provisioner's end")
        meanwhile()
    finally:
        os.kill(serve, signal.SIGCONT)
    eventually(lambda: stack.process("terminals-provisioner") not in ([], [pid]), 30, what="a new provisioner")
    eventually(lambda: stack.tenants() is not None, 30, what="an answer of the new provisioner")
