"""`terminals doctor`: an operator is told what is wrong, and what to do, before users tell them."""
import json
import os
import re
import socket
import sqlite3
import sys
import time
from pathlib import Path

import pytest

from certificates import make_certificate
from kubernetes_world import Cluster
from postgres_server import PostgresServer
from stack import eventually, route_key

sys.path.insert(0, str(Path(__file__).parents[1] / "fakes"))

from docker_engine_answers import docker_engine_answers  # noqa: E402
from open_webui import OpenWebUI  # noqa: E402
from siem_receiver import SiemReceiver  # noqa: E402

LINE = re.compile(r"^(ok  |warn|FAIL)  ([a-z ]+): .+$")


def doctor(stack, *arguments):
    """What it found: a list of {check, status, detail, advice}; the exit status has to fit."""
    done = stack.terminals("doctor", "--json", *arguments)
    findings = json.loads(done.stdout)
    worst = max((["ok", "warn", "fail"].index(one["status"]) for one in findings), default=0)
    assert done.returncode == worst, done
    for one in findings:
        assert one["status"] == "ok" or one["advice"] or one["check"] == "database", f"nothing to do about {one}"
    return findings


def found(stack, check, status=None):
    """The details of what was found of `check`, one text."""
    return " / ".join(f"{one['detail']}; {one['advice']}" for one in doctor(stack)
                      if one["check"] == check and status in (None, one["status"]))


def broken(stack):
    return {one["check"]: one["detail"] for one in doctor(stack) if one["status"] == "fail"}


@pytest.fixture
def idle(fresh):
    """Makes stacks that are not started."""
    return lambda **settings: fresh(start=False, **{"local_sandbox": "none", "cleanup_interval_seconds": 60, **settings})


def test_a_deployment_that_was_never_started_is_told_so_and_stays_as_it_is(idle):
    stack = idle()
    before = sorted(stack.folder.iterdir())
    assert not broken(stack)
    assert "terminals serve" in found(stack, "processes", "warn")
    assert "is free" in found(stack, "port", "ok")
    assert "will be made" in found(stack, "database", "ok")
    assert sorted(stack.folder.iterdir()) == before, "a look has made something"


def test_a_running_deployment_has_nothing_broken_and_its_maps_agree(stack, user):
    stack.run(user, "true")
    stack.wait_hot(user)
    assert not broken(stack)
    for process in ("provisioner", "api", "gate"):
        assert "answers" in found(stack, process, "ok")
    assert "requests are served" in found(stack, "health", "ok")
    assert "HAProxy has all their routes" in found(stack, "routes", "ok")
    assert "`routes`" in found(stack, "maps", "ok") and "`identities`" in found(stack, "maps", "ok")
    assert "can be connected to" in found(stack, "instances", "ok")
    assert re.search(r"version [23]\.", found(stack, "haproxy", "ok"))


def test_the_backend_that_runs_is_looked_at_and_not_the_default_of_another_shell(fresh):
    """What `make run` started, asked from a second shell: there, nobody has said TERMINALS_BACKEND=local."""
    stack = fresh(local_sandbox="none", docker_host="unix:///nonexistent/docker.sock")
    stack.settings["backend"] = None
    assert not broken(stack)
    assert "`local`" in found(stack, "backend", "ok")
    stack.settings["backend"] = "static"
    assert not broken(stack)
    assert "`local`" in found(stack, "backend", "warn")
    stack.settings["backend"] = "local"
    assert not found(stack, "backend")


def test_lines_are_one_each_and_quiet_leaves_the_good_ones_out(stack):
    done = stack.terminals("doctor")
    lines = done.stdout.splitlines()
    assert lines and all(LINE.match(line) for line in lines), done.stdout
    quiet = stack.terminals("doctor", "--quiet")
    assert quiet.returncode == done.returncode
    assert not [line for line in quiet.stdout.splitlines() if line.startswith("ok")]
    assert stack.terminals("doctor", "--loud").returncode == 2
    assert "--json" in stack.terminals("doctor", "--help").stdout


def test_no_secret_is_printed(fresh):
    secrets = {"api_key": "a-long-api-key-of-somebody", "encryption_key": "a-long-encryption-key",
               "siem_webhook_token": "a-long-webhook-token", "jwt_secret": "a-long-secret-of-open-webui"}
    stack = fresh(siem_webhook_url="http://me:password-in-url@127.0.0.1:1/path-token-1234", local_sandbox="none", **secrets)
    stack.request("alice", "GET", "/files/list", key="a-long-api-key-of-somebody").expect(200)
    for arguments in ((), ("--json",)):
        done = stack.terminals("doctor", *arguments)
        for secret in (*secrets.values(), "password-in-url", "path-token-1234", "Bearer"):
            assert secret not in done.stdout + done.stderr
    assert "127.0.0.1" in found(stack, "siem webhook", "fail")


