"""WebSockets through HAProxy, its reload and its log. The peers are scripted."""
import json
import re
import signal
import subprocess
import time

import pytest
from haproxy_peers import Client, answer, route_key
from haproxy_world import CONFIGURATION, HAPROXY, INSTANCE_KEY, KEY, SWITCHING, UPGRADE
from haproxy_world import make_world, shared, world  # noqa: F401 (fixtures)

pytestmark = pytest.mark.release_only  # HAProxy and scripted peers: nothing of ours runs


# ---- WebSockets


@pytest.mark.parametrize(
    "target, seen",
    [("/api/terminals/abc?token=t", "/api/terminals/abc?token=t"), ("/terminals/p/gpu/api/terminals/abc", "/api/terminals/abc")],
)
def test_a_shell_is_always_the_gates(world, target, seen):
    world.gate.script = lambda request: SWITCHING
    client = Client(world.port)
    got = client.request(target, [f"Authorization: Bearer {KEY}", "X-User-Id: u", *UPGRADE])
    assert got.status == 101, got
    assert client.send(b"both ways").wire.exactly(9) == b"both ways"
    assert world.gate.last.target == seen and world.instance.requests == []
    client.close()
    assert world.hot("/api/terminals/abc").body == b"instance"


def test_another_websocket_is_pushed_like_any_request(world):
    world.instance.script = lambda request: SWITCHING
    client = Client(world.port)
    got = client.request("/proxy/8080/ws", [f"Authorization: Bearer {KEY}", "X-User-Id: u", *UPGRADE])
    assert got.status == 101, got
    assert client.send(b"both ways").wire.exactly(9) == b"both ways"
    table = world.command("show table tenants")
    assert f"key={route_key('u')}" in table and "conn_cur=1" in table, table
    client.close()


def test_a_user_may_have_so_many_websockets_and_others_as_many(make_world):
    world = make_world(USER_WEBSOCKET_LIMIT="2")
    world.route("v")
    world.start()
    world.instance.script = lambda request: SWITCHING if request.get("Upgrade") else answer()

    def open_for(user):
        client = Client(world.port)
        return client, client.request("/proxy/8080/ws", [f"Authorization: Bearer {KEY}", f"X-User-Id: {user}", *UPGRADE]).status

    mine = [open_for("u") for _ in range(2)]
    assert [status for _, status in mine] == [101, 101]
    assert open_for("u")[1] == 429
    assert world.hot("/x").status == 200
    assert open_for("v")[1] == 101
    mine[0][0].close()
    deadline = time.monotonic() + 20
    while open_for("u")[1] != 101:
        assert time.monotonic() < deadline, "a WebSocket that ended counts for ever"
        time.sleep(0.05)


def test_only_what_reaches_an_instance_counts_as_activity(make_world):
    world = make_world().start()
    world.get("/x", ["X-User-Id: u"])
    world.get("/health")
    world.hot("/..")
    assert "key=" not in world.command("show table tenants")
    world.hot("/x")
    assert f"key={route_key('u')}" in world.command("show table tenants")


# ---- Operation


def test_a_second_one_on_the_same_port_is_told_so_and_takes_no_share_of_the_requests(make_world):
    world = make_world().start()
    other = make_world(PORT=str(world.port))
    second = subprocess.run([HAPROXY, "-W", "-f", str(other.configuration)], env=other.environment, capture_output=True, text=True, timeout=60)
    assert second.returncode != 0 and "Address already in use" in second.stderr


def test_a_reload_drops_nothing(make_world):
    world = make_world()
    world.instance.script = lambda request: SWITCHING
    world.start()
    client = Client(world.port)
    client.request("/proxy/8080/ws", [f"Authorization: Bearer {KEY}", "X-User-Id: u", *UPGRADE])
    before = re.search(r"Pid: (\d+)", world.command("show info")).group(1)
    world.process.send_signal(signal.SIGUSR2)
    deadline = time.monotonic() + 10
    while True:
        assert world.get("/x").body == b"gate"
        try:
            if re.search(r"Pid: (\d+)", world.command("show info")).group(1) != before:
                break
        except OSError:
            pass
        assert time.monotonic() < deadline, world.logged()
    assert client.send(b"still here").wire.exactly(10) == b"still here"
    client.close()


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_access_log_holds_no_secret(make_world, log_format):
    world = make_world(ACCESS_LOG="true", LOG_FORMAT=log_format).start()
    world.hot("/terminals/x?token=secret-in-query", ["X-Request-Id: the-id"])
    deadline = time.monotonic() + 5
    while "the-id" not in world.logged():
        assert time.monotonic() < deadline, world.logged()
    line = next(line for line in world.logged().splitlines() if "the-id" in line)
    assert "secret-in-query" not in line and KEY not in line and INSTANCE_KEY not in line
    path = json.loads(line)["path"] if log_format == "json" else re.search(r"path=(\S+)", line).group(1)
    assert path == "/terminals/x"


def test_nothing_is_logged_unless_asked_for(make_world):
    world = make_world().start()
    world.hot("/quiet")
    assert "/quiet" not in world.logged()


def test_what_a_connection_remembers_is_used_in_one_go():
    """The requests of an HTTP/2 connection share its memory (`sess.`). HAProxy 2.6 runs all rules for one of them before it turns to
    another; from 3.2 on it does so for fifty at a time (tune.max-rules-at-once). So the rules that write or read it are the first
    fifty, however many of them the settings leave out; but for what only HTTP/1 uses, which has one request at a time."""
    text = CONFIGURATION.read_text()
    frontend = text[text.index("\nfrontend public"):text.index("\nfcgi-app ")]
    # Nothing is remembered where requests are limited, and CORS is either for all or for some.
    for start, end in [('.if strneq("${TERMINALS_USER_RATE_LIMIT}",0)', ".endif"), ('.if streq("${TERMINALS_CORS_ALLOWED_ORIGINS}",*)', ".elif")]:
        before, rest = frontend.split(start, 1)
        frontend = before + rest.split(end, 1)[1]
    rules = rules_of(frontend)
    noted = [number for number, line in enumerate(rules, 1) if line.startswith("http-request set-var(sess.")]
    assert "set-var(sess.head)" in rules[noted[-1] - 1] and "{ fc_http_major 1 }" in rules[noted[-1] - 1]
    decided = next(number for number, line in enumerate(rules, 1) if line.startswith("http-request set-var(txn.to_tenant)"))
    for_http_1 = {re.search(r"sess\.\w+", rules[number - 1]).group() for number in noted if number > decided}
    remembering = [number for number, line in enumerate(rules, 1) if set(re.findall(r"sess\.\w+", line)) - for_http_1 or "unique-id" in line]
    assert remembering and remembering[-1] < 50, rules[remembering[-1] - 1]
    again = text[text.index("\nbackend tenant_again"):text.index("\nbackend tenants")]
    others = text.replace(text[text.index("\nfrontend public"):text.index("\nfcgi-app ")], "").replace(again, "")
    assert all("sess." not in line or "sess.client" in line for line in rules_of(others))


def rules_of(text):
    return [line.strip() for line in text.splitlines() if line.strip().startswith("http-request ")]
