"""The native instance alone, as a user of its API meets it: commands, requests, and how it ends."""
import http.client
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from instance_process import BIN, KEY, InstanceProcess, eventually, is_sanitized, memory_kib
from ports import free_port
from instance_shell import open_shell


@pytest.fixture(scope="module")
def instance():
    with InstanceProcess() as running:
        yield running


# ---- commands ----

def test_waiting_for_a_command_holds_up_nobody_else(instance):
    waiting = []
    threads = [threading.Thread(target=lambda: waiting.append(instance.execute("sleep 1; echo slept", wait=20))) for _ in range(20)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        before = time.monotonic()
        assert instance.call("GET", "/health").status == 200
        assert time.monotonic() - before < 0.5
        time.sleep(0.02)
    assert time.monotonic() - start < 5
    assert [result["text"] for result in waiting] == ["slept\r\n"] * 20


def test_the_answer_comes_as_soon_as_the_command_ends(instance):
    start = time.monotonic()
    assert instance.execute("sleep 0.2; exit 7", wait=300)["exit_code"] == 7
    assert time.monotonic() - start < 1


def test_a_wait_that_is_over_shows_what_there_is(instance):
    result = instance.execute("echo early; sleep 30", wait=0.5)
    assert (result["status"], result["text"]) == ("running", "early\r\n")
    assert instance.call("DELETE", f"/execute/{result['id']}?force=true").json() == {"status": "killed"}


def test_offset_goes_on_where_the_last_answer_ended(instance):
    id = instance.execute("for i in 1 2 3; do echo line $i; sleep 0.1; done", wait=10)["id"]
    everything = instance.call("GET", f"/execute/{id}/status").json()
    rest = instance.call("GET", f"/execute/{id}/status?offset=1").json()
    assert rest["output"] == everything["output"][1:]
    assert rest["next_offset"] == everything["next_offset"] == len(everything["output"])
    assert instance.call("GET", f"/execute/{id}/status?offset=2&tail=1").json()["output"] == everything["output"][-1:]


def test_control_c_interrupts_a_command(instance):
    id = instance.execute("sleep 60", wait=0)["id"]
    eventually(lambda: any(line.startswith("sleep 60") for line in instance.descendants().values()), "sleep runs")
    assert instance.call("POST", f"/execute/{id}/input", {"input": "\\x03"}).status == 200
    assert instance.call("GET", f"/execute/{id}/status?wait=10").json()["exit_code"] in (-signal.SIGINT, 130)


def test_kill_ends_the_whole_tree_even_what_ignores_it(instance):
    result = instance.execute("trap '' TERM; (setsid sleep 1111 &); nohup sleep 2222 & sleep 3333", wait=0)
    eventually(lambda: sum("sleep" in line for line in instance.descendants().values()) >= 3, "all three run")
    assert instance.call("DELETE", f"/execute/{result['id']}?force=true").status == 200
    eventually(lambda: not any("1111" in line or "2222" in line or "3333" in line for line in instance.descendants().values()),
               "nothing is left")
    assert instance.call("GET", f"/execute/{result['id']}/status").status == 404


def test_kill_without_force_lets_a_command_clean_up(instance):
    result = instance.execute("trap 'touch cleaned; exit 0' TERM; echo ready; while :; do sleep 0.05; done", wait=0)
    eventually(lambda: instance.call("GET", f"/execute/{result['id']}/status").json()["output"], "the trap is set")
    assert instance.call("DELETE", f"/execute/{result['id']}").json() == {"status": "killed"}
    assert (instance.home / "cleaned").exists()


def test_a_background_job_lives_on_after_its_command(instance):
    result = instance.execute("sleep 4444 & echo started")
    assert result["exit_code"] == 0
    assert any("4444" in line for line in instance.descendants().values())
    instance.call("DELETE", f"/execute/{result['id']}?force=true")
    eventually(lambda: not any("4444" in line for line in instance.descendants().values()), "the job is gone")


def test_whoever_was_answered_finds_the_log_where_the_answer_says(instance):
    for number in range(20):
        log = instance.execute(f"echo number-{number}")["log_path"]
        assert f"number-{number}\\r" in instance.execute(f"cat '{log}'")["text"]


def test_the_log_of_a_command_that_somebody_waits_for_is_there_meanwhile(instance):
    logs = instance.home / ".local/state/open-terminal/logs/processes"
    waiting = threading.Thread(target=lambda: instance.execute("echo ea''rly; until [ -e go-on ]; do sleep 0.05; done", wait=60))
    waiting.start()
    try:
        eventually(lambda: any("early" in log.read_text() for log in logs.glob("*.jsonl")), "it is there", 20)
        assert waiting.is_alive()
    finally:
        (instance.home / "go-on").touch()
        waiting.join()


def test_a_stop_typed_before_a_command_runs_keeps_nobody_from_killing_it(instance):
    for _ in range(30):
        id = instance.execute("sleep 4711", wait=0)["id"]
        instance.call("POST", f"/execute/{id}/input", {"input": "\x1a"})
        assert instance.call("DELETE", f"/execute/{id}?force=true").json() == {"status": "killed"}
    eventually(lambda: not any("4711" in line for line in instance.descendants().values()), "all are gone", 8)


def test_endless_output_fills_neither_disk_nor_memory(instance):
    result = instance.execute("yes 'a line of text that repeats and repeats' | head -c 70000000; echo end", wait=120)
    assert result["status"] == "done"
    assert 40 * 1024 * 1024 < os.path.getsize(result["log_path"]) <= 50 * 1024 * 1024
    last = instance.call("GET", f"/execute/{result['id']}/status?tail=1").json()["output"][0]["data"]
    assert "cut" in last
    pss = [line for line in Path(f"/proc/{instance.process.pid}/smaps_rollup").read_text().splitlines() if line.startswith("Pss:")]
    if not is_sanitized():
        assert int(pss[0].split()[1]) < 16 * 1024, pss


def test_characters_cut_by_reading_stay_whole(instance):
    text = instance.execute("for i in $(seq 2000); do printf 'h\\303\\251 \\346\\226\\207 '; done", wait=20)["text"]
    assert text == "hé 文 " * 2000


def test_a_missing_folder_and_a_nul_are_the_callers_fault(instance):
    assert instance.call("POST", "/execute", {"command": "pwd", "cwd": "/nope"}).status == 404
    assert instance.call("POST", "/execute", {"command": "a\0b"}).status == 400
    assert instance.call("POST", "/execute", {"command": "pwd", "cwd": "a\0b"}).status == 400


def test_a_command_starts_in_the_folder_that_was_meant(instance):
    (instance.home / "docs").mkdir()
    for folder, where in [("docs", "/docs"), ("~", ""), ("~/docs", "/docs"), ("~//docs/..", ""), ("", "")]:
        assert instance.execute("pwd", cwd=folder)["text"] == f"{instance.home}{where}\r\n"
    answer = instance.call("POST", "/execute", {"command": "pwd", "cwd": "~nobody"})
    assert answer.status == 404, answer
    if os.getuid() == 0:  # who can make a folder that the instance's user may not enter
        (instance.home / "locked").mkdir(mode=0o700, exist_ok=True)
        answer = instance.call("POST", "/execute", {"command": "pwd", "cwd": "locked"})
        assert (answer.status, answer.json()) == (403, {"detail": "[Errno 13] Permission denied: 'locked'"})


def test_a_variable_is_never_cut_short(instance):
    answer = instance.call("POST", "/execute", {"command": "true", "env": {"A": "b\0c"}})
    assert (answer.status, answer.json()["detail"][0]["loc"]) == (422, ["body", "env", "A"])


def test_commands_never_see_the_key(instance):
    environment = instance.execute("env; tr '\\0' '\\n' < /proc/%d/environ" % instance.process.pid)["text"]
    assert "OPEN_TERMINAL_API_KEY=k" not in environment


# ---- requests ----

@pytest.mark.parametrize("authorization, status", [
    ("Bearer k", 200), ("bearer k", 200), ("Bearer  k", 200), ("Bearer x", 401), ("Bearer ", 401), ("k", 401), ("", 401),
    ("Bearer kk", 401), ("Basic k", 401), ("Bearer \xe9", 401)])
def test_only_the_key_opens(instance, authorization, status):
    assert instance.call("GET", "/execute", key=None, headers={"Authorization": authorization}).status == status


@pytest.mark.parametrize("method, path, status", [
    ("GET", "/", 404), ("GET", "//", 404), ("GET", "/execute/..", 405), ("GET", "/execute/%2e%2e/status", 404), ("GET", "/%65xecute", 200),
    ("GET", "/execute/a%00b/status", 404), ("BREW", "/execute", 405), ("GET", "/execute?wait", 200), ("GET", "/execute/", 307),
    ("GET", "/execute?" + "a=b&" * 2000, 200), ("GET", "/execute/%ff/status", 404), ("GET", "/proxy/%ff/", 422), ("GET", "/execute/x/status?wait=nan", 422),
    ("GET", "/execute/x/status?wait=1e400", 422), ("GET", "/execute/x/status?offset=99999999999999999999", 404),
    ("GET", "/execute/x/status?offset=1x", 422)])
def test_odd_requests_get_an_answer_in_json(instance, method, path, status):
    answer = instance.call(method, path)
    assert answer.status == status, answer
    if status != 307:
        answer.json()


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"5", b'"x"', b"{", b"{}", b'{"command":', b'{"command":5}', b'{"command":null}',
                                  b'{"command":"a"} x', b"\xff", b'{"command":"\xff"}', b"[" * 100000, b'{"command":{}}',
                                  b'{"command":"true","env":[]}', b'{"command":"true","env":{"A":{}}}', b'{"command":"true","cwd":5}'])
