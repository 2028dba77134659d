"""A database that is silent, as behind a cable that was pulled: no refusal, no answer."""
import subprocess

import network
import pytest
from postgres_server import PostgresServer
from stack import Stack

SILENT = "10.1.0.77"

pytestmark = pytest.mark.skipif(not network.is_possible(), reason="network namespaces need a privilege that is missing here")


def test_of_two_hosts_the_second_one_serves_while_the_first_one_is_silent():
    """As after a failover: `db1` has lost its power."""
    with network.Network() as net, PostgresServer(address=net.DATABASE) as server:
        machine = net.add_machine()
        # Whoever has no address on the wire is unreachable; a machine that was there a moment ago is silent.
        subprocess.run([*machine.enter, "ip", "neighbour", "add", SILENT, "lladdr", "02:00:00:00:00:77", "dev", "database"], check=True)
        node = Stack(machine=machine, database_url=f"postgresql://postgres@{SILENT},{net.DATABASE}/postgres")
        try:
            done = node.terminals("db", "upgrade", timeout=60)
            assert done.returncode == 0, done.stderr
            assert server.sql("SELECT count(*) FROM nodes") == "0"
        finally:
            node.remove()
