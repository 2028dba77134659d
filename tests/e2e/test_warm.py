"""Warm starts: instances that are kept ready, and become their user's with his own folder."""
import concurrent.futures
import os
import signal

import pytest
from stack import SLOW, Stack, eventually

SANDBOXES = ["bwrap", "none"]


def keep_warm(stack, count, policy="default", **data):
    stack.admin("PUT", f"/policies/{policy}", json_body={"data": {"warm": count, **data}}).expect(200)


def warm(stack):
    return stack.admin("GET", "/stats").expect(200).json()["warm_starts"]


def wait_ready(stack, count):
    eventually(lambda: warm(stack)["ready"] == count, 20, what=f"{count} warm instances")


@pytest.fixture(params=SANDBOXES)
def stack(request):
    with Stack(local_sandbox=request.param) as running:
        yield running


def test_a_warm_instance_becomes_its_users_with_his_own_folder(stack):
    (stack.home("ann")).mkdir(parents=True)
    (stack.home("ann") / "before").write_text("mine\n")
    keep_warm(stack, 2)
    wait_ready(stack, 2)
    before = set(stack.instances())
    assert stack.tenants() == [] and stack.admin("GET", "/terminals").json() == []
    assert stack.admin("GET", "/status").json()["active_terminals"] == 0
    assert stack.run("ann", "cat ~/before; echo new > after; pwd -P; ls /tmp/x 2>&1 | wc -l").startswith("mine\n")
    assert (stack.home("ann") / "after").read_text() == "new\n"
    assert stack.instance_pid("ann") in before, "it was not one of those that were ready"
    assert stack.run("bob", "ls ~") == "" and stack.instance_pid("bob") in before
    assert stack.request("ann", "GET", "/files/read?path=after").expect(200).json()["content"] == "new\n"
    shell = stack.shell("ann")
    shell.send(b"cat before; exit\n")
    shell.read_until(b"mine")
    wait_ready(stack, 2)
    assert (warm(stack)["hits"], warm(stack)["misses"]) == (2, 0)
    assert {row["user_id"]: row["status"] for row in stack.tenants()} == {"ann": "running", "bob": "running"}
    actions = [(row["action"], row["user_id"]) for row in stack.admin("GET", "/audit-logs").json()]
    assert actions.count(("tenant_started", "ann")) == 1 and all(user in ("ann", "bob", None) for _, user in actions)
    # Stopped and started again, it is the same folder, cold or warm.
    stack.admin("POST", "/tenants/ann/stop").expect(200)
    assert stack.run("ann", "cat ~/before after") == "mine\nnew\n"


def test_the_pool_follows_its_policy_and_leaves_nothing_behind(stack):
    keep_warm(stack, 3)
    wait_ready(stack, 3)
    old = set(stack.instances())
    keep_warm(stack, 1, env={"GREETING": "hello"})
    eventually(lambda: len(stack.instances()) == 1 and not old & set(stack.instances()), 20)
    wait_ready(stack, 1)
    assert stack.run("ann", "echo $GREETING") == "hello\n" and warm(stack)["hits"] == 1
    keep_warm(stack, 0)
    eventually(lambda: len(stack.instances()) == 1, 20)
    assert stack.run("ann", "echo $GREETING") == "hello\n"
    stack.admin("POST", "/policies", json_body={"id": "other", "data": {"warm": 1}}).expect(201)
    wait_ready(stack, 1)
    stack.admin("DELETE", "/policies/other").expect(200)
    stack.admin("POST", "/tenants/ann/stop").expect(200)
    eventually(lambda: stack.instances() == [], 20)
    left = stack.folder / "homes/.warm"
    eventually(lambda: not left.exists() or list(left.iterdir()) == [], what="the end of the warm homes")


def test_one_that_has_died_or_hangs_is_not_handed_out(stack):
    keep_warm(stack, 1)
    wait_ready(stack, 1)
    [victim] = stack.instances()
    os.kill(victim, signal.SIGSTOP)
    assert stack.run("ann", "echo served") == "served\n"
    assert warm(stack)["hits"] == 0
    eventually(lambda: victim not in stack.instances(), 20)
    wait_ready(stack, 1)
    [victim] = [pid for pid in stack.instances() if pid != stack.instance_pid("ann")]
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: victim not in stack.instances())
    assert stack.run("bob", "echo served") == "served\n"
    wait_ready(stack, 1)