def test_a_bad_body_is_refused_with_422(instance, body):
    answer = instance.call("POST", "/execute", body, headers={"Content-Type": "application/json"})
    if b"\xff" in body:
        assert (answer.status, answer.json()) == (400, {"detail": "There was an error parsing the body"})
        return
    assert answer.status == 422, answer
    for problem in answer.json()["detail"]:
        assert {"type", "loc", "msg", "input"} <= set(problem)


def test_a_lone_surrogate_is_no_500(instance):
    answer = instance.call("POST", "/execute?wait=5", b'{"command":"echo \\ud800"}', headers={"Content-Type": "application/json"})
    assert answer.status in (200, 422), answer


def test_a_refused_upload_does_not_cost_the_connection(instance):
    connection = http.client.HTTPConnection("127.0.0.1", instance.port)
    assert instance.call("POST", "/execute", b"x" * 100000, key="wrong", connection=connection).status == 401
    assert instance.call("GET", "/health", connection=connection).status == 200
    connection.close()


def test_a_connection_is_kept_and_requests_may_be_pipelined(instance):
    with socket.create_connection(("127.0.0.1", instance.port)) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
        received = b""
        while received.count(b'{"status":"ok"}') < 50:
            piece = client.recv(65536)
            assert piece, received
            received += piece