# --- settings ---------------------------------------------------------------------------------------------------------


def test_all_mistakes_in_the_settings_are_named_at_once(idle):
    stack = idle(start_concurrency="many", idle_timeout_seconds="-1", no_such_thing="1")
    done = stack.terminals("doctor")
    assert done.returncode == 2
    for name in ("TERMINALS_START_CONCURRENCY", "TERMINALS_IDLE_TIMEOUT_SECONDS", "TERMINALS_NO_SUCH_THING"):
        assert len([line for line in done.stdout.splitlines() if line.startswith("FAIL") and name in line]) == 1, done.stdout


def test_keys_that_can_be_guessed_and_doors_that_stand_open_are_warned_of(idle):
    assert "guessed" in found(idle(api_key="short"), "api key", "warn")
    assert "anybody" in found(idle(api_key=None, open="true", host="0.0.0.0"), "api key", "warn")
    assert "cron" in found(idle(cleanup_interval_seconds=0), "idle cleanup", "warn")


def test_a_certificate_is_read_before_a_browser_does(idle, tmp_path):
    good = make_certificate(tmp_path / "good.pem", "localhost")
    assert "valid for" in found(idle(tls_cert=good), "tls", "warn"), "it is valid for two days only"
    other = make_certificate(tmp_path / "other.pem", "localhost")
    mixed = tmp_path / "mixed.pem"
    mixed.write_bytes(good.with_suffix(".crt").read_bytes() + other.with_suffix(".key").read_bytes())
    assert "another certificate" in found(idle(tls_cert=mixed), "tls", "fail")
    assert "no key" in found(idle(tls_cert=good.with_suffix(".crt")), "tls", "fail")
    assert "No such file" in found(idle(tls_cert=tmp_path / "none.pem"), "tls", "fail")


# --- processes and HAProxy --------------------------------------------------------------------------------------------


def test_a_process_that_hangs_is_named(fresh):
    stack = fresh(local_sandbox="none")
    with stack.stopped("terminals-gate"):
        failures = broken(stack)
        assert "gate" in failures and "health" in failures
        assert "provisioner" not in failures


def test_a_route_that_haproxy_lost_is_noticed(fresh):
    stack = fresh(local_sandbox="none")
    stack.run("alice", "true")
    stack.wait_hot("alice")
    with stack.stopped("terminals-provisioner"):  # which would put it back
        with socket.socket(socket.AF_UNIX) as runtime:
            runtime.connect(str(stack.folder / "run/haproxy.sock"))
            runtime.sendall(f"del map {stack.folder}/run/routes.map {route_key('alice')}\n".encode())
            runtime.recv(100)
        assert "1 and 0 entries" not in found(stack, "maps", "ok")
        assert "differ (0 and 1 entries)" in found(stack, "maps", "fail")


def test_a_port_that_somebody_else_has_is_found_before_the_start(idle):
    stack = idle()
    other = idle(port=stack.port).start()
    assert "in use" in found(stack, "port", "fail")
    other.stop()


# --- the database -----------------------------------------------------------------------------------------------------


def test_a_database_that_is_damaged_newer_or_without_its_key_is_found(fresh):
    stack = fresh(local_sandbox="none", database_url=None)
    stack.settings["database_url"] = f"sqlite:///{stack.folder}/terminals.db"
    stack.stop()
    stack.start()
    stack.run("alice", "true")
    stack.stop()
    key, file = stack.folder / "encryption.key", stack.folder / "terminals.db"
    content = key.read_bytes()
    key.unlink()
    assert "was written with one" in found(stack, "encryption key", "fail")
    key.write_bytes(content)
    key.chmod(0o644)
    assert "others can read" in found(stack, "encryption key", "warn")
    key.chmod(0o600)
    with sqlite3.connect(file) as database:
        database.execute("INSERT INTO schema_migrations VALUES (999, '999_future')")
    assert "newer program" in found(stack, "database", "fail")
    with sqlite3.connect(file) as database:
        database.execute("DELETE FROM schema_migrations WHERE version = 999")
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert not broken(stack)
    pages = bytearray(file.read_bytes())
    pages[4096 * 2:] = os.urandom(len(pages) - 4096 * 2)
    file.write_bytes(pages)
    assert "damaged" in found(stack, "database", "fail")
    file.write_bytes(b"no database at all " * 1000)
    assert "not an SQLite database" in found(stack, "database", "fail")


