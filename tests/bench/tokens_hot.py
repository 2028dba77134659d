"""A hot request with a user's token, beside one with the API key: the only difference is who the token makes them.

What HAProxy computes for a request is compared: unlike a rate, that hardly depends on what else the machine does.
"""
from contenders import Endpoint
from fakes.open_webui import OpenWebUI
from measure import Limit, median, ratios, rounds, unsteady
from report import number
from stack import Stack, eventually
from tokens import SECRET, digest, jwt
from wrk import load


def endpoint(stack, name, token):
    return Endpoint(name, stack.port, [("Authorization", f"Bearer {token}"), ("X-User-Id", "bench")], stack.process("haproxy"))


def bench(report, quick):
    count, seconds = (1, 1) if quick else (9, 2)
    with OpenWebUI() as chat:
        token = jwt("bench")
        chat.users[token] = "bench"
        for mode, settings in (("Open WebUI", {"open_webui_url": chat.url}), ("local JWT", {"jwt_secret": SECRET})):
            with Stack(log_level="WARNING", token_cache_ttl=3600, **settings) as stack:
                stack.run("bench", "touch ~/a ~/b ~/c")
                stack.request("bench", "GET", "/files/list", key=token).expect(200)
                eventually(lambda stack=stack: digest(token) in stack.haproxy_map("identities"), what="a hot token")
                found = {"token": endpoint(stack, "token", token), "key": endpoint(stack, "key", stack.key)}
                found["control"] = found["key"]
                for each in [] if quick else found.values():
                    load(each, "/files/list", 50, 1)  # warm up
                done = rounds(count, found, lambda each: load(each, "/files/list", 50, seconds).cpu)
            report.add(f"HAProxy's processor time for a hot request with a user's token ({mode}), of that with an API key",
                       ratios(done["token"], done["key"]), detail=f"{number(median(done['token']))} of {number(median(done['key']))} µs",
                       limit=Limit.at_most(1.05), noise=unsteady(ratios(done["control"], done["key"])))
