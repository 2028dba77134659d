"""The audit log: who did what is there, also after a kill, also in a SIEM, and nobody waits for it."""
import contextlib
import os
import random
import signal
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest
from stack import SLOW, eventually

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fakes"))

from siem_receiver import SiemReceiver, make_certificate  # noqa: E402

SECRET = "s3cr3t-of-the-siem"


def rows(stack, query=""):
    """Newest first."""
    return stack.admin("GET", f"/audit-logs?limit=1000&{query}").expect(200).json()


def actions(stack, user):
    """In the order in which it happened."""
    return [row["action"] for row in rows(stack, f"user_id={user}")][::-1]


def create(stack, user, request_id=None):
    headers = [("X-User-Id", user), ("User-Agent", "tester/1.0")]
    return stack.admin("POST", "/tenants/", headers=headers + ([("X-Request-Id", request_id)] if request_id else []))


def kill_provisioner(stack):
    with contextlib.suppress(ProcessLookupError, AssertionError):
        os.kill(stack.one("terminals-provisioner"), signal.SIGKILL)


# --- what is in it -----------------------------------------------------------------------------------------------------


def test_each_row_says_who_and_from_where(stack, user):
    asked = {}

    def call(action, method, path):
        asked[action] = str(uuid.uuid4())
        stack.admin(method, path, headers=[("X-User-Id", user), ("User-Agent", "tester/1.0"),
                                           ("X-Request-Id", asked[action])]).expect((200, 201))

    call("tenant_created", "POST", "/tenants/")
    call("tenant_stopped", "POST", f"/tenants/{user}/stop")
    call("tenant_started", "POST", f"/tenants/{user}/start")
    with stack.shell(user):
        pass
    eventually(lambda: "terminal_closed" in actions(stack, user), what="terminal_closed")
    call("tenant_deleted", "DELETE", f"/tenants/{user}")
    assert actions(stack, user) == ["tenant_created", "tenant_started", "tenant_stopped", "tenant_started", "terminal_opened",
                                    "terminal_closed", "tenant_deleted"]
    for row in rows(stack, f"user_id={user}"):
        assert row["ip_address"] == "127.0.0.1", row
        assert row["request_id"], row
        if not row["action"].startswith("terminal_") and row["request_id"] in asked.values():
            assert row["user_agent"] == "tester/1.0", row
    newest = {row["action"]: row for row in reversed(rows(stack, f"user_id={user}"))}
    assert {action: newest[action]["request_id"] for action in asked} == asked
    assert newest["terminal_opened"]["status_code"] == 101


def test_a_stop_that_ends_by_deletion_is_both(fresh, user):
    """Two administrators: the row of the one who stops must not vanish because the other deletes."""
    stack = fresh()
    create(stack, user).expect((200, 201))
    stack.execute(user, "trap '' TERM; sleep 1000", wait=0.1)
    stopping = threading.Thread(target=lambda: stack.admin("POST", f"/tenants/{user}/stop").expect(200))
    with stack.stopped("open-terminal"):  # it does not end at once
        stopping.start()
        eventually(lambda: stack.tenant(user)["status"] == "stopping", what="stopping")
        deleting = threading.Thread(target=lambda: stack.admin("DELETE", f"/tenants/{user}").expect(200))
        deleting.start()
        time.sleep(0.1)  # the deletion waits for the stop
    stopping.join()
    deleting.join()
    assert actions(stack, user)[-2:] == ["tenant_stopped", "tenant_deleted"]


def test_what_ends_by_itself_is_in_it_with_the_reason(fresh, user):
    stack = fresh()
    stack.run(user, "true")
    os.kill(stack.instance_pid(user), signal.SIGKILL)
    row = eventually(lambda: [row for row in rows(stack, f"user_id={user}&action=tenant_stopped")], what="the row")[0]
    assert row["severity"] == "warning" and row["detail"], row


# --- whose address -------------------------------------------------------------------------------------------------------


def test_the_client_behind_trusted_proxies_is_the_last_hop_that_is_none(fresh):
    stack = fresh(trusted_proxies="127.0.0.1,10.0.0.0/8, fd00::/8")
    cases = {
        "192.0.2.1": "192.0.2.1",
        "198.51.100.66, 192.0.2.2": "192.0.2.2",  # the first may be made up
        "192.0.2.3, 10.1.2.3": "192.0.2.3",
        "192.0.2.99,192.0.2.4, 10.9.9.9 ,10.1.2.3": "192.0.2.4",
        "2001:db8::5, fd00::1": "2001:db8::5",
        "192.0.2.6, unknown": "127.0.0.1",  # our proxy does not know: what is before is anybody's word
        "192.0.2.7, unknown, 10.1.2.3": "10.1.2.3",
        "": "127.0.0.1",
    }
    for forwarded, expected in cases.items():
        request_id = str(uuid.uuid4())
        path = f"/{uuid.uuid4()}"
        # A wrong scheme and a wrong token by turns: failures of one address and kind are counted, not listed.
        for key in ("wrong", None):
            stack.request("x", "GET", path, key=key, headers=[("X-Request-Id", request_id)] +
                          ([("X-Forwarded-For", forwarded)] if forwarded else [])).expect(401)
        found = eventually(lambda e=expected: [row for row in rows(stack, "action=auth_failed") if row["ip_address"] == e],
                           what=f"a row of {expected} for {forwarded!r}")
        assert found
    assert {row["ip_address"] for row in rows(stack)} == set(cases.values())


