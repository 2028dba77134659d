"""What /files/read makes of documents, of foreign encodings, and of those made to do harm."""
import codecs
import os
import random
import subprocess
import time
import zipfile
import io
from urllib.parse import urlencode

import documents
import pytest
from instance_process import InstanceProcess, is_sanitized


@pytest.fixture(scope="module", name="instance")
def instance_fixture():
    with InstanceProcess() as instance:
        yield instance


def read(instance, name, content, **parameters):
    path = instance.home / name
    path.write_bytes(content)
    try:
        return instance.call("GET", "/files/read?" + urlencode({"path": name, **parameters}))
    finally:
        path.unlink()


def text_of(instance, name, content, **parameters):
    answer = read(instance, name, content, **parameters)
    assert answer.status == 200, answer
    return answer.json()["content"]


# ---- encodings ----

SENTENCES = {
    "latin-1": "h\u00e9llo\n", "cp1252": "\u201cSmart quotes\u201d \u2013 and a dash\u2026 \u20ac5\n",
    "shift_jis": "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8\u3067\u3059\u3002\u3053\u308c\u306f\u8a66\u9a13\u3067\u3059\u3002\n",
    "euc_jp": "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8\u3067\u3059\u3002\u3053\u308c\u306f\u8a66\u9a13\u3067\u3059\u3002\n",
    "gb18030": "\u8fd9\u662f\u4e00\u4e2a\u4e2d\u6587\u6587\u672c\u6587\u4ef6\uff0c\u7528\u6765\u6d4b\u8bd5\u7f16\u7801\u68c0\u6d4b\u3002\n",
    "big5": "\u9019\u662f\u4e00\u500b\u4e2d\u6587\u6587\u5b57\u6a94\u6848\uff0c\u7528\u4f86\u6e2c\u8a66\u7de8\u78bc\u5075\u6e2c\u3002\n",
    "euc_kr": "\uc774\uac83\uc740 \ud55c\uad6d\uc5b4 \ud14d\uc2a4\ud2b8 \ud30c\uc77c\uc785\ub2c8\ub2e4.\n",
    "cp1251": "\u042d\u0442\u043e \u0440\u0443\u0441\u0441\u043a\u0438\u0439 \u0442\u0435\u043a\u0441\u0442 \u0434\u043b\u044f \u043f\u0440\u043e\u0432\u0435\u0440\u043a\u0438.\n",
    "koi8-r": "\u042d\u0442\u043e \u0440\u0443\u0441\u0441\u043a\u0438\u0439 \u0442\u0435\u043a\u0441\u0442 \u0434\u043b\u044f \u043f\u0440\u043e\u0432\u0435\u0440\u043a\u0438.\n",
    "utf-16": "h\u00e9llo \u6587 \U0001f600\n", "utf-16-le": "hello h\u00e9llo\n", "utf-16-be": "plain\n", "utf-32": "h\u00e9llo \u6587\n",
}


@pytest.mark.parametrize("encoding", SENTENCES)
def test_text_is_read_whatever_it_is_encoded_in(instance, encoding):
    assert text_of(instance, "text.txt", SENTENCES[encoding].encode(encoding)) == SENTENCES[encoding]


