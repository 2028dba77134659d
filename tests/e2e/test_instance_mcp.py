"""`open-terminal mcp`: the instance's calls as tools of the Model Context Protocol, on standard input and output and over HTTP."""
import base64
import json
import os
import subprocess

import pytest
from instance_process import BIN, InstanceProcess

PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")


class Stdio:
    """A client that starts the server and talks to it by lines."""

    def __init__(self, home, arguments=(), env=()):
        self.process = subprocess.Popen(
            [BIN / "open-terminal", "mcp", "--cwd", home, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "HOME": str(home), **dict(env)}, text=True)
        self.last_id = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        assert self.process.wait(20) == 0
        assert self.process.stdout.read() == ""

    def send(self, message):
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def receive(self):
        return json.loads(self.process.stdout.readline())

    def ask(self, method, **params):
        self.last_id += 1
        self.send({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params})
        answer = self.receive()
        assert answer["id"] == self.last_id
        return answer

    def call(self, name, **arguments):
        return self.ask("tools/call", name=name, arguments=arguments)["result"]


@pytest.fixture
def stdio(tmp_path):
    with Stdio(tmp_path) as client:
        yield client


def test_a_client_is_greeted_in_its_own_revision_of_the_protocol(stdio):
    for wanted, offered in (("2025-03-26", "2025-03-26"), ("2024-11-05", "2024-11-05"), ("1999-01-01", "2025-06-18")):
        result = stdio.ask("initialize", protocolVersion=wanted, capabilities={}, clientInfo={"name": "t", "version": "1"})["result"]
        assert result["protocolVersion"] == offered
        assert result["capabilities"]["tools"] == {"listChanged": False}
        assert result["serverInfo"]["name"] == "Open Terminal"
    stdio.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
    assert stdio.ask("ping")["result"] == {}


def test_the_tools_are_the_calls_of_the_document(stdio):
    tools = {tool["name"]: tool for tool in stdio.ask("tools/list")["result"]["tools"]}
    assert set(tools) == {"list_files", "read_file", "display_file", "write_file", "replace_file_content", "grep_search", "glob_search",
                          "list_processes", "run_command", "get_process_status", "send_process_input", "kill_process"}
    run = tools["run_command"]
    assert set(run["inputSchema"]["properties"]) == {"command", "cwd", "env", "wait", "tail"}
    assert run["inputSchema"]["required"] == ["command"]
    assert "This system is running Linux" in run["description"]
    assert "$ref" not in json.dumps(tools)
    chunk = tools["replace_file_content"]["inputSchema"]["properties"]["replacements"]["items"]
    assert set(chunk["required"]) == {"target", "replacement"}


def test_a_command_is_run_watched_fed_and_killed(stdio):
    done = stdio.call("run_command", command="echo $WHO; exit 3", env={"WHO": "me & ü"}, wait=10, tail=None)
    assert not done["isError"]
    assert (done["structuredContent"]["exit_code"], done["structuredContent"]["output"][0]["data"]) == (3, "me & ü\r\n")
    assert json.loads(done["content"][0]["text"]) == done["structuredContent"]
    id = stdio.call("run_command", command="read line; echo got $line; sleep 60")["structuredContent"]["id"]
    assert stdio.call("send_process_input", process_id=id, input="it\n")["structuredContent"] == {"status": "ok"}
    assert stdio.call("kill_process", process_id=id, force=True)["structuredContent"] == {"status": "killed"}
    assert stdio.call("get_process_status", process_id=id)["isError"]


def test_files_are_written_and_read_and_images_seen(stdio, tmp_path):
    stdio.call("write_file", path="a folder/ä&b.txt", content="one\ntwo\n")
    read = stdio.call("read_file", path="a folder/ä&b.txt", start_line=2)["structuredContent"]
    assert read["content"] == "two\n"
    (tmp_path / "x.png").write_bytes(PIXEL)
    (image,) = stdio.call("read_file", path="x.png")["content"]
    assert (image["type"], image["mimeType"], base64.b64decode(image["data"])) == ("image", "image/png", PIXEL)
    missing = stdio.call("read_file", path="nope")
    assert missing["isError"] and "not found" in missing["content"][0]["text"]
    assert "Field required" in stdio.call("run_command")["content"][0]["text"]


