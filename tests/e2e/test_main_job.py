"""The main job, over every backend that can run: a request names a user and reaches that user's terminal."""
import os
import subprocess
import time

import pytest
from compose_stack import ComposeStack
from conftest import SANDBOXES
from kubernetes_world import kubernetes_stack
from ports import free_port
from stack import BIN, OURS, SLOW, Stack, eventually, route_key


def run_open_terminal(folder):
    """An Open Terminal somebody started by hand, for the static backend."""
    home = folder / "static-home"
    home.mkdir()
    port = free_port()
    with open(folder / "static.log", "wb") as log:
        process = subprocess.Popen([BIN / "open-terminal", "run", "--host", "127.0.0.1", "--port", str(port)], cwd=home,
                                   env={"PATH": os.environ["PATH"], "HOME": str(home),
                                        "OPEN_TERMINAL_API_KEY": "its-own-key"}, stdout=log, stderr=log)
    return process, port


@pytest.fixture(scope="module", params=[*SANDBOXES, pytest.param("docker", marks=pytest.mark.release_only),
                                        pytest.param("compose", marks=pytest.mark.release_only), "kubernetes", "static"])
def running(request, tmp_path_factory):
    if request.param == "compose":
        images = request.getfixturevalue("images")
        with ComposeStack(images, image=images.environment["INSTANCE_IMAGE"]) as stack:
            stack.shared = False
            yield stack
        return
    if request.param == "kubernetes":
        with kubernetes_stack() as stack:
            yield stack
        return
    if request.param != "static":
        with Stack(backend="docker") if request.param == "docker" else Stack(local_sandbox=request.param) as stack:
            stack.shared = False
            yield stack
        return
    folder = tmp_path_factory.mktemp("static")
    process, port = run_open_terminal(folder)
    try:
        with Stack(backend="static", static_host="127.0.0.1", static_port=port, static_api_key="its-own-key") as stack:
            stack.shared = True
            yield stack
    finally:
        process.terminate()
        process.wait(10 * SLOW)
    assert "ERROR: " not in (folder / "static.log").read_text()


def test_the_request_of_the_readme_reaches_a_terminal(running, user):
    answer = running.request(user, "POST", "/terminals/execute?wait=5", {"command": "echo hello"}).expect(200).json()
    assert (answer["status"], answer["exit_code"]) == ("done", 0), answer
    assert "".join(part["data"] for part in answer["output"]) == "hello\r\n"


def test_a_hot_request_needs_nobody_but_haproxy(running, user):
    running.run(user, "echo cold")
    running.wait_hot(user)
    with running.stopped(*OURS):
        began = time.monotonic()
        assert running.request(user, "POST", "/terminals/execute?wait=5",
                               {"command": "echo hot"}, timeout=5).expect(200).json()["status"] == "done"
        for _ in range(20):
            running.request(user, "GET", "/files/list", timeout=5).expect(200)
        assert time.monotonic() - began < 5 * SLOW
    assert running.run(user, "echo again") == "again\n"


def test_all_addresses_of_a_user_are_one_instance(running, user):
    running.run(user, "echo one > ~/mark.txt")
    for prefix in ("", "/terminals", "/p/default", "/terminals/p/default"):
        assert running.run(user, "cat ~/mark.txt", prefix=prefix) == "one\n"
    ids = {tenant["instance_id"] for tenant in running.tenants() if tenant["user_id"] == user}
    assert len(ids) == 1


def test_a_file_written_is_a_file_read(running, user):
    content = "grüße\n" * 1000
    running.request(user, "POST", "/files/write", {"path": "a/b.txt", "content": content}).expect(200)
    assert running.request(user, "GET", "/files/read?path=a/b.txt").expect(200).json()["content"] == content
    assert [entry["name"] for entry in running.request(user, "GET", "/files/list?directory=a").json()["entries"]] == ["b.txt"]
    running.request(user, "DELETE", "/files/delete?path=a").expect(200)
    running.request(user, "GET", "/files/read?path=a/b.txt").expect_error(404)


