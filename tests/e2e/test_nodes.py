"""Several nodes with one PostgreSQL that act as one (docs/clustering.md)."""
import pytest

from nodes_world import Nodes
from stack import eventually, route_key


@pytest.fixture(scope="module")
def three():
    with Nodes(3) as nodes:
        yield nodes


def test_a_user_has_the_same_instance_on_every_node(three):
    three[0].run("alice", "echo once > ~/file")
    for node in three:
        assert node.run("alice", "cat ~/file") == "once\n"
    assert len([name for name in three.cluster.pods()]) == 1
    three.expect_equal_maps()
