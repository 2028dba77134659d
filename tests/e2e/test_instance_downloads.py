"""What the native instance gives out of files: parts of one, and archives of many."""
import http.client
import io
import json
import os
import socket
import time
import zipfile

import pytest
from instance_session import instance, shared  # noqa: F401 (fixtures)


def test_part_of_a_file_can_be_asked_for(instance):
    (instance.folder / "ten").write_bytes(b"0123456789")
    whole = instance.get("view", path="ten")
    assert (whole.status, whole.headers["accept-ranges"]) == (200, "bytes")
    for wanted, status, body, content_range in [
            ("bytes=0-3", 206, b"0123", "bytes 0-3/10"), ("bytes=7-", 206, b"789", "bytes 7-9/10"),
            ("bytes=-2", 206, b"89", "bytes 8-9/10"), ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
            ("bytes=8-99", 206, b"89", "bytes 8-9/10"), ("BYTES=1-1", 206, b"1", "bytes 1-1/10"),
            ("bytes=10-", 416, None, "bytes */10"), ("bytes=-0", 416, None, "bytes */10"),
            ("bytes=3-2", 200, b"0123456789", None), ("bytes=0-1,4-5", 200, b"0123456789", None), ("lines=1-2", 200, b"0123456789", None),
            ("bytes=", 200, b"0123456789", None), ("bytes=-", 200, b"0123456789", None), ("bytes=x-3", 200, b"0123456789", None),
            ("bytes=99999999999999999999999-", 416, None, "bytes */10")]:
        for path in ("/files/view?path=ten", f"/files/serve{instance.folder}/ten"):
            answer = instance.call("GET", path, headers={"Range": wanted})
            assert (answer.status, answer.headers.get("content-range")) == (status, content_range), (wanted, answer)
            assert body is None or answer.body == body, (wanted, answer)


def test_a_range_of_a_file_that_changed_is_the_whole_new_one(instance):
    instance.write("f", "old content")
    etag = instance.get("view", path="f").headers["etag"]
    part = {"Range": "bytes=0-2", "If-Range": etag}
    assert instance.call("GET", "/files/view?path=f", headers=part).body == b"old"
    instance.write("f", "new content")
    changed = instance.call("GET", "/files/view?path=f", headers=part)
    assert (changed.status, changed.body) == (200, b"new content")
    dated = instance.call("GET", "/files/view?path=f", headers={**part, "If-Range": "Mon, 23 Nov 2026 09:33:51 GMT"})
    assert dated.status == 200


def test_the_size_of_a_file_can_be_asked_for_without_it(instance):
    instance.write("f", "twelve bytes")
    answer = instance.call("HEAD", "/files/view?path=f")
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, "12", b"")
    part = instance.call("HEAD", f"/files/serve{instance.folder}/f", headers={"Range": "bytes=2-"})
    assert (part.status, part.headers["content-length"], part.headers["content-range"]) == (206, "10", "bytes 2-11/12")


def archive_of(answer):
    assert answer.status == 200, answer
    archive = zipfile.ZipFile(io.BytesIO(answer.body))
    assert archive.testzip() is None
    return archive


def test_an_archive_holds_everything_below_its_folders(instance):
    instance.write("top/a.txt", "a")
    instance.write("top/\u6587/b.txt", "b" * 1000)
    big = os.urandom(1 << 20) + bytes(1 << 20)
    (instance.folder / "top" / "big").write_bytes(big)
    os.mkdir(instance.folder / "top" / "empty")
    os.symlink("a.txt", instance.folder / "top" / "link")
    os.symlink(".", instance.folder / "top" / "loop")
    os.symlink("/nope", instance.folder / "top" / "broken")
    os.mkfifo(instance.folder / "top" / "pipe")
    answer = instance.call("POST", "/files/archive", {"paths": ["top", "top/a.txt"]})
    assert answer.headers["content-disposition"] == 'attachment; filename="download.zip"'
    archive = archive_of(answer)
    assert archive.namelist() == ["top/a.txt", "top/big", "top/empty/", "top/link", "top/\u6587/b.txt", "a.txt"]
    assert archive.read("top/big") == big and archive.read("top/link") == b"a" and archive.read("top/\u6587/b.txt") == b"b" * 1000


def test_an_archive_of_any_name_has_a_header_every_client_can_read(instance):
    instance.write('\u6587 "1".txt', "x")
    answer = instance.call("POST", "/files/archive", {"paths": ['\u6587 "1".txt']})
    assert answer.headers["content-disposition"] == "attachment; filename=\"_ _1_.txt.zip\"; filename*=UTF-8''%E6%96%87%20%221%22.txt.zip"
    assert archive_of(answer).namelist() == ['\u6587 "1".txt']


def test_an_archive_that_would_lack_something_is_refused(instance):
    instance.write("d/a", "x")
    assert instance.call("POST", "/files/archive", {"paths": ["d", "d/nope"]}).json() == {"detail": "Path not found: d/nope"}
    assert instance.call("POST", "/files/archive", {"paths": ["a\0b"]}).status == 404
    assert instance.call("POST", "/files/archive", {"paths": []}).status == 400
    bad = instance.call("POST", "/files/archive", {"paths": ["d", 1]})
    assert (bad.status, bad.json()["detail"][0]["loc"]) == (422, ["body", "paths", 1])
    assert instance.call("POST", "/files/archive", {}).json()["detail"][0]["type"] == "missing"
    (instance.folder / "d" / "a").chmod(0)
    refused = instance.call("POST", "/files/archive", {"paths": ["d"]})
    assert refused.status == 403 and str(instance.folder / "d" / "a") in refused.json()["detail"], refused


def test_an_archive_cut_short_is_noticed(instance):
    """What cannot be read comes after more than is kept back: the answer has begun, so only its end can tell."""
    instance.write("d/a", "")
    (instance.folder / "d" / "a").write_bytes(os.urandom(1 << 20))
    (instance.folder / "d" / "b").write_bytes(b"secret")
    (instance.folder / "d" / "b").chmod(0)
    with pytest.raises(http.client.IncompleteRead):
        instance.call("POST", "/files/archive", {"paths": ["d"]})


def test_a_client_that_leaves_an_archive_leaves_no_thread(instance):
    (instance.folder / "big").write_bytes(os.urandom(8 << 20))
    pid = instance.process.process.pid
    before = len(os.listdir(f"/proc/{pid}/fd"))
    body = json.dumps({"paths": ["big"]}).encode()
    with socket.create_connection(("127.0.0.1", instance.process.port)) as client:
        client.sendall(b"POST /files/archive HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\nX-Session-Id: %s\r\nContent-Type: application/json\r\n"
                       b"Content-Length: %d\r\n\r\n%s" % (instance.name.encode(), len(body), body))
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    deadline = time.monotonic() + 20
    while len(os.listdir(f"/proc/{pid}/task")) > 1 or len(os.listdir(f"/proc/{pid}/fd")) > before:
        assert time.monotonic() < deadline, "the thread or its pipe is still there"
        time.sleep(0.01)
