"""A session of the file endpoints of a native instance: what the tests of them share."""
import time
from urllib.parse import urlencode

import pytest
from instance_process import InstanceProcess


class Session:
    def __init__(self, process, folder):
        self.process = process
        self.name = folder
        self.folder = process.home / folder
        assert self.call("POST", "/files/cwd", {"path": folder}).status == 200

    def call(self, method, path, body=None, headers=(), **more):
        return self.process.call(method, path, body, {"X-Session-Id": self.name, **dict(headers)}, **more)

    def get(self, endpoint, **parameters):
        return self.call("GET", f"/files/{endpoint}?{urlencode(parameters, doseq=True)}")

    def write(self, path, content):
        answer = self.call("POST", "/files/write", {"path": path, "content": content})
        assert answer.status == 200, answer
        return answer

    def names(self, directory="."):
        answer = self.get("list", directory=directory)
        assert answer.status == 200, answer
        return [entry["name"] for entry in answer.json()["entries"]]

    def upload(self, filename, content, directory="."):
        body = (b'--B\r\nContent-Disposition: form-data; name="file"; filename="' + filename + b'"\r\n\r\n' + content + b"\r\n--B--\r\n")
        return self.call("POST", "/files/upload?" + urlencode({"directory": directory}), body,
                         {"Content-Type": "multipart/form-data; boundary=B"})


@pytest.fixture(scope="module")
def shared():
    with InstanceProcess() as running:
        yield running


@pytest.fixture
def instance(shared):
    """Each test has a folder of its own, which is its session's working folder."""
    folder = f"test-{time.monotonic_ns()}"
    assert shared.call("POST", "/files/mkdir", {"path": folder}).status == 200
    yield Session(shared, folder)
    assert shared.call("DELETE", f"/files/delete?path={folder}").status == 200