def test_postgresql_is_asked_for_its_version_clock_and_connections(idle):
    with PostgresServer() as server:
        server.sql("CREATE DATABASE d1")
        stack = idle(database_url=server.url("d1"))
        assert "PostgreSQL" in found(stack, "database", "ok")
        assert "from PostgreSQL's" in found(stack, "clock", "ok")
        assert "connections are taken" in found(stack, "database", "ok")
        server.sql("CREATE ROLE reader LOGIN")
        stack.settings["database_url"] = server.url("d1").replace("postgres@", "reader@")
        assert "denied" in found(stack, "database", "fail")
        stack.settings["database_url"] = server.url("nowhere")
        assert "nowhere" in found(stack, "database", "fail")


# --- what it depends on -----------------------------------------------------------------------------------------------


def test_open_webui_is_asked_as_what_it_is(idle):
    with OpenWebUI() as chat:
        stack = idle(open_webui_url=chat.url)
        assert "answers" in found(stack, "open webui", "ok")
        assert "from Open WebUI's" in found(stack, "clock", "ok")
        stack.settings["open_webui_url"] = chat.url + "/app"
        assert "without a path" in found(stack, "open webui", "fail")
    stack.settings["open_webui_url"] = "http://127.0.0.1:1"
    assert "onnect" in found(stack, "open webui", "fail")


def test_the_siem_webhook_is_connected_to_and_gets_no_event(idle):
    with SiemReceiver() as siem:
        stack = idle(siem_webhook_url=siem.url)
        assert "can be connected to" in found(stack, "siem webhook", "ok")
        assert not siem.posts


def test_a_static_instance_that_is_away_is_named(static, fake):
    assert "answers" in found(static, "instance", "ok")
    static.settings["static_port"] = 1
    assert "TERMINALS_STATIC_PORT" in found(static, "instance", "fail")


def test_the_engine_its_network_and_the_image_are_looked_at(idle, tmp_path, request):
    answers = {"/version": {"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12"},
               "/networks/mine": {"Name": "mine"}, "/images/example.org%2Fterminal%3A1/json": {"Id": "sha256:1"},
               "/info": lambda: {"MemoryLimit": has_limits, "PidsLimit": True, "CpuCfsQuota": True, "Runtimes": {"runc": {}},
                                 "SystemTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + fast_s))}}
    has_limits, fast_s = True, 0
    with docker_engine_answers(tmp_path / "docker.sock", answers) as host:
        stack = idle(backend="local", docker_host=host, docker_network="mine", image="example.org/terminal:1")
        stack.settings["backend"] = "docker"
        request.addfinalizer(lambda: stack.settings.update(backend="local"))  # there is nothing of it in an engine to clear away
        for check in ("engine", "network", "image", "limits", "clock"):
            assert found(stack, check, "ok"), check
        stack.settings.update(docker_network="mine,yours", image="example.org/terminal:2", docker_runtime="runsc")
        has_limits, fast_s = False, 3600
        assert "`yours`" in found(stack, "network", "fail")
        assert "docker pull" in found(stack, "image", "warn")
        assert "`runsc`" in found(stack, "runtime", "fail")
        assert "take all" in found(stack, "limits", "warn")
        assert "NTP" in found(stack, "clock", "warn")
    assert "TERMINALS_DOCKER_HOST" in found(stack, "engine", "fail")


def test_a_right_that_the_cluster_does_not_give_is_named(idle):
    cluster = Cluster()
    try:
        stack = idle(**cluster.settings())
        assert "v1.36" in found(stack, "cluster", "ok")
        assert "all that are needed" in found(stack, "rights", "ok")
        cluster.api.rules["system:serviceaccount:terminals:terminals"] = [
            {"verbs": ["list", "watch", "create"], "apiGroups": [""], "resources": ["pods", "services"]}]
        missing = found(stack, "rights", "fail")
        assert "delete pods" in missing and "get secrets" in missing and "create pods" not in missing
        cluster.api.tokens.clear()
        assert "kubeconfig" in found(stack, "cluster", "fail").lower()
    finally:
        cluster.close()
    assert "kubeconfig" in found(stack, "cluster", "fail").lower()


# --- this machine -----------------------------------------------------------------------------------------------------


def test_folders_that_others_may_enter_or_we_may_not_write_are_named(fresh):
    stack = fresh(local_sandbox="none")
    (stack.folder / "run").chmod(0o755)
    assert "chmod 700" in found(stack, "run folder", "warn")
    (stack.folder / "run").chmod(0o700)
    stack.stop()
    (stack.folder / "homes").rmdir()
    (stack.folder / "homes").write_text("no folder")
    assert "no folder" in found(stack, "data folder", "fail")
    eventually(lambda: not stack.processes(), what="the end of the stack")
