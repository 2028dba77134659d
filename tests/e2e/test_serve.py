"""`terminals serve`: starting, failing to start, stopping, being killed, reloading; and what it must not give away."""
import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from stack import BIN, OURS, eventually


def failed_start(stack, *arguments):
    """Starts a stack that must not start, and returns what it said on standard error."""
    stack.launch(*arguments)
    status = stack.wait_exit(15)
    stack.expect_nothing_left()
    assert status not in (0, None) and status > 0, f"ended with {status}: {stack.log()}"
    return stack.err()


@pytest.mark.parametrize("settings,named", [
    ({"port": "abc"}, "TERMINALS_PORT"), ({"port": "70000"}, "TERMINALS_PORT"), ({"port": "-1"}, "TERMINALS_PORT"),
    ({"no_such_setting": "1"}, "TERMINALS_NO_SUCH_SETTING"), ({"backend": "nope"}, "TERMINALS_BACKEND"),
    ({"open": "perhaps"}, "TERMINALS_OPEN"), ({"open": "true"}, "TERMINALS_OPEN"),
    ({"idle_timeout_seconds": "10m"}, "TERMINALS_IDLE_TIMEOUT_SECONDS"), ({"idle_timeout_seconds": "-1"}, "TERMINALS_IDLE_TIMEOUT_SECONDS"),
    ({"database_url": "mysql://x"}, "TERMINALS_DATABASE_URL"), ({"local_sandbox": "docker"}, "TERMINALS_LOCAL_SANDBOX"),
    ({"log_level": "LOUD"}, "TERMINALS_LOG_LEVEL"), ({"static_port": "99999999999999999999"}, "TERMINALS_STATIC_PORT"),
    ({"api_key_file": "/no/such/file", "api_key": None}, "TERMINALS_API_KEY_FILE"),
])
def test_a_bad_setting_stops_the_start_with_one_clear_line(fresh, settings, named):
    port = settings.pop("port", None)
    stack = fresh(start=False, **settings)
    if port is not None:
        stack.settings["port"] = port
    text = failed_start(stack)
    lines = [line for line in text.splitlines() if line.strip()]
    assert len(lines) == 1 and named in lines[0], text


def test_a_bad_flag_stops_the_start_with_one_clear_line(fresh):
    for arguments, named in ((["--port", "x"], "port"), (["--nonsense"], "nonsense"), (["--port"], "port")):
        text = failed_start(fresh(start=False), *arguments)
        assert named.lower() in text.lower(), text


def test_a_port_in_use_is_told_by_its_number(fresh):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = failed_start(fresh(start=False, port=port))
    assert str(port) in text and re.search(r"(?i)in use|already", text), text


def test_a_binary_that_is_missing_is_told(fresh):
    stack = fresh(start=False, local_binary="/no/such/open-terminal")
    assert "/no/such/open-terminal" in failed_start(stack)


def test_a_folder_that_cannot_be_written_is_told(fresh, tmp_path):
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in failed_start(fresh(start=False, run_dir=tmp_path / "file" / "run"))


def test_a_run_folder_too_long_for_sockets_is_told(fresh, tmp_path):
    text = failed_start(fresh(start=False, run_dir=tmp_path / ("x" * 120)))
    assert "RUN_DIR" in text or "too long" in text, text


def test_two_at_once_in_one_run_folder_do_not_fight(fresh):
    first = fresh()
    first.run("u", "true")
    second = fresh(start=False, run_dir=first.settings["run_dir"])
    text = failed_start(second)
    assert text.strip(), "no word about why"
    assert first.run("u", "echo still") == "still\n"


def test_without_a_key_one_is_made_and_the_printed_request_works(fresh):
    """What `make run` prints can be pasted."""
    stack = fresh(start=False, api_key=None)
    stack.launch()
    eventually(lambda: "curl" in stack.log(), 20, what="the curl line")
    eventually(lambda: stack.request(None, "GET", "/health", key=None).status == 200, 20, what="/health")
    text = stack.log().replace("\\\n", " ")
    command = next(line for line in text.splitlines() if re.match(r"\s*(\$ )?curl ", line)).strip().removeprefix("$ ")
    assert f"127.0.0.1:{stack.port}" in text or f"localhost:{stack.port}" in text
    key = re.search(r"Bearer ([^\s'\"]+)", command).group(1)
    assert len(key) >= 20
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and "hello" in done.stdout, done
    assert stack.request("u", "GET", "/files/list", key=key).status == 200
    assert shlex.split(command)[0] == "curl"


