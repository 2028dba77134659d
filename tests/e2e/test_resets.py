"""Scheduled resets: folders that are emptied when it is time, once, and nobody else's.

Nobody waits for a schedule here: a time that comes in a second is awaited, and for the rest the machine is "switched off
for a while" (`Absence`): what the database says of times is moved into the past while nothing runs.
"""
import contextlib
import datetime
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import threading
import time

import pytest
from stack import SLOW, Stack, eventually

CONTEXT = [("X-Terminal-Context-Id", "chat:1")]
DAY = 86400
UTC = datetime.timezone.utc


@pytest.fixture(scope="module")
def running():
    with Stack() as stack:
        yield stack


def set_lifecycle(stack, policy, body):
    return stack.admin("PUT", f"/policies/{policy}/lifecycle", json_body=body)


def schedule(stack, policy, text, timezone="UTC"):
    return set_lifecycle(stack, policy, {"reset": {"schedule": text, "timezone": timezone}}).expect(200).json()


def get_lifecycle(stack, policy):
    return stack.admin("GET", f"/policies/{policy}/lifecycle").expect(200).json()


def create(stack, *policies):
    for policy in policies:
        stack.admin("POST", "/policies", json_body={"id": policy, "data": {}}).expect(201)


def reap(stack):
    done = stack.terminals("reap")
    assert done.returncode == 0, done.stderr
    return dict(field.split("=") for field in done.stdout.split())


def resets(stack, user=None):
    """The rows of the audit log, the oldest first."""
    query = f"&user_id={user}" if user else ""
    return stack.admin("GET", f"/audit-logs?action=scheduled_reset&limit=1000{query}").expect(200).json()[::-1]


def soon():
    """The next whole second but one."""
    return (datetime.datetime.now(UTC) + datetime.timedelta(seconds=2)).isoformat(timespec="seconds")


def reset_soon(stack, policy, count=1):
    """Has a policy's folders reset at a time that comes now."""
    schedule(stack, policy, soon())
    eventually(lambda: int(reap(stack)["reset"]) == count, 10, what="a due reset", interval=0.2)


class Absence:
    """The machine is off for this long, in which nothing is reset yet that was before."""

    def __init__(self, stack, seconds):
        self.stack, self.seconds = stack, seconds

    def __enter__(self):
        self.stack.stop()
        with contextlib.closing(sqlite3.connect(self.stack.folder / "terminals.db")) as database:
            for table, column in (("lifecycles", "since"), ("tenants", "created_at")):
                database.execute(f"UPDATE {table} SET {column} = {column} - ?", [int(self.seconds * 1000)])
            database.commit()

    def __exit__(self, *_):
        self.stack.start()


# --- what an administrator says ---


def test_a_lifecycle_lives_as_its_administrator_says(running):
    create(running, "said")
    assert get_lifecycle(running, "said") == {"reset": None, "next_resets": [], "error": None}
    made = schedule(running, "said", "30 4 1 * *", "Europe/Berlin")
    assert made["reset"] == {"schedule": "30 4 1 * *", "timezone": "Europe/Berlin"} and made["error"] is None
    times = [datetime.datetime.fromisoformat(text.replace("Z", "+00:00")) for text in made["next_resets"]]
    assert len(times) == 5 and times == sorted(times) and times[0] > datetime.datetime.now(UTC)
    assert all(one.minute == 30 and one.hour in (2, 3) and one.day == 1 for one in times)
    assert get_lifecycle(running, "said")["reset"] == made["reset"]
    assert set_lifecycle(running, "said", made).expect(200).json() == made, "what was read can be written back"
    assert set_lifecycle(running, "said", {"reset": {"schedule": "@weekly"}}).expect(200).json()["reset"] == \
        {"schedule": "@weekly", "timezone": "UTC"}
    for nothing in ({"reset": None}, {}):
        schedule(running, "said", "@monthly")
        assert set_lifecycle(running, "said", nothing).expect(200).json()["reset"] is None
        assert get_lifecycle(running, "said")["reset"] is None
    schedule(running, "said", "@weekly")
    running.admin("DELETE", "/policies/said").expect(200)
    running.admin("GET", "/policies/said/lifecycle").expect_error(404)
    create(running, "said")
    assert get_lifecycle(running, "said")["reset"] is None, "a lifecycle goes with its policy"


