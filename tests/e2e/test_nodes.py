"""Several nodes with one PostgreSQL that act as one (docs/clustering.md)."""
import contextlib
import itertools
import json
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from nodes_world import Nodes
from stack import SLOW, eventually, route_key
from test_idle import reap
from tokens import SECRET, digest, jwt

IDLE_SECONDS = 4 * SLOW
TAKEOVER = 20  # a lease of six seconds, and what comes after it


@pytest.fixture(scope="module")
def three():
    """Nodes for tests that break nothing."""
    with Nodes(3, jwt_secret=SECRET, idle_timeout_seconds=IDLE_SECONDS) as nodes:
        yield nodes


_users = (f"user-{number}" for number in itertools.count(1))


@pytest.fixture
def user():
    return next(_users)


def kill_node(node):
    """The whole node, as when its machine loses power: nothing of it says goodbye."""
    node.kill_all()


def is_nowhere(nodes, user):
    return all(route_key(user) not in routes for routes in nodes.maps())


def is_everywhere(nodes, user):
    values = {routes.get(route_key(user)) for routes in nodes.maps()}
    return len(values) == 1 and None not in values


# --- one instance for all nodes --------------------------------------------------------------------------------------


def test_a_user_has_the_same_instance_on_every_node(three, user):
    three[0].run(user, "echo once > ~/file")
    for node in three:
        assert node.run(user, "cat ~/file") == "once\n"
    assert three.pods_of(user) == 1
    three.expect_equal_maps()


def test_first_requests_at_all_nodes_at_once_start_one_instance(three, user):
    with ThreadPoolExecutor(12) as pool:
        said = list(pool.map(lambda number: three[number % 3].run(user, "echo $$ >/dev/null; echo here"), range(12)))
    assert said == ["here\n"] * 12
    assert three.pods_of(user) == 1
    three.expect_one_instance_each()


def test_a_start_a_stop_and_a_death_change_all_maps(three, user):
    for node, other in itertools.permutations(three, 2):
        node.run(user, "true")
        eventually(lambda: is_everywhere(three, user), 2, what="the route on all nodes")
        other.admin("POST", f"/tenants/{user}/stop").expect(200)
        eventually(lambda: is_nowhere(three, user), 2, what="the end of the route on all nodes")
    three[0].run(user, "true")
    pod = three.cluster.pod(user, three[0])
    eventually(lambda: is_everywhere(three, user), 2, what="the route on all nodes")
    three.cluster.kubelet.process_of(pod).kill()
    eventually(lambda: is_nowhere(three, user), 5, what="the end of the route of what died")
    assert [node.run(user, "echo again") for node in three] == ["again\n"] * 3


def test_what_runs_is_reached_at_a_node_without_asking_the_leader(three, user):
    follower = three.followers()[0]
    three.leader().run(user, "true")
    eventually(lambda: is_everywhere(three, user), 2, what="the route on all nodes")
    with three.leader().stopped("terminals-provisioner"):
        # The node does not know this token: the gate takes the request.
        token = jwt(user)
        follower.request(user, "GET", "/files/list", key=token, timeout=5).expect(200)
        shell = follower.shell(user)
        shell.send(b"echo in-the-shell-$((1+1))\n")
        shell.read_until(b"in-the-shell-2")
        shell.close()


def test_every_node_answers_for_all(three, user):
    one, two, other = three
    one.admin("POST", "/policies", json_body={"id": f"p-{user}", "data": {"env": {"MARK": "first"}}}).expect(201)
    assert two.run(user, "echo $MARK", prefix=f"/p/p-{user}") == "first\n"
    other.admin("PUT", f"/policies/p-{user}", json_body={"env": {"MARK": "second"}}).expect(200)
    assert {node.admin("GET", f"/policies/p-{user}").expect(200).json()["data"]["env"]["MARK"] for node in three} == {"second"}
    query = f"policy_id=p-{user}"
    two.admin("POST", f"/tenants/{user}/stop?{query}").expect(200)
    assert one.run(user, "echo $MARK", prefix=f"/p/p-{user}") == "second\n"
    seen = [[tenant["status"] for tenant in node.tenants(f"?{query}")] for node in three]
    assert seen == [["running"]] * 3
    assert len({json.dumps(node.admin("GET", "/stats").expect(200).json()["tenants"]) for node in three}) == 1
    other.admin("DELETE", f"/tenants/{user}?{query}").expect((200, 204))
    eventually(lambda: all(not node.tenants(f"?{query}") for node in three), what="the end of the tenant")


