"""Twenty clients create, stop, start and delete at random while the provisioner is killed again and again: in the end
database, engine and maps agree, no container is an orphan, and no folder is lost.

TERMINALS_TEST_CHAOS=200 is the number of operations of the whole test; without it there are fewer."""
import contextlib
import os
import random
import signal
import threading
import time

import pytest
from stack import SLOW, eventually, route_key

OPERATIONS = int(os.environ.get("TERMINALS_TEST_CHAOS", "40"))
CLIENTS = 20 if OPERATIONS >= 100 else 8
USERS = 12 if OPERATIONS >= 100 else 5


@pytest.mark.release_only  # kills, most of all: the same code meets a sanitizer in the other tests of the engine
def test_chaos_leaves_everything_in_agreement(fresh):
    stack = fresh(backend="docker", start_concurrency=8)
    users = [f"chaotic-{number}" for number in range(USERS)]
    for user in users:
        home = stack.home(user)
        home.mkdir(parents=True, mode=0o700)
        (home / "kept.txt").write_text(user)
        os.chown(home, 1000, 1000)
    todo = [random.choice(("create", "create", "stop", "start", "delete")) for _ in range(OPERATIONS)]
    lock, done = threading.Lock(), threading.Event()
    kills, answers = [], []

    def client():
        while True:
            with lock:
                if not todo:
                    return
                operation = todo.pop()
            user = random.choice(users)
            with contextlib.suppress(Exception):
                if operation == "create":
                    answer = stack.execute(user, "cat ~/kept.txt", timeout=60)
                elif operation == "delete":
                    answer = stack.admin("DELETE", f"/tenants/{user}", timeout=60)
                else:
                    answer = stack.admin("POST", f"/tenants/{user}/{operation}", timeout=60)
                answers.append((operation, answer.status))

    def killer():
        pause = random.uniform(0.3, 2)  # the first kill comes early, however long the whole takes
        while not done.wait(pause):
            pause = SLOW * (random.uniform(1, 4) if OPERATIONS >= 100 else random.uniform(0.3, 2))
            with contextlib.suppress(ProcessLookupError, AssertionError):
                os.kill(stack.one("terminals-provisioner"), signal.SIGKILL)
                kills.append(time.monotonic())

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    killing = threading.Thread(target=killer)
    for thread in [killing, *threads]:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    killing.join()
    assert kills and any(status == 200 for _, status in answers), (len(kills), answers)

    def agree():
        tenants = {tenant["instance_name"]: tenant for tenant in stack.tenants()}
        containers = stack.containers()
        running = {name for name, tenant in tenants.items() if tenant["status"] == "running"}
        assert {tenant["status"] for tenant in tenants.values()} <= {"running", "stopped", "error"}, tenants
        assert running == set(containers), (running, set(containers))
        assert all(entry["State"] == "running" for entry in containers.values()), containers
        routes = {route_key(tenants[name]["user_id"]): name for name in running}
        assert set(stack.routes()) == set(routes) == set(stack.haproxy_map("routes")), (stack.routes(), routes)
        for key, (host, port, _, instance_id) in stack.routes().items():
            tenant = tenants[routes[key]]
            assert (tenant["host"], str(tenant["port"]), tenant["instance_id"]) == (host, port, instance_id)
        return True

    eventually(agree, 60, what="agreement")
    for user in users:
        assert stack.run(user, "cat ~/kept.txt") == user
    eventually(agree, 60, what="agreement when everybody is back")
    assert len(stack.containers()) == len(users)
    print(f"{len(answers)} of {OPERATIONS} operations answered, {len(kills)} kills: {sorted(set(answers))}")  # with -s
    stack.stop(timeout=60 if SLOW == 1 else 30)
