"""Who may do what: every mode × route × credential, through every way in, has one expected answer.

`expected()` below is the rule as docs/api.md ("Who may call") states it; the test asks each question in each way and lists all
answers that differ.
"""
import itertools
import json
import sys
from pathlib import Path

import pytest

from fake_instance import FakeInstance
from stack import SLOW, Stack, eventually
from tokens import SECRET, digest, jwt
from wsclient import Closed, Refused, WebSocket

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fakes.open_webui import OpenWebUI  # noqa: E402

KEY, SECOND_KEY = "first-key-0123456789", "second-key-0123456789"
OUR_PROCESSES = ("terminals-gate", "terminals-api", "terminals-provisioner")

MODES = ["open_webui", "open_webui without a key", "jwt", "jwt without a key", "key", "open"]

# What is presented: who the holder is.
CREDENTIALS = {
    "none": None, "malformed scheme": None, "empty token": None, "wrong": None, "garbage": None, "expired": None, "alg none": None,
    "RS256": None, "other secret": None, "old key": None, "other's": "bob", "own": "alice", "key": "*", "second key": "*",
}
UNAUTHENTICATED = {"none": "Missing Authorization header", "malformed scheme": "Invalid Authorization header",
                   "empty token": "Invalid Authorization header"}

# (method, path, X-User-Id, what the call is, its answer to an API key)
ROUTES = [
    ("GET", "/files/list", "alice", "instance", 200),
    ("POST", "/terminals/execute?wait=1", "alice", "instance", 200),
    ("DELETE", "/p/default/files", "alice", "instance", 200),
    ("GET", "/openapi.json", None, "anybody's", 200),
    ("GET", "/p/default/openapi.json", None, "anybody's", 200),
    ("POST", "/api/v1/tenants/", "alice", "own", 200),
    ("POST", "/api/v1/tenants", "alice", "own", 200),
    ("GET", "/api/v1/tenants/alice", None, "own", 200),
    ("GET", "/api/v1/tenants/%61lice/", None, "own", 200),
    ("GET", "/api/v1/tenants/alice", "bob", "own", 200),  # the path names the user, not the header
    ("GET", "/api/v1/tenants/nobody", "alice", "admin or nobody's", 404),
    ("GET", "/api/v1/tenants/", "alice", "admin", 200),
    ("GET", "/api/v1/tenants/?user_id=alice", "alice", "admin", 200),
    ("POST", "/api/v1/tenants/nobody/start", "alice", "admin", 404),
    ("POST", "/api/v1/tenants/nobody/stop", "alice", "admin", 404),
    ("DELETE", "/api/v1/tenants/nobody", "alice", "admin", 404),
    ("GET", "/api/v1/config", "alice", "admin", 200),
    ("GET", "/api/v1/stats", "alice", "admin", 200),
    ("GET", "/api/v1/status", "alice", "admin", 200),
    ("GET", "/api/v1/audit-logs", "alice", "admin", 200),
    ("GET", "/api/v1/policies", "alice", "admin", 200),
    ("POST", "/api/v1/policies", "alice", "admin", 422),
    ("GET", "/api/v1/policies/nothing", "alice", "admin", 404),
    ("PUT", "/api/v1/policies/nothing", "alice", "admin", 422),
    ("DELETE", "/api/v1/policies/nothing", "alice", "admin", 404),
    ("GET", "/api/v1/policies/nothing/lifecycle", "alice", "admin", 404),
    ("PUT", "/api/v1/policies/nothing/lifecycle", "alice", "admin", 422),
    ("GET", "/api/v1/terminals", "alice", "admin", 200),
    ("POST", "/api/v1/terminals/stop", "alice", "admin", 422),
    ("GET", "/api/v1/nothing", "alice", "anybody's", 404),
]


