"""The file endpoints of the native instance, as a user drives them: writing, listing, moving, deleting, uploads."""
import http.client
import json
import os
import re
import socket
import subprocess
import threading
import time
from urllib.parse import quote, urlencode

import pytest
from instance_process import InstanceProcess
from instance_session import Session, instance, shared  # noqa: F401 (fixtures)


def test_what_is_written_is_read_listed_moved_and_deleted(instance):
    instance.write("a/b/c.txt", "one\ntwo\n")
    assert instance.get("read", path="a/b/c.txt").json()["content"] == "one\ntwo\n"
    assert instance.get("view", path="a/b/c.txt").body == b"one\ntwo\n"
    assert instance.names("a/b") == ["c.txt"]
    moved = instance.call("POST", "/files/move", {"source": "a/b", "destination": "new/place"})
    assert moved.status == 200, moved
    assert instance.names("new/place") == ["c.txt"] and instance.names("a") == []
    assert instance.call("DELETE", "/files/delete?path=new").json()["type"] == "directory"
    assert instance.names() == ["a"]


def test_two_sessions_have_their_own_working_folders(instance):
    instance.write("sub/x", "x")
    other = Session(instance.process, f"{instance.name}/sub")
    assert other.names() == ["x"] and instance.names() == ["sub"]
    assert instance.call("GET", "/files/cwd").json()["cwd"] == str(instance.folder)


def test_writing_keeps_permissions_and_leaves_nothing_beside(instance):
    instance.write("run.sh", "old")
    (instance.folder / "run.sh").chmod(0o751)
    instance.write("run.sh", "new")
    assert (instance.folder / "run.sh").stat().st_mode & 0o7777 == 0o751
    assert os.listdir(instance.folder) == ["run.sh"]


def test_any_file_name_can_be_listed_and_used_as_told(instance):
    names = [b"\xff\xfe", b"caf\xe9.txt", b"a\nb", b'"quoted" \\ \'', b"\xee\xbe\x80", "文".encode(), b"\x01", b"%41", b"~", b"null"]
    for name in names:
        (instance.folder / os.fsdecode(name)).write_bytes(name)
    told = instance.names()
    assert len(told) == len(names)
    for name in told:
        view = instance.get("view", path="./" + name)
        assert view.status == 200 and os.fsencode(instance.folder / os.fsdecode(view.body)), (name, view)
        moved = instance.call("POST", "/files/move", {"source": "./" + name, "destination": "moved/" + name})
        assert moved.status == 200, (name, moved)
    assert sorted(os.listdir(os.fsencode(instance.folder / "moved"))) == sorted(names)


def test_an_upload_of_any_name_stays_in_its_folder(instance):
    for filename, expected in [(b"../../../evil", "evil"), (b"/etc/passwd", "passwd"), (b"C:\\dir\\w.txt", "w.txt"), (b"", "upload"),
                               (b"a\\b", "a\\b"), ("été.txt".encode(), "été.txt")]:
        answer = instance.upload(filename, b"content", "up")
        assert answer.status == 200 and answer.json()["path"] == str(instance.folder / "up" / expected), answer
    for filename in (b"..", b".", b"dir/..", b"n" * 300):
        answer = instance.upload(filename, b"content", "up")
        assert answer.status == 400, (filename, answer)
    assert len(instance.names("up")) == 6


def test_a_large_upload_takes_no_memory_and_arrives_whole(instance):
    piece = os.urandom(1024 * 1024)
    pieces = 200
    head = b'--B\r\nContent-Disposition: form-data; name="file"; filename="big"\r\n\r\n'

    def body():
        yield head
        for _ in range(pieces):
            yield piece
        yield b"\r\n--B--\r\n"

    connection = http.client.HTTPConnection("127.0.0.1", instance.process.port, timeout=60)
    connection.request("POST", f"/files/upload?directory={instance.name}", body(), {
        "Authorization": "Bearer k", "Content-Type": "multipart/form-data; boundary=B", "Transfer-Encoding": "chunked"},
        encode_chunked=True)
    answer = json.loads(connection.getresponse().read())
    assert answer["size"] == pieces * len(piece)
    with open(instance.folder / "big", "rb") as file:
        assert all(file.read(len(piece)) == piece for _ in range(pieces)) and file.read() == b""
    status = (instance.process.process.pid and open(f"/proc/{instance.process.process.pid}/status", encoding="ascii").read())
    peak_kib = int(re.search(r"VmHWM:\s+(\d+)", status).group(1))
    if "ASAN_OPTIONS" not in os.environ:
        assert peak_kib < 64 * 1024, f"{peak_kib} KiB at most"
    download = instance.get("view", path="big")
    assert len(download.body) == pieces * len(piece)


