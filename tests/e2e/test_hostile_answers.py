"""What an instance answers is its tenant's word: it may speak for itself, but not for the origin that it shares with the admin
page. Each hostile answer is given on the hot path (HAProxy alone) and on the cold one (through the gate)."""
import itertools
import string

import pytest

from haproxy_peers import Peer, answer
from stack import Stack
from haproxy_world import KEY, SWITCHING, UPGRADE, World

SANDBOX = "sandbox allow-scripts allow-forms allow-popups allow-downloads allow-modals"


class Hot:
    """HAProxy with a route to the instance, and nothing else that could answer."""

    def __init__(self, **settings):
        self.world = World(**{name.upper(): value for name, value in settings.items()})
        self.instance = self.world.instance
        self.world.route("u", policy="gpu")
        self.world.start()

    def ask(self, target, headers=(), **more):
        got = self.world.hot(target, headers, **more)
        assert not self.world.gate.requests, "that was not hot"
        return got

    def close(self):
        self.world.stop()


class Cold:
    """A whole stack, and a context of its own for each request, so that each has no route yet."""

    def __init__(self, **settings):
        self.instance = Peer(("127.0.0.1", 0))
        self.stack = Stack(backend="static", static_port=self.instance.address[1], static_api_key="inner", api_key=KEY, log_level="WARNING", **settings)
        self.stack.__enter__()
        self.stack.admin("POST", "/policies", json_body={"id": "gpu"}).expect(201)
        self.world = World  # its client is all that is used
        self.contexts = itertools.count()

    def ask(self, target, headers=(), **more):
        client = World.get
        self.port = self.stack.port
        headers = [f"Authorization: Bearer {KEY}", "X-User-Id: u", f"X-Terminal-Context-Id: chat:{next(self.contexts)}", *headers]
        return client(self, target, headers, **more)

    def close(self):
        self.stack.__exit__(None, None, None)
        self.instance.stop()


WAYS = {"hot": Hot, "cold": Cold}


@pytest.fixture(scope="module", params=WAYS)
def way(request):
    made = WAYS[request.param]()
    yield made
    made.close()


def say(way, *headers, status=200, body=b"<script>alert(1)</script>"):
    """From now on the instance answers so."""
    raw = [header.encode("latin-1") if isinstance(header, str) else header for header in headers]
    reply = b"HTTP/1.1 %d X\r\n" % status + b"".join(header + b"\r\n" for header in raw)
    reply += b"\r\n" if status in (204, 304) else b"Content-Length: %d\r\n\r\n" % len(body) + body
    speak(way, reply)


def speak(way, reply):
    # What the provisioner asks it: is it there (yes), and what does it describe itself as (it hangs up, and is taken for the usual).
    ours = {"/health": answer(), "/openapi.json": None}
    way.instance.script = lambda request: ours.get(request.target, reply)


def differences(cases, check):
    """Runs `check(*case)` for all cases, and fails with all that failed."""
    failed = []
    for case in cases:
        try:
            check(*case)
        except AssertionError as problem:
            failed.append(f"{case}: {problem}")
    assert not failed, "\n".join(failed)


# ---- Documents

DOCUMENTS = [
    ["text/html"], ["text/html; charset=utf-8"], ["TEXT/Html"], ["application/xhtml+xml"], ["image/svg+xml"], ["text/xml"],
    ["application/xml"], ["application/rss+xml"], ["multipart/x-mixed-replace; boundary=x"], ["message/rfc822"], ["text/javascript"],
    ["nonsense"], [""], [], ["application/json, text/html"], ["application/json", "text/html"], ["text/html", "application/json"],
    ["application/json;x, text/html"], ["application/json; charset=utf-8", "application/json, text/html"], ["application/jsonx"],
    ["application/json text/html"], ["application/json\x0btext/html"], ["text/plain\ttext/html"], ["image/png+xml"], ["x application/json"],
]
DATA = [
    ["application/json"], ["application/json; charset=utf-8"], ["Application/JSON"], ["application/json ;a=b"], ["application/octet-stream"],
    ["application/pdf"], ["text/plain; charset=utf-8"], ["text/css"], ["text/event-stream"], ["image/png"], ["video/mp4"], ["audio/mpeg"],
    ["font/woff2"],
]


def test_what_a_browser_could_run_is_sandboxed_and_data_is_left_alone(way):
    def check(types, policies, more):
        say(way, *(f"Content-Type: {kind}" for kind in types), *more)
        got = way.ask("/proxy/8080/page")
        assert got.status == 200 and got.body.startswith(b"<script>"), got
        assert got.all("Content-Security-Policy") == policies, got
        assert got.all("X-Content-Type-Options") == ["nosniff"], got

    cases = [(types, [SANDBOX], []) for types in DOCUMENTS] + [(types, [], []) for types in DATA]
    # The same beside a header that is looked at twice.
    cases += [(types, policies, ["X-Custom: 1"]) for types, policies, _ in cases]
    differences(cases, check)