def test_flags_win_over_the_environment(fresh):
    stack = fresh(start=False, api_key="from-the-environment")
    port = stack.settings["port"]
    stack.settings["port"] = 1
    stack.launch("--port", str(port), "--api-key", "from-the-flag", "--host", "127.0.0.1", "--backend", "local")
    eventually(lambda: stack.request("u", "GET", "/files/list", key="from-the-flag").status == 200, 20, what="an answer")
    stack.request("u", "GET", "/files/list", key="from-the-environment").expect_error(401)


def test_a_dotenv_file_fills_in_what_the_environment_leaves_open(fresh):
    stack = fresh(start=False, api_key=None, log_level="DEBUG")
    (stack.folder / ".env").write_text("# comment\nTERMINALS_API_KEY='from-the-file'\nTERMINALS_LOG_LEVEL=ERROR\nOTHER=x\n")
    stack.key = "from-the-file"
    stack.start()
    assert stack.run("u", "echo hi") == "hi\n"


def test_a_secret_may_come_from_a_file(fresh, tmp_path):
    (tmp_path / "key").write_text("key-from-a-file\n")
    stack = fresh(start=False, api_key=None, api_key_file=tmp_path / "key")
    stack.key = "key-from-a-file"
    stack.start()
    assert stack.run("u", "echo hi") == "hi\n"


def test_open_mode_asks_nobody(fresh):
    stack = fresh(api_key=None, open=True)
    for _ in ("cold", "hot"):
        stack.request("u", "GET", "/files/list", key=None).expect(200)
    stack.request("u", "GET", "/files/list", key="anything").expect(200)
    assert [t["user_id"] for t in stack.admin("GET", "/tenants/", key=None).expect(200).json()] == ["u"]
    stack.request(None, "GET", "/files/list", key=None).expect_error(422)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_end_ends_every_process(fresh, number):
    stack = fresh()
    for user in ("a", "b"):
        stack.request(user, "POST", "/execute", {"command": "trap '' INT TERM HUP; (setsid sleep 47113 &); sleep 47114"}).expect(200)
    stack.shell("a")
    eventually(lambda: len(stack.commands("sleep 4711")) >= 4, what="the commands")
    stack.stop(number)
    assert stack.exit_status in (0, -number, 128 + number)


def test_ctrl_c_reaches_the_whole_group_and_still_ends_well(fresh):
    """A terminal sends SIGINT to every process of the foreground group; timeout(1) sends its own as well: one wish, not two."""
    stack = fresh()
    stack.run("a", "true")
    os.killpg(stack.serve_pid, signal.SIGINT)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(stack.serve_pid, signal.SIGINT)
    stack.wait_exit()
    stack.expect_nothing_left()
    assert "killing what still runs" not in stack.err()


def test_files_and_tenants_survive_a_restart(fresh, user):
    stack = fresh()
    stack.run(user, "echo kept > ~/kept.txt")
    before = stack.tenant(user)
    stack.stop()
    stack.start()
    assert stack.tenant(user)["id"] == before["id"]
    assert stack.run(user, "cat ~/kept.txt") == "kept\n"


def test_serve_killed_and_started_again_adopts_what_runs(fresh, user):
    stack = fresh()
    stack.run(user, "echo kept > ~/kept.txt")
    pid, before = stack.instance_pid(user), stack.tenant(user)
    os.kill(stack.serve_pid, signal.SIGKILL)
    stack.wait_exit()
    # The second one is beside what the first left; the instance stays the first reaper's descendant.
    first = stack.reaper, stack.report
    try:
        stack.start()
        assert stack.tenant(user)["instance_id"] == before["instance_id"], "the instance was not adopted"
        assert stack.tenant(user)["status"] == "running"
        assert stack.run(user, "cat ~/kept.txt") == "kept\n"
        assert os.path.exists(f"/proc/{pid}")
        stack.wait_hot(user)
        with stack.stopped(*OURS):
            stack.request(user, "GET", "/files/list", timeout=5).expect(200)
        stack.stop()
        eventually(lambda: not os.path.exists(f"/proc/{pid}"), 3, what="the end of the adopted instance with the rest")
    finally:
        stack.kill_all()
        stack.reaper, stack.report = first
        left = [stack.describe(one) for one in stack.processes()]
        stack.kill_all()
    assert not left, f"left behind by the first: {left}"


