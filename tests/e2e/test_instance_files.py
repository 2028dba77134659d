"""The file endpoints of the native instance, as a user drives them, and as the original was recorded to answer."""
import http.client
import io
import json
import os
import random
import re
import socket
import subprocess
import threading
import time
import zipfile
from urllib.parse import quote, urlencode

import documents
import instance_process
import pytest
from instance_process import InstanceProcess
from replay import Replay

# ---- as recorded ----


class FilesReplay(Replay):
    """Sizes of folders are the file system's; files that python3-docx and its like would have made may be missing; the
    original walks folders in the order of the disk, also into an archive."""

    def theirs(self, transcript):
        return self.unzipped(super().theirs(transcript))

    def ours(self, answer, transcript):
        return self.unzipped(super().ours(answer, transcript))

    @staticmethod
    def unzipped(answer):
        """An archive of several files as what is in it. That of one file is compared byte for byte."""
        status, headers, body = answer
        if headers["content-type"] == "application/zip" and zipfile.ZipFile(io.BytesIO(body)).namelist()[1:]:
            archive = zipfile.ZipFile(io.BytesIO(body))
            body = sorted((entry.filename, archive.read(entry), entry.flag_bits, entry.create_version) for entry in archive.infolist())
        return status, headers, body

    def masked(self, value):
        value = super().masked(value)
        if isinstance(value, dict):
            if value.get("type") == "directory":
                value["size"] = "masked"
            entries = value.get("entries")
            if isinstance(entries, list):
                value["entries"] = [entry for entry in entries if not re.match(r"a\.(docx|xlsx|pdf)$", entry["name"])]
            if isinstance(value.get("matches"), list):
                value["matches"].sort(key=json.dumps)
        return value


def write_in_session(replay):
    """A call that the recording leaves out, and that later ones show the result of."""
    answer = replay.instance.call("POST", "/files/write", {"path": "fromsess.txt", "content": "x"}, {"X-Session-Id": "s1"})
    assert answer.status == 200, answer


def make_document(name, content):
    """What the fixtures make with libraries that need not be installed."""
    def before(replay):
        if not (replay.instance.home / name).exists():
            (replay.instance.home / name).write_bytes(content)
    return before


def remove_made_folder(replay):
    write_in_session(replay)
    assert replay.instance.call("DELETE", "/files/delete?path=m").status == 200


REPLAY = FilesReplay(
    ["/files/cwd", "/files/list", "/files/read", "/files/display", "/files/view", "/files/serve", "/files/write", "/files/upload",
     "/files/replace", "/files/mkdir", "/files/delete", "/files/move", "/files/grep", "/files/glob", "/files/archive"],
    before={
        "glob": remove_made_folder,
        "read docx": make_document("a.docx", documents.docx(documents.paragraph("hello docx"))),
        "read pdf": make_document("a.pdf", documents.pdf("")),
    },
    deviations={
        "auth non-ascii": "500 of the original; 401 here",
        "read bad pdf": "500 of the original; 415 here",
        "read latin1": "the original reads UTF-8 only",
        "write NUL path": "500 of the original; 400 here",
        "replace binary": "500 of the original; 400 here",
        "view range hdr ignored": "the original ignores Range; 206 here",
    })


@pytest.mark.parametrize("index", REPLAY.indices(), ids=REPLAY.name)
def test_answers_as_recorded(index):
    REPLAY.check(index)


# ---- as a user drives it ----


@pytest.fixture(scope="module", name="shared")
def shared_fixture():
    with InstanceProcess() as instance:
        yield instance


@pytest.fixture(name="instance")
def instance_fixture(shared):
    """Each test has a folder of its own, which is its session's working folder."""
    folder = f"test-{time.monotonic_ns()}"
    assert shared.call("POST", "/files/mkdir", {"path": folder}).status == 200
    yield Session(shared, folder)
    assert shared.call("DELETE", f"/files/delete?path={folder}").status == 200


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


def test_searching_finds_by_expression_and_by_name(instance):
    instance.write("src/main.py", "import os\ndef main():\n    pass\n")
    instance.write("src/deep/util.py", "def helper(x):\n    return x\n")
    instance.write("notes.md", "def in prose\n")
    found = instance.get("grep", query=r"^def \w+\(", include=["*.py"]).json()
    assert [(os.path.basename(m["file"]), m["line"], m["content"]) for m in found["matches"]] == [
        ("main.py", 2, "def main():"), ("util.py", 1, "def helper(x):")]
    assert instance.get("grep", query="def", max_results=1).json()["truncated"] is True
    assert [m["path"] for m in instance.get("glob", pattern="**/*.py").json()["matches"]] == ["src/main.py", "src/deep/util.py"]
    assert [m["path"] for m in instance.get("glob", pattern="*.py", exclude=["deep"]).json()["matches"]] == ["src/main.py"]
    assert instance.get("grep", query="(a*)*b", path="notes.md").json()["matches"] == []
    bad = instance.get("glob", pattern="*", type="socket")
    assert bad.status == 422 and bad.json()["detail"][0]["type"] == "string_pattern_mismatch"


def test_an_expression_made_to_stall_does_not(instance):
    instance.write("as", "a" * 20000 + "\n")
    begin = time.monotonic()
    assert instance.get("grep", query="(a|a)*(a|a)*(a|aa)+$b").json()["matches"] == []
    assert instance.get("grep", query="(((a{1,50}){1,50}){1,50}){1,50}").status == 400
    assert time.monotonic() - begin < 10


