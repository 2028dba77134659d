"""A network of a test's own, out of network namespaces:

    with Network() as network:
        machine = network.add_machine()
        subprocess.run([*machine.enter, "ping", "-c1", network.HOST])
        machine.cut()

From `with` on, the thread that says it is in the machine in the middle, and so are the threads and programs that it starts.
The others hang on two switches, as if by two cables: one to the database, the other one to all else. Nothing of it has a
name that anybody else could have, and it is gone with the last process in it.
"""
import ctypes
import errno
import os
import subprocess

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _check(status, what):
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _here():
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _enter(namespace):
    _check(_libc.setns(namespace, CLONE_NEWNET), "setns")


def _leave_for_a_new_one():
    _check(_libc.unshare(CLONE_NEWNET), "unshare a network namespace")


def _ip(text, enter=()):
    """`ip -batch`: a command a line."""
    done = subprocess.run([*enter, "ip", "-batch", "-"], input=text, text=True, capture_output=True, check=False)
    assert done.returncode == 0, f"{text}: {done.stdout}{done.stderr}"


def is_possible():
    """Whether we may make network namespaces."""
    before = _here()
    try:
        _leave_for_a_new_one()
        _enter(before)
    except OSError as problem:
        if problem.errno != errno.EPERM:
            raise
        return False
    finally:
        os.close(before)
    return True


class Link:
    """A cable from a machine to a switch, as seen from the switch."""

    def __init__(self, port):
        self.port = port

    def cut(self):
        """Nobody is told: what is sent from now on does not arrive."""
        _ip(f"link set {self.port} down")

    def mend(self):
        _ip(f"link set {self.port} up")

    def close(self):
        pass  # it goes with its machine


class Machine:
    def __init__(self, network, number):
        hub = _here()
        try:
            _leave_for_a_new_one()
            self.namespace = _here()
        finally:
            _enter(hub)
            os.close(hub)
        path = f"/proc/{os.getpid()}/fd/{self.namespace}"
        self.enter = ["nsenter", f"--net={path}", "--"]
        self.address, self.database_address = f"10.2.0.{10 + number}", f"10.1.0.{10 + number}"
        self.database, self.rest = Link(f"database-{number}"), Link(f"rest-{number}")
        _ip("".join(f"link add {switch}-{number} type veth peer name {switch} netns {path}\n"
                    f"link set {switch}-{number} master {switch} up\n" for switch in network.SWITCHES))
        _ip(f"""link set lo up
                address add {self.database_address}/24 dev database
                address add {self.address}/24 dev rest
                link set database up
                link set rest up
                route add {network.PODS} via {network.HOST}""", self.enter)

    def cut(self):
        self.database.cut()
        self.rest.cut()

    def mend(self):
        self.database.mend()
        self.rest.mend()

    def close(self):
        os.close(self.namespace)


class Network:
    SWITCHES = ("database", "rest")
    DATABASE = "10.1.0.1"  # the machine in the middle, to the ones and to the others
    HOST = "10.2.0.1"
    PODS = "10.3.0.0/16"  # are all its own, too

    def __enter__(self):
        self.machines = []
        self.before = _here()
        _leave_for_a_new_one()
        _ip(f"""link set lo up
                link add database type bridge
                link add rest type bridge
                address add {self.DATABASE}/24 dev database
                address add {self.HOST}/24 dev rest
                link set database up
                link set rest up
                route add local {self.PODS} dev lo""")
        return self

    def __exit__(self, *_):
        _enter(self.before)
        os.close(self.before)
        for machine in self.machines:
            machine.close()

    def add_machine(self):
        self.machines.append(Machine(self, len(self.machines)))
        return self.machines[-1]

    @staticmethod
    def pod_address(number):
        return f"10.3.{number // 250 % 250}.{number % 250 + 1}"