def wait_until(condition, what, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"timed out: {what}"
        time.sleep(0.005)


def open_files(pid):
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except OSError:
            pass
    return found


def test_an_upload_whose_client_goes_away_leaves_nothing(instance):
    instance.write("keep", "old")
    pid = instance.process.process.pid
    with socket.create_connection(("127.0.0.1", instance.process.port)) as client:
        client.sendall((f"POST /files/upload?directory={instance.name} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n"
                        "Content-Type: multipart/form-data; boundary=B\r\nContent-Length: 1000000\r\n\r\n"
                        '--B\r\nContent-Disposition: form-data; name="file"; filename="keep"\r\n\r\n').encode() + b"x" * 50000)
        wait_until(lambda: any(str(instance.folder) in name for name in open_files(pid)), "the upload begins")
        assert (instance.folder / "keep").read_text() == "old"
    wait_until(lambda: not any(str(instance.folder) in name for name in open_files(pid)), "the upload is given up")
    assert os.listdir(instance.folder) == ["keep"] and (instance.folder / "keep").read_text() == "old"


@pytest.mark.parametrize("body, status", [
    (b"", 422), (b"nothing", 400), (b'--B\r\nContent-Disposition: form-data; name="file"; filename="cut"\r\n\r\nx', 422),
    (b'--B\r\nContent-Disp', 422), (b"--B\r\n\r\nx\r\n--B--", 400), (b"--C\r\n\r\nx\r\n--C--", 400),
    (b'--B\r\nContent-Disposition: form-data; name="file"; filename="a\x00b"\r\n\r\n', 400)])
def test_a_malformed_form_is_refused(instance, body, status):
    """(A cut one lacks its file, to the original.)"""
    answer = instance.call("POST", "/files/upload?directory=.", body, {"Content-Type": "multipart/form-data; boundary=B"})
    assert answer.status == status and instance.names() == [], answer


@pytest.mark.parametrize("method, path, body", [
    ("GET", "/files/list?directory={}", None), ("GET", "/files/read?path={}", None), ("GET", "/files/view?path={}", None),
    ("GET", "/files/display?path={}", None), ("DELETE", "/files/delete?path={}", None), ("GET", "/files/serve/{}", None),
    ("GET", "/files/grep?query=x&path={}", None), ("GET", "/files/glob?pattern=x&path={}", None),
    ("POST", "/files/write", "path"), ("POST", "/files/mkdir", "path"), ("POST", "/files/cwd", "path"),
    ("POST", "/files/move", "source"), ("POST", "/files/replace", "path"), ("POST", "/files/upload?directory={}", b"")])
@pytest.mark.parametrize("hostile", ["a\0b", "x" * 5000, "y/" * 3000, "\x7f\x01", "/proc/self/mem/x", "/dev/null/x"],
                         ids=["nul", "long-name", "deep", "control", "proc", "device"])
def test_a_hostile_path_is_a_clear_answer(instance, method, path, body, hostile):
    headers = {}
    if isinstance(body, str):
        body = {"content": "", "destination": "d", "replacements": [], body: hostile}
    elif body is not None:
        headers = {"Content-Type": "multipart/form-data; boundary=B"}
        body = b'--B\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n\r\n--B--\r\n'
    answer = instance.call(method, path.format(quote(hostile)), body, headers)
    assert answer.status in (200, 400, 403, 404), answer
    assert answer.headers["content-type"] == "application/json"
    answer.json()


@pytest.mark.parametrize("half", [r"\ud800", r"\udc00x", r"\ud83d\u0041", r"a\\\ud800", r"\ud83d\ude00\ude00"])
def test_half_a_character_is_refused_and_not_changed(instance, half):
    answer = instance.call("POST", "/files/write", '{"path": "f", "content": "' + half + '"}', {"Content-Type": "application/json"})
    assert answer.status == 422 and instance.names() == [], answer


@pytest.mark.parametrize("escaped, expected", [(r"\ud83d\ude00", "\U0001f600"), (r"\\ud800", r"\ud800"), (r"\u00e9\u0000", "é\0")])
def test_escapes_in_content_mean_what_they_say(instance, escaped, expected):
    answer = instance.call("POST", "/files/write", '{"path": "f", "content": "' + escaped + '"}', {"Content-Type": "application/json"})
    assert answer.status == 200 and (instance.folder / "f").read_text("utf-8") == expected, answer


def test_nothing_waits_for_a_pipe_or_a_device(instance):
    os.mkfifo(instance.folder / "pipe")
    (instance.folder / "loop").symlink_to("loop")
    if instance.process.is_root:
        os.chown(instance.folder / "pipe", 1000, 1000)
    for path in ("pipe", "loop", "/dev/zero", "/dev/tty"):
        for endpoint in ("read", "view"):
            assert instance.get(endpoint, path=path).status == 404, path
        assert instance.call("POST", "/files/replace", {"path": path, "replacements": []}).status == 404
    assert instance.call("POST", "/files/write", {"path": "pipe", "content": "x"}).status == 400
    assert instance.upload(b"pipe", b"x").status == 400
    assert instance.get("grep", query="x").json()["matches"] == []
    assert instance.names() == ["pipe"]  # a link to itself leads nowhere


def test_what_cannot_be_made_or_moved_is_named(instance):
    os.symlink("/nowhere", instance.folder / "dangling")
    for path, reason in [("dangling", "[Errno 17] File exists: '{}/dangling'"), ("a\0b", "A path cannot contain a NUL character")]:
        answer = instance.call("POST", "/files/mkdir", {"path": path})
        assert (answer.status, answer.json()["detail"]) == (400, reason.format(instance.folder))
    instance.write("d/f", "x")
    for source, destination, status, reason in [
            ("d", "d/e", 400, "Cannot move a directory '{0}/d' into itself '{0}/d/e'."), ("a\0b", "x", 404, "Source path not found"),
            ("d/f", "/usr/x", 400, "[Errno 13] Permission denied: '/usr/x'")]:
        answer = instance.call("POST", "/files/move", {"source": source, "destination": destination})
        assert (answer.status, answer.json()["detail"]) == (status, reason.format(instance.folder))


def test_home_and_what_holds_it_cannot_be_deleted_or_moved(instance):
    home = instance.process.home
    (instance.folder / "alias").symlink_to(home.parent)
    for path in ("/", str(home), str(home.parent), "~", f"{home}/../home/", "alias/home"):
        answer = instance.call("DELETE", "/files/delete?" + urlencode({"path": path}))
        assert answer.status == 400 and home.is_dir(), (path, answer)
        answer = instance.call("POST", "/files/move", {"source": path, "destination": "/tmp/terminals-stolen"})
        assert answer.status == 400 and home.is_dir(), (path, answer)
    assert instance.call("DELETE", "/files/delete?path=alias").status == 200  # the link, not where it leads
    assert home.is_dir()


def test_a_folder_of_ten_thousand_is_listed_whole_and_in_order(instance):
    for number in range(10000):
        (instance.folder / f"{number:05}").touch()
    assert instance.names() == [f"{number:05}" for number in range(10000)]
    assert instance.get("glob", pattern="*7", max_results=500).json()["truncated"] is True


def test_a_large_text_is_read_in_ranges(instance):
    with open(instance.folder / "large.txt", "w", encoding="utf-8", newline="") as file:
        for number in range(1, 1_000_001):
            file.write(f"ligne {number} é\r\n")
    part = instance.get("read", path="large.txt", start_line=999_999).json()
    assert part == {"path": str(instance.folder / "large.txt"), "total_lines": 1_000_000,
                    "content": "ligne 999999 é\nligne 1000000 é\n"}
    whole = instance.get("read", path="large.txt").json()["content"]
    assert whole == "".join(f"ligne {number} é\n" for number in range(1, 1_000_001))


@pytest.mark.release_only  # it measures an answer's time
def test_other_requests_are_answered_while_a_tree_is_deleted(instance):
    for folder in range(200):
        (instance.folder / "tree" / str(folder)).mkdir(parents=True)
        for number in range(100):
            (instance.folder / "tree" / str(folder) / str(number)).touch()
    os.system(f"chown -R 1000:1000 {instance.folder}" if instance.process.is_root else "true")
    answers = []
    thread = threading.Thread(target=lambda: answers.append(instance.call("DELETE", "/files/delete?path=tree")))
    thread.start()
    slowest = 0.0
    while thread.is_alive():
        begin = time.monotonic()
        assert instance.process.call("GET", "/health").status == 200
        slowest = max(slowest, time.monotonic() - begin)
    assert answers[0].status == 200 and slowest < 1.0


def test_replacing_keeps_crlf_and_does_all_or_nothing(instance):
    (instance.folder / "dos.txt").write_bytes(b"one\r\ntwo\r\nthree\r\n")
    if instance.process.is_root:
        os.chown(instance.folder / "dos.txt", 1000, 1000)
    answer = instance.call("POST", "/files/replace", {"path": "dos.txt", "replacements": [
        {"target": "one\ntwo", "replacement": "1\n2"}, {"target": "three", "replacement": "3", "start_line": 3}]})
    assert answer.status == 200 and (instance.folder / "dos.txt").read_bytes() == b"1\r\n2\r\n3\r\n", answer
    answer = instance.call("POST", "/files/replace", {"path": "dos.txt", "replacements": [
        {"target": "1", "replacement": "x"}, {"target": "not there", "replacement": ""}]})
    assert answer.status == 400 and (instance.folder / "dos.txt").read_bytes() == b"1\r\n2\r\n3\r\n", answer


# ---- no room ----


@pytest.fixture(name="small_disk")
def small_disk_fixture(instance):
    """A folder of the session that is a disk of 1 MiB."""
    assert instance.call("POST", "/files/mkdir", {"path": "disk"}).status == 200
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=777", "disk", instance.folder / "disk"], check=False,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if mounted.returncode != 0:
        pytest.skip("mounting a file system is not allowed here")
    yield instance.folder / "disk"
    subprocess.run(["umount", instance.folder / "disk"], check=True)


def test_a_full_disk_is_a_clear_answer_and_loses_nothing(instance, small_disk):
    too_much = "x" * (2 << 20)
    instance.write("disk/kept", "old")
    instance.write("disk/linked", "old")
    os.link(small_disk / "linked", small_disk / "other-name")
    before = instance.names("disk")
    for name in ("kept", "linked", "new"):
        answer = instance.call("POST", "/files/write", {"path": f"disk/{name}", "content": too_much})
        assert answer.status == 400 and "No space left on device" in answer.json()["detail"], answer
        answer = instance.upload(name.encode(), too_much.encode(), "disk")
        assert answer.status == 400 and "No space left on device" in answer.json()["detail"], answer
    answer = instance.call("POST", "/files/replace", {"path": "disk/kept", "replacements": [{"target": "old", "replacement": too_much}]})
    assert answer.status == 400 and "No space left on device" in answer.json()["detail"], answer
    (instance.folder / "big").write_bytes(too_much.encode())
    answer = instance.call("POST", "/files/move", {"source": "big", "destination": "disk/big"})
    assert answer.status == 400 and (instance.folder / "big").stat().st_size == len(too_much), answer
    assert instance.names("disk") == before and [p.read_text() for p in sorted(small_disk.iterdir())] == ["old"] * 3
    assert os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize > 900 << 10, "what was written is still taken"
    instance.write("disk/new", "there is room again")


def test_a_file_above_the_limit_of_the_process_is_an_error_and_not_the_end():
    with InstanceProcess() as instance:
        instance.set_limit("fsize=1000:1000")
        answer = instance.call("POST", "/files/write", {"path": "f", "content": "x" * 5000})
        assert answer.status == 400 and "File too large" in answer.json()["detail"], answer
        assert instance.call("GET", "/files/list").json()["entries"] == []


def test_a_file_with_two_names_keeps_them(instance):
    instance.write("a", "old")
    os.link(instance.folder / "a", instance.folder / "b")
    instance.write("a", "much longer than before")
    assert (instance.folder / "b").read_text() == "much longer than before"
    instance.write("a", "short")
    assert (instance.folder / "b").read_text() == "short" and instance.names() == ["a", "b"]
