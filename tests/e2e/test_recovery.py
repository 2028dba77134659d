"""kill -9 of anything, at any time: within five seconds everything serves again, and nobody lost more than they had to."""
import contextlib
import os
import signal
import threading
import time

import pytest
from conftest import sandbox_works
from stack import OURS, SLOW, Stack, eventually


class Traffic:
    """Somebody keeps asking: hot requests of one user, first requests of new ones, and the tenant list."""

    def __init__(self, stack):
        self.stack, self.done, self.threads, self.users = stack, threading.Event(), [], 0
        self.wrong = []  # answers nobody should ever get

    def _loop(self, step):
        while not self.done.is_set():
            with contextlib.suppress(Exception):
                step()
            time.sleep(0.02)

    def _hot(self):
        answer = self.stack.request("hot", "GET", "/files/read?path=mine.txt", timeout=10)
        if answer.status == 200 and answer.json()["content"] != "hot\n":
            self.wrong.append(answer.text)
        if answer.status in (401, 403, 404, 422):
            self.wrong.append(f"{answer.status} {answer.text}")

    def _cold(self):
        self.users += 1
        self.stack.execute(f"new-{self.users}", "true", timeout=30)
        time.sleep(0.2)

    def __enter__(self):
        for step in (self._hot, self._cold, self.stack.tenants):
            self.threads.append(threading.Thread(target=self._loop, args=(step,)))
            self.threads[-1].start()
        return self

    def __exit__(self, *_):
        self.done.set()
        for thread in self.threads:
            thread.join()


def victim(stack, name):
    if name == "haproxy-master":
        return stack.process("haproxy")[0]
    if name == "haproxy-worker":
        return stack.process("haproxy")[-1]
    if name == "instance":
        return stack.instance_pid("hot")
    if name == "bwrap":
        # The outermost bwrap above the instance.
        parents, pid = stack.processes(), stack.instance_pid("hot")
        while stack.name_of(parents.get(pid, 0)) == "bwrap":
            pid = parents[pid]
        return pid
    return stack.process(name)[0]  # and not what it has forked this moment, before that becomes an instance


def serves(stack, newcomer):
    """True when a known user, a new one and an administrator are all served."""
    assert stack.run("hot", "cat ~/mine.txt", timeout=5) == "hot\n"
    assert stack.run(newcomer, "echo new", timeout=5) == "new\n"
    assert stack.request(None, "GET", "/health", key=None).status == 200
    return stack.tenants()


VICTIMS = [*OURS, "haproxy-worker", "haproxy-master", "instance",
           pytest.param("bwrap", marks=pytest.mark.skipif(not sandbox_works(), reason="bubblewrap does not work here"))]


@pytest.mark.parametrize("name", VICTIMS)
def test_all_serves_again_within_five_seconds(name):
    with Stack() as stack:
        stack.run("hot", "echo hot > ~/mine.txt")
        stack.run("bystander", "echo by > ~/mine.txt")
        before = {tenant["user_id"]: tenant for tenant in stack.tenants()}
        pids = {user: stack.instance_pid(user) for user in before}
        shell = stack.shell("bystander")
        with Traffic(stack) as traffic:
            eventually(lambda: traffic.users > 1, what="traffic")
            killed = victim(stack, name)
            os.kill(killed, signal.SIGKILL)
            eventually(lambda: serves(stack, "after-" + name), 5, what=f"service after kill -9 of {name}")
        assert not traffic.wrong, traffic.wrong[:3]

        # The same tenants, folders, and, but for the one that was killed, the same running instances.
        after = {tenant["user_id"]: tenant for tenant in stack.tenants()}
        for user, tenant in before.items():
            assert after[user]["id"] == tenant["id"]
            if not (user == "hot" and name in ("instance", "bwrap")):
                assert after[user]["instance_id"] == tenant["instance_id"], f"{user} got another instance"
                assert stack.instance_pid(user) == pids[user]
        assert stack.run("bystander", "cat ~/mine.txt") == "by\n"
        assert {user for user, tenant in after.items() if tenant["status"] not in ("running", "stopped")} == set(), after

        # No orphan: as many instances as running tenants.
        eventually(lambda: len(stack.instances()) == sum(t["status"] == "running" for t in stack.tenants()), 10,
                   what=f"as many instances as tenants ({len(stack.instances())} instances)")

        # The shell lives on unless it went through what was killed.
        if name not in ("terminals-gate", "haproxy-worker", "haproxy-master"):
            shell.send(b"echo $((6*7))\n")
            shell.read_until(b"42")
        shell.sock.close()
        again = stack.shell("bystander")
        again.send(b"echo $((6*7))\n")
        again.read_until(b"42")
        again.close()


def test_everything_of_ours_at_once(fresh):
    stack = fresh()
    stack.run("hot", "echo hot > ~/mine.txt")
    pid = stack.instance_pid("hot")
    for name in (*OURS, "haproxy"):
        for victim_pid in stack.process(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim_pid, signal.SIGKILL)
    eventually(lambda: serves(stack, "newcomer"), 5, what="service again")
    assert stack.instance_pid("hot") == pid


