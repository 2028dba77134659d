"""Searching files through the native instance: by expression and by name."""
import os
import random
import re
import time

import pytest
from instance_session import instance, shared  # noqa: F401 (fixtures)


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
