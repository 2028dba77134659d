"""Tokens and keys are nowhere but where they belong: a run that uses all of them in all ways, and then a look everywhere."""
import contextlib
import itertools
import json
import sys
import threading
from pathlib import Path

import pytest

from stack import SLOW, eventually
from tokens import SECRET, jwt
from wsclient import Closed, Refused, WebSocket

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fakes.open_webui import OpenWebUI  # noqa: E402

KEYS = ["api-key-one-5f2a9c", "api-key-two-77b1e0"]
ENCRYPTION_KEY = "encryption-key-31d8aa"
OURS = {"terminals", "terminals-api", "terminals-gate", "terminals-provisioner", "haproxy"}


class Watch:
    """Collects the command lines of everything that runs meanwhile (except our test's own)."""

    def __init__(self, stack):
        self.stack, self.lines, self.stopped = stack, set(), threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)

    def _look(self):
        while not self.stopped.wait(0.01):
            for pid in self.stack.processes():
                with contextlib.suppress(OSError):
                    self.lines.add(Path(f"/proc/{pid}/cmdline").read_bytes())

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()


def use_everything(stack, good, bad):
    """Every token in every way in: cold, hot, three WebSockets, the admin API, where it is refused and where it breaks. Returns the
    answers as text."""
    answers = []

    def ask(user, method, path, token, **rest):
        answer = stack.request(user, method, path, key=token, **rest)
        answers.append(answer.text + repr(answer.headers))
        return answer

    for token in (*good, *bad):
        for user, path in itertools.product(("alice", "bob", None), ("/files/list", "/p/default/files/list", "/p/none/x", "/x%zz")):
            ask(user, "GET", path, token)
        for path in ("/tenants/", "/tenants/alice", "/config", "/stats", "/status", "/audit-logs", "/nothing"):
            ask("alice", "GET", f"/api/v1{path}?token={token}&limit=x" if path == "/nothing" else f"/api/v1{path}", token)
        ask("alice", "POST", "/api/v1/tenants/", token)
        ask("alice", "GET", "/files/list", None, headers=[("Authorization", f"Basic {token}"), ("X-Terminals-Token", token)])
        ask("alice", "GET", "/files/list", token, headers=[("Proxy-Authorization", f"Bearer {token}"), ("X-Request-Id", "r" * 200)])
        for path, headers, message in (
                ("/api/terminals/s?user_id=alice", [("Authorization", f"Bearer {token}")], None),
                (f"/api/terminals/s?token={token}&user_id=alice", [], None),
                ("/api/terminals/s?user_id=alice", [], json.dumps({"type": "auth", "token": token})),
                ("/api/terminals/s?user_id=alice", [], json.dumps({"type": "auth", "tokens": token})),
                ("/api/terminals/s?user_id=alice", [("Authorization", f"Bearer {token}")], json.dumps({"type": "auth", "token": token}))):
            try:
                with WebSocket(stack.address, path, headers, timeout=15 * SLOW) as shell:
                    if message is not None:
                        shell.send(message)
                    shell.recv()
            except Closed as closed:
                answers.append(closed.reason)
            except Refused as refused:
                answers.append(refused.body.decode("latin-1"))
    return "\n".join(answers)


def expect_none(secrets, text, where):
    text = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    found = [secret for secret in secrets if secret.encode() in text]
    assert not found, f"{found} in {where}: …{text[max(0, text.index(found[0].encode()) - 200):][:600]!r}…"


def environment(pid):
    return Path(f"/proc/{pid}/environ").read_bytes()