def test_a_token_that_one_node_has_checked_is_known_to_all(three, user):
    token = jwt(user)
    three[0].request(user, "GET", "/files/list", key=token).expect(200)
    eventually(lambda: all(digest(token) in known for known in three.maps("identities")), 5, what="the token everywhere")
    three.expect_equal_maps()


# --- activity --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def going_on(act):
    """Does it again and again meanwhile, so that no pause is as long as the idle timeout."""
    is_over, problems = threading.Event(), []

    def run():
        while not is_over.is_set():
            try:
                act()
            except Exception as problem:  # the thread's own end must not look like success
                problems.append(problem)
                return
            is_over.wait(0.1)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
    assert not problems, problems


def expect_kept(node, other, user):
    """For twice the idle timeout, however often somebody looks."""
    until = time.monotonic() + 2 * IDLE_SECONDS
    while time.monotonic() < until:
        reap(other)
        assert node.tenant(user)["status"] == "running"


@pytest.mark.release_only  # what idle means, over seconds that SLOW makes minutes
def test_what_one_node_serves_no_other_calls_idle(three, user):
    leader, follower = three.leader(), three.followers()[0]
    idle = f"idle-{user}"
    for name in (user, idle):
        leader.run(name, "true")
    eventually(lambda: is_everywhere(three, user), 2, what="the route on all nodes")
    with going_on(lambda: follower.run(user, "true")):  # hot: nobody but that HAProxy sees it
        expect_kept(leader, follower, user)
        eventually(lambda: reap(follower) and follower.tenant(idle)["status"] == "stopped", 30, what="the cleanup of the idle one")
        assert follower.tenant(user)["status"] == "running"
    eventually(lambda: is_nowhere(three, idle), 2, what="the end of its route on all nodes")


@pytest.mark.release_only  # the same
def test_a_shell_on_one_node_keeps_its_instance(three, user):
    leader, follower = three.leader(), three.followers()[0]
    shell = follower.shell(user)

    def use():
        shell.send(b"echo still-$((1+1))\n")
        shell.read_until(b"still-2")

    with going_on(use):
        expect_kept(follower, leader, user)
    shell.close()


def test_cleanup_asked_at_one_node_ends_the_route_on_all(three, user):
    three[0].run(user, "true")
    eventually(lambda: is_everywhere(three, user), 2, what="the route on all nodes")
    eventually(lambda: reap(three[1]) and three[2].tenant(user)["status"] == "stopped", 20, what="the cleanup")
    eventually(lambda: is_nowhere(three, user), 2, what="the end of its route on all nodes")


def test_the_audit_log_is_one(three, user):
    for node in three:
        node.request(user, "GET", "/files/list", key=f"wrong-{user}").expect_error(401)
    three[1].run(user, "true")

    def rows(action):
        return [row for row in three[2].admin("GET", f"/audit-logs?action={action}&limit=1000").expect(200).json()]

    eventually(lambda: len(rows("auth_failed")) >= 3, 10, what="the rows of all nodes")
    assert [row["user_id"] for row in rows("tenant_created")].count(user) == 1


# --- who may be a node -----------------------------------------------------------------------------------------------


