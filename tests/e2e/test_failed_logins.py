"""TERMINALS_FAILED_LOGIN_LIMIT: an address whose tokens are refused again and again is made to wait, on every way in; and who is
known to be good is served all the same, from the same address."""
import json
import sys
from pathlib import Path

import pytest

from stack import SLOW, eventually
from tokens import SECRET, jwt
from wsclient import Closed, WebSocket

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fakes.open_webui import OpenWebUI  # noqa: E402

LIMIT = 4
ALICE, BOB = jwt("alice"), jwt("bob")
MODES = ["key", "jwt", "open_webui"]


@pytest.fixture
def chat():
    with OpenWebUI() as running:
        running.users = {ALICE: "alice", BOB: "bob"}
        yield running


@pytest.fixture
def make(fresh, fake, chat):
    """make("jwt"): a stack in this mode, behind a proxy of ours that says who the client is."""
    def made(mode, **settings):
        users = {"jwt": {"jwt_secret": SECRET}, "open_webui": {"open_webui_url": chat.url}}.get(mode, {})
        return fresh(**{"backend": "static", "static_host": "127.0.0.1", "static_port": fake.port, "static_api_key": "key-of-the-instance",
                        "api_key": "key", "trusted_proxies": "127.0.0.1", "failed_login_limit": LIMIT, "failed_login_seconds": 3600,
                        "token_cache_ttl": 3600, **users, **settings})
    return made


def websocket(stack, address, headers=(), token=None, message=None, query=""):
    """200, or the close code."""
    if token is not None:
        headers = [("Authorization", f"Bearer {token}")]
    try:
        with WebSocket(stack.address, f"/api/terminals/s?user_id=alice{query}", [("X-Forwarded-For", address), *headers], timeout=15 * SLOW) as shell:
            if message is not None:
                shell.send(json.dumps(message))
            shell.recv()
            return 200
    except Closed as closed:
        return closed.code


def ask(stack, address, token, user="alice", method="GET", path="/files/list", headers=()):
    return stack.request(user, method, path, key=token, headers=[("X-Forwarded-For", address), *headers])


# Each way in: its answer, 401 or 429, or that as a close code.
WAYS = {
    "an instance": lambda stack, address, token: ask(stack, address, token).status,
    "another context": lambda stack, address, token: ask(stack, address, token, headers=[("X-Terminal-Context-Id", "chat:1")]).status,
    "an upload": lambda stack, address, token: stack.request("alice", "POST", "/files/upload", body=b"x" * 100000, key=token,
                                                            headers=[("X-Forwarded-For", address)]).status,
    "the admin API": lambda stack, address, token: ask(stack, address, token, path="/api/v1/stats").status,
    "an operation": lambda stack, address, token: ask(stack, address, token, method="POST", path="/api/v1/tenants/").status,
    "the description": lambda stack, address, token: ask(stack, address, token, path="/openapi.json").status,
    "a header": lambda stack, address, token: websocket(stack, address, token=token),
    "a query": lambda stack, address, token: websocket(stack, address, query=f"&token={token}"),
    "a first message": lambda stack, address, token: websocket(stack, address, message={"type": "auth", "token": token}),
}
REFUSED = {401: 429, 4001: 4003}


@pytest.mark.parametrize("mode", MODES)
def test_failures_of_an_address_count_together_on_every_way_in(make, mode):
    stack = make(mode)
    for number, (name, way) in enumerate(WAYS.items()):
        address = f"192.0.2.{number + 1}"
        answers = [way(stack, address, f"wrong-{number}-{attempt}") for attempt in range(LIMIT)]
        assert set(answers) <= set(REFUSED), (name, answers)
        for other, way_ in WAYS.items():
            assert way_(stack, address, "wrong-again") in REFUSED.values(), f"{other} after {LIMIT} failures by {name}"
        assert way(stack, f"198.51.100.{number + 1}", "wrong") in REFUSED, f"{name}: another address pays for it"


def test_the_refusal_says_how_long(make):
    stack = make("key")
    for _ in range(LIMIT):
        answer = ask(stack, "192.0.2.1", "wrong").expect_error(401)
        assert answer.detail == "Invalid API key" and answer.header("retry-after") is None
    for path in ("/files/list", "/api/v1/stats"):
        answer = ask(stack, "192.0.2.1", "wrong", path=path).expect_error(429)
        assert answer.detail == "Too many failed logins from this address"
        assert 0 < int(answer.header("retry-after")) <= 3600
    # Neither who shows nothing, which is no guess, nor the audit log is left in the dark.
    ask(stack, "192.0.2.1", None).expect_error(401)
    eventually(lambda: {row["status_code"] for row in stack.admin("GET", "/audit-logs?action=auth_failed").json()} >= {401, 429},
               what="the audit log's row")