def test_clients_that_hang_up_while_they_wait_leave_nothing(instance):
    for _ in range(20):
        client = socket.create_connection(("127.0.0.1", instance.port))
        body = b'{"command":"sleep 0.3"}'
        client.sendall(b"POST /execute?wait=60 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\nContent-Type: application/json\r\n"
                       b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        client.close()
    eventually(lambda: not any("sleep 0.3" in line for line in instance.descendants().values()), "all have ended")
    assert instance.call("GET", "/health").status == 200


def test_the_document_describes_what_there_is(instance):
    document = instance.call("GET", "/openapi.json", key=None).json()
    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        for method in operations:
            status = instance.call(method.upper(), path.replace("{process_id}", "x"), key=None).status
            assert status == 401, f"{method} {path}: {status}"


# ---- its end ----

LEAVE_MUCH_RUNNING = "nohup sleep 6001 & setsid sleep 6002 & (trap '' HUP TERM INT; sleep 6003) & sleep 6004"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_instance_leaves_no_process_behind(how):
    with InstanceProcess() as instance:
        instance.execute(LEAVE_MUCH_RUNNING, wait=0)
        open_shell(instance)
        eventually(lambda: sum("sleep 600" in line for line in instance.descendants().values()) >= 4, "all of it runs")
        below = instance.descendants()
        instance.process.send_signal(how)
        instance.process.wait(timeout=20)
        eventually(lambda: not [pid for pid in below if Path(f"/proc/{pid}").exists()],
                   f"nothing of {below} is left", 10)


def test_a_waiting_request_does_not_hold_up_the_end():
    with InstanceProcess() as instance:
        results = []

        def wait():
            try:
                results.append(instance.call("POST", "/execute?wait=300", {"command": "sleep 300"}).status)
            except (OSError, http.client.HTTPException) as problem:
                results.append(problem)
        thread = threading.Thread(target=wait)
        thread.start()
        eventually(lambda: any("sleep 300" in line for line in instance.descendants().values()), "it waits")
        instance.process.terminate()
        assert instance.process.wait(timeout=5) == 0
        thread.join()


def test_the_key_may_come_from_a_file_or_is_made(tmp_path):
    path = Path("/tmp") / f"key-{os.getpid()}"
    path.write_text("from a file\n")
    path.chmod(0o644)
    try:
        with InstanceProcess(key=None, env={"OPEN_TERMINAL_API_KEY_FILE": str(path)}) as instance:
            assert instance.call("GET", "/execute", key="from a file").status == 200
            assert instance.call("GET", "/execute", key="k").status == 401
    finally:
        path.unlink()
    with InstanceProcess(key=None) as instance:
        eventually(lambda: "API key: " in instance.log(), "the key that was made is told")
        made = instance.log().partition("API key: ")[2].split()[0]
        assert len(made) == 64
        assert instance.call("GET", "/execute").status == 401
        assert instance.call("GET", "/execute", key=made).status == 200


@pytest.mark.release_only
def test_an_idle_instance_is_small_and_quick_to_start():
    times = []
    for _ in range(5):
        start = time.monotonic()
        with InstanceProcess() as instance:
            assert instance.call("GET", "/health").status == 200
            times.append(time.monotonic() - start)
            assert memory_kib(instance) < 2 * 1024
    assert sorted(times)[2] < 1, times  # with Python's part in it, on a machine that others use too


def is_asleep(pid):
    """Whether it is open-terminal, no longer what starts it, and waits for something."""
    name, state = Path(f"/proc/{pid}/stat").read_text().split("(", 1)[1].rsplit(")", 1)
    return name == "open-terminal" and state.split()[0] == "S"


def listens(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("may_begin", [True, False])
def test_it_waits_until_it_may_begin_and_ends_if_it_never_may(may_begin):
    read_end, write_end = os.pipe()
    port = free_port()
    with subprocess.Popen([BIN / "open-terminal", "run", "--wait-fd", str(read_end), "--host", "127.0.0.1", "--port", str(port)],
                          env={**os.environ, "OPEN_TERMINAL_API_KEY": KEY}, pass_fds=[read_end]) as process:
        try:
            os.close(read_end)
            eventually(lambda: is_asleep(process.pid), "it waits", 20)
            assert not listens(port)
            if may_begin:
                os.write(write_end, b"!")
                eventually(lambda: listens(port), "it listens", 20)
                process.terminate()
            os.close(write_end)
            assert process.wait(20) == 0
        finally:
            process.kill()
    assert not listens(port)


def test_a_descriptor_to_wait_on_that_is_none_is_a_mistake():
    done = subprocess.run([BIN / "open-terminal", "run", "--wait-fd", "77"], env={**os.environ, "OPEN_TERMINAL_API_KEY": KEY}, text=True,
                          capture_output=True, timeout=60)
    assert done.returncode == 2 and "--wait-fd 77: Bad file descriptor" in done.stderr
