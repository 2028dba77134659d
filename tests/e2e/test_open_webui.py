"""A session as Open WebUI drives it, with a WebSocket library of somebody else."""
import asyncio
import json
import os
import threading

import websockets
from ports import free_port
from stack import SLOW, eventually


def open_webui_session(stack, user):
    """What happens between opening and closing the terminal panel."""

    async def panel(session):
        address = f"ws://127.0.0.1:{stack.port}/api/terminals/{session}?user_id={user}"
        async with websockets.connect(address, extra_headers={"X-Terminal-Context-Id": "default"}) as socket:
            await socket.send(json.dumps({"type": "auth", "token": stack.key}))

            async def until(wanted):
                seen, tail = [], b""
                while wanted not in tail:
                    message = await asyncio.wait_for(socket.recv(), 15 * SLOW)
                    assert isinstance(message, bytes), message
                    seen.append(message)
                    tail = tail[-len(wanted):] + message
                return b"".join(seen)

            await until(b"$ ")
            await socket.send(json.dumps({"type": "resize", "cols": 120, "rows": 40}))
            await socket.send(b"ls\n")
            await until(b"hello.txt")
            await socket.send(b"stty size\n")
            await until(b"40 120")
            pong = await socket.ping()
            await asyncio.wait_for(pong, 5 * SLOW)
            await socket.send(b"head -c 3000000 /dev/zero | tr '\\0' x; echo; echo d''one\n")
            bulk = await until(b"done")
            assert bulk.count(b"x") >= 3000000

    # The chat model's tools and the panel use the same terminal.
    stack.request(user, "GET", "/api/config").expect(200)
    stack.request(user, "POST", "/files/write", {"path": "hello.txt", "content": "hi"}).expect(200)
    session = stack.request(user, "POST", "/api/terminals").expect(200).json()["id"]
    asyncio.run(panel(session))


def test_a_terminal_panel_works_from_opening_to_closing(stack, user):
    open_webui_session(stack, user)


def test_many_panels_at_once(stack):
    problems = []

    def one(number):
        try:
            open_webui_session(stack, f"panel-{number}")
        except Exception as problem:  # shown below
            problems.append(problem)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems, problems


def test_the_tools_open_webui_offers_come_from_the_document(stack):
    document = stack.request(None, "GET", "/openapi.json").expect(200).json()
    assert {"/files/list", "/files/read", "/files/write", "/execute"} <= set(document["paths"])


def test_an_upload_and_a_download_from_the_browser(stack, user):
    content = os.urandom(300000)
    body = (b'--B\r\nContent-Disposition: form-data; name="file"; filename="photo.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
            + content + b"\r\n--B--\r\n")
    stack.request(user, "POST", "/files/upload?directory=up", body=body,
                  headers=[("Content-Type", "multipart/form-data; boundary=B")]).expect(200)
    assert stack.request(user, "GET", "/files/view?path=up/photo.jpg").expect(200).body == content


def test_a_long_command_is_polled(stack, user):
    started = stack.request(user, "POST", "/execute?wait=0", {"command": "read line; echo got $line; sleep 0.2; echo bye"})
    started = started.expect(200).json()
    assert started["status"] == "running"
    stack.request(user, "POST", f"/execute/{started['id']}/input", {"input": "word\n"}).expect(200)
    ended = stack.request(user, "GET", f"/execute/{started['id']}/status?wait=10").expect(200).json()
    assert ended["status"] == "done" and ended["exit_code"] == 0
    text = "".join(part["data"] for part in ended["output"])
    assert "got word" in text and "bye" in text


def test_a_dev_server_in_the_terminal_is_reached_through_the_proxy(stack, user):
    stack.request(user, "POST", "/files/write", {"path": "site/index.html", "content": "<p>mine"}).expect(200)
    port = free_port()
    started = stack.request(user, "POST", "/execute", {"command": f"cd ~/site && exec python3 -m http.server {port} --bind 127.0.0.1"})
    eventually(lambda: stack.request(user, "GET", f"/proxy/{port}/").status == 200, 10, what="the dev server")
    assert "<p>mine" in stack.request(user, "GET", f"/proxy/{port}/index.html").text
    stack.request(user, "DELETE", f"/execute/{started.json()['id']}").expect(200)
