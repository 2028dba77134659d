"""Small documents of each format that /files/read knows, made by hand, so that no library has to be installed for it."""
import io
import zipfile

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
A = 'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"'
R = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
ODF = ('xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" '
       'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0"')


def package(members):
    """A ZIP file of {name: text or bytes}."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)  # no time of day: the same bytes each time
    return out.getvalue()


def relations(targets):
    return ('<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">' +
            "".join(f'<Relationship Id="{name}" Target="{target}"/>' for name, target in targets.items()) + "</Relationships>")


def docx(body):
    return package({"word/document.xml": f'<?xml version="1.0"?><w:document {W}><w:body>{body}</w:body></w:document>'})


def paragraph(text):
    return f"<w:p><w:pPr><w:tabs><w:tab w:val='left'/></w:tabs></w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"


def pptx(*slides):
    """The files are numbered against the order of the slides, as when a slide was moved."""
    count = len(slides)
    members = {
        "ppt/presentation.xml": f'<p:presentation {A} {R}><p:sldIdLst>' +
                                "".join(f'<p:sldId id="{256 + i}" r:id="rId{i}"/>' for i in range(count)) + "</p:sldIdLst></p:presentation>",
        "ppt/_rels/presentation.xml.rels": relations({f"rId{i}": f"slides/slide{count - i}.xml" for i in range(count)}),
    }
    for i, text in enumerate(slides):
        members[f"ppt/slides/slide{count - i}.xml"] = f"<p:sld {A}><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:sld>"
    return package(members)


def xlsx():
    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    return package({
        "xl/workbook.xml": f'<workbook {main} {R}><sheets><sheet name="Sales" sheetId="1" r:id="rId1"/><sheet name="Empty" sheetId="2" r:id="rId2"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": relations({"rId1": "/xl/worksheets/sheet1.xml", "rId2": "worksheets/sheet2.xml"}),
        "xl/sharedStrings.xml": f"<sst {main}><si><t>Name</t></si><si><r><t>M\u00fcl</t></r><r><t>ler</t></r><rPh><t>x</t></rPh></si></sst>",
        "xl/styles.xml": f'<styleSheet {main}><numFmts><numFmt numFmtId="164" formatCode="dd/mm/yyyy"/><numFmt numFmtId="165" formatCode="0 &quot;days&quot;"/></numFmts>'
                         '<cellStyleXfs><xf numFmtId="14"/></cellStyleXfs><cellXfs><xf numFmtId="0"/><xf numFmtId="164"/><xf numFmtId="165"/><xf numFmtId="22"/></cellXfs></styleSheet>',
        "xl/worksheets/sheet1.xml": f'<worksheet {main}><sheetData>'
                                    '<row r="1"><c r="A1" t="s"><v>0</v></c><c r="C1" t="inlineStr"><is><t>a\nb</t></is></c></row>'
                                    '<row r="2"><c r="A2" t="s"><v>1</v></c><c r="B2"><v>1.5</v></c><c r="C2" t="b"><v>1</v></c><c r="D2" s="1"><v>46024</v></c>'
                                    '<c r="E2" s="2"><v>46024</v></c><c r="F2" s="3"><v>46024.5</v></c></row></sheetData></worksheet>',
        "xl/worksheets/sheet2.xml": f"<worksheet {main}><sheetData/></worksheet>",
    })


XLSX_TEXT = ("--- Sheet: Sales ---\nName\t\ta b\nM\u00fcller\t1.5\tTRUE\t2026-01-02\t46024\t2026-01-02 12:00:00\n\n--- Sheet: Empty ---")


def open_document(kind, body):
    return package({"mimetype": f"application/vnd.oasis.opendocument.{kind}",
                    "content.xml": f'<?xml version="1.0"?><office:document-content {ODF}><office:body><office:{kind}>{body}</office:{kind}></office:body></office:document-content>'})


def epub(*chapters):
    members = {
        "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile full-path="OEBPS/book.opf"/></rootfiles></container>',
        "OEBPS/book.opf": '<package xmlns="http://www.idpf.org/2007/opf"><manifest>' +
                          "".join(f'<item id="c{i}" href="text/chapter%20{i}.xhtml"/>' for i in range(len(chapters))) + "</manifest><spine>" +
                          "".join(f'<itemref idref="c{i}"/>' for i in range(len(chapters))) + "</spine></package>",
    }
    for i, body in enumerate(chapters):
        members[f"OEBPS/text/chapter {i}.xhtml"] = (
            '<?xml version="1.0"?><!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.1//EN" "http://www.w3.org/TR/xhtml11/DTD/xhtml11.dtd">'
            f'<html xmlns="http://www.w3.org/1999/xhtml"><head><title>no</title><style>p {{}}</style></head><body>{body}</body></html>')
    return package(members)


def pdf(text):
    """One page with one line."""
    content = f"BT /F1 12 Tf 20 100 Td ({text}) Tj ET".encode()
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
               b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
               b"<</Length %d>>stream\n%s\nendstream" % (len(content), content), b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"]
    out = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj%s endobj\n" % (number, body)
    table = len(out)
    out += b"xref\n0 6\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % place for place in places)
    return out + b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % table