def test_nobody_else_can_choose_his_address(fresh):
    for trusted in (None, "10.0.0.0/8"):
        stack = fresh(trusted_proxies=trusted)
        stack.request("x", "GET", "/", key="wrong", headers=[("X-Forwarded-For", "192.0.2.1")]).expect(401)
        [row] = eventually(lambda stack=stack: rows(stack, "action=auth_failed"), what="the row")
        assert row["ip_address"] == "127.0.0.1"


def test_a_connection_of_a_proxy_carries_many_clients(fresh):
    """HAProxy judges each request anew, and the instance is told the same."""
    stack = fresh(trusted_proxies="127.0.0.1", local_sandbox="none")
    with stack.connect() as sock, sock.makefile("rb") as reader:
        for client in ("192.0.2.1", "192.0.2.2", None, "192.0.2.3"):
            header = f"X-Forwarded-For: {client}\r\n" if client else ""
            sock.sendall(f"GET /a HTTP/1.1\r\nHost: x\r\nX-User-Id: u\r\nAuthorization: Bearer {uuid.uuid4()}\r\n{header}\r\n".encode())
            length = 0
            while (line := reader.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            reader.read(length)
    eventually(lambda: [row["ip_address"] for row in rows(stack, "action=auth_failed")][::-1] ==
               ["192.0.2.1", "192.0.2.2", "127.0.0.1", "192.0.2.3"], what="four clients")


# --- kills -----------------------------------------------------------------------------------------------------------------


def test_no_row_is_lost_when_the_provisioner_is_killed_at_random(fresh):
    """Each call that was answered has its row; each tenant's rows are in order; nothing that is there lacks one."""
    stack = fresh()
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    done = threading.Event()
    answered, lock, kills = [], threading.Lock(), [0]  # (user, action, request id)

    def killer():
        while not done.wait(chance.uniform(0.05, 0.5)):
            kill_provisioner(stack)
            kills[0] += 1

    def life(number):
        step = 0
        while not done.is_set():
            user, step = f"kill-{number}-{step}", step + 1
            for action, method, path in (("tenant_created", "POST", "/tenants/"), ("tenant_stopped", "POST", f"/tenants/{user}/stop"),
                                         ("tenant_started", "POST", f"/tenants/{user}/start"),
                                         ("tenant_deleted", "DELETE", f"/tenants/{user}")):
                request_id = str(uuid.uuid4())
                try:
                    answer = stack.admin(method, path, headers=[("X-User-Id", user), ("X-Request-Id", request_id)], timeout=20)
                except OSError:
                    break
                # A call that was not answered well may have happened all the same: what follows proves nothing.
                if answer.status not in (200, 201):
                    break
                with lock:
                    answered.append((user, action, request_id))

    threads = [threading.Thread(target=killer), *[threading.Thread(target=life, args=(number,)) for number in range(4)]]
    for thread in threads:
        thread.start()
    time.sleep(8 * min(SLOW, 2))
    done.set()
    for thread in threads:
        thread.join()
    eventually(stack.tenants, 20, what="the provisioner again")
    found = stack.sql("SELECT user_id, action, request_id FROM audit_logs ORDER BY sequence")
    tenants = {user for (user,) in stack.sql("SELECT user_id FROM tenants")}
    assert kills[0] > 5 and len(answered) > 10, f"{kills[0]} kills, {len(answered)} answers (seed {seed})"
    lost = [call for call in answered if call not in found]
    assert not lost, f"{len(lost)} of {len(answered)} lost, of {kills[0]} kills (seed {seed}): {lost[:5]}"
    for user in {user for user, _, _ in answered}:
        of_user = [call for call in found if call[0] == user]
        order = [of_user.index(call) for call in answered if call[0] == user]
        assert order == sorted(order), f"seed {seed}: {of_user}"
        assert (user in tenants) != any(action == "tenant_deleted" for _, action, _ in of_user), f"seed {seed}: {of_user}"
    assert tenants <= {user for user, action, _ in found if action == "tenant_created"}, f"seed {seed}: a tenant that nobody made"


def test_a_shell_is_opened_once_however_often_it_is_told(fresh, user):
    stack = fresh()
    for _ in range(4):
        with stack.shell(user):
            threading.Timer(random.uniform(0, 0.05), kill_provisioner, [stack]).start()
        eventually(stack.tenants, 20, what="the provisioner again")
    eventually(lambda: actions(stack, user).count("terminal_closed") == 4, 20, what="four shells closed")
    assert actions(stack, user).count("terminal_opened") == 4


# --- keeping it small --------------------------------------------------------------------------------------------------------


def insert_old_rows(stack, count, days):
    begin = int((time.time() - days * 86400) * 1000)
    rows_of_values = [f"('{uuid.uuid4()}', 'auth_failed', 'warning', 'old', {begin + number})" for number in range(count)]
    columns = "id, action, severity, user_id, created_at"
    values = ", ".join(rows_of_values)
    stack.sql(f"INSERT INTO audit_logs ({columns}) VALUES {values}",
              f"WITH next AS (UPDATE audit_sequence SET last = last + {count} RETURNING last) "
              f"INSERT INTO audit_logs ({columns}, sequence) "
              f"SELECT rows.*, last - row_number() OVER () + 1 FROM (VALUES {values}) AS rows, next")


def test_old_rows_go_and_nobody_waits_for_it(fresh, user):
    stack = fresh(audit_retention_days=30)
    stack.run(user, "true")
    insert_old_rows(stack, 3000, days=31)
    insert_old_rows(stack, 7, days=29)
    assert stack.terminals("reap").returncode == 0
    slowest = 0
    while stack.admin("GET", "/audit-logs?user_id=old&limit=1").header("x-total-count") != "7":
        began = time.monotonic()
        stack.admin("GET", f"/tenants/{user}").expect(200)
        slowest = max(slowest, time.monotonic() - began)
        assert began < time.monotonic() + 30
    assert slowest < 0.5 * SLOW, f"a call waited {slowest:.2f} s"
    assert len(rows(stack, "user_id=old")) == 7
    assert actions(stack, user)[:2] == ["tenant_created", "tenant_started"]


def test_for_ever_is_for_ever(fresh):
    stack = fresh(audit_retention_days=0)
    insert_old_rows(stack, 5, days=5000)
    assert stack.terminals("reap").returncode == 0
    stack.run("somebody", "true")
    assert len(rows(stack, "user_id=old")) == 5


# --- the webhook -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def siem():
    with SiemReceiver() as receiver:
        yield receiver


def expect_all_delivered(stack, siem, timeout=20):
    """Everything that is in the log, in order; twice at most where somebody was killed."""
    def delivered():
        seen = list(dict.fromkeys(event["id"] for event in siem.events))
        wanted = [row["id"] for row in rows(stack)][::-1]
        assert seen == wanted, f"{len(seen)} of {len(wanted)}: {siem.actions()}"
        return True
    eventually(delivered, timeout, what="all events in the SIEM")


def test_each_event_is_posted_as_it_is_in_the_log(fresh, siem, user):
    url = siem.url.replace("http://", f"http://splunk:{SECRET}@") + f"?token={SECRET}"
    stack = fresh(siem_webhook_url=url, siem_webhook_token=f"Splunk {SECRET}-2")
    create(stack, user).expect((200, 201))
    stack.admin("DELETE", f"/tenants/{user}").expect(200)
    expect_all_delivered(stack, siem)
    for event, row in zip(siem.events, rows(stack)[::-1]):
        assert event.pop("sequence") > 0
        assert event == row
    _, headers, _ = siem.posts[0]
    assert headers["(request)"] == f"POST /audit?token={SECRET} HTTP/1.1"
    assert headers["content-type"] == "application/json"
    assert headers["authorization"] == f"Splunk {SECRET}-2"
    assert siem.connections == 1, "not kept open"
    config = stack.admin("GET", "/config").expect(200)
    assert config.json()["has_siem_webhook_url"] is True
    assert SECRET not in config.text + stack.log()
    for pid in stack.processes():
        with contextlib.suppress(OSError):
            assert SECRET.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
            if stack.name_of(pid) not in ("terminals-provisioner", "terminals"):
                assert SECRET.encode() not in Path(f"/proc/{pid}/environ").read_bytes()


@pytest.mark.parametrize("trouble", ["500", "404", "301", "garbage", "close", "silent"])
def test_a_receiver_in_trouble_gets_all_of_it_later_and_slows_nobody(fresh, siem, trouble):
    siem.trouble = trouble
    stack = fresh(siem_webhook_url=siem.url.replace("http://", f"http://splunk:{SECRET}@"))
    slowest = 0
    for number in range(5):
        began = time.monotonic()
        create(stack, f"user-{number}").expect((200, 201))
        slowest = max(slowest, time.monotonic() - began)
    eventually(lambda: siem.posts, what="a first try")
    assert slowest < 2 * SLOW, f"a start took {slowest:.2f} s"
    assert not siem.events
    if trouble != "silent":
        eventually(lambda: "the SIEM webhook does not take events" in stack.err(), what="a line in the log")
    siem.trouble = None
    expect_all_delivered(stack, siem, timeout=40)
    eventually(lambda: "takes events again, and missed none" in stack.err(), what="another line")
    assert SECRET not in stack.log()
    assert len(siem.posts) < 40, "it hammers"


def test_a_receiver_that_talks_without_end_is_cut_off(fresh, siem):
    siem.trouble = "endless"
    stack = fresh(siem_webhook_url=siem.url)
    create(stack, "talker").expect((200, 201))
    expect_all_delivered(stack, siem)


def test_a_receiver_that_is_away_loses_nothing_although_the_provisioner_is_killed(fresh, siem):
    siem.trouble = "close"
    stack = fresh(siem_webhook_url=siem.url)
    for number in range(3):
        create(stack, f"before-{number}").expect((200, 201))
        kill_provisioner(stack)
        eventually(stack.tenants, what="the provisioner again")
    siem.trouble = lambda event: None if random.random() < 0.7 else "close"
    for number in range(3):
        eventually(lambda number=number: create(stack, f"after-{number}").status in (200, 201), what="a start")
        kill_provisioner(stack)
        eventually(stack.tenants, what="the provisioner again")
    siem.trouble = None
    expect_all_delivered(stack, siem)


def test_a_receiver_says_when_to_come_back(fresh, siem):
    siem.trouble, siem.retry_after = "503", 4
    stack = fresh(siem_webhook_url=siem.url)
    create(stack, "patient").expect((200, 201))
    eventually(lambda: len(siem.posts) == 1, what="a first try")
    siem.trouble = None
    eventually(lambda: siem.events, 15, what="the second")
    assert siem.posts[1][0] - siem.posts[0][0] >= 3.9


def test_an_event_that_is_refused_does_not_stop_the_others(fresh, siem):
    siem.trouble = lambda event: "400" if event["action"] == "tenant_created" else None
    stack = fresh(siem_webhook_url=siem.url)
    create(stack, "refused").expect((200, 201))
    eventually(lambda: siem.actions() == ["tenant_started"], 20, what="the next event")
    eventually(lambda: "it is given up" in stack.err(), what="a line in the log")


def test_a_receiver_that_refuses_everything_is_waited_for(fresh, siem):
    siem.trouble = "400"
    stack = fresh(siem_webhook_url=siem.url)
    create(stack, "early").expect((200, 201))
    eventually(lambda: len(siem.posts) >= 4, 20, what="four tries")  # three, and the next event
    siem.trouble = None
    expect_all_delivered(stack, siem, timeout=40)
    assert "given up" not in stack.err()


def test_a_certificate_that_is_not_trusted_is_said_and_one_that_is_serves(fresh, tmp_path):
    certificate = make_certificate(tmp_path)
    with SiemReceiver(certificate) as siem:
        stack = fresh(siem_webhook_url=siem.url)
        create(stack, "unsafe").expect((200, 201))
        eventually(lambda: "does not take events: SSL peer certificate" in stack.err(), what="a line in the log")
        assert not siem.posts
        stack.stop()
        stack.extra_environment = {"SSL_CERT_FILE": str(certificate[0])}
        stack.start()
        expect_all_delivered(stack, siem)


def test_a_webhook_that_is_new_gets_what_is_new(fresh, siem):
    stack = fresh()
    create(stack, "old").expect((200, 201))
    stack.stop(signal.SIGTERM)
    stack.settings["siem_webhook_url"] = siem.url
    stack.start()
    create(stack, "new").expect((200, 201))
    eventually(lambda: siem.actions("new") == ["tenant_created", "tenant_started"], what="what is new")
    assert not [event for event in siem.events if event["user_id"] == "old" and event["action"] == "tenant_created"]


def test_what_fell_out_of_the_queue_is_counted(fresh, siem):
    siem.trouble = "500"
    stack = fresh(siem_webhook_url=siem.url, audit_retention_days=1)
    create(stack, "first").expect((200, 201))
    eventually(lambda: siem.posts, what="a first try")
    stack.sql("UPDATE audit_logs SET created_at = created_at - 90000000")
    assert stack.terminals("reap").returncode == 0
    eventually(lambda: not rows(stack, "user_id=first"), what="the end of the rows")
    create(stack, "second").expect((200, 201))
    siem.trouble = None
    eventually(lambda: siem.actions("second") == ["tenant_created", "tenant_started"], 20, what="the rest")
    eventually(lambda: "missed 2 events, which fell out of its queue" in stack.err(), what="a line in the log")