def test_mistakes_are_answered_by_the_book(stdio):
    def code_of(line):
        stdio.process.stdin.write(line + "\n")
        stdio.process.stdin.flush()
        return stdio.receive()["error"]["code"]
    assert code_of("{nonsense") == -32700
    assert code_of("[]") == -32600
    assert code_of('{"id": 1, "method": "ping"}') == -32600
    assert code_of('{"jsonrpc": "2.0", "id": {}, "method": "ping"}') == -32600
    assert code_of('{"jsonrpc": "2.0", "id": 1, "method": "resources/list"}') == -32601
    assert code_of('{"jsonrpc": "2.0", "id": 1, "method": "tools/call"}') == -32602
    assert code_of('{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "rm_rf"}}') == -32602
    assert code_of('{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "kill_process"}}') == -32602
    assert code_of('{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "list_files", "arguments": {"x": 1}}}') == -32602


def test_tools_run_side_by_side_and_a_call_can_be_cancelled(stdio):
    stdio.send({"jsonrpc": "2.0", "id": "slow", "method": "tools/call", "params": {"name": "run_command", "arguments": {
        "command": "sleep 60", "wait": 60}}})
    assert stdio.call("run_command", command="echo quick", wait=10)["structuredContent"]["exit_code"] == 0
    stdio.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "slow"}})
    assert stdio.ask("ping")["result"] == {}


def test_what_was_asked_is_answered_before_the_end(tmp_path):
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "run_command", "arguments": {
        "command": "sleep 0.5; echo late", "wait": 10}}}
    done = subprocess.run([BIN / "open-terminal", "mcp", "--cwd", tmp_path], input=json.dumps(message) + "\n", text=True,
                          stdout=subprocess.PIPE, timeout=30, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, check=True)
    assert "late" in done.stdout


def test_files_do_as_standard_input_and_output(tmp_path):
    (tmp_path / "in").write_text('{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "run_command", "arguments": '
                                 '{"command": "cat /proc/net/tcp | wc -l", "wait": 10}}}\n')
    with open(tmp_path / "in", encoding="utf-8") as given, open(tmp_path / "out", "w", encoding="utf-8") as taken:
        subprocess.run([BIN / "open-terminal", "mcp", "--cwd", tmp_path], stdin=given, stdout=taken, timeout=30, check=True,
                       env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)})
    assert json.loads((tmp_path / "out").read_text())["result"]["structuredContent"]["status"] == "done"


# ---- over HTTP ----

@pytest.fixture(scope="module")
def http():
    with InstanceProcess(command="mcp", arguments=["--transport", "streamable-http"], env={
            "OPEN_TERMINAL_CORS_ALLOWED_ORIGINS": "https://a.example", "OPEN_TERMINAL_INFO": "a box"}) as running:
        yield running


def post(http, method, **params):
    return http.call("POST", "/mcp", {"jsonrpc": "2.0", "id": 7, "method": method, "params": params},
                     headers={"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"})


def test_the_same_tools_are_offered_over_http(http):
    assert post(http, "initialize", protocolVersion="2025-06-18").json()["result"]["instructions"] == "a box"
    assert http.call("POST", "/mcp", {"jsonrpc": "2.0", "method": "notifications/initialized"}).status == 202
    names = [tool["name"] for tool in post(http, "tools/list").json()["result"]["tools"]]
    assert "run_command" in names and "get_info" in names
    answer = post(http, "tools/call", name="run_command", arguments={"command": "echo over http", "wait": 10})
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json()["result"]["structuredContent"]["output"][0]["data"] == "over http\r\n"


def test_tools_over_http_need_the_key_and_a_known_origin(http):
    message = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    assert http.call("POST", "/mcp", message, key=None).status == 401
    assert http.call("POST", "/mcp", message, headers={"Origin": "https://evil.example"}).status == 403
    assert http.call("POST", "/mcp", message, headers={"Origin": "https://a.example"}).status == 200
    assert http.call("POST", "/mcp", message, headers={"MCP-Protocol-Version": "0"}).status == 400
    assert http.call("POST", "/mcp", b"{").status == 400
    assert http.call("GET", "/mcp").status == 405
    assert http.call("DELETE", "/mcp").status == 405


def test_the_plain_server_offers_no_tools():
    with InstanceProcess() as instance:
        assert instance.call("POST", "/mcp", {}).status == 404