@pytest.mark.parametrize("status", [200, 201, 206, 304, 404, 500, 503])
def test_a_page_is_sandboxed_whatever_its_status(way, status):
    say(way, "Content-Type: text/html", status=status)
    got = way.ask("/terminals/page")
    assert (got.status, got.all("Content-Security-Policy"), got.all("X-Content-Type-Options")) == (status, [SANDBOX], ["nosniff"])


def test_an_instance_cannot_loosen_its_sandbox(way):
    """Several policies all apply (CSP 3 §8.1): ours stands beside whatever it says, in a header of its own."""
    own = ["sandbox allow-same-origin allow-scripts", "default-src *", SANDBOX + " allow-same-origin"]
    say(way, "Content-Type: text/html", *(f"Content-Security-Policy: {policy}" for policy in own), "content-security-POLICY: ,",
        "X-Content-Type-Options: none", "x-content-type-options: sniff")
    got = way.ask("/x")
    assert got.all("Content-Security-Policy") == [*own, ",", SANDBOX]
    assert got.all("X-Content-Type-Options") == ["nosniff"]


def test_the_sandbox_can_be_another_or_none(fresh_way):
    for value, policies in (("allow-scripts allow-same-origin", ["sandbox allow-scripts allow-same-origin"]), ("off", [])):
        made = fresh_way(instance_sandbox=value)
        say(made, "Content-Type: text/html", "Service-Worker-Allowed: /")
        got = made.ask("/x")
        assert got.all("Content-Security-Policy") == policies
        assert got.all("X-Content-Type-Options") == ["nosniff"] and got.get("Service-Worker-Allowed") is None