@pytest.mark.parametrize(("body", "field"), [
    ({"reset": "@weekly"}, "`reset`"),
    ({"reset": []}, "`reset`"),
    ({"reset": {}}, "`reset.schedule`"),
    ({"reset": {"schedule": None}}, "`reset.schedule`"),
    ({"reset": {"schedule": 5}}, "`reset.schedule`"),
    ({"reset": {"schedule": ""}}, "`reset.schedule`"),
    ({"reset": {"schedule": "@weekly\0"}}, "`reset.schedule`"),
    ({"reset": {"schedule": "* * * *"}}, "`reset.schedule`"),
    ({"reset": {"schedule": "61 * * * *"}}, "`reset.schedule`"),
    ({"reset": {"schedule": "0 0 30 2 *"}}, "`reset.schedule`"),
    ({"reset": {"schedule": "2020-01-01T00:00:00Z"}}, "`reset.schedule`"),
    ({"reset": {"schedule": "@weekly", "timezone": 1}}, "`reset.timezone`"),
    ({"reset": {"schedule": "@weekly", "timezone": ""}}, "`reset.timezone`"),
    ({"reset": {"schedule": "@weekly", "timezone": "Mars/Olympus"}}, "`reset.timezone`"),
    ({"reset": {"schedule": "@weekly", "timezone": "../../../etc/passwd"}}, "`reset.timezone`"),
    ({"reset": {"schedule": "@weekly", "timezone": "/etc/localtime"}}, "`reset.timezone`"),
    ({"reset": {"schedule": "@weekly", "tz": "UTC"}}, "`reset.tz`"),
    ({"resets": {"schedule": "@weekly"}}, "`resets`"),
])
def test_a_mistake_is_named_and_changes_nothing(running, body, field):
    before = schedule(running, "default", "@monthly")
    assert field in set_lifecycle(running, "default", body).expect_error(400).detail
    assert get_lifecycle(running, "default") == before
    set_lifecycle(running, "default", {}).expect(200)


def test_what_is_no_lifecycle_at_all_is_refused(running):
    path = "/policies/default/lifecycle"
    running.admin("PUT", path, body=b"").expect_error(422)
    running.admin("PUT", path, json_body=[]).expect_error(422)
    running.admin("PUT", path, body=b"{").expect_error(400)
    running.admin("POST", path, json_body={}).expect_error(405)
    running.admin("GET", path, key="wrong").expect_error(401)
    set_lifecycle(running, "no-such", {}).expect_error(404)
    set_lifecycle(running, "No_Such", {}).expect_error(400)
    for member in ("reset", "lifecycle"):
        answer = running.admin("PUT", "/policies/default", json_body={"data": {member: {"schedule": "@weekly"}}})
        assert f"`{member}`" in answer.expect_error(400).detail


def test_the_audit_log_says_who_changed_it(running):
    create(running, "audited")
    running.admin("PUT", "/policies/audited/lifecycle", json_body={"reset": {"schedule": "@weekly"}},
                  headers=[("X-Request-Id", "who-changed-it")]).expect(200)
    rows = running.admin("GET", "/audit-logs?action=policy_updated").expect(200).json()
    row = next(row for row in rows if row["request_id"] == "who-changed-it")
    assert (row["resource_type"], row["resource_id"], row["detail"]) == ("policy", "audited", "its lifecycle")


def test_it_outlives_the_provisioner(fresh):
    stack = fresh()
    made = schedule(stack, "default", "15 3 * * mon-fri", "America/New_York")
    os.kill(stack.one("terminals-provisioner"), signal.SIGKILL)
    eventually(lambda: get_lifecycle(stack, "default")["reset"] == made["reset"], 10, what="the lifecycle, by a new provisioner")


# --- what happens ---


def test_a_due_reset_empties_one_kind_of_folder_and_no_other(running, user, other, tmp_path):
    """Of an active instance too; each (user, policy, context) of that policy, also one that does not run."""
    create(running, "emptied", "kept")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("outside")
    places = [(name, prefix, headers) for name in (user, other) for prefix in ("", "/p/emptied", "/p/kept")
              for headers in ((), CONTEXT)]
    for name, prefix, headers in places:
        running.run(name, f"mkdir -p a/b; echo x > a/b/file; ln -s {outside} link; ln -s / root; ln {outside}/file hard || true",
                    prefix=prefix, headers=headers)
    running.admin("POST", "/terminals/stop", json_body={"user_id": other, "policy_id": "emptied"}).expect(200)
    busy = threading.Thread(target=running.execute, args=(user, "sleep 30"), kwargs={"wait": 30, "prefix": "/p/emptied"})
    busy.start()
    eventually(lambda: any(one["kept_alive_by"] == "requests" and one["policy_id"] == "emptied" for one in
                           running.admin("GET", "/terminals").json()), what="a busy instance")
    reset_soon(running, "emptied", count=4)
    busy.join()
    for name, prefix, headers in places:
        left = running.run(name, "ls -1", prefix=prefix, headers=headers).split()
        assert ("a" in left and "link" in left) if prefix != "/p/emptied" else left == [], (name, prefix, headers, left)
    assert (outside / "file").read_text() == "outside"
    rows = [row for name in (user, other) for row in resets(running, name)]
    ids = {tenant["id"] for tenant in running.tenants("?policy_id=emptied")}
    assert len(rows) == 4 and {row["resource_id"] for row in rows} == ids, rows
    assert all(row["severity"] == "info" and row["detail"].startswith("due at ") for row in rows)
    running.run(user, "echo new > new", prefix="/p/emptied")
    assert reap(running)["reset"] == "0"
    assert running.run(user, "cat new", prefix="/p/emptied") == "new\n", "a reset happens once"
    eventually(lambda: not list((running.folder / "homes/.trash").iterdir()), 10, what="an empty trash")


