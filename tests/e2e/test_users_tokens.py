"""Users with tokens of Open WebUI: how often it is asked, what is remembered for how long, and what happens while it is away."""
import collections
import contextlib
import http.client
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from certificates import make_certificate
from stack import SLOW, eventually
from tokens import SECRET, digest, jwt
from wsclient import WebSocket

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fakes.open_webui import OpenWebUI  # noqa: E402


@pytest.fixture
def chat():
    with OpenWebUI() as running:
        yield running


@pytest.fixture
def make(fresh, fake, chat):
    """make(token_cache_ttl=5): a stack that asks `chat`, or with jwt_secret=… one that verifies by itself; its key is "key"."""
    def made(**settings):
        if "jwt_secret" not in settings:
            settings.setdefault("open_webui_url", chat.url)
        return fresh(**{"backend": "static", "static_host": "127.0.0.1", "static_port": fake.port, "static_api_key": "key-of-the-instance",
                        "api_key": "key", **settings})
    return made


def get(stack, user, token, path="/files/list", **rest):
    return stack.request(user, "GET", path, key=token, **rest)


def in_parallel(count, call):
    """The results of `count` calls at once."""
    results, ready = [], threading.Barrier(count)

    def run(number):
        ready.wait()
        results.append(call(number))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


# --- Open WebUI: how often it is asked ---


def test_requests_that_come_together_ask_once(make, chat):
    stack = make()
    chat.users["t"] = "alice"
    chat.modes["t"] = "slow"

    def one(number):
        if number == 0:
            eventually(lambda: chat.asked("t"), what="the question")
            time.sleep(0.2)  # for the others to arrive: nothing tells that they wait
            chat.release()
        return get(stack, "alice", "t").status

    assert in_parallel(50, one) == [200] * 50
    assert chat.asked("t") == 1


def test_a_refusal_is_remembered_for_a_moment_and_connections_are_kept(make, chat):
    stack = make()
    for _ in range(5):
        assert get(stack, "alice", "bad").expect(401).detail == "Invalid token"
    assert chat.asked("bad") == 1
    for number in range(20):
        get(stack, "alice", f"bad-{number}").expect(401)
    assert chat.connections() == 1
    chat.users["bad"] = "alice"
    eventually(lambda: get(stack, "alice", "bad").status == 200, 10, what="the end of the refusal's memory")


def test_a_known_token_is_not_asked_about_for_the_cache_time_however_it_comes(make, chat):
    stack = make()
    chat.users["t"] = "alice"
    get(stack, "alice", "t").expect(200)
    for number in range(5):
        get(stack, "alice", "t", headers=[("X-Terminal-Context-Id", f"chat:{number}")]).expect(200)
        with WebSocket(stack.address, "/api/terminals/s?user_id=alice&token=t", timeout=15 * SLOW) as shell:
            shell.recv()
        stack.request(None, "GET", "/api/v1/tenants/alice", key="t").expect(200)
    assert chat.asked("t") == 1


def test_the_cache_time_ends_in_haproxy_too(make, chat):
    stack = make(token_cache_ttl=2)
    chat.users["t"] = "alice"
    get(stack, "alice", "t").expect(200)
    eventually(lambda: stack.haproxy_map("identities").get(digest("t")) == "alice", what="a hot token")
    del chat.users["t"]  # signed out
    eventually(lambda: digest("t") not in stack.haproxy_map("identities"), 4, what="the end of the cache time")
    eventually(lambda: get(stack, "alice", "t").status == 401, 3, what="the refusal")
    now_ms = int(time.time() * 1000)
    assert stack.sql(f"SELECT count(*) FROM identities WHERE user_id <> '*' AND expires_at > {now_ms}") == [("0",)]


def test_a_cache_time_of_nothing_asks_every_time(make, chat):
    stack = make(token_cache_ttl=0)
    chat.users["t"] = "alice"
    for _ in range(4):
        get(stack, "alice", "t").expect(200)
    assert chat.asked("t") == 4
    assert digest("t") not in stack.haproxy_map("identities")
    del chat.users["t"]
    get(stack, "alice", "t").expect(401)


