"""Three nodes under load while one is killed, others are cut off, and the database is restarted."""
import itertools
import random
import signal
import threading
import time

import network
import pytest
from nodes_world import Nodes
from stack import SLOW, eventually

USERS = [f"user-{number}" for number in range(6)]
STEADY = USERS[:2]  # nobody stops these: whatever happens, they are served


class Client:
    """Asks one node for these users' instances, and of those who are not steady it stops one now and then. What it is told to
    ask again later (503 with Retry-After) it asks again."""

    def __init__(self, load, node, users, seed):
        self.load, self.node, self.users, self.seed = load, node, users, seed
        self.has_left = threading.Event()  # what it has in flight then is lost
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _ask(self, user):
        deadline = time.monotonic() + 40 * SLOW
        while True:
            answer = self.node.execute(user, "cat ~/who", timeout=60)
            if answer.status != 503 or answer.header("retry-after") is None or time.monotonic() > deadline:
                return answer
            self.has_left.wait(0.3)

    def _run(self):
        choose = random.Random(self.seed)
        for number in itertools.count():
            if self.load.is_over.is_set() or self.has_left.is_set():
                return
            user = choose.choice(self.users)
            try:
                if number % 10 == 9 and user not in STEADY:
                    self.node.admin("POST", f"/tenants/{user}/stop", timeout=60)
                    continue
                answer = self._ask(user)
                said = "".join(part["data"] for part in answer.json()["output"]) if answer.status == 200 else None
            except (OSError, ValueError, KeyError) as problem:
                answer, said = problem, None
            self._note(user, answer, said)

    def _note(self, user, answer, said):
        with self.load.lock:
            if said is not None and said.strip() == user:
                self.load.served[self.node] += 1
            elif said is not None and said.strip():
                self.load.wrong.append((user, said))
            elif not self.has_left.is_set():
                self.load.lost.append((self.node.port, user, getattr(answer, "status", answer), getattr(answer, "text", "")[:200]))


class Load:
    """Two clients of each node, as behind a load balancer that sticks: one asks for users whose instances run, the other one
    for all."""

    def __init__(self, nodes):
        self.clients = []
        self.lost, self.wrong, self.served = [], [], {node: 0 for node in nodes}
        self.lock = threading.Lock()
        self.is_over = threading.Event()
        for node in nodes:
            self.join(node)

    def join(self, node):
        self.clients += [Client(self, node, users, len(self.clients) + n) for n, users in enumerate((STEADY, USERS))]

    def leave(self, node):
        for client in self.clients:
            if client.node is node:
                client.has_left.set()

    def expect_more(self, nodes, count=10, timeout=60):
        before = dict(self.served)
        for node in nodes:
            eventually(lambda node=node: self.served[node] >= before[node] + count, timeout,
                       what=f"{count} more answers of the node on port {node.port}")

    def end(self):
        self.is_over.set()
        for client in self.clients:
            client.thread.join(90 * SLOW)


@pytest.fixture(params=["proxies", pytest.param("namespaces", marks=pytest.mark.skipif(
    not network.is_possible(), reason="network namespaces need a privilege that is missing here"))])
def nodes(request):
    """Their cables are proxies, or cables (network.py)."""
    if request.param == "proxies":
        with Nodes(3) as three:
            yield three
    else:
        with network.Network() as net, Nodes(3, network=net) as three:
            yield three


def next_leader(nodes, old):
    return eventually(lambda: nodes.leader() not in (None, old) and nodes.leader(), 30, what="the next leader")


@pytest.mark.release_only  # the same code meets a sanitizer in test_nodes.py
def test_nodes_under_load_lose_one_of_them_a_cable_a_leader_and_the_database(nodes):
    for user in USERS:
        nodes[0].run(user, f"echo {user} > ~/who")
    load = Load(nodes)
    load.expect_more(nodes)

    # One dies, and of the others one is without the database for as long as nobody leads.
    dead, (cut, other) = nodes.leader(), nodes.followers()
    nodes.cable_of(cut).cut()
    load.leave(dead)
    dead.kill_all()
    assert next_leader(nodes, dead) is other
    load.expect_more([cut, other])  # hot requests at the former
    if cut.machine:
        eventually(lambda: not nodes.sql(f"SELECT 1 FROM pg_stat_activity WHERE client_addr = '{cut.machine.database_address}'"), 30,
                   what="the end of the sessions of who is silent")
    nodes.cable_of(cut).mend()
    load.expect_more([cut, other])

    # Who leads then is cut off, where there are machines from everything.
    nodes.get_acquainted(2)
    if other.machine:
        load.leave(other)
        other.machine.cut()
    else:
        nodes.cable_of(other).cut()
    assert next_leader(nodes, other) is cut
    load.expect_more([cut] if other.machine else [cut, other])
    if other.machine:
        other.machine.mend()
        load.join(other)
    else:
        nodes.cable_of(other).mend()
    load.expect_more([cut, other])

    nodes.server.stop(signal.SIGINT)
    load.expect_more([cut, other], 3)
    nodes.server.start()
    load.expect_more([cut, other])

    load.end()
    began = time.monotonic()
    nodes.expect_equal_maps(2, [cut, other])
    print(f"served {sum(load.served.values())}, maps equal after {time.monotonic() - began:.2f} s")
    assert not load.wrong, load.wrong
    # A stop by one client cuts off what another one has in flight; nothing else may.
    lost = [one for one in load.lost if one[2] not in (502, 504)]
    assert not lost, lost
    nodes.expect_one_instance_each()