@pytest.fixture(params=WAYS)
def fresh_way(request):
    made = []

    def make(**settings):
        made.append(WAYS[request.param](**settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_sandbox_that_no_browser_knows_stops_the_start(fresh):
    for value in ("allow-everything", "allow-scripts; default-src *", "allow-scripts,allow-forms", "off allow-scripts", 'allow-scripts"'):
        stack = fresh(start=False, instance_sandbox=value)
        stack.launch()
        assert stack.wait_exit() == 1
        assert "TERMINALS_INSTANCE_SANDBOX" in stack.err(), stack.err()


# ---- Headers that are not an instance's

NOT_THEIRS = [
    "X-Terminals-Route: x", "X-Terminals-Check: 1", "Access-Control-Allow-Origin: *", "Access-Control-Allow-Credentials: true",
    "Access-Control-Expose-Headers: Authorization", "Access-Control-Allow-Private-Network: true", "Strict-Transport-Security: max-age=31536000",
    "Public-Key-Pins: pin-sha256=x", "Public-Key-Pins-Report-Only: x", "Expect-CT: max-age=1", 'Clear-Site-Data: "*"', 'Alt-Svc: h2="evil.example:443"',
    'NEL: {"report_to": "x"}', "Report-To: {}", "Accept-CH: Sec-CH-UA-Full", "Critical-CH: x", "Origin-Agent-Cluster: ?0", "Service-Worker-Allowed: /",
    "Set-Login: logged-out", "Sec-Session-Registration: (ES256)", "Secure-Session-Registration: (ES256)", 'Use-As-Dictionary: match="/*"',
    "Set-Cookie2: a=b; Path=/", "Refresh: 0; url=https://evil.example/", "Proxy-Authenticate: Basic", "X-Accel-Redirect: /etc/passwd",
    "X-Sendfile: /etc/passwd", "X-LIGHTTPD-send-file: /etc/passwd", "X-Reproxy-URL: http://127.0.0.1/",
]
THEIRS = ["ETag: \"1\"", "Vary: Accept", "Cache-Control: no-cache", "X-Total-Count: 7", "X-Accel-Buffering: no", "Link: </x>; rel=next",
          "X-Frame-Options: SAMEORIGIN", "Referrer-Policy: origin", "Permissions-Policy: camera=()", "Cross-Origin-Opener-Policy: same-origin",
          "Content-Disposition: attachment", "WWW-Authenticate: Bearer", "Retry-After: 3", "Last-Modified: Thu, 26 Nov 2026 14:00:00 GMT"]


@pytest.mark.parametrize("kind", ["application/json", "text/html"])
def test_what_speaks_for_the_origin_is_dropped_and_the_rest_arrives(way, kind):
    def check(header):
        name, value = header.split(": ", 1)
        spellings = [f"{name}: {value}", f"{name.lower()}:{value}", f"{name.upper()}: {value}"]
        say(way, f"Content-Type: {kind}", *spellings, *THEIRS)
        got = way.ask("/x", ["X-Request-Id: mine"])
        assert got.get(name) is None, got
        for line in THEIRS:
            assert got.all(line.split(": ")[0]) == [line.split(": ", 1)[1]], got

    differences([(header,) for header in NOT_THEIRS], check)


def test_the_request_id_and_cors_are_ours(way):
    say(way, "Content-Type: application/json", "X-Request-Id: theirs", "x-request-id: theirs too", "Access-Control-Allow-Origin: https://evil.example",
        "Access-Control-Allow-Credentials: true")
    got = way.ask("/x", ["X-Request-Id: mine", "Origin: https://chat.example"])
    assert got.all("X-Request-Id") == ["mine"]
    assert got.all("Access-Control-Allow-Origin") == ["*"] and got.get("Access-Control-Allow-Credentials") is None


# ---- Cookies

NAME = set(string.ascii_letters + string.digits + "!#$%&*+.^_`|~-")


def read_cookie(line):
    """A cookie as browsers take it (RFC 6265bis §5.6): name, value, attributes in order."""
    pair, *attributes = line.split(";")
    name, equals, value = pair.partition("=")
    assert equals and name.strip(" \t") == name and name and set(name) <= NAME, line
    assert not any(ord(character) < 0x20 and character != "\t" for character in line), line
    parts = [part.partition("=") for part in attributes]
    return name, value, [(key.strip(" \t").lower(), text.strip(" \t")) for key, _, text in parts]


def expect_confined(got, path, names):
    seen = []
    for line in got.all("Set-Cookie"):
        name, _, attributes = read_cookie(line)
        assert [value for key, value in attributes if key == "path"] == [path], line
        assert not [key for key, _ in attributes if key == "domain"], line
        assert len(attributes) <= 8, line
        assert not name.lower().startswith(("__", "terminals")), line
        seen.append(name)
    assert seen == names, (seen, names, got)


PLACES = [
    ("/terminals/files/x", "/terminals"), ("/terminals/p/gpu/x/y", "/terminals/p/gpu"), ("/p/gpu/x?a=/b", "/p/gpu"), ("/p/gpu", "/p/gpu"),
    ("/proxy/8080/login", "/proxy"), ("/login", "/login"), ("/login?next=/", "/login"), ("/apix/v1", "/apix"), ("/a.b-c_d~e/", "/a.b-c_d~e"),
]
NOWHERE = ["/", "/?x", "/api/execute", "/api", "/a;Domain=evil.example/x", "/%61pi/x", "/a,b/x", "/a=b/x"]


def test_a_cookie_stays_below_what_was_asked(way):
    def check(target, path):
        say(way, "Content-Type: application/json", "Set-Cookie: a=1", "Set-Cookie: b=2; Path=/; Domain=terminals.example")
        got = way.ask(target)
        assert got.status == 200, got
        expect_confined(got, path, ["a", "b"] if path else [])

    differences([*PLACES, *((target, None) for target in NOWHERE)], check)


MANY = "; ".join(["x"] * 40)
CONFINED = [
    "a=b", "a=b;", "a=", "a=b; Path=/", "a=b; path=/; PATH=/x; Path=", "a=b;Path =/", "a=b; \tPath\t=\t/", "a=b; Domain=terminals.example",
    "a=b;domain=.example", "a=b; DOMAIN = example", "a=b;\tdOmAiN\t=example;Domain=", f"a=b; Path=/; Domain=example; {MANY}",
    f"a=b; {MANY}; Domain=example; Path=/", 'a="x; Domain=example; y"', 'a="x; Path=/"', "a=b; Expires=Thu, 26 Nov 2026 14:00:00 GMT; Domain=x",
    "a=b; Max-Age=10; Path=/; Max-Age=20; Domain=x", "a=b; Comment=Domain=x; Version=1; Path=/", "a=b,c=d; Path=/, e=f; Domain=x", "a=b=c; Path=/",
    "a=b; Secure; HttpOnly; SameSite=None; Partitioned; Domain=x", "a=b; SameSite=Laxative; Path=/", "a=b;;;;Path=/;;;Domain=x;", "a=\xe9; Path=/",
    "a=b; " + "Path=/; Domain=x; " * 300, "a=" + "x" * 5000 + "; Path=/; Domain=x",
]
REFUSED = [
    "__Host-a=b; Path=/; Secure", "__Secure-a=b; Secure", "__host-A=b", "__HTTP-x=1", "terminals_session=x", "TERMINALS=x", "=b; Path=/",
    "b; Path=/", "=__Host-a=b; Path=/", "; a=b", "a =b", "a\tb=c", "a b=c", "a[=c", "", ";", ";Domain=x", b"a=b\x01c; Path=/",
    b"a=b\x7f; Path=/", b"a=\x00b; Path=/", "\xe9=b",
]


def test_a_cookie_keeps_no_attribute_that_reaches_further(way):
    def check(cookie, names):
        say(way, "Content-Type: text/html", b"Set-Cookie: " + (cookie if isinstance(cookie, bytes) else cookie.encode("latin-1")))
        got = way.ask("/terminals/x")
        assert got.status in (200, 502) if isinstance(cookie, bytes) else got.status == 200, got
        expect_confined(got, "/terminals", names)

    differences([*((cookie, ["a"]) for cookie in CONFINED), *((cookie, []) for cookie in REFUSED)], check)


def test_a_cookie_keeps_what_it_may_have(way):
    given = "s=a.b-c; HttpOnly; Expires=Thu, 26 Nov 2026 14:00:00 GMT; Max-Age=-1; Secure; SameSite=Lax; Path=/; Partitioned"
    say(way, "Content-Type: application/json", f"Set-Cookie: {given}", 'Set-Cookie: q="x y, z"; max-age=5', "set-cookie: c=3")
    assert way.ask("/p/gpu/x").all("Set-Cookie") == [
        "s=a.b-c; Path=/p/gpu; Expires=Thu, 26 Nov 2026 14:00:00 GMT; Max-Age=-1; SameSite=Lax; Secure; HttpOnly; Partitioned",
        'q="x y, z"; Path=/p/gpu; max-age=5', "c=3; Path=/p/gpu"]


def test_one_bad_cookie_takes_the_others_with_it(way):
    for cookies in (["a=1", "__Host-b=2"], ["__Host-b=2", "a=1"], ["a=1", "=x", "c=3"]):
        say(way, "Content-Type: text/html", *(f"Set-Cookie: {cookie}" for cookie in cookies))
        assert way.ask("/terminals/x").all("Set-Cookie") == []


def test_a_cookie_as_long_as_a_head_may_be_is_confined_or_fails(way):
    for cookie in ("a=b; " + "Domain=x; " * 1300, "a=" + "x" * 13000 + "; Domain=x; Path=/", "a=b;" + ";" * 13000 + "Domain=x", "a=b;" + " " * 13000 + "Path=/",
                   "a=b; " + "Expires=" * 1500 + "; Domain=x"):
        say(way, "Content-Type: text/html", f"Set-Cookie: {cookie}")
        got = way.ask("/terminals/x")
        assert got.status in (200, 502), got
        if got.status == 200:
            expect_confined(got, "/terminals", ["a"])


def test_the_answer_to_a_websocket_sets_no_other_cookie_either(way):
    switching = SWITCHING[:-2] + (b"Set-Cookie: a=b; Path=/; Domain=example\r\nStrict-Transport-Security: max-age=1\r\n"
                                  b"Sec-WebSocket-Protocol: chat\r\n\r\n")
    speak(way, switching)
    got = way.ask("/proxy/8080/ws", UPGRADE)
    assert got.status == 101, got
    expect_confined(got, "/proxy", ["a"])
    assert got.get("Strict-Transport-Security") is None
    assert (got.get("Sec-WebSocket-Accept"), got.get("Sec-WebSocket-Protocol")) == ("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "chat")


# ---- What we say ourselves


def test_our_own_answers_are_data_in_no_frame():
    made = Cold()
    try:
        say(made, "Content-Type: application/json")
        key = [("Authorization", f"Bearer {KEY}")]
        for method, target, headers, status in (
                ("GET", "/x", [], 401), ("GET", "/", key, 422), ("GET", "/api/v1/config", [], 401),
                ("GET", "/api/v1/config", key, 200), ("GET", "/api/v1/", key, 404), ("GET", "/api/v1/nothing", key, 404), ("GET", "/openapi.json", key, 200),
                ("POST", "/api/v1/tenants/", [*key, ("X-User-Id", "u")], 200), ("GET", "/health", [], 200), ("GET", "/metrics", [], 401), ("GET", "/metrics", key, 200),
                ("GET", "/..", [], 400), ("GET", "/p/..%2f/x", key, 400), ("POST", "/health", [], 405), ("GET", "/x", [("X_User_Id", "u")], 403)):
            got = made.stack.request(None, method, target, headers=headers, key=None).expect(status)
            values = {name: [value for key_, value in got.headers if key_ == name] for name in (
                "x-content-type-options", "content-security-policy", "x-frame-options", "referrer-policy")}
            assert values == {"x-content-type-options": ["nosniff"], "content-security-policy": ["default-src 'none'; frame-ancestors 'none'"],
                              "x-frame-options": ["DENY"], "referrer-policy": ["no-referrer"]}, (method, target, got.headers)
    finally:
        made.close()