def test_a_reload_keeps_routes_and_requests(fresh, user):
    stack = fresh()
    stack.run(user, "true")
    shell = stack.shell(user)
    workers = stack.process("haproxy")[1:]
    os.kill(stack.serve_pid, signal.SIGHUP)
    eventually(lambda: set(stack.process("haproxy")[1:]) - set(workers), 10, what="a new HAProxy worker")
    statuses = set()
    began = time.monotonic()
    while time.monotonic() - began < 2:
        statuses.add(stack.request(user, "GET", "/files/list").status)
    assert statuses == {200}
    # Hot again: within a second or two the provisioner has filled the new worker's maps.
    stack.wait_hot(user)
    with stack.stopped(*OURS):
        stack.request(user, "GET", "/files/list", timeout=5).expect(200)
    shell.send(b"echo $((6*7))\n")
    shell.read_until(b"42")
    shell.close()


def test_many_reloads_lose_nothing(fresh):
    stack = fresh()
    for number in range(4):
        os.kill(stack.serve_pid, signal.SIGHUP)
        for again in range(3):
            stack.run(f"user-{number}-{again}", "true")
    eventually(lambda: len(stack.process("haproxy")) == 2, 15, what="the old workers' end")
    stack.wait_hot(*(f"user-{number}-{again}" for number in range(4) for again in range(3)))
    with stack.stopped(*OURS):
        for number in range(4):
            for again in range(3):
                stack.request(f"user-{number}-{again}", "GET", "/files/list", timeout=5).expect(200)


def test_a_new_key_locks_the_old_one_out(fresh, user):
    stack = fresh(api_key="old-key")
    stack.run(user, "echo kept > ~/kept.txt")
    stack.stop()
    stack.settings["api_key"] = stack.key = "new-key"
    stack.start()
    stack.request(user, "GET", "/files/list", key="old-key").expect_error(401)
    assert stack.run(user, "cat ~/kept.txt") == "kept\n"
    stack.request(user, "GET", "/files/list", key="old-key").expect_error(401)
    stack.admin("GET", "/stats", key="old-key").expect_error(401)


def test_no_secret_shows_anywhere(fresh, user):
    secret = "sikrit-" + os.urandom(12).hex()
    encryption = os.urandom(32).hex()
    stack = fresh(api_key=secret, encryption_key=encryption, log_level="DEBUG", access_log=True)
    stack.run(user, "true")
    stack.request(user, "GET", f"/files/list?token={secret}")
    for auth in ("message", "query", "header"):
        stack.shell(user, auth=auth).close()
    stack.request(user, "GET", "/files/list", key="guess-" + secret[7:]).expect(401)
    instance_keys = {route[2] for route in stack.routes().values()}
    assert instance_keys
    secrets = {secret, encryption, secret[7:], *instance_keys}

    def expect_free(text, where):
        for one in secrets:
            assert one not in text, f"a secret shows in {where}: …{text[max(0, text.index(one) - 120):][:300]}"

    expect_free(stack.err(), "the log")
    for pid in stack.processes():
        with contextlib.suppress(OSError):
            expect_free(Path(f"/proc/{pid}/cmdline").read_text(errors="replace"), f"the arguments of {stack.name_of(pid)}")
    for path in stack.folder.rglob("*"):
        if path.is_file() and path.name not in ("routes.map", "out", "err"):
            expect_free(path.read_bytes().decode("latin-1"), str(path))
    rows = stack.admin("GET", "/audit-logs?limit=1000").text
    expect_free(rows, "the audit log")
    expect_free(stack.admin("GET", "/config").text, "/config")
    expect_free(stack.admin("GET", "/tenants/").text, "/tenants/")

    # Nobody has in their environment what they do not need (SETTINGS.md).
    def environment(name):
        return "".join(Path(f"/proc/{pid}/environ").read_text(errors="replace") for pid in stack.process(name))

    for name in ("terminals-provisioner", "haproxy", "open-terminal", "bwrap"):
        assert secret not in environment(name), f"{name} has the API key"
    for name in ("terminals-api", "terminals-gate", "haproxy", "open-terminal", "bwrap"):
        assert encryption not in environment(name), f"{name} has the encryption key"
        assert "TERMINALS_DATABASE_URL" not in environment(name)