def test_requests_without_a_token_are_no_guesses(make):
    stack = make("key")
    for _ in range(3 * LIMIT):
        ask(stack, "192.0.2.1", None).expect_error(401)
        ask(stack, "192.0.2.1", None, headers=[("Authorization", "Basic eDp5")]).expect_error(401)
    ask(stack, "192.0.2.1", "wrong").expect_error(401)


@pytest.mark.parametrize("mode", MODES)
def test_who_is_known_to_be_good_passes_from_an_address_that_must_wait(make, mode):
    """All of an Open WebUI's requests come from one address."""
    stack = make(mode)
    good = ["key"] if mode == "key" else ["key", ALICE]
    for token in good:
        ask(stack, "192.0.2.1", token).expect(200)
    for _ in range(LIMIT):
        ask(stack, "192.0.2.1", "wrong").expect(401)
    ask(stack, "192.0.2.1", "wrong").expect(429)
    for token in good:
        for name, way in WAYS.items():
            if name == "the admin API" and token != "key":
                continue
            assert way(stack, "192.0.2.1", token) == 200, f"{name} with {token}"
    assert ask(stack, "192.0.2.1", "wrong").status == 429, "what is good must not wipe out what is bad"
    # A token that was never seen: verified here it is good, and Open WebUI is not asked for who must wait.
    status = {"key": 429, "jwt": 200, "open_webui": 429}[mode]
    ask(stack, "192.0.2.1", BOB, user="bob").expect(status)
    if mode == "open_webui":
        ask(stack, "198.51.100.1", BOB, user="bob").expect(200)
        ask(stack, "192.0.2.1", BOB, user="bob").expect(200)


def test_a_token_that_was_good_is_asked_about_again_and_others_are_not(make, chat):
    stack = make("open_webui", token_cache_ttl=0)
    for user, token in (("alice", ALICE), ("bob", BOB)):
        ask(stack, "192.0.2.1", token, user=user).expect(200)
    for attempt in range(LIMIT):
        ask(stack, "192.0.2.1", f"wrong-{attempt}").expect(401)
    before = chat.asked()
    for attempt in range(20):
        ask(stack, "192.0.2.1", f"guess-{attempt}").expect(429)
    assert chat.asked() == before, "a flood of guesses reached Open WebUI"
    ask(stack, "192.0.2.1", ALICE).expect(200)
    del chat.users[BOB]  # signed out: asked about once, and then no better than a guess
    asked = chat.asked(BOB)
    for _ in range(3):
        ask(stack, "192.0.2.1", BOB, user="bob").expect(429)
    assert chat.asked(BOB) == asked + 1


def test_time_clears_it(make):
    stack = make("key", failed_login_limit=1, failed_login_seconds=2)
    ask(stack, "192.0.2.1", "wrong").expect(401)
    assert ask(stack, "192.0.2.1", "wrong").expect(429).header("retry-after") in ("1", "2")
    eventually(lambda: ask(stack, "192.0.2.1", "wrong").status == 401, 10, what="the end of the wait")


def test_it_is_off_unless_it_is_asked_for(make):
    stack = make("key", failed_login_limit=None, failed_login_seconds=None)
    for _ in range(50):
        ask(stack, "192.0.2.1", "wrong").expect(401)
    assert stack.admin("GET", "/config").json()["failed_login_limit"] == 0


def test_an_address_that_nobody_vouches_for_is_not_believed(make):
    stack = make("key", trusted_proxies=None)
    for number in range(LIMIT):
        ask(stack, f"192.0.2.{number}", "wrong").expect(401)
    ask(stack, "192.0.2.99", "wrong").expect(429)


def test_a_network_is_one_address_in_ipv6(make):
    stack = make("key")
    for number in range(LIMIT):
        ask(stack, f"2001:db8:0:1::{number}", "wrong").expect(401)
    ask(stack, "2001:db8:0:1:ffff::1", "wrong").expect(429)
    ask(stack, "2001:db8:0:2::1", "wrong").expect(401)