class World:
    """A stack in one mode, and a token for each kind of credential."""

    def __init__(self, mode, fake):
        self.mode = mode
        self.has_key = "without" not in mode and mode != "open"
        self.has_users = mode.startswith(("open_webui", "jwt"))
        self.chat = OpenWebUI()
        self.fake = fake
        settings = {"backend": "static", "static_host": "127.0.0.1", "static_port": fake.port, "static_api_key": "key-of-the-instance",
                    "token_cache_ttl": 3600,
                    "api_key": f"{KEY},{SECOND_KEY}" if self.has_key else None}
        if mode.startswith("open_webui"):
            settings["open_webui_url"] = self.chat.url + "/"
        elif mode.startswith("jwt"):
            settings["jwt_secret"] = SECRET
        elif mode == "open":
            settings["open"] = True
        self.tokens = {
            "wrong": "wrong-0123456789", "garbage": "a.b.c", "expired": jwt("alice", lasts=-31), "alg none": jwt("alice", algorithm="none"),
            "RS256": jwt("alice", algorithm="RS256"), "other secret": jwt("alice", secret="another"), "old key": "third-key-0123456789",
            "other's": jwt("bob"), "own": jwt("alice"), "key": KEY, "second key": SECOND_KEY,
        }
        self.chat.users = {self.tokens["own"]: "alice", self.tokens["other's"]: "bob"}
        self.stack = Stack(**settings)
        self.contexts = itertools.count()

    def __enter__(self):
        self.stack.start()
        # Everything that can be hot becomes so: alice's route, and whoever is somebody.
        token = self.tokens["own"] if self.has_users else KEY
        self.stack.request("alice", "GET", "/files/list", key=token).expect(200)
        if self.has_users:
            self.stack.request("bob", "GET", "/files/list", key=self.tokens["other's"]).expect(200)
        known = {digest(self.tokens[name]) for name in CREDENTIALS if self.holder(name) and name in self.tokens}
        eventually(lambda: self.mode == "open" or set(self.stack.haproxy_map("identities")) == known, what="everybody in the map")
        self.stack.wait_hot("alice")
        return self

    def __exit__(self, *failure):
        self.chat.close()
        self.stack.__exit__(*failure)

    def holder(self, credential):
        """Who this credential makes its holder in this mode: "*", a user, or None."""
        who = CREDENTIALS[credential]
        if self.mode == "open":
            return "*"
        if who == "*":
            return who if self.has_key else None
        return who if self.has_users else None

    def headers(self, credential):
        if credential == "none":
            return []
        if credential == "malformed scheme":
            return [("Authorization", f"Basic {KEY}")]
        if credential == "empty token":
            return [("Authorization", "Bearer ")]
        return [("Authorization", f"bearer {self.tokens[credential]}")]

    def expected(self, kind, credential, answer):
        """(status, detail or None) by docs/api.md, "Who may call"."""
        who = self.holder(credential)
        if who is None:
            return 401, UNAUTHENTICATED.get(credential, "Invalid token" if self.has_users else "Invalid API key")
        if who == "*" or kind == "anybody's":
            return answer, None
        if kind == "admin":
            return (403, "Only the API key may do this") if self.has_key else (401, "Invalid API key")
        if kind == "admin or nobody's" or who != "alice":
            return 403, "The token belongs to another user than X-User-Id"
        return answer, None

    def ask(self, method, path, user, credential, cold=False):
        headers = self.headers(credential)
        if cold:
            headers = [*headers, ("X-Terminal-Context-Id", f"chat:{next(self.contexts)}")]
        return self.stack.request(user, method, path, headers=headers, key=None)


@pytest.fixture(scope="module", params=MODES)
def world(request):
    with FakeInstance() as fake, World(request.param, fake) as made:
        yield made


def check(differences, what, answer, expected):
    status, detail = expected
    got = (answer.status, answer.detail if status in (401, 403) and answer.status == status else None)
    if got != (status, detail if status in (401, 403) else None):
        differences.append(f"{what}: expected {expected}, got {answer.status} {answer.text[:200]}")
    if answer.status == 401 and answer.header("www-authenticate") != "Bearer":
        differences.append(f"{what}: 401 without a challenge")


def test_every_call_has_one_answer_for_each_credential(world):
    differences = []
    for (method, path, user, kind, answer), credential in itertools.product(ROUTES, CREDENTIALS):
        expected = world.expected("own" if kind == "instance" else kind, credential, answer)
        for cold in (False, True) if kind == "instance" else (False,):
            what = f"{method} {path} {'cold' if cold else ''} for {user} with {credential}"
            check(differences, what, world.ask(method, path, user, credential, cold), expected)
    assert not differences, "\n".join(differences)


@pytest.mark.release_only  # all of ours stands still
def test_what_haproxy_decides_alone_is_decided_alike(world):
    """Without any process of ours: who may is served, and nobody else is."""
    differences = []
    with world.stack.stopped(*OUR_PROCESSES):
        for credential in CREDENTIALS:
            if world.expected("own", credential, 200)[0] == 200:
                answer = world.ask("GET", "/files/list", "alice", credential)
                check(differences, f"hot with {credential}", answer, (200, None))
            else:
                try:
                    answer = world.stack.request("alice", "GET", "/files/list", headers=world.headers(credential), key=None,
                                                 timeout=0.2 / SLOW)
                    differences.append(f"hot with {credential}: {answer.status}, though nobody was there to refuse it")
                except TimeoutError:
                    pass
    assert not differences, "\n".join(differences)