def test_the_run_folder_is_private(fresh):
    stack = fresh()
    run = stack.folder / "run"
    assert run.stat().st_mode & 0o777 == 0o700
    for path in run.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_generated_encryption_key_is_private(fresh, user):
    stack = fresh()
    stack.run(user, "true")
    stack.stop()
    keys = [path for path in stack.folder.rglob("*") if path.is_file() and "key" in path.name]
    assert keys, [str(path) for path in stack.folder.rglob("*")][:40]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in keys), keys


def test_health_says_what_is_down(fresh):
    stack = fresh()
    with stack.stopped("terminals-gate"):
        answer = eventually(lambda: (lambda a: a if a.status == 503 else None)(
            stack.request(None, "GET", "/health", key=None, timeout=5)), 20, what="503 from /health", interval=0.2)
        assert answer.json()["detail"]
    eventually(lambda: stack.request(None, "GET", "/health", key=None).status == 200, 20, what="health again")


def test_help_and_an_unknown_command():
    for arguments, status in ((["--help"], 0), (["help"], 0), ([], 2), (["nonsense"], 2)):
        done = subprocess.run([BIN / "terminals", *arguments], capture_output=True, text=True, timeout=20, check=False)
        assert (done.returncode == 0) == (status == 0), (arguments, done)
        assert "serve" in done.stdout + done.stderr and "reap" in done.stdout + done.stderr


def test_a_command_says_how_it_is_used_and_what_it_does_not_know():
    for command in ("apply", "backup", "doctor", "gc", "reap", "restore", "top"):
        for arguments, status in ((["--help"], 0), (["-h"], 0), (["--nonsense=topsecret"], 2)):
            done = subprocess.run([BIN / "terminals", command, *arguments], capture_output=True, text=True, timeout=20, check=False)
            assert done.returncode == status, (command, arguments, done)
            said, silent = (done.stdout, done.stderr) if status == 0 else (done.stderr, done.stdout)
            assert f"usage: terminals {command}" in said and not silent, (command, arguments, done)
            assert status == 0 or "`--nonsense`" in said and "topsecret" not in said, (command, arguments, done)


def test_it_runs_from_any_folder_with_relative_paths(fresh):
    """The defaults are relative (./data/…), and instances must not care about our working directory."""
    stack = fresh(run_dir="./data/run", data_dir="./data/terminals", database_url="sqlite:///./data/terminals.db")
    assert stack.run("u", "pwd") in ("/home/user\n", f"{stack.folder}/data/terminals/u\n")
    assert (stack.folder / "data/terminals/u").is_dir() and (stack.folder / "data/terminals.db").is_file()


def test_check_says_which_process_does_not_answer(fresh):
    """What the health checks of the compose stack run."""
    stack = fresh()
    for name in ("provisioner", "api", "gate"):
        done = stack.terminals("check", name)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done
        with stack.stopped(f"terminals-{name}"):
            done = stack.terminals("check", name)
            assert done.returncode == 1 and f"{name}" in done.stderr, done
    for arguments in ((), ("nonsense",), ("api", "gate")):
        assert stack.terminals("check", *arguments).returncode == 2
    stack.stop()
    done = stack.terminals("check", "gate")
    assert done.returncode == 1 and "gate.sock" in done.stderr, done


def test_reap_can_go_on_for_ever(fresh, user):
    """What the compose stack has in place of cron: also while there is no provisioner to ask."""
    stack = fresh(idle_timeout_seconds=1)
    stack.run(user, "true")
    loop = subprocess.Popen(stack.command("reap", "--every", "1"), cwd=stack.folder, env=stack.environment(), text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        os.kill(stack.one("terminals-provisioner"), signal.SIGKILL)
        eventually(lambda: stack.tenant(user)["status"] == "stopped", 15, what="the stop of an idle instance")
        assert loop.poll() is None
    finally:
        loop.terminate()
        assert "checked=" in loop.communicate(timeout=10)[0]
    for arguments in (("--every",), ("--every", "-1"), ("--every", "x"), ("--often", "3"), ("--every", "99999999")):
        done = stack.terminals("reap", *arguments)
        assert done.returncode == 2 and "usage" in done.stderr, done