@pytest.mark.parametrize("mark,encoding", [(codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
                                           (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be")])
def test_a_byte_order_mark_is_no_part_of_the_text(instance, mark, encoding):
    answer = read(instance, "marked", mark + "one\r\ntwo\nthr\u00e9e\n".encode(encoding), start_line=2, end_line=2).json()
    assert (answer["content"], answer["total_lines"]) == ("two\n", 3)


def test_a_large_foreign_text_is_read_in_ranges(instance):
    lines = "".join(f"Stra\u00dfe {i}\r\n" for i in range(300000))
    answer = read(instance, "large.txt", lines.encode("cp1252"), start_line=299999).json()
    assert (answer["content"], answer["total_lines"]) == ("Stra\u00dfe 299998\nStra\u00dfe 299999\n", 300000)


@pytest.mark.parametrize("content", [b"\0\1\2\xff\xfe", random.Random(1).randbytes(5000), b"text\0with a nul\n", b"\xff\xfe\0\xd8\0\xd8", b"\x7fELF\2\1\1\0" + bytes(100)])
def test_what_is_no_text_is_refused(instance, content):
    answer = read(instance, "file", content)
    assert answer.status == 415, answer
    assert answer.json()["detail"] == f"Unsupported binary file type: application/octet-stream ({len(content)} bytes)"


# ---- documents ----

RTF = (rb"{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0 Arial;}}{\info{\author me}}{\*\generator x;}\f0 Hello \b bold\b0  w\'f6rld \u8364?"
       rb"\u-10179?\u-8704?\par {\pict 0102}Second\tab line \{\\\}\line {\uc0\u25991 }{\upr{x}{\*\ud{y}}}}")


@pytest.mark.parametrize("name,content,text", [
    ("a.docx", documents.docx(documents.paragraph("hello docx")), "hello docx"),
    ("table.docx", documents.docx(documents.paragraph("before &amp; \u6587") + "<w:tbl><w:tr><w:tc>" + documents.paragraph("a") + documents.paragraph("b") +
                                  "</w:tc><w:tc>" + documents.paragraph("c") + "</w:tc></w:tr></w:tbl>" +
                                  "<w:p><w:r><w:t>x</w:t><w:tab/><w:t>y</w:t><w:br/><w:delText>gone</w:delText></w:r></w:p>"),
     "before & \u6587\na b\tc\nx\ty\n"),
    ("a.pptx", documents.pptx("first", "second"), "--- Slide 1 ---\nfirst\n\n--- Slide 2 ---\nsecond"),
    ("a.xlsx", documents.xlsx(), documents.XLSX_TEXT),
    ("a.odt", documents.open_document("text", '<text:h>Title</text:h><text:p>a<text:s text:c="3"/>b<text:tab/>c<text:line-break/>d</text:p>'
                                              "<text:tracked-changes><text:p>gone</text:p></text:tracked-changes>"), "Title\na   b\tc\nd"),
    ("a.ods", documents.open_document("spreadsheet", '<table:table table:name="S"><table:table-row><table:table-cell><text:p>a</text:p></table:table-cell>'
                                                     '<table:table-cell table:number-columns-repeated="2"/><table:table-cell><text:p>b</text:p></table:table-cell>'
                                                     '<table:table-cell table:number-columns-repeated="16000"/></table:table-row>'
                                                     '<table:table-row table:number-rows-repeated="1000000"><table:table-cell/></table:table-row></table:table>'),
     "--- Sheet: S ---\na\t\t\tb"),
    ("a.odp", documents.open_document("presentation", '<draw:page draw:name="p1"><text:p>hi</text:p></draw:page>'), "--- Slide: p1 ---\nhi"),
    ("a.epub", documents.epub("<h1>One</h1><p>a <b>b</b>\n c&nbsp;d&unknown;</p>", "<p>two</p><script>no</script>"),
     "One\na b c\u00a0d&unknown;\n\ntwo"),
    ("a.rtf", RTF, "Hello bold w\u00f6rld \u20ac\U0001f600\nSecond\tline {\\}\n\u6587x"),
])
def test_the_text_of_a_document_is_read(instance, name, content, text):
    assert text_of(instance, name, content) == text


def test_lines_of_a_document_are_counted(instance):
    body = "".join(documents.paragraph(f"line {i}") for i in range(1, 11))
    answer = read(instance, "ten.docx", documents.docx(body), start_line=9).json()
    assert (answer["content"], answer["total_lines"]) == ("line 9\nline 10", 10)


def test_the_text_of_a_pdf_is_read(instance):
    assert text_of(instance, "a.pdf", documents.pdf("hello pdf")).strip() == "hello pdf"


def test_a_missing_tool_is_named():
    hidden = ["unshare", "--map-root-user", "--mount", "sh", "-c", 'mount --bind /dev/null /usr/bin/pdftotext && exec "$@"', "sh"]
    with InstanceProcess(prefix=hidden) as instance:
        answer = read(instance, "a.pdf", documents.pdf("x"))
        assert answer.status == 415 and "poppler-utils" in answer.json()["detail"], answer


# ---- documents made to do harm ----

def bomb(name, size):
    """Much that packs into little."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w", force_zip64=True) as member:
        member.write(b"<document><p><t>")
        for _ in range(size >> 20):
            member.write(b"a" * (1 << 20))
        member.write(b"</t></p></document>")
    return out.getvalue()


ENTITIES = ('<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa">' + "".join(f'<!ENTITY {b} "{("&" + a + ";") * 10}">' for a, b in zip("abcdefgh", "bcdefghi")) + "]>")


@pytest.mark.parametrize("name,content", [
    ("a.docx", documents.package({"word/document.xml": ENTITIES + "<d><p><t>&i;</t></p></d>"})),
    ("a.docx", documents.package({"word/document.xml": '<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/hostname">]><d><p><t>&x;</t></p></d>'})),
    ("a.docx", documents.package({"other": "x"})),
    ("a.docx", b"no zip"), ("a.xlsx", documents.package({"xl/workbook.xml": "<a"})), ("a.epub", documents.package({"META-INF/container.xml": "<a/>"})),
    ("a.odt", documents.docx("")[:-30]), ("a.rtf", b"{\\rtf1" + b"{" * 100000), ("a.rtf", b"plain"), ("a.pdf", b"%PDF-1.4\xff not a pdf"), ("a.pptx", b""),
])
def test_a_damaged_or_hostile_document_is_a_clear_answer(instance, name, content):
    answer = read(instance, name, content)
    assert answer.status == 415 and "Unsupported binary file type" in answer.json()["detail"], answer


def test_a_document_that_unpacks_to_gigabytes_takes_no_memory(instance):
    answer = read(instance, "bomb.docx", bomb("word/document.xml", 200 << 20))
    assert answer.status in (413, 415), answer
    if is_sanitized():
        return
    status = open(f"/proc/{instance.process.pid}/status", encoding="ascii").read()
    assert int(status.split("VmHWM:")[1].split()[0]) < 160 * 1024, status


def test_external_entities_of_a_document_type_are_not_fetched(instance):
    chapter = documents.epub('<p>x</p>')
    assert text_of(instance, "a.epub", chapter) == "x"


def test_other_requests_are_answered_while_a_document_is_read(instance):
    (instance.home / "slow.docx").write_bytes(documents.docx(documents.paragraph("x" * 1000) * 20000))
    with subprocess.Popen(["curl", "-s", "-o", "/dev/null", "-H", "Authorization: Bearer k",
                           f"http://127.0.0.1:{instance.port}/files/read?path=slow.docx&start_line=19999"]) as reader:
        worst = 0
        while reader.poll() is None:
            started = time.monotonic()
            assert instance.call("GET", "/health").status == 200
            worst = max(worst, time.monotonic() - started)
    assert reader.returncode == 0 and worst < 1
    (instance.home / "slow.docx").unlink()


def test_a_reader_whose_client_left_leaves_nothing(instance):
    (instance.home / "slow.docx").write_bytes(documents.docx(documents.paragraph("x" * 1000) * 5000))
    with subprocess.Popen(["curl", "-s", "-m", "0.05", "-o", "/dev/null", "-H", "Authorization: Bearer k",
                           f"http://127.0.0.1:{instance.port}/files/read?path=slow.docx"]):
        pass
    deadline = time.monotonic() + 60
    children = f"/proc/{instance.process.pid}/task/{instance.process.pid}/children"
    while open(children, encoding="ascii").read().strip() or len(os.listdir(f"/proc/{instance.process.pid}/task")) > 1:
        assert time.monotonic() < deadline, "the reader is still there"
        time.sleep(0.01)
    (instance.home / "slow.docx").unlink()
