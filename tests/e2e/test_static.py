"""`static`: what reaches the one instance of everybody, byte for byte, first through the gate and then past it."""
from fake_instance import FakeInstance
from ports import free_port
from stack import OURS, eventually


def both(stack, fake, user, method, path, **rest):
    """The same request cold (through the gate) and hot (past it): what the instance saw of each."""
    stack.request(user, method, path, **rest).expect(200)
    stack.wait_hot(user)
    with stack.stopped(*OURS):
        stack.request(user, method, path, **rest).expect(200)
    assert len(fake.seen) == 2, [seen.target for seen in fake.seen]
    return fake.seen


def test_only_what_belongs_to_the_instance_reaches_it(static, fake):
    for seen in both(static, fake, "u", "GET", "/terminals/where?x=%2F&y=a+b&x=%C3%A9&z", headers=[
            ("X-Terminal-Context-Id", "default"), ("X-Terminals-Route", "forged"), ("X-Terminals-Policy", "forged"),
            ("X-Terminals-Client", "forged"), ("Proxy-Authorization", "Basic Zm9yZ2Vk"), ("Keep-Alive", "5"), ("TE", "trailers"), ("X-Twice", "1"), ("X-Twice", "2"),
            ("X-Request-Id", "req-1")]):
        assert seen.target == "/where?x=%2F&y=a+b&x=%C3%A9&z"
        assert seen.values("authorization") == ["Bearer key-of-the-instance"]
        for name in ("x-user-id", "x-terminal-context-id", "x-terminals-route", "x-terminals-policy", "x-terminals-client",
                     "x-terminals-instance", "proxy-authorization", "keep-alive", "te", "upgrade"):
            assert not seen.values(name), f"{name} reached the instance: {seen.headers}"
        assert seen.values("x-twice") == ["1", "2"]
        assert seen.values("x-request-id") == ["req-1"]
        assert seen.values("x-forwarded-for") == ["127.0.0.1"]
        assert seen.values("x-forwarded-proto") == ["http"]
        assert seen.header("x-forwarded-host")


def test_what_the_connection_header_names_stays_behind(static, fake):
    for _ in range(2):
        static.request("u", "GET", "/x", headers=[("Connection", "x-hop, keep-alive"), ("X-Hop", "1"), ("X-Other", "2")]).expect(200)
    for seen in fake.seen:
        assert not seen.values("x-hop") and seen.values("x-other") == ["2"], seen.headers


def test_a_prefix_inside_a_path_stays(static, fake):
    for seen in both(static, fake, "u", "GET", "/terminals/p/default/terminals/p/x/api/v1"):
        assert seen.target == "/terminals/p/x/api/v1"


def test_bodies_and_encodings_pass_unchanged(static, fake):
    body = b"\x1f\x8b" + bytes(range(256)) * 300
    for seen in both(static, fake, "u", "PUT", "/x", body=body, headers=[("Content-Encoding", "gzip")]):
        assert seen.body_length == len(body)
        assert seen.header("content-encoding") == "gzip"


def test_two_cookies_stay_two(static):
    answer = static.request("u", "GET", "/cookies").expect(200)
    assert [value for name, value in answer.headers if name == "set-cookie"] == ["c0=0; Path=/cookies", "c1=1; Path=/cookies"]


def test_every_user_is_a_tenant_of_the_one_instance(static, fake):
    for user in ("a", "b"):
        static.request(user, "GET", f"/{user}").expect(200)
    assert {tenant["user_id"]: tenant["port"] for tenant in static.tenants()} == {"a": fake.port, "b": fake.port}


def test_the_one_instance_is_never_stopped_for_idleness(fresh, fake):
    stack = fresh(backend="static", static_port=fake.port, static_api_key="k", idle_timeout_seconds=1)
    stack.request("u", "GET", "/x").expect(200)
    for _ in range(3):
        assert stack.terminals("reap").returncode == 0
    stack.wait_hot("u")
    with stack.stopped(*OURS):
        stack.request("u", "GET", "/y").expect(200)


def test_when_the_instance_is_not_there_it_is_502(fresh, fake):
    stack = fresh(backend="static", static_port=fake.port, static_api_key="k", start_timeout_seconds=3)
    stack.request("u", "GET", "/x").expect(200)
    fake.close()
    eventually(lambda: stack.request("u", "GET", "/x").expect_error((502, 504)), 20, what="502")


def test_it_starts_before_its_instance_does(fresh):
    """Start order must not matter: the instance may come up later than we do."""
    port = free_port()
    stack = fresh(backend="static", static_port=port, static_api_key="k", start_timeout_seconds=3)
    stack.request("u", "GET", "/x").expect_error((502, 504))
    with FakeInstance(port):
        eventually(lambda: stack.request("u", "GET", "/x").status == 200, what="the late instance's answer")