def test_a_node_with_another_backend_or_key_is_refused(three):
    for settings, words in (({"backend": "static", "static_host": "127.0.0.1", "static_port": 1, "static_api_key": "x"},
                             "have the backend `kubernetes`"),
                            ({"encryption_key": "another"}, "encryption")):
        stranger = three.add(**settings)
        try:
            stranger.launch()
            eventually(lambda stranger=stranger, words=words: words in stranger.err(), 20, what=f"a refusal with `{words}`")
        finally:
            stranger.kill_all()
            three.nodes.remove(stranger)
            three.cables.pop().close()
            stranger.remove()
    assert three.leader().request(None, "GET", "/health", key=None).status == 200


def test_static_nodes_share_their_instance(fake):
    settings = {"backend": "static", "static_host": "127.0.0.1", "static_port": fake.port, "static_api_key": "key-of-the-instance",
                "image": None, "kubernetes_kubeconfig": None}
    with Nodes(2, **settings) as nodes:
        for node in nodes:
            node.request("alice", "GET", "/files/list").expect(200)
        nodes.expect_equal_maps()
        kill_node(nodes.leader())
        survivor = next(node for node in nodes if node.reaper is not None)
        survivor.request("alice", "GET", "/files/list").expect(200)
        survivor.request("bob", "GET", "/files/list", timeout=TAKEOVER).expect(200)


def test_a_restore_waits_for_no_node_and_is_refused_while_one_lives():
    with Nodes(2) as nodes:
        nodes[0].run("alice", "true")
        file = str(nodes.folder / "backup.tar")
        assert nodes[1].terminals("backup", file).returncode == 0
        nodes[0].run("bob", "true")
        elsewhere = nodes.add()
        refused = elsewhere.terminals("restore", file, "--force")
        assert refused.returncode == 1 and "stop Terminals on all nodes first" in refused.stderr, refused.stderr
        assert nodes[1].run("bob", "echo there") == "there\n"
        for node in list(nodes)[:2]:
            node.stop(signal.SIGTERM)
        done = elsewhere.terminals("restore", file, "--force")
        assert done.returncode == 0, done.stderr
        for node in list(nodes)[:2]:
            node.start()
        assert [[tenant["user_id"] for tenant in node.tenants()] for node in list(nodes)[:2]] == [["alice"]] * 2
        nodes.expect_equal_maps(10)


def test_a_node_that_ends_while_it_takes_the_lead_says_goodbye():
    """Or all others would wait for the end of its lease, and a restore for its silence."""
    with Nodes(2) as nodes:
        leader, heir = nodes.leader(), nodes.followers()[0]
        with nodes.locked("policies"):
            leader.stop(signal.SIGTERM)
            # It is between its two roles: what leads reads the policies.
            eventually(lambda: nodes.sql("SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'policies'::regclass"), 20,
                       what="a leader that is not ready")
            ending = threading.Thread(target=heir.stop, args=(signal.SIGTERM,))
            ending.start()
            eventually(lambda: not heir.process("haproxy"), 20, what="the first step of its end")
        ending.join()
        assert not nodes.seen()


# --- what dies -------------------------------------------------------------------------------------------------------


def test_when_the_leader_dies_another_node_goes_on():
    with Nodes(3) as nodes:
        dead, survivors = nodes.leader(), nodes.followers()
        survivors[0].run("alice", "echo kept > ~/file")
        pod = nodes.cluster.pod("alice", survivors[0])["metadata"]["uid"]
        kill_node(dead)
        assert survivors[1].run("alice", "cat ~/file") == "kept\n"  # hot: nobody had to notice
        # Cold ones wait for the next leader, at both.
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(lambda node: node.run("bob", "echo served", timeout=TAKEOVER * 3), survivors)) == ["served\n"] * 2
        assert nodes.leader() in survivors
        assert nodes.cluster.pod("alice", survivors[0])["metadata"]["uid"] == pod, "the instance did not outlive its node"
        nodes.expect_one_instance_each()
        # It comes back, and finds what has happened.
        dead.start()
        assert dead.run("bob", "echo known") == "known\n"
        nodes.expect_equal_maps(10)