@pytest.mark.parametrize("mode", ["open_webui", "jwt"])
def test_nothing_is_remembered_past_a_tokens_own_end(make, chat, mode):
    stack = make(token_cache_ttl=3600, **({"jwt_secret": SECRET} if mode == "jwt" else {}))
    token = jwt("alice", lasts=3)
    chat.users[token] = "alice"
    end = time.time() + 3
    get(stack, "alice", token).expect(200)
    eventually(lambda: digest(token) in stack.haproxy_map("identities") or time.time() > end, what="a hot token")
    eventually(lambda: digest(token) not in stack.haproxy_map("identities"), 5, what="the end of the token in the map")
    assert time.time() < end + 1 * SLOW
    if mode == "open_webui":
        eventually(lambda: time.time() > end, 5)
        del chat.users[token]
        get(stack, "alice", token).expect(401)


def test_an_account_that_waits_for_approval_is_nobody(make, chat):
    stack = make()
    chat.users["t"], chat.roles["alice"] = "alice", "pending"
    assert get(stack, "alice", "t").expect(401).detail == "Invalid token"


# --- Open WebUI is not well ---


@pytest.mark.parametrize("mode", ["broken", "garbage", "nobody", "anybody", "wrong", "long", "redirect", "close", "half"])
def test_an_open_webui_that_makes_no_sense_lets_nobody_in(make, chat, mode):
    with OpenWebUI() as elsewhere:
        elsewhere.users["t"] = "alice"
        chat.elsewhere = elsewhere.url + "/api/v1/auths/"
        chat.mode = mode
        stack = make()
        answer = get(stack, "alice", "t").expect_error(502)
        assert "Open WebUI" in answer.detail
        assert elsewhere.asked() == 0, "the token was sent on"
        chat.mode, chat.users["t"] = "normal", "alice"
        get(stack, "alice", "t").expect(200)  # an error is remembered by nobody
        assert "users' tokens cannot be checked" in stack.err() and "Open WebUI answers again" in stack.err()


def test_an_open_webui_whose_certificate_nobody_vouches_for_sees_no_token(make, tmp_path):
    with OpenWebUI(certificate=make_certificate(tmp_path / "pem", "localhost")) as impostor:
        impostor.users["t"] = "alice"
        stack = make(open_webui_url=impostor.url)
        answer = get(stack, "alice", "t").expect_error(502)
        assert "SSL" in answer.detail and impostor.asked() == 0, answer.text


def test_while_open_webui_is_down_known_tokens_work_until_their_time_is_over(make):
    chat = OpenWebUI()
    stack = make(open_webui_url=chat.url, token_cache_ttl=3)
    chat.users["t"] = "alice"
    get(stack, "alice", "t").expect(200)
    chat.close()
    answer = get(stack, "bob", "new").expect_error(502)
    assert "Open WebUI is not reachable" in answer.detail
    with WebSocket(stack.address, "/api/terminals/s?user_id=bob&token=new", timeout=15 * SLOW) as shell:
        assert shell.wait_closed().code == 4003
    get(stack, "alice", "key").expect(200)
    eventually(lambda: get(stack, "alice", "t").status == 502, 5, what="the end of the cache time")
    with OpenWebUI(port=chat.port) as again:
        again.users["t"] = "alice"
        get(stack, "alice", "t").expect(200)


def test_a_hanging_open_webui_keeps_nobody_waiting_who_does_not_need_it(make, chat):
    stack = make()
    chat.users["known"] = "alice"
    get(stack, "alice", "known").expect(200)
    chat.mode = "slow"
    statuses = []
    waiting = [threading.Thread(target=lambda n=number: statuses.append(stack.request(
        "alice", *[("GET", "/files/list"), ("GET", "/api/v1/tenants/alice"), ("POST", "/api/v1/tenants/")][n % 3],
        key=f"new-{n}").status)) for number in range(400)]
    for thread in waiting:
        thread.start()
    eventually(lambda: chat.asked() >= 33, what="as many questions as are asked at a time")
    # All that may wait do; the others were told to come again.
    eventually(lambda: len(statuses) > 50, what="the overflow")
    assert set(statuses) == {503}
    for number in range(5):
        started = time.monotonic()
        cold = [("X-Terminal-Context-Id", f"chat:{number}")]
        get(stack, "carol", "key", headers=cold).expect(200)
        get(stack, "alice", "known", headers=cold).expect(200)
        get(stack, "carol", "wrong-scheme", headers=cold + [("Authorization", "x")]).expect(401)
        stack.request(None, "GET", "/api/v1/status", key="key").expect(200)
        stack.request("carol", "POST", "/api/v1/tenants/", key="key").expect(200)
        assert time.monotonic() - started < 2 * SLOW
    chat.release()
    for thread in waiting:
        thread.join()
    assert collections.Counter(statuses).keys() <= {401, 503}, collections.Counter(statuses)
    assert statuses.count(401) >= 150


