"""TERMINALS_MAX_INSTANCES and _PER_USER: nobody has more instances than allowed, nobody loses one that is in use."""
import concurrent.futures

from stack import SLOW, Stack, eventually


def context(name):
    return [("X-Terminal-Context-Id", f"chat:{name}")]


def running(stack, user=None):
    return [row for row in stack.admin("GET", "/terminals").expect(200).json() if user in (None, row["user_id"])]


def test_fifty_cold_starts_at_once_never_exceed_the_limits():
    with Stack(max_instances=6, max_instances_per_user=2) as stack:
        asked = [(f"user-{i % 5}", i) for i in range(50)]
        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda ask: stack.request(ask[0], "GET", "/files/list", headers=context(ask[1])), asked))
            rows = running(stack)
        for answer in answers:
            answer.expect((200, 503))
            if answer.status == 503:
                assert "no more are allowed" in answer.expect_error(503).detail and int(answer.header("retry-after")) > 0
        users = [row["user_id"] for row in rows]
        assert 1 <= len(users) <= 6 and max(map(users.count, users)) <= 2, rows
        assert len(stack.instances()) <= 6


def test_a_new_chat_takes_the_place_of_the_longest_idle_one_and_never_of_a_busy_one():
    with Stack(max_instances_per_user=2) as stack:
        stack.run("ann", "echo kept > note", headers=context(1))
        stack.run("ann", "true", headers=context(2))
        stack.run("bob", "true")
        assert stack.run("ann", "echo new", headers=context(3)) == "new\n"
        assert {row["context_id"] for row in running(stack, "ann")} == {"chat:2", "chat:3"}
        assert len(running(stack, "bob")) == 1
        rows = stack.admin("GET", "/audit-logs?action=quota_cleanup").expect(200).json()
        assert [(row["user_id"], bool(row["request_id"])) for row in rows] == [("ann", True)]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            busy = [pool.submit(stack.run, "ann", f"touch begun; while [ ! -e go ]; do sleep 0.05; done; echo done-{name}",
                                headers=context(name)) for name in (2, 3)]
            for name in (2, 3):
                eventually(lambda: "begun" in stack.run("ann", "ls", headers=context(name)))  # noqa: B023
            refused = stack.execute("ann", "true", headers=context(1)).expect_error(503)
            assert "all are in use" in refused.detail and refused.header("retry-after")
            for name in (2, 3):
                stack.run("ann", "touch go", headers=context(name))
            assert sorted(one.result(20 * SLOW) for one in busy) == ["done-2\n", "done-3\n"]
        assert stack.run("ann", "cat note", headers=context(1)) == "kept\n"


def test_an_open_shell_says_why_it_runs_and_a_cold_request_is_no_shell():
    with Stack() as stack:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            cold = pool.submit(stack.run, "ann", "touch begun; while [ ! -e go ]; do sleep 0.05; done")
            eventually(lambda: (stack.home("ann") / "begun").exists(), 20)
            eventually(lambda: [row["kept_alive_by"] for row in running(stack)] == ["requests"])
            (stack.home("ann") / "go").touch()
            cold.result(20 * SLOW)
        shell = stack.shell("bob")
        shell.send(b"while sleep 0.2; do echo busy; done\n")
        eventually(lambda: [row["kept_alive_by"] for row in running(stack, "bob")] == ["shell"])
        shell.close()
