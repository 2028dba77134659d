"""The file endpoints of the native instance as the original was recorded to answer."""
import io
import json
import re
import zipfile

import documents
import pytest
from replay import Replay


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