def test_missed_resets_are_one(fresh, user, other):
    stack = fresh()
    create(stack, "unscheduled")
    schedule(stack, "default", "@monthly")
    stack.run(user, "echo old > old")
    stack.run(user, "echo old > old", prefix="/p/unscheduled")
    with Absence(stack, 100 * DAY):
        pass
    stack.run(other, "echo mine > mine")
    assert reap(stack)["reset"] == "1", "who came after the last due time has nothing to lose"
    assert stack.run(user, "ls") == "" and stack.run(user, "ls", prefix="/p/unscheduled") == "old\n"
    assert stack.run(other, "cat mine") == "mine\n"
    stack.run(user, "echo new > new")
    assert reap(stack)["reset"] == "0"
    assert [row["user_id"] for row in resets(stack)] == [user]
    stack.stop()
    stack.start()
    assert reap(stack)["reset"] == "0" and stack.run(user, "cat new") == "new\n"


def test_a_schedule_removed_or_changed_is_honoured_at_once(fresh, user):
    stack = fresh()
    schedule(stack, "default", "@monthly")
    stack.run(user, "echo kept > kept")
    with Absence(stack, 100 * DAY):
        pass
    set_lifecycle(stack, "default", {"reset": None}).expect(200)
    assert reap(stack)["reset"] == "0"
    schedule(stack, "default", "@monthly")
    assert reap(stack)["reset"] == "0", "a schedule is not about what was before it"
    with Absence(stack, 100 * DAY):
        pass
    schedule(stack, "default", "@monthly", "Asia/Tokyo")
    assert reap(stack)["reset"] == "0"
    with Absence(stack, 100 * DAY):
        pass
    schedule(stack, "default", "@monthly", "Asia/Tokyo")
    assert stack.run(user, "cat kept") == "kept\n"
    assert reap(stack)["reset"] == "1", "the same again changes nothing"
    assert stack.run(user, "ls") == ""


def test_the_cleanup_s_timer_does_it_too(fresh, user):
    stack = fresh(cleanup_interval_seconds=1)
    stack.run(user, "echo old > old")
    schedule(stack, "default", soon())
    eventually(lambda: resets(stack, user), 10, what="a reset by the timer")
    assert stack.run(user, "ls") == ""
    assert get_lifecycle(stack, "default")["next_resets"] == []


def test_requests_during_a_reset_wait_for_a_new_instance(fresh, user):
    stack = fresh()
    stack.run(user, "echo old > old")
    done, wrong = threading.Event(), []

    def ask():
        while not done.is_set():
            # What was running when the instance was stopped is cut off; what comes then is served.
            answer = stack.request(user, "GET", "/files/list", timeout=20)
            if answer.status not in (200, 502):
                wrong.append((answer.status, answer.text))

    thread = threading.Thread(target=ask)
    thread.start()
    reset_soon(stack, "default")
    done.set()
    thread.join()
    assert not wrong, wrong[:3]
    assert stack.run(user, "ls") == ""


def test_a_static_instance_is_nobody_s_to_empty(static, user):
    schedule(static, "default", soon())
    static.request(user, "GET", "/files/list")
    assert reap(static)["reset"] == "0"
    assert "empties nothing" in static.err()


@pytest.mark.skipif(os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode != 0,
                    reason="mounting needs root")
