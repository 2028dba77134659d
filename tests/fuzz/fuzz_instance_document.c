// LINK: instance
/* What a tenant's document says: whatever it is, its text is UTF-8. The first byte chooses how it is read; for what
 * lies in a ZIP file, the rest is its members' XML, one after the other with NUL between them, so that the fuzzer need
 * not find out how to make an archive. */
#include <minizip/zip.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "instance/text_reader.h"
#include "instance/utf8.h"

#define MEMBERS_MAX 6

static const struct way {
    enum text_result (*read)(struct text_sink *sink);
    const char *members[MEMBERS_MAX]; /* none: the document itself */
} ways[] = {
    {text_read_encoded, {NULL}},
    {text_read_rtf, {NULL}},
    {text_read_docx, {NULL}},
    {text_read_docx, {"word/document.xml"}},
    {text_read_pptx,
     {"ppt/presentation.xml", "ppt/_rels/presentation.xml.rels", "ppt/slides/slide1.xml", "ppt/slides/slide2.xml"}},
    {text_read_xlsx,
     {"xl/workbook.xml", "xl/_rels/workbook.xml.rels", "xl/worksheets/sheet1.xml", "xl/sharedStrings.xml",
      "xl/styles.xml"}},
    {text_read_open_document, {"content.xml"}},
    {text_read_epub, {"META-INF/container.xml", "content.opf", "1.xhtml", "2.xhtml"}},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
    if (!ok) {
        abort();
    }
}

static void write_package(int document, const char *const members[], const char *xml, size_t size) {
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", document);
    zipFile zip = zipOpen64(path, APPEND_STATUS_CREATE);
    check(zip != NULL);
    for (size_t i = 0; i < MEMBERS_MAX && members[i] != NULL; i++) {
        const char *end = i + 1 < MEMBERS_MAX && members[i + 1] != NULL ? memchr(xml, '\0', size) : NULL;
        size_t length = end != NULL ? (size_t)(end - xml) : size;
        check(zipOpenNewFileInZip64(zip, members[i], NULL, NULL, 0, NULL, 0, NULL, 0, 0, 0) == ZIP_OK);
        check(zipWriteInFileInZip(zip, xml, (unsigned)length) == ZIP_OK && zipCloseFileInZip(zip) == ZIP_OK);
        xml += length + (end != NULL);
        size -= length + (end != NULL);
    }
    check(zipClose(zip, NULL) == ZIP_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) {
        return 0;
    }
    const struct way *way = &ways[data[0] % (sizeof ways / sizeof ways[0])];
    int document = memfd_create("document", MFD_CLOEXEC);
    check(document >= 0);
    if (way->members[0] == NULL) {
        check(write(document, data + 1, size - 1) == (ssize_t)(size - 1));
    } else {
        write_package(document, way->members, (const char *)data + 1, size - 1);
    }
    check(lseek(document, 0, SEEK_SET) == 0 && dup2(document, STDIN_FILENO) == STDIN_FILENO);
    close(document);

    char *text = NULL;
    size_t length = 0;
    struct text_sink sink = {.file = open_memstream(&text, &length)};
    check(sink.file != NULL);
    enum text_result result = way->read(&sink);
    check(fclose(sink.file) == 0);
    check(result != TEXT_READ || utf8_is_valid(text, length));
    free(text);
    return 0;
}
