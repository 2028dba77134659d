"""What the native instance logs of requests: nothing, or a line each that can be followed by the id that it came with."""
import json

import pytest
from instance_process import InstanceProcess, eventually


def test_nothing_is_logged_of_requests_unless_wanted():
    with InstanceProcess() as instance:
        assert instance.call("GET", "/files/cwd").status == 200
        assert instance.log() == ""


@pytest.mark.parametrize("form", ["text", "json"])
def test_each_request_is_a_line_with_its_id_and_without_its_query(form):
    with InstanceProcess(env={"OPEN_TERMINAL_ACCESS_LOG": "true", "OPEN_TERMINAL_LOG_FORMAT": form}) as instance:
        assert instance.call("GET", "/files/cwd?password=hidden", headers={"X-Request-Id": "followed-1"}).status == 200
        assert instance.call("GET", "/nothing", headers={"X-Request-Id": 'a"b'}).status == 404
        eventually(lambda: instance.log().count("\n") == 2, "both are logged")
        first, second = instance.log().splitlines()
        assert "hidden" not in first
        if form == "json":
            line = json.loads(first)
            assert (line["level"], line["process"], line["message"], line["request_id"]) == (
                "INFO", "instance", "GET /files/cwd answered 200", "followed-1")
            assert json.loads(second)["request_id"] == 'a"b'
        else:
            assert "GET /files/cwd answered 200" in first and first.endswith("request=followed-1")
            assert "GET /nothing answered 404" in second