def test_a_shell_works_through_all_of_it(running, user):
    with running.shell(user) as shell:
        shell.send(b"echo $((6*7))\n")
        shell.read_until(b"42")


def test_a_query_reaches_the_instance_as_it_was_sent(running, user):
    running.request(user, "POST", "/files/write", {"path": "a b&c=d+é.txt", "content": "odd"}).expect(200)
    for spelling in ("a%20b%26c%3Dd%2B%C3%A9.txt", "a+b%26c%3dd%2B%c3%a9.txt"):
        assert running.request(user, "GET", f"/files/read?path={spelling}").expect(200).json()["content"] == "odd"


def test_an_error_of_the_instance_comes_through(running, user):
    answer = running.request(user, "GET", "/files/read?path=/no/such").expect(404)
    assert answer.detail == "File not found"
    assert running.request(user, "POST", "/execute", {"command": 5}).expect(422).detail[0]["loc"] == ["body", "command"]


def test_the_openapi_document_needs_a_token_and_no_user(running):
    before = len(running.tenants())
    for path in ("/openapi.json", "/p/default/openapi.json", "/terminals/openapi.json"):
        document = running.request(None, "GET", path).expect(200).json()
        assert "/execute" in document["paths"], list(document["paths"])
        assert "security" not in document["paths"]["/execute"]["post"]
        assert "securitySchemes" not in document.get("components", {})
        running.request(None, "GET", path, key=None).expect_error(401)
    assert len(running.tenants()) == before, "looking at the document started an instance"


def test_each_user_has_a_terminal_of_their_own(running, user, other):
    running.run(user, f"echo {user} > ~/who.txt; echo {user} > /tmp/{user}.txt")
    theirs = running.run(other, "cat ~/who.txt 2>/dev/null; true")
    assert theirs == (f"{user}\n" if running.shared else "")
    assert len({tenant["user_id"] for tenant in running.tenants()} & {user, other}) == 2


def test_two_policies_and_two_contexts_are_four_machines(running, user):
    """Their own folders and environments, cold and hot, over HTTP and WebSocket; of a shared instance, all see the same."""
    policy = "special"
    running.admin("POST", "/policies", json_body={"id": policy, "data": {"env": {"KIND": "special"}}}).expect(201)
    chat = [("X-Terminal-Context-Id", "chat:1")]
    places = {(name, context): (f"/p/{name}" if name != "default" else "", chat if context != "default" else ())
              for name in ("default", policy) for context in ("default", "chat:1")}

    def told(name, context):
        return ("" if running.shared else "special" if name == policy else "", "all" if running.shared else f"{name}-{context}")

    for (name, context), (prefix, headers) in places.items():
        assert route_key(user, name, context) not in running.haproxy_map("routes")
        kind, mark = told(name, context)
        assert running.run(user, f"echo {mark} > ~/mark; echo $KIND", prefix=prefix, headers=headers) == f"{kind}\n"
    eventually(lambda: {route_key(user, *place) for place in places} <= set(running.haproxy_map("routes")), what="the routes")
    with running.stopped(*OURS):
        for place, (prefix, headers) in places.items():
            assert running.run(user, "cat ~/mark", prefix=prefix, headers=headers) == told(*place)[1] + "\n"
    for place, (prefix, headers) in places.items():
        kind, mark = told(*place)
        session = running.new_terminal(user, prefix, headers=headers)
        with running.ws(user, session, prefix=prefix, headers=headers) as shell:
            shell.send(b"stty -echo; echo it-is-$(cat ~/mark)-$KIND.\n")
            shell.read_until(f"it-is-{mark}-{kind}.".encode())
    listed = {(one["policy_id"], one["context_id"]) for one in running.admin("GET", "/terminals").json() if one["user_id"] == user}
    assert listed == set(places)
    assert len({one["instance_id"] for one in running.tenants(f"?user_id={user}")}) == 4