def test_an_odd_header_is_read_alike_by_haproxy_and_by_us(world):
    differences = []
    for credential in ("own", "key"):
        token = world.tokens[credential]
        for value in (f"Bearer {token}", f"Bearer  {token}", f"BEARER {token} ", f"Bearer {token},", f"Bearer {token},x",
                      f"Bearer {token} x", f"Bearer {token};x", f"Bearer\t{token}", f"Bearer ,{token}", f"x,Bearer {token}",
                      f"Bearer {token}, Bearer {token}", f'Bearer "{token}"', f"Bearer {token}=", f"Bearer {token}\xa0",
                      f"Bearer{token}", f"Basic {token}", f"Bearer {token.upper()}", f" {token}", f"Bearer%20{token}"):
            header = [("Authorization", value.encode("latin-1"))]
            hot = world.stack.request("alice", "GET", "/x", headers=header, key=None).status
            cold = world.stack.request("alice", "GET", "/x", headers=[*header, ("X-Terminal-Context-Id", f"chat:{next(world.contexts)}")],
                                       key=None).status
            scheme, *rest = [word for word in value.split(" ") if word]
            plain = scheme.lower() == "bearer" and rest == [token]
            wanted = 200 if world.mode == "open" or (plain and world.holder(credential)) else 401
            if (hot, cold) != (wanted, wanted):
                differences.append(f"{value!r} with {credential}: expected {wanted}, got {hot} hot and {cold} cold")
    assert not differences, "\n".join(differences)


def websocket_code(world, credential, way, user="alice"):
    """200, or the close code, of alice's shell. None: this credential cannot be presented this way."""
    token = world.tokens.get(credential)
    path, headers, message = f"/api/terminals/s?user_id={user}", [], None
    if way == "header":
        headers = world.headers(credential)
        if not headers:
            return None
    elif way == "query":
        if token is None and credential != "malformed scheme":
            return None
        path += f"&token={token or 'a%20b'}"
    else:
        message = {"none": {"type": "auth"}, "malformed scheme": ["auth"], "empty token": {"type": "auth", "token": ""}}.get(
            credential, {"type": "auth", "token": token})
    try:
        with WebSocket(world.stack.address, path, headers, timeout=15 * SLOW) as shell:
            if message is not None:
                shell.send(json.dumps(message))
            shell.recv()
            return 200
    except Closed as closed:
        return closed.code
    except Refused as refused:
        return refused.status


@pytest.mark.parametrize("way", ["header", "query", "message"])
def test_a_shell_opens_for_its_user_only(world, way):
    differences = []
    already = len(world.fake.seen)
    for credential in CREDENTIALS:
        # Open mode looks at no credential, but the first message must be one, and a header or token none that is broken.
        if world.mode == "open" and credential in UNAUTHENTICATED:
            continue
        status, _ = world.expected("own", credential, 200)
        wanted = {200: 200, 401: 4001, 403: 4003}[status]
        got = websocket_code(world, credential, way)
        if got not in (None, wanted):
            differences.append(f"{way} with {credential}: expected {wanted}, got {got}")
    assert not differences, "\n".join(differences)
    seen = [shell for shell in world.fake.seen[already:] if shell.first_message is not None]
    assert seen or not any(world.holder(name) for name in ("own", "key"))
    for shell in seen:
        assert json.loads(shell.first_message) == {"type": "auth", "token": "key-of-the-instance"}
        everything = shell.target + repr(shell.headers)
        assert not [name for name, token in world.tokens.items() if token in everything], everything


def test_nobody_is_everybody(world):
    """`*` is how the map says that an API key may act for all: no user can be called so."""
    if not world.has_users:
        return
    star = jwt("*")
    world.chat.users[star] = "*"
    for path, user in (("/files/list", "alice"), ("/files/list", "*"), ("/api/v1/tenants/", None)):
        answer = world.stack.request(user, "GET", path, key=star)
        assert answer.status in (401, 502), answer.text
    assert "*" not in [value for key, value in world.stack.haproxy_map("identities").items() if key == digest(star)]


def test_a_user_who_is_missing_or_named_twice_is_told_after_the_credentials(world):
    good = world.headers("own" if world.has_users else "key")
    bad = world.headers("wrong")
    refused = 401 if world.mode != "open" else None
    for names, status in (([], 422), (["alice", "alice"], 400), (["alice", "bob"], 400), ([""], 422)):
        users = [("X-User-Id", name) for name in names]
        for path in ("/files/list", "/api/v1/tenants/"):
            method = "GET" if path == "/files/list" else "POST"
            world.stack.request(None, method, path, headers=[*good, *users], key=None).expect_error(status)
            world.stack.request(None, method, path, headers=[*bad, *users], key=None).expect_error(refused or status)
    twice = [*good, *good]
    world.stack.request("alice", "GET", "/files/list", headers=twice, key=None).expect(401 if refused else 200)
