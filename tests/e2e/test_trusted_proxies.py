"""Who the client is, behind proxies: everybody behind HAProxy is told the same, and a client cannot choose."""
import pytest
from haproxy_peers import Client
from haproxy_world import KEY, World
from ports import free_port

TRUSTED = "127.0.0.1 10.0.0.0/8 fd00::/8"  # separated by spaces, as `terminals serve` passes it on


@pytest.fixture(scope="module")
def behind():
    world = World(TRUSTED_PROXIES=TRUSTED)
    world.route("gone", to=("127.0.0.1", free_port()))  # its instance refuses connections
    world.start()
    yield world
    world.stop()


CASES = [
    ("192.0.2.1", "192.0.2.1"),
    ("198.51.100.66, 192.0.2.2", "192.0.2.2"),  # the first may be made up
    ("192.0.2.3, 10.1.2.3", "192.0.2.3"),
    ("192.0.2.99,192.0.2.4 ,10.9.9.9 , 10.1.2.3", "192.0.2.4"),
    ("2001:db8::5, fd00::1", "2001:db8::5"),
    ("192.0.2.8, 10.0.0.4, 10.0.0.3, 10.0.0.2, 10.0.0.1", "10.0.0.4"),  # five hops: four are looked at
    ("10.0.0.9", "10.0.0.9"),  # a client inside
    ("192.0.2.6, unknown", "127.0.0.1"),  # the proxy does not know: what is before is anybody's word
    ("192.0.2.7, unknown, 10.1.2.3", "10.1.2.3"),
    ("192.0.2.7, , 10.1.2.3", "10.1.2.3"),
    ("' OR 1=1", "127.0.0.1"),
    (None, "127.0.0.1"),
]


@pytest.mark.parametrize("forwarded, client", CASES)
def test_everybody_is_told_the_same_client(behind, forwarded, client):
    headers = [f"X-Forwarded-For: {forwarded}"] if forwarded else []
    assert behind.hot("/files/list", headers).status == 200
    assert behind.instance.last.get("X-Forwarded-For") == client
    assert behind.get("/files/list", headers).status == 200  # no token: the gate's
    assert behind.gate.last.get("X-Terminals-Client") == client
    assert behind.gate.last.get("X-Forwarded-For") == client
    assert behind.hot("/api/v1/stats", headers).status == 200
    assert behind.admin.last["TERMINALS_CLIENT"] == client
    assert behind.hot("/files/list", headers, user="gone").body == b"recovered"
    assert behind.recover.last.get("X-Terminals-Client") == client


def test_two_headers_are_one_list(behind):
    behind.get("/x", ["X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.2, 10.0.0.1"])
    assert behind.gate.last.get("X-Terminals-Client") == "192.0.2.2"


def test_a_connection_of_a_proxy_carries_many_clients(behind):
    """What one request said must not stick to the next."""
    client = Client(behind.port)
    for forwarded, expected in (("192.0.2.1", "192.0.2.1"), (None, "127.0.0.1"), ("192.0.2.2", "192.0.2.2"), (None, "127.0.0.1")):
        headers = [f"Authorization: Bearer {KEY}", "X-User-Id: u"]
        client.request("/files/list", headers + ([f"X-Forwarded-For: {forwarded}"] if forwarded else []))
        assert behind.instance.last.get("X-Forwarded-For") == expected
    client.close()


@pytest.mark.parametrize("trusted", [None, "10.0.0.0/8 192.0.2.0/24"])
def test_who_is_not_trusted_cannot_choose(trusted):
    world = World(**({"TRUSTED_PROXIES": trusted} if trusted else {})).start()
    try:
        world.get("/x", ["X-Forwarded-For: 192.0.2.1"])
        assert world.gate.last.get("X-Terminals-Client") == "127.0.0.1"
        assert world.gate.last.get("X-Forwarded-For") == "127.0.0.1"
        world.hot("/", ["X-Forwarded-For: 192.0.2.1"])
        assert world.instance.last.get("X-Forwarded-For") == "127.0.0.1"
    finally:
        world.stop()