def test_a_search_that_gave_up_lines_says_that_it_lacks_something(instance):
    instance.write("as", "c" + "a" * 20000 + "\n" + "cab\n" * 3)
    answer = instance.get("grep", query="(?=c(a+)+[bx])", path="as").json()
    assert ([match["line"] for match in answer["matches"]], answer["truncated"]) == ([2, 3, 4], True)
    answer = instance.get("grep", query="(?<=c)a(?!b)", path="as").json()
    assert ([match["line"] for match in answer["matches"]], answer["truncated"]) == ([1], False)


# ---- searching ----


def grep(instance, query, **parameters):
    answer = instance.get("grep", query=query, **parameters)
    assert answer.status == 200, answer
    return answer.json()


def make_tree(instance, folders=12, files=40):
    """Files of random words; returns {path: lines}."""
    chance = random.Random(7)
    words = ["alpha", "beta", "gamma", "delta", "Alpha", "caf\u00e9", "x1", "42", "end."]
    tree = {}
    for folder in range(folders):
        assert instance.call("POST", "/files/mkdir", {"path": f"t/{folder % 4}/{folder}"}).status == 200
        for file in range(files):
            lines = [" ".join(chance.choices(words, k=6)) for _ in range(chance.randrange(40))]
            path = f"t/{folder % 4}/{folder}/f{file}.txt"
            tree[path] = lines
            (instance.folder / path).write_text(("\r\n" if file % 5 == 0 else "\n").join(lines) + ("\n" if file % 3 else ""), encoding="utf-8")
    return tree


@pytest.mark.parametrize("query,options", [("alpha beta gamma delta", {}), (r"^42.*end\.$", {}), (r"\bx1 (caf\u00e9 )+42\b", {}), ("ALPHA caf\u00e9 x1", {"case_insensitive": "true"}),
                                           ("x1 42 x1|end. end. end.", {}), ("end. 42 x1", {"regex": "false"}), (r"\d\d \d\d \d\d", {})])
def test_a_tree_is_searched_as_line_by_line_would(instance, query, options):
    tree = make_tree(instance)
    pattern = re.compile(re.escape(query) if options.get("regex") else query, re.IGNORECASE if options.get("case_insensitive") else 0)
    expected = [(path, number, line) for path, lines in tree.items() for number, line in enumerate(lines, 1) if pattern.search(line)]
    found = grep(instance, query, path="t", max_results=500, **options)
    matches = [(os.path.relpath(m["file"], instance.folder), m["line"], m["content"]) for m in found["matches"]]
    assert 0 < len(expected) <= 500 and sorted(matches) == sorted(expected)
    assert [m[0] for m in matches] == sorted((m[0] for m in matches), key=lambda path: path.split("/")), "not in order"
    assert grep(instance, query, path="t", max_results=500, **options) == found, "not the same twice"
    some = grep(instance, query, path="t", max_results=len(expected) // 2 or 1, **options)
    assert some["matches"] == found["matches"][:len(expected) // 2 or 1] and some["truncated"] == (len(expected) > 1)
    assert not grep(instance, query, path="t", max_results=len(expected), **options)["truncated"]


def test_a_search_never_follows_a_link_out_of_the_tree(instance):
    instance.write("inside/f", "needle")
    instance.write("outside/f", "needle")
    os.symlink("../outside/f", instance.folder / "inside" / "to-file")
    os.symlink("../outside", instance.folder / "inside" / "to-folder")
    os.symlink("f", instance.folder / "inside" / "within")
    os.symlink(".", instance.folder / "inside" / "loop")
    found = [m["file"] for m in grep(instance, "needle", path="inside")["matches"]]
    assert [os.path.basename(name) for name in found] == ["f", "within"]
    assert len(grep(instance, "needle", path="inside/to-folder")["matches"]) == 1, "a link that is named is followed"
    assert len(grep(instance, "needle", path="inside/to-file")["matches"]) == 1
    paths = [m["path"] for m in instance.get("glob", pattern="*", path="inside").json()["matches"]]
    assert paths == ["f", "loop", "to-file", "to-folder", "within"]


def test_large_files_and_long_lines_are_searched(instance):
    lines = [f"line {i}" for i in range(400000)]
    lines[399000] = "x" * 700000 + " needle"
    lines[399999] = "the last needle"
    (instance.folder / "large").write_text("\n".join(lines))
    found = grep(instance, "needle", path="large")["matches"]
    assert [m["line"] for m in found] == [399001, 400000] and found[1]["content"] == "the last needle"
    assert found[0]["content"] == "x" * 2000, "a long line is cut"


@pytest.mark.parametrize("content", [b"needle\0", b"needle \xff", b"needle\n" + b"text\n" * 100000 + b"\0", b"needle\n" + b"text\n" * 100000 + b"\xe9"])
def test_what_is_no_text_is_not_searched(instance, content):
    (instance.folder / "binary").write_bytes(content)
    assert grep(instance, "needle")["matches"] == []


def test_patterns_choose_the_files_that_are_searched(instance):
    for name in ("a.py", "b.txt", "sub/c.py", "sub/d.md"):
        instance.write(name, "needle")
    names = lambda **parameters: [os.path.relpath(m["file"], instance.folder) for m in grep(instance, "needle", **parameters)["matches"]]
    assert names(include="*.py") == ["a.py", "sub/c.py"]
    assert names(include=["*.md", "b.*"]) == ["b.txt", "sub/d.md"]
    assert names(include="sub/*") == ["sub/c.py", "sub/d.md"]
    assert names(include="null") == ["a.py", "b.txt", "sub/c.py", "sub/d.md"]


# ---- downloads ----


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
        identity = {"user": instance_process.ORDINARY_USER, "extra_groups": [], "group": instance_process.ORDINARY_USER} if instance.is_root else {}
        subprocess.run(["prlimit", "--fsize=1000:1000", "--pid", str(instance.process.pid)], check=True, **identity)
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