@pytest.mark.parametrize("mode", ["open_webui", "jwt"])
def test_tokens_and_keys_are_where_they_belong_only(fresh, mode):
    with OpenWebUI() as chat:
        good = [jwt("alice"), jwt("bob")]
        bad = [jwt("alice", secret="x"), jwt("alice", lasts=-100), "sk-no-token-of-anybody-93f1", "wrong-key-84c2"]
        chat.users = dict(zip(good, ("alice", "bob")))
        users = {"open_webui_url": chat.url} if mode == "open_webui" else {"jwt_secret": SECRET}
        stack = fresh(local_sandbox="none", api_key=",".join(KEYS), encryption_key=ENCRYPTION_KEY, access_log=True, log_level="DEBUG",
                      **users)
        stack.key = KEYS[0]
        for user in ("alice", "bob"):
            stack.run(user, "true")
        with Watch(stack) as watch:
            answers = use_everything(stack, [*good, *KEYS], bad)
            assert stack.terminals("reap").returncode == 0
        instance_keys = {user: stack.routes()[key][2] for user, key in (
            (user, next(key for key, route in stack.routes().items() if int(route[1]) == stack.tenant(user)["port"]))
            for user in ("alice", "bob"))}
        tokens = [*good, *bad, *KEYS]
        secrets = [*tokens, SECRET, ENCRYPTION_KEY, *instance_keys.values()]

        assert stack.request(None, "GET", "/api/v1/config").json()["has_api_key"] is True
        assert "auth_failed" in answers or stack.request(None, "GET", "/api/v1/audit-logs").json()
        expect_none(secrets, answers, "an answer")
        for path in ("/config", "/audit-logs?limit=1000", "/tenants/", "/status", "/stats"):
            expect_none(secrets, stack.admin("GET", path).expect(200).text, path)
        expect_none(secrets, stack.log(limit=1 << 30), "the log")
        assert watch.lines
        for line in watch.lines:
            expect_none(secrets, line, "a command line")
        for path in stack.folder.glob("terminals.db*"):
            expect_none(secrets, path.read_bytes(), path)
        expect_none(tokens, (stack.folder / "run/identities.map").read_bytes(), "identities.map")
        expect_none([*tokens, SECRET, ENCRYPTION_KEY], (stack.folder / "run/routes.map").read_bytes(), "routes.map")
        expect_none(secrets, "".join(stack.haproxy_map("identities")), "HAProxy's identities")

        # What each process was given.
        for pid in stack.processes():
            name, allowed = stack.name_of(pid), set()
            if name == "terminals":
                allowed = {*KEYS, SECRET, ENCRYPTION_KEY}  # who started it has set them
            elif name == "terminals-api":
                allowed = {*KEYS, SECRET}
            elif name == "terminals-provisioner":
                allowed = {ENCRYPTION_KEY}
            elif name == "open-terminal":
                user = next((user for user in instance_keys if stack.instance_pid(user) == pid), None)
                allowed = {instance_keys.get(user)}
            expect_none([secret for secret in secrets if secret not in allowed], environment(pid), f"the environment of {name}")

        # What a tenant's own commands can see.
        for user in ("alice", "bob"):
            seen = stack.run(user, "env; cat /proc/self/environ | tr '\\0' '\\n'")
            expect_none([secret for secret in secrets if secret != instance_keys[user]], seen, f"what {user}'s commands see")


def test_no_instance_ever_receives_a_clients_token(fresh, fake):
    with OpenWebUI() as chat:
        good = [jwt("alice"), jwt("bob")]
        chat.users = dict(zip(good, ("alice", "bob")))
        stack = fresh(backend="static", static_host="127.0.0.1", static_port=fake.port, static_api_key="key-of-the-instance",
                      api_key=",".join(KEYS), open_webui_url=chat.url)
        stack.key = KEYS[0]
        use_everything(stack, [*good, *KEYS], ["wrong-key-84c2"])
        eventually(lambda: len(fake.seen) > 20, what="requests at the instance")
        for seen in fake.seen:
            everything = seen.target + repr(seen.headers) + repr(seen.first_message)
            expect_none([*good, *KEYS, "wrong-key-84c2"], everything, f"{seen.method} {seen.target}")
            assert not seen.values("x-user-id") and not [name for name, _ in seen.headers if name.lower().startswith("x-terminal")]


def test_a_failure_tells_users_no_path_of_the_machine_and_the_admin_all(fresh):
    stack = fresh(jwt_secret=SECRET, local_sandbox="none")
    home = stack.folder / "homes/alice"
    home.write_text("in the way")
    token = jwt("alice")
    for key in (stack.key, token):
        asked = stack.request("alice", "GET", "/files/list", key=key).expect_error(500)
        assert asked.detail == "The user's folder cannot be made"
    own = stack.request("alice", "POST", "/api/v1/tenants/", key=token).expect_error(500)
    assert own.detail == "The user's folder cannot be made"
    assert stack.admin("GET", "/tenants/alice", key=token).expect(200).json()["error"] == "The instance failed"
    assert str(home) in stack.request("alice", "POST", "/api/v1/tenants/").expect_error(500).detail
    assert str(home) in stack.tenant("alice")["error"]
    assert str(home) in stack.err()