def test_a_question_without_an_answer_ends_after_ten_seconds(make, chat):
    stack = make()
    chat.mode = "slow"
    started = time.monotonic()
    answer = get(stack, "alice", "t").expect_error(502)
    assert "Timeout was reached" in answer.detail
    assert 9 < time.monotonic() - started < 14 * SLOW


def test_the_end_of_terminals_does_not_wait_for_open_webui(make, chat):
    stack = make()
    chat.mode = "slow"

    def ask():
        with contextlib.suppress(OSError, http.client.HTTPException):
            get(stack, "alice", "t")

    threading.Thread(target=ask, daemon=True).start()
    eventually(lambda: chat.asked("t"), what="the question")
    started = time.monotonic()
    stack.stop()
    assert time.monotonic() - started < 8 * SLOW


# --- what restarts change ---


def test_a_restarted_provisioner_keeps_what_is_known_and_a_restarted_api_forgets_it(make, chat):
    stack = make(token_cache_ttl=3600)
    chat.users["t"] = "alice"
    get(stack, "alice", "t").expect(200)
    stack.wait_hot("alice")
    both = {digest("t"), digest("key")}
    eventually(lambda: set(stack.haproxy_map("identities")) == both, what="both in the map")
    os.kill(stack.one("terminals-provisioner"), signal.SIGKILL)
    eventually(lambda: stack.one("terminals-provisioner") and (stack.request(None, "GET", "/health", key=None).status == 200))
    assert set(stack.haproxy_map("identities")) == both
    del chat.users["t"]
    os.kill(stack.one("terminals-api"), signal.SIGKILL)
    eventually(lambda: set(stack.haproxy_map("identities")) == {digest("key")}, what="the users' tokens out of the map")
    eventually(lambda: get(stack, "alice", "t").status == 401)


@pytest.mark.parametrize("kind", ["api_key", "jwt_secret"])
def test_a_restart_with_another_secret_lets_the_old_one_in_nowhere(make, kind):
    stack = make(**({"jwt_secret": SECRET} if kind == "jwt_secret" else {"api_key": "old-key", "open_webui_url": None}))
    old = jwt("alice") if kind == "jwt_secret" else "old-key"
    get(stack, "alice", old).expect(200)
    stack.wait_hot("alice")
    eventually(lambda: digest(old) in stack.haproxy_map("identities"), what="a hot token")
    stack.stop(signal.SIGTERM)
    stack.settings[kind] = new = "new-" + SECRET
    stack.key = new
    stack.launch()
    # From the first moment on: whatever the port answers, it is no yes.
    answers = set()

    def ready():
        answers.add(get(stack, "alice", old, timeout=5).status)
        return stack.request(None, "GET", "/health", key=None).status == 200

    eventually(ready, 20, what="the restarted stack")
    answers |= {get(stack, "alice", old).status for _ in range(10)}
    assert 200 not in answers and 401 in answers, answers
    get(stack, "alice", jwt("alice", secret=new) if kind == "jwt_secret" else new).expect(200)


def test_keys_are_rotated_without_an_outage(make):
    stack = make(api_key="old", open_webui_url=None)
    for keys, good, bad in (("old,new", ["old", "new"], []), ("new", ["new"], ["old"])):
        stack.stop(signal.SIGTERM)
        stack.settings["api_key"] = keys
        stack.start()
        for key in good:
            get(stack, "alice", key).expect(200)
            stack.request(None, "GET", "/api/v1/config", key=key).expect(200)
        stack.wait_hot("alice")
        eventually(lambda: set(stack.haproxy_map("identities")) == {digest(key) for key in good}, what="the keys in the map")
        with stack.stopped("terminals-gate", "terminals-api", "terminals-provisioner"):
            for key in good:
                get(stack, "alice", key).expect(200)
        for key in bad + [keys] * (len(good) > 1):
            assert get(stack, "alice", key).expect(401).detail == "Invalid API key"
