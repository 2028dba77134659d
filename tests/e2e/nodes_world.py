"""Several nodes with one PostgreSQL and one cluster, in front of which no load balancer stands:

    with Nodes(3) as nodes:
        nodes[1].run("alice", "true")
        nodes.expect_equal_maps()
"""
import contextlib
import itertools
import json
import select
import shutil
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

from kubernetes_world import Cluster
from network import Network
from postgres_server import PostgresServer, psql_program
from stack import Stack, eventually, psql

_databases = itertools.count(1)


class Cable:
    """A Unix socket before PostgreSQL's, which can be cut: from then on bytes go in and none come out, on connections old
    and new, as with a cable that was pulled."""

    def __init__(self, folder, target):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True)
        self.target = target
        self.is_cut = False
        self.closing = False
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.folder / ".s.PGSQL.5432"))
        self.listener.listen(64)
        self.pairs = []
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self):
        while not self.closing:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client):
        server = socket.socket(socket.AF_UNIX)
        with client, server:
            with contextlib.suppress(OSError):
                server.connect(self.target)
                while True:
                    for ready in select.select([client, server], [], [], 0.05)[0]:
                        if self.is_cut:
                            break
                        data = ready.recv(1 << 16)
                        if not data:
                            return
                        (server if ready is client else client).sendall(data)
                    while self.is_cut and not self.closing:
                        # A cut cable shows nobody that the other end has gone.
                        threading.Event().wait(0.02)
                    if self.closing:
                        return

    def cut(self):
        self.is_cut = True

    def mend(self):
        self.is_cut = False

    def close(self):
        self.closing = True
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Nodes:
    """`settings` are those of all nodes, as of a Stack. Each node has its own cable to the database. In a `network` that the
    test has entered, each has a machine there, and database and cluster are on the one in the middle."""

    def __init__(self, count, cluster=None, server=None, network=None, **settings):
        self.network = network
        self.own_cluster = cluster is None
        self.folder = Path(tempfile.mkdtemp(prefix="tn-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.cluster = cluster or (Cluster(Network.HOST, Network.pod_address) if network else Cluster())
        self.own_server = server is None
        self.server = server or PostgresServer(address=Network.DATABASE if network else None)
        self.database = f"nodes_{next(_databases)}"
        self.server.sql(f"CREATE DATABASE {self.database}")
        self.common = {**self.cluster.settings(), "encryption_key": "of-all-nodes", "data_dir": self.folder / "homes",
                       **settings}
        self.nodes, self.cables = [], []
        self.numbers = itertools.count()
        for _ in range(count):
            self.add()

    def add(self, **settings):
        if self.network:
            machine = self.network.add_machine()
            cable, host = machine.database, Network.DATABASE
        else:
            machine = None
            cable = Cable(self.folder / f"c{next(self.numbers)}", f"{self.server.sockets}/.s.PGSQL.5432")
            host = cable.folder
        url = f"postgresql://postgres@/{self.database}?host={host}"
        self.cables.append(cable)
        self.nodes.append(Stack(machine=machine, **{**self.common, "database_url": url, **settings}))
        return self.nodes[-1]

    def __getitem__(self, index):
        return self.nodes[index]

    def __iter__(self):
        return iter(self.nodes)

    def __enter__(self):
        try:
            for node in self.nodes:
                node.start()
            eventually(self.leader, 20, what="a node that leads")
            self.get_acquainted()
        except BaseException:
            self._end(kill=True)
            raise
        return self

    def __exit__(self, failed, *_):
        self._end(kill=failed is not None)

    def _end(self, kill):
        try:
            for cable in self.cables:
                cable.mend()
            for node in self.nodes:
                if kill:
                    node.kill_all()
                else:
                    node.stop(timeout=30)
        finally:
            for node in self.nodes:
                node.kill_all()
                node.remove()
            for cable in self.cables:
                cable.close()
            if self.own_cluster:
                self.cluster.close()
            if self.own_server:
                self.server.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    # --- what there is ---

    def sql(self, text):
        return psql(self.server.url(self.database), text)

    @contextlib.contextmanager
    def locked(self, table):
        """Nobody gets on with this table meanwhile."""
        with subprocess.Popen([psql_program(), "-qAtX", "-d", self.server.url(self.database), "-f", "-"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True) as session:
            print(f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; SELECT 'locked';", file=session.stdin, flush=True)
            assert session.stdout.readline() == "locked\n"
            yield

    def _now(self):
        return int(self.sql("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::BIGINT")[0][0])

    def get_acquainted(self, count=None):
        """Waits until so many nodes (all) were seen and the leader has renewed its lease as one that knows of others, which is
        for six seconds (a lone one's is renewed for longer, as if it were in 24 s)."""
        since = self._now()
        eventually(lambda: int(self.sql(f"SELECT count(*) FROM nodes WHERE seen_at > {since}")[0][0]) >= (count or len(self.nodes)),
                   20, what="all nodes")
        came = self._now()
        if len(self.nodes) > 1:
            eventually(lambda: came < int(self.sql("SELECT renewed_at FROM leadership")[0][0]) <= self._now(), 20, what="a renewed lease")

    def seen(self):
        """How many milliseconds ago each node was heard of, by its name, which ends with its run folder."""
        return {name: self._now() - int(at) for name, at in self.sql("SELECT name, seen_at FROM nodes")}

    def silence(self, node):
        """For how many seconds nobody has heard of it."""
        return next(age for name, age in self.seen().items() if str(node.folder) in name) / 1000

    def leader(self):
        """The node that leads, if its lease holds."""
        rows = self.sql("SELECT nodes.name FROM leadership JOIN nodes ON nodes.id = leadership.node_id "
                        "WHERE renewed_at > extract(epoch FROM clock_timestamp()) * 1000 - 6000")
        return next((node for node in self.nodes if rows and str(node.folder) in rows[0][0]), None)

    def followers(self):
        leader = eventually(self.leader, 20, what="a node that leads")
        return [node for node in self.nodes if node is not leader and node.reaper is not None]

    def cable_of(self, node):
        return self.cables[self.nodes.index(node)]

    def maps(self, name="routes", nodes=None):
        """What each node's HAProxy holds in memory."""
        return [node.haproxy_map(name) for node in nodes or self.nodes if node.reaper is not None]

    def expect_one_instance_each(self):
        """By the cluster's own log, no user ever had two pods at once, and no claim two processes."""
        alive = {}
        for _, kind, plural, value in self.cluster.api.history:
            if plural != "pods":
                continue
            meta = value["metadata"]
            key = tuple(volume["persistentVolumeClaim"]["claimName"] for volume in value["spec"].get("volumes") or []
                        if "persistentVolumeClaim" in volume) or (meta["name"],)
            pods = alive.setdefault(key, set())
            if kind == "DELETED":
                pods.discard(meta["uid"])
            else:
                pods.add(meta["uid"])
            assert len(pods) <= 1, f"{key} had {pods} at once"

    def pods_of(self, user):
        """How many pods a user has had."""
        return sum(kind == "ADDED" and plural == "pods" and user in json.dumps(value["metadata"])
                   for _, kind, plural, value in self.cluster.api.history)

    def pods_made(self):
        """How many pods there have been."""
        return sum(kind == "ADDED" and plural == "pods" for _, kind, plural, _ in self.cluster.api.history)

    def expect_equal_maps(self, timeout=2, nodes=None):
        for name in ("routes", "identities"):
            def are_equal(name=name):
                first, *rest = self.maps(name, nodes)
                assert all(other == first for other in rest), [sorted(m) for m in (first, *rest)]
                return True

            eventually(are_equal, timeout, what=f"equal {name} on all nodes")