def test_mounts_are_not_crossed(fresh, user, tmp_path):
    stack = fresh(local_sandbox="none")
    stack.run(user, "mkdir mounted; echo mine > mine")
    valuable = tmp_path / "valuable"
    valuable.mkdir()
    (valuable / "file").write_text("kept")
    place = stack.home(user) / "mounted"
    subprocess.run(["mount", "--bind", str(valuable), str(place)], check=True)
    try:
        reset_soon(stack, "default")
        assert (valuable / "file").read_text() == "kept"
        assert stack.run(user, "ls") == ""
    finally:
        mounts = [line.split()[1] for line in open("/proc/mounts") if str(stack.folder) in line]
        for mount in mounts:
            subprocess.run(["umount", "-l", mount], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_folder_that_cannot_be_moved_is_said_and_left(fresh, user, other):
    stack = fresh(local_sandbox="none")
    for name in (user, other):
        stack.run(name, "echo mine > mine")
    subprocess.run(["mount", "--bind", str(stack.home(user)), str(stack.home(user))], check=True)
    try:
        reset_soon(stack, "default")  # the other's
        assert (stack.home(user) / "mine").exists() and stack.run(other, "ls") == ""
        rows = {row["severity"] for row in resets(stack, user)}
        assert rows == {"warning"} and "tried again in an hour" in stack.err()
        stack.run(user, "true")
        assert reap(stack)["reset"] == "0"
        assert stack.tenant(user)["status"] == "running", "an instance is not stopped every minute for it"
    finally:
        subprocess.run(["umount", "-l", str(stack.home(user))], check=True)


def test_kill_minus_nine_in_the_middle(fresh):
    """Killed at any moment of it: each folder is emptied once, what came afterwards stays, nobody else loses anything."""
    stack = fresh()
    create(stack, "kept")
    schedule(stack, "default", "@monthly")
    users = [f"user-{number}" for number in range(6)]
    for name in users:
        stack.run(name, "mkdir -p old; for i in $(seq 300); do echo x > old/$i; done")
    stack.run("user-0", "echo kept > kept", prefix="/p/kept")
    with Absence(stack, 100 * DAY):
        pass
    for name in users[:3]:
        stack.run(name, "true")  # three run, three do not
    written = {}
    for pause in random.sample([0, 0.004, 0.01, 0.02, 0.04, 0.08, 0.15], 5):
        victim = stack.one("terminals-provisioner")
        reaper = threading.Thread(target=lambda: stack.terminals("reap"))
        reaper.start()
        time.sleep(pause)
        os.kill(victim, signal.SIGKILL)
        reaper.join()
        eventually(lambda victim=victim: stack.process("terminals-provisioner") not in ([], [victim]), 15, what="a new provisioner")
        eventually(lambda: stack.admin("GET", "/stats", timeout=5).status == 200, 15, what="an answer")
        done = {row["user_id"] for row in resets(stack)}
        for name in done - set(written):
            assert not (stack.home(name) / "old").exists(), f"{name}'s reset is recorded, but did not happen"
            stack.run(name, "echo new > new")
            written[name] = True
        for name in written:
            assert (stack.home(name) / "new").read_text() == "new\n", f"{name} was reset twice"
    eventually(lambda: reap(stack)["reset"] == "0" and len(resets(stack)) >= len(users), 30, what="the end of all resets",
               interval=0.3)
    for name in users:
        assert stack.run(name, "ls") == ("new\n" if name in written else "")
    assert sorted(row["user_id"] for row in resets(stack)) == users
    assert stack.run("user-0", "cat kept", prefix="/p/kept") == "kept\n"


@pytest.mark.release_only
def test_many_files_hold_nobody_up(fresh, user, other):
    """A full measure of files (TERMINALS_TEST_FULL=1: a million) leaves in bounded memory, while others are served."""
    stack = fresh(cleanup_interval_seconds=0)
    count = 1_000_000 if os.environ.get("TERMINALS_TEST_FULL") else 20_000
    stack.run(user, "true")
    stack.run(other, "true")
    folder = stack.home(user) / "many"
    for part in range(0, count, 10_000):
        (folder / str(part)).mkdir(parents=True)
        for number in range(10_000):
            os.mknod(folder / str(part) / str(number))
    before = memory_kib(stack)
    slowest, done = [0.0], threading.Event()

    def look():
        while not done.is_set():
            began = time.monotonic()
            stack.admin("GET", "/status").expect(200)
            slowest[0] = max(slowest[0], time.monotonic() - began)

    thread = threading.Thread(target=look)
    thread.start()
    began = time.monotonic()
    reset_soon(stack, "default", count=2)
    recorded = time.monotonic() - began
    eventually(lambda: not list((stack.folder / "homes/.trash").iterdir()), 120, what="an empty trash")
    took = time.monotonic() - began
    done.set()
    thread.join()
    grown = memory_kib(stack) - before
    print(f"{count} files: recorded after {recorded:.1f} s, gone after {took:.1f} s, {grown} KiB more at most, "
          f"slowest answer meanwhile {slowest[0] * 1000:.0f} ms")
    assert grown < 4096 and slowest[0] < 2 * SLOW
    shutil.rmtree(folder, ignore_errors=True)


def memory_kib(stack):
    """The most that the provisioner ever had."""
    for line in open(f"/proc/{stack.one('terminals-provisioner')}/status"):
        if line.startswith("VmHWM"):
            return int(line.split()[1])
    raise AssertionError("no VmHWM")