def test_a_start_that_dies_with_its_node_is_done_by_the_next():
    with Nodes(2) as nodes:
        dead, survivor = nodes.leader(), nodes.followers()[0]
        survivor.run("warm-up", "true")
        nodes.cluster.kubelet.delay = 3  # less than a lease: a pod that does not run when the next one leads is replaced
        said = []
        asking = threading.Thread(target=lambda: said.append(survivor.run("alice", "echo served", timeout=60)))
        asking.start()
        eventually(lambda: "alice" in str(nodes.cluster.pods()), 10, what="the pod of the start under way")
        kill_node(dead)
        asking.join(60 * SLOW)
        assert said == ["served\n"]
        assert nodes.pods_of("alice") == 1
        nodes.expect_one_instance_each()


def test_a_leader_that_is_told_to_end_hands_over_at_once():
    with Nodes(2) as nodes:
        first, second = nodes.leader(), nodes.followers()[0]
        first.run("alice", "true")
        began = time.monotonic()
        first.stop(signal.SIGTERM)
        assert second.run("bob", "echo served", timeout=20) == "served\n"
        assert second.run("alice", "echo there") == "there\n"
        assert "this node leads" in second.err()
        assert time.monotonic() - began < 6 * SLOW, "the lease had to run out"


def test_a_node_without_its_database_serves_who_is_hot_and_learns_the_rest_later():
    with Nodes(3) as nodes, ThreadPoolExecutor() as pool:
        cut = nodes.followers()[0]
        others = [node for node in nodes if node is not cut]
        for name in ("alice", "bob"):
            others[0].run(name, "true")
        eventually(lambda: is_everywhere(nodes, "bob"), 5, what="the routes")
        eventually(lambda: cut.haproxy_map("identities"), what="the key")
        nodes.cable_of(cut).cut()
        # The first of them finds out that the database is away; the others come over connections that are made then.
        asked = [pool.submit(cut.admin, "POST", "/tenants/alice/start", timeout=60) for _ in range(4)]
        asked.append(pool.submit(cut.admin, "GET", "/tenants/alice", timeout=60))
        assert cut.run("alice", "echo hot") == "hot\n"
        others[1].admin("POST", "/tenants/bob/stop").expect(200)
        others[1].run("carol", "true")
        cut.request("dave", "GET", "/files/list", timeout=60).expect_error(503)
        for one in asked:
            assert one.result().expect_error(503).header("retry-after")
        assert cut.run("alice", "echo still-hot") == "still-hot\n"
        nodes.cable_of(cut).mend()
        nodes.expect_equal_maps(20)
        assert cut.run("carol", "echo known") == "known\n"
        assert cut.run("bob", "echo anew") == "anew\n"
        nodes.expect_one_instance_each()


def test_a_leader_that_is_cut_off_is_followed_by_another_and_comes_back_as_one_of_them():
    with Nodes(3) as nodes:
        cut, others = nodes.leader(), nodes.followers()
        others[0].run("alice", "echo kept > ~/file")
        nodes.cable_of(cut).cut()
        assert others[0].run("bob", "echo served", timeout=TAKEOVER * 3) == "served\n"
        assert nodes.leader() in others
        eventually(lambda: "does not lead any more" in cut.err(), 20, what="the old leader's insight")
        nodes.cable_of(cut).mend()
        nodes.expect_equal_maps(20)
        assert cut.run("carol", "echo served", timeout=60) == "served\n"
        assert nodes.leader() in others
        assert [node.run("alice", "cat ~/file") for node in nodes] == ["kept\n"] * 3
        nodes.expect_one_instance_each()
        assert nodes.pods_made() == 3