def test_a_provisioner_killed_again_and_again_during_starts_leaves_no_orphan(fresh):
    stack = fresh()
    done = threading.Event()

    def killer():
        pause = 0.05
        while not done.is_set():
            with contextlib.suppress(ProcessLookupError, AssertionError):
                os.kill(stack.one("terminals-provisioner"), signal.SIGKILL)
            time.sleep(pause)
            pause += 0.113

    thread = threading.Thread(target=killer)
    threads = []
    for number in range(12):
        def ask(number=number):
            with contextlib.suppress(Exception):
                stack.execute(f"user-{number}", "true", timeout=30)
        threads.append(threading.Thread(target=ask))
    for one in threads:
        one.start()
    thread.start()
    time.sleep(3)
    done.set()
    thread.join()
    for one in threads:
        one.join()
    for number in range(12):
        eventually(lambda number=number: stack.run(f"user-{number}", "echo fine") == "fine\n", 20,
                   what=f"user-{number} served")
    eventually(lambda: len(stack.instances()) == 12 == len(stack.tenants()), 10,
               what=f"twelve instances, no orphan ({len(stack.instances())} instances)")


def test_a_shell_survives_the_provisioner_and_the_api(fresh, user):
    stack = fresh()
    with stack.shell(user) as shell:
        for name in ("terminals-api", "terminals-provisioner"):
            pid = stack.one(name)
            os.kill(pid, signal.SIGKILL)
            eventually(lambda name=name, pid=pid: stack.process(name) not in ([], [pid]), what=f"a new {name}")
        shell.send(b"echo $((6*7))\n")
        shell.read_until(b"42")
        # Who has an open shell has a terminal that is counted and not reaped, also by the new provisioner.
        eventually(lambda: stack.admin("GET", "/stats").json()["active_ws_connections"] == 1, what="the shell counted again")


def requests(stack):
    return stack.admin("GET", "/stats").expect(200).json()["requests"]


def test_a_dead_instance_is_a_slow_answer_not_an_error(fresh, user):
    """Also while the provisioner has not noticed: HAProxy's refused connection goes to the gate with its body."""
    stack = fresh()
    stack.run(user, "true")
    answers = []
    thread = threading.Thread(target=lambda: answers.append(
        stack.request(user, "POST", "/files/write", {"path": "big.txt", "content": "x" * 300000})))
    stack.wait_hot(user)
    pid = stack.instance_pid(user)
    eventually(lambda: "serve: ready on" in stack.err(), what="the end of its questions whether all is well")
    before = requests(stack)
    with stack.stopped("terminals-provisioner"):
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: pid not in stack.processes(), what="the death")
        thread.start()
        time.sleep(0.3)  # HAProxy asks the dead instance, then the gate, then the provisioner, which stands still
        assert not answers
    thread.join()
    assert answers and answers[0].expect(200)
    assert requests(stack) == before + 2, "it is one, and so is the question how many there were"
    assert stack.run(user, "wc -c < ~/big.txt").strip() == "300000"


def test_an_instance_that_keeps_dying_is_started_each_time(fresh, user):
    stack = fresh()
    for _ in range(5):
        stack.run(user, "true")
        pid = stack.instance_pid(user)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda pid=pid: pid not in stack.processes(), what="the death")  # until then it still takes connections


def test_no_command_runs_twice(fresh, user):
    """Only a connection that was refused is tried again: an instance that dies in the middle must not be asked anew."""
    stack = fresh()
    stack.run(user, "true")
    thread = threading.Thread(target=lambda: stack.execute(user, "echo ran >> ~/runs.txt; sleep 5", wait=10))
    with contextlib.suppress(Exception):
        thread.start()
        eventually(lambda: (stack.home(user) / "runs.txt").exists(), what="the command's start")
        pid = stack.instance_pid(user)
        os.kill(pid, signal.SIGKILL)
        thread.join()
    eventually(lambda: pid not in stack.processes(), what="the death")  # until then it still takes connections
    assert stack.run(user, "cat ~/runs.txt") == "ran\n"


def test_what_an_instance_started_ends_with_it(fresh, user):
    stack = fresh(local_sandbox="none")
    stack.request(user, "POST", "/execute", {"command": "(setsid sleep 47110 &) ; sleep 47111"}).expect(200)
    eventually(lambda: stack.commands("sleep 47110") and stack.commands("sleep 47111"), what="both sleeps")
    stack.admin("POST", f"/tenants/{user}/stop").expect(200)
    eventually(lambda: not stack.commands("sleep 4711"), 5, what="the end of both")


@pytest.mark.skipif(not sandbox_works(), reason="bubblewrap does not work here")
def test_what_an_instance_started_ends_with_it_however_it_ends(fresh, user):
    stack = fresh(local_sandbox="bwrap")
    stack.request(user, "POST", "/execute", {"command": "(setsid sleep 47110 &) ; sleep 47111"}).expect(200)
    eventually(lambda: stack.commands("sleep 47110") and stack.commands("sleep 47111"), what="both sleeps")
    os.kill(stack.instance_pid(user), signal.SIGKILL)
    eventually(lambda: not stack.commands("sleep 4711"), 5, what="the end of both")


@pytest.mark.release_only  # it counts restarts in a time
def test_a_process_that_keeps_dying_does_not_busy_the_machine(fresh):
    """The supervisor backs off, and the rest serves on."""
    stack = fresh()
    stack.run("hot", "echo hot > ~/mine.txt")
    killed = 0
    began = time.monotonic()
    while time.monotonic() - began < 3 * SLOW:
        for pid in stack.process("terminals-api"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
        stack.request("hot", "GET", "/files/list").expect(200)
    assert killed < 40 * SLOW, f"restarted {killed} times in {3 * SLOW} s"
    eventually(lambda: stack.tenants(), 15, what="the api back again")