def test_many_at_once_share_the_pool_and_nobody_gets_anothers(stack):
    keep_warm(stack, 4)
    wait_ready(stack, 4)
    users = [f"user-{number}" for number in range(12)]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda user: stack.run(user, f"echo {user} > me; cat me; ls"), users))
    assert answers == [f"{user}\nme\n" for user in users]
    for user in users:
        assert (stack.home(user) / "me").read_text() == f"{user}\n"
    assert len({stack.instance_pid(user) for user in users}) == 12
    counts = warm(stack)
    assert counts["hits"] >= 4 and counts["hits"] + counts["misses"] == 12


def test_a_killed_provisioner_has_a_successor_that_keeps_the_pool_and_who_was_handed_out(stack):
    keep_warm(stack, 2)
    wait_ready(stack, 2)
    stack.run("ann", "echo mine > f")
    wait_ready(stack, 2)
    before, hers = set(stack.instances()), stack.instance_pid("ann")
    os.kill(stack.one("terminals-provisioner"), signal.SIGKILL)
    eventually(lambda: stack.admin("GET", "/status").status == 200, 20)
    wait_ready(stack, 2)
    assert set(stack.instances()) == before and stack.instance_pid("ann") == hers
    assert stack.run("ann", "cat f") == "mine\n"
    assert stack.run("bob", "ls") == "" and stack.instance_pid("bob") in before - {hers}


@pytest.mark.parametrize("sandbox", SANDBOXES)
def test_kill_9_at_any_moment_of_handing_over_shows_nobody_anothers_folder(sandbox):
    with Stack(local_sandbox=sandbox) as stack:
        keep_warm(stack, 2)
        users = 0
        for delay in [moment / 1000 for moment in range(0, 15, 3)]:
            wait_ready(stack, 2)
            provisioner = stack.one("terminals-provisioner")
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                asked = [pool.submit(stack.execute, f"user-{users + i}", f"echo user-{users + i} >> me; cat me")
                         for i in range(2)]
                concurrent.futures.wait(asked, timeout=delay)
                os.kill(provisioner, signal.SIGKILL)
                for one in asked:
                    one.result(30 * SLOW)
            eventually(lambda: stack.admin("GET", "/status").status == 200, 20)
            users += 2
        for number in range(users):
            user = f"user-{number}"
            lines = set(stack.run(user, "echo $((1)) >/dev/null; cat me 2>/dev/null").split())
            assert lines <= {user}, f"{user} sees {lines}"
            assert not stack.home(user).exists() or set(
                (stack.home(user) / "me").read_text().split() if (stack.home(user) / "me").exists() else []) <= {user}
        wait_ready(stack, 2)
        eventually(lambda: len(stack.instances()) == 2 + sum(row["status"] == "running" for row in stack.tenants()), 20)


def test_quotas_count_warm_instances_in_all_and_not_as_a_users():
    with Stack(max_instances=3, max_instances_per_user=1) as stack:
        keep_warm(stack, 2)
        stack.admin("POST", "/policies", json_body={"id": "cold", "data": {}}).expect(201)
        wait_ready(stack, 2)
        stack.run("ann", "true")
        wait_ready(stack, 2)
        assert len(stack.instances()) == 3 and warm(stack)["hits"] == 1
        # A warm one of another policy makes room for who needs it.
        assert stack.run("bob", "echo served", prefix="/p/cold") == "served\n"
        assert len(stack.instances()) == 3 and warm(stack)["ready"] == 1
        assert stack.run("carl", "echo served") == "served\n" and warm(stack)["hits"] == 2
        stack.execute("dora", "true").expect_error(503)


def test_an_ordinary_user_without_rights_can_hand_over_too():
    with Stack(user=12345, local_sandbox="bwrap") as stack:
        keep_warm(stack, 1)
        wait_ready(stack, 1)
        stack.run("ann", "echo mine > f")
        assert (stack.home("ann") / "f").read_text() == "mine\n" and warm(stack)["hits"] == 1
        assert stack.run("ann", "grep ' /home/user ' /proc/self/mountinfo | tail -1 | cut -d' ' -f6").startswith("rw,nosuid,nodev")
        assert stack.run("ann", "umount /home/user 2>&1; cat f").endswith("mine\n")


def test_a_wrong_number_is_named():
    with Stack() as stack:
        for wrong in (-1, 101, "2", 1.5):
            answer = stack.admin("PUT", "/policies/default", json_body={"data": {"warm": wrong}}).expect_error(400)
            assert "`warm`" in answer.detail