def test_a_lone_leader_that_is_cut_off_is_given_time_by_who_comes_then():
    """It could not hear that it is not alone any more."""
    with Nodes(1) as nodes:
        alone = nodes[0]
        alone.run("alice", "true")
        newcomer = nodes.add()
        nodes.cable_of(newcomer).cut()
        newcomer.launch()
        eventually(lambda: newcomer.process("terminals-provisioner"), 20, what="a node that waits for its database")
        nodes.cable_of(alone).cut()
        nodes.cable_of(newcomer).mend()
        eventually(lambda: len(nodes.seen()) == 2, 20, what="the newcomer")
        eventually(lambda: nodes.silence(alone) > 7, 30, what="a silence longer than the lease of one of several")
        nodes.cable_of(alone).mend()
        nodes.get_acquainted()
        assert nodes.leader() is alone
        assert "does not lead any more" not in alone.err()
        eventually(lambda: newcomer.run("bob", "echo served") == "served\n", 20, what="a cold start asked for at the newcomer")


def test_a_node_whose_run_folder_was_in_memory_leads_again_at_once_if_it_keeps_its_name(tmp_path):
    """As with `docker-compose down` and `up`: the database ends beside it, before it can give the lead away."""
    with Nodes(1) as nodes:
        nodes[0].stop(signal.SIGTERM)
        node = nodes.add()
        kept = tmp_path / "node"
        kept.mkdir()

        def make_run_folder():
            shutil.rmtree(node.folder / "run", ignore_errors=True)
            (node.folder / "run").mkdir(mode=0o700)
            (node.folder / "run/node").symlink_to(kept)

        make_run_folder()
        node.start()
        node.run("alice", "true")
        counts_on_the_lead = "SELECT renewed_at > extract(epoch FROM clock_timestamp()) * 1000 FROM leadership"
        eventually(lambda: nodes.sql(counts_on_the_lead) == [("t",)], 20, what="the lease of one that is alone")
        nodes.server.stop()
        node.stop(signal.SIGTERM)
        assert "leave the other nodes" in node.err()
        make_run_folder()
        nodes.server.start()
        node.start()
        assert node.tenant("alice")["status"] == "running"
        intruder = nodes.add()
        (intruder.folder / "run").mkdir(mode=0o700)
        (intruder.folder / "run/node").symlink_to(kept)
        intruder.launch()
        eventually(lambda: "another terminals-provisioner works in" in intruder.err(), 20, what="that a name is one node's")
        intruder.kill_all()


def test_a_leader_that_stood_still_does_nothing_when_it_goes_on():
    """What it had begun is another node's by then."""
    with Nodes(2) as nodes:
        old, other = nodes.leader(), nodes.followers()[0]
        nodes.cluster.kubelet.delay = 2 * SLOW
        said = []
        asking = threading.Thread(target=lambda: said.append(other.run("alice", "echo served", timeout=90)))
        asking.start()
        eventually(lambda: "alice" in str(nodes.cluster.pods()), 10, what="the pod of the start under way")
        with old.stopped("terminals-provisioner"):
            asking.join(60 * SLOW)
            assert said == ["served\n"]
            pod = nodes.cluster.pod("alice", other)["metadata"]["uid"]
        eventually(lambda: "does not lead any more" in old.err(), 20, what="the old leader's insight")
        nodes.expect_equal_maps(20)
        assert old.run("alice", "echo there") == "there\n"
        assert nodes.cluster.pod("alice", other)["metadata"]["uid"] == pod, "the old leader has ended what is not its own any more"
        nodes.expect_one_instance_each()


def test_postgresql_is_restarted_and_all_go_on():
    with Nodes(3) as nodes:
        leader = nodes.leader()
        for node in nodes:
            node.run("alice", "true")
        for how in (signal.SIGINT, signal.SIGQUIT):
            nodes.server.stop(how)
            assert [node.run("alice", "echo hot") for node in nodes] == ["hot\n"] * 3
            nodes.server.start()
            name = f"after-{how}"
            eventually(lambda name=name: nodes.followers()[0].run(name, "echo served", timeout=30) == "served\n", 30,
                       what="a cold start again")
            nodes.expect_equal_maps(10)
        assert leader in list(nodes)
        nodes.expect_one_instance_each()
