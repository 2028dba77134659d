"""The recorded behaviour of the original Open Terminal, apart from the file endpoints (test_instance_files_replay.py has those)."""
import socket
from pathlib import Path

import pytest
from instance_process import InstanceProcess
from replay import Replay, load


def wait_until_done(replay):
    ours = replay.ids["20261123-093352-5d8435"]
    replay.wait_for(lambda: replay.instance.call("GET", f"/execute/{ours}/status").json()["status"] == "done", "sleep 0.3")


def wait_for_echo(text):
    """`input` was answered before `cat` had written it back."""
    def before(replay):
        ours = replay.ids["20261123-093353-5c59bd"]
        replay.wait_for(lambda: sum(entry["data"].count(text) for entry in
                                    replay.instance.call("GET", f"/execute/{ours}/status").json()["output"]) >= 2, text)
    return before


def kill_finished(replay):
    ours = replay.ids["20261123-093352-5d8435"]
    assert replay.instance.call("DELETE", f"/execute/{ours}").status == 200


def start_web_server(replay):
    (replay.instance.home / "docs" / "fromsess.txt").write_text("x")
    replay.execute("20261123-093357-bb4f89", "python3 -m http.server 18555 --bind 127.0.0.1", cwd="docs")
    replay.wait_for(lambda: replay.instance.call("GET", "/proxy/18555/").status == 200, "the web server")


def close_cleaned_up_terminals(replay):
    for theirs in ("2a0df1f2", "s1"):
        assert replay.instance.call("DELETE", f"/api/terminals/{replay.ids[theirs]}").status == 200


def execute_first_cell(replay):
    """The recording shows the second execution of the session only."""
    ours = replay.ids["def35f48232f"]
    assert replay.instance.call("POST", f"/notebooks/{ours}/execute", {"cell_index": 0}, timeout=60).json()["status"] == "ok"


HAS_KERNEL = any(Path(folder, "jupyter/kernels/python3/kernel.json").exists() for folder in ("/usr/share", "/usr/local/share"))
REPLAY = Replay(
    ["/health", "/execute", "/ports", "/proxy", "/api/", "/nope", "/info", "/system", *(["/notebooks"] if HAS_KERNEL else [])],
    before={
        "exec status offset beyond": wait_until_done,
        "exec status after kill": kill_finished,
        "status after input": wait_for_echo("hello"),
        "status tail": wait_for_echo("esc"),
        "ports": start_web_server,
        "term list for cleanup": close_cleaned_up_terminals,
        "nb exec override": execute_first_cell,
    },
    deviations={
        "exec cwd missing": "500 of the original; 404 here",
        "exec NUL": "500 of the original; 400 here",
        "input bad escape": "500 of the original; here what is no escape means itself",
        "exec list": "names commands whose start the recording does not show",
    },
    chance={"exec big output", "status tail"},
    skip={
        "ws: session gone after disconnect": "of a shell that the WebSocket tests attach to",
        "ws: session survives failed auth": "the same",
        "ws: after close": "the same",
    },
)


@pytest.mark.parametrize("index", REPLAY.indices(), ids=REPLAY.name)
def test_answers_as_recorded(index):
    REPLAY.check(index)


CONFIGURED = Replay(
    ["/"], section="config", env={
        "OPEN_TERMINAL_ENABLE_TERMINAL": "false", "OPEN_TERMINAL_ENABLE_NOTEBOOKS": "false", "OPEN_TERMINAL_INFO": "GPU-box",
        "OPEN_TERMINAL_EXECUTE_DESCRIPTION": "EXTRA", "OPEN_TERMINAL_EXECUTE_TIMEOUT": "5",
        "OPEN_TERMINAL_CORS_ALLOWED_ORIGINS": "https://a.example"})


@pytest.mark.parametrize("index", CONFIGURED.indices(), ids=CONFIGURED.name)
def test_answers_as_recorded_with_other_settings(index):
    CONFIGURED.check(index)


RAW = {t["name"]: t for t in load() if t["kind"] == "raw"}


@pytest.fixture(scope="module")
def plain():
    with InstanceProcess() as running:
        yield running


@pytest.mark.parametrize("name", [name for name in RAW if name != "raw: bad request line"])
def test_raw_requests_are_answered_as_recorded(plain, name):
    """(What is no HTTP at all gets the answer of libmicrohttpd: docs/instance.md.)"""
    request, recorded = RAW[name]["request"], RAW[name]["response"]
    shell = plain.call("POST", "/api/terminals").json()["id"] if name.startswith("ws bad") or name.startswith("ws missing") else "gone"
    with socket.create_connection(("127.0.0.1", plain.port), timeout=10) as client:
        client.sendall(request.replace("/f7521d37 ", f"/{shell} ").encode())
        client.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: client.recv(65536), b"")).decode()

    def parts(text):
        head, _, body = text.rpartition("\r\n\r\n")
        lines = head.split("\r\n")
        kind = [line.split(": ")[1] for line in lines if line.lower().startswith("content-type: ")]
        return [line for line in lines if line.startswith("HTTP/")], kind, body.replace("/home/user", str(plain.home))
    assert parts(answer) == parts(recorded)
