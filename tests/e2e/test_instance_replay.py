"""The recorded behaviour of the original Open Terminal, apart from the file endpoints (test_instance_files.py has those)."""
import pytest
from replay import Replay


def wait_until_done(replay):
    ours = replay.ids["20261123-093352-5d8435"]
    replay.wait_for(lambda: replay.instance.call("GET", f"/execute/{ours}/status").json()["status"] == "done", "sleep 0.3")


def wait_for_echo(text):
    """`input` was answered before `cat` had written it back."""
    def before(replay):
        ours = replay.ids["20261123-093353-5c59bd"]
        replay.wait_for(lambda: sum(entry["data"].count(text) for entry in
                                    replay.instance.call("GET", f"/execute/{ours}/status").json()["output"]) >= 2, text)
    return before


def kill_finished(replay):
    ours = replay.ids["20261123-093352-5d8435"]
    assert replay.instance.call("DELETE", f"/execute/{ours}").status == 200


def start_web_server(replay):
    (replay.instance.home / "docs" / "fromsess.txt").write_text("x")
    replay.execute("20261123-093357-bb4f89", "python3 -m http.server 18555 --bind 127.0.0.1", cwd="docs")
    replay.wait_for(lambda: replay.instance.call("GET", "/proxy/18555/").status == 200, "the web server")


def close_cleaned_up_terminals(replay):
    for theirs in ("2a0df1f2", "s1"):
        assert replay.instance.call("DELETE", f"/api/terminals/{replay.ids[theirs]}").status == 200


REPLAY = Replay(
    ["/health", "/execute", "/ports", "/proxy", "/api/", "/nope", "/info"],
    before={
        "exec status offset beyond": wait_until_done,
        "exec status after kill": kill_finished,
        "status after input": wait_for_echo("hello"),
        "status tail": wait_for_echo("esc"),
        "ports": start_web_server,
        "term list for cleanup": close_cleaned_up_terminals,
    },
    deviations={
        "exec cwd missing": "500 of the original; 404 here",
        "exec NUL": "500 of the original; 400 here",
        "input bad escape": "500 of the original; here what is no escape means itself",
        "exec list": "names commands whose start the recording does not show",
    },
    chance={"exec big output", "status tail"},
    skip={
        "ws: session gone after disconnect": "of a shell that the WebSocket tests attach to",
        "ws: session survives failed auth": "the same",
        "ws: after close": "the same",
    },
)


@pytest.mark.parametrize("index", REPLAY.indices(), ids=REPLAY.name)
def test_answers_as_recorded(index):
    REPLAY.check(index)
