/* files_read.c - GET /files/read: text as JSON, whole or some of its lines, the text of documents, and images as they
 * are.
 *
 * The text is read once, in pieces; only the lines that were asked for are kept. As in the original, CR LF and lone CR
 * become LF, and lines are those of Python's splitlines(). What is no UTF-8 is read again by a process of its own
 * (text_child.h), and so are documents from the start. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "instance/files.h"
#include "instance/files_text.h"
#include "instance/instance.h"
#include "instance/mime.h"
#include "instance/options.h"
#include "instance/text_child.h"
#include "instance/utf8.h"
#include "instance/work.h"

#define CHUNK_BYTES       (64 * 1024)
#define CONTENT_MAX_BYTES (64L * 1024 * 1024) /* of one answer; a bigger file is read in ranges */
#define BIG_FILE_BYTES    (512L * 1024)       /* from here on it is read off the loop */
#define ENCODED           "encoded"           /* text_child.h: text that is no UTF-8 */

static const char byte_order_mark[] = "\xEF\xBB\xBF";

struct reading {
    struct work work;
    char *path;
    int fd;
    const char *type;          /* its media type */
    const char *kind;          /* of document that a process of its own reads; NULL: UTF-8 from `fd` */
    enum text_child_word word; /* how that ended */
    struct stat status;
    struct line_range range;

    int64_t total_lines;
    bool is_line_open; /* the last line has no ending yet */
    bool is_text;
    struct buffer content; /* the lines of the range, already as the inside of a JSON string */
    size_t content_bytes;
    struct error err;
};

static bool is_wanted(const struct reading *reading, int64_t line) {
    return line >= reading->range.first && line <= reading->range.last;
}

static void append_json_inside(struct buffer *out, const char *text, size_t length) {
    size_t before = out->length;
    utf8_append_json(out, text, length);
    if (!out->failed) { /* take the quotes off again */
        memmove(out->data + before, out->data + before + 1, out->length - before - 2);
        out->length -= 2;
        out->data[out->length] = '\0';
    }
}

/* Takes `length` bytes of whole characters, in which no line ending is cut in two. False: too much was asked for. */
static bool take_text(struct reading *reading, char *text, size_t length) {
    length = newlines_normalize(text, length);
    for (size_t at = 0; at < length;) {
        size_t size = line_length(text + at, length - at);
        int64_t line = reading->total_lines + (reading->is_line_open ? 0 : 1);
        if (is_wanted(reading, line)) {
            append_json_inside(&reading->content, text + at, size);
            reading->content_bytes += size;
        }
        reading->total_lines = line;
        reading->is_line_open = !line_is_ended(text + at, size);
        at += size;
    }
    return reading->content_bytes <= CONTENT_MAX_BYTES;
}

/* How much of what is there can be taken now: not a character that is cut, nor a CR whose LF may follow. SIZE_MAX: it
 * is no text. */
static size_t usable_length(const char *text, size_t length, bool is_end) {
    bool is_cut;
    size_t valid = utf8_valid_prefix(text, length, &is_cut);
    if (valid < length && (!is_cut || is_end)) {
        return SIZE_MAX;
    }
    return !is_end && valid > 0 && text[valid - 1] == '\r' ? valid - 1 : valid;
}

/* False: *err says, unless it merely turned out to be no text (is_text is false then). */
static bool read_text(struct reading *reading, int fd, char *chunk) {
    size_t kept = 0;
    bool is_start = true;
    ssize_t got;
    do {
        got = read(fd, chunk + kept, CHUNK_BYTES - kept);
        if (got < 0 && errno == EINTR) {
            got = 1; /* nothing was read; go on */
            continue;
        }
        if (got < 0) {
            return error_set_path(&reading->err, errno, reading->path);
        }
        size_t length = kept + (size_t)got;
        size_t usable = usable_length(chunk, length, got == 0);
        if (usable == SIZE_MAX || (reading->kind == NULL && memchr(chunk + kept, '\0', length - kept) != NULL)) {
            reading->is_text = false;
            return true;
        }
        if (is_start && usable > 0) {
            size_t mark = strncmp(chunk, byte_order_mark, strlen(byte_order_mark)) == 0 ? strlen(byte_order_mark) : 0;
            length -= mark;
            usable -= mark;
            memmove(chunk, chunk + mark, length);
            is_start = false;
        }
        char rest[8]; /* a cut character or a CR: normalizing may move what is before it */
        kept = length - usable;
        memcpy(rest, chunk + usable, kept);
        if (!take_text(reading, chunk, usable)) {
            return error_set(&reading->err, ERROR_TOO_LARGE,
                             "More than %ld MiB of text: ask for a range of lines (start_line, end_line)",
                             CONTENT_MAX_BYTES / 1024 / 1024);
        }
        memcpy(chunk, rest, kept);
    } while (got > 0 && !atomic_load(&reading->work.is_abandoned));
    return true;
}

static void read_document(struct reading *reading, char *chunk) {
    struct text_child child;
    if (!text_child_start(reading->fd, reading->kind, &child)) {
        error_set_errno(&reading->err, ERROR_INTERNAL, "start reading a document");
        return;
    }
    if (read_text(reading, child.text, chunk) && !atomic_load(&reading->work.is_abandoned)) {
        reading->word = text_child_word(&child);
        reading->is_text = reading->is_text && reading->word == TEXT_CHILD_READ;
    }
    text_child_close(&child);
}

static void reading_run(struct work *work) {
    struct reading *reading = (struct reading *)work;
    cleanup_free char *chunk = malloc(CHUNK_BYTES);
    if (chunk == NULL) {
        error_set_path(&reading->err, ENOMEM, reading->path);
        return;
    }
    reading->is_text = true;
    if (reading->kind == NULL) {
        read_text(reading, reading->fd, chunk);
    } else {
        read_document(reading, chunk);
    }
}

static void respond_text(struct reading *reading) {
    cleanup_buffer struct buffer json = {0};
    buffer_append_string(&json, "{\"path\":");
    utf8_append_json(&json, reading->path, strlen(reading->path));
    buffer_append_format(&json, ",\"total_lines\":%" PRId64 ",\"content\":\"", reading->total_lines);
    if (reading->content.failed) {
        json.failed = true;
    } else if (reading->content.length > 0) {
        buffer_append(&json, reading->content.data, reading->content.length);
    }
    buffer_append_string(&json, "\"}");
    http_respond_buffer(reading->work.request, 200, "application/json", &json);
}

/* True for what may be text in another encoding: what says that it is, and what says nothing. */
static bool may_be_encoded(const char *type) {
    static const char *const types[] = {MIME_UNKNOWN,       "application/json",         "application/yaml",
                                        "application/x-sh", "application/x-tex",        "application/xhtml+xml",
                                        "text/xml",         "application/manifest+json"};
    bool is_found = mime_is_text(type);
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]) && !is_found; i++) {
        is_found = strcmp(type, types[i]) == 0;
    }
    return is_found;
}

/* Once more from the start, off the loop, as text in another encoding. */
static void read_again(struct reading *reading) {
    reading->kind = ENCODED;
    reading->total_lines = 0;
    reading->is_line_open = false;
    reading->content.length = 0;
    reading->content_bytes = 0;
    work_do(reading->work.request, &reading->work, true);
}

/* Not text: an image is sent as it is, anything else is refused. */
static void respond_binary(struct reading *reading) {
    struct http_request *request = reading->work.request;
    intmax_t size = (intmax_t)reading->status.st_size;
    bool is_document = reading->kind != NULL && strcmp(reading->kind, ENCODED) != 0;
    if (mime_is_listed(reading->type, http_instance(request)->options->binary_mime_prefixes)) {
        http_respond_file(request, 200, reading->type, steal_fd(&reading->fd), 0, (uint64_t)size);
    } else if (is_document && reading->word == TEXT_CHILD_NO_TOOL) {
        http_respond_error(request, 415, "Unsupported binary file type: %s (%jd bytes): reading it needs %s",
                           reading->type, size, text_child_tool(reading->kind));
    } else if (is_document) {
        http_respond_error(request, 415, "Unsupported binary file type: %s (%jd bytes): it is damaged, or protected",
                           reading->type, size);
    } else {
        http_respond_error(request, 415, "Unsupported binary file type: %s (%jd bytes)", reading->type, size);
    }
}

static void reading_respond(struct work *work) {
    struct reading *reading = (struct reading *)work;
    if (reading->err.code != ERROR_NONE) {
        files_respond_error(work->request, FILES_CALL_READS, &reading->err);
    } else if (reading->is_text) {
        respond_text(reading);
    } else if (reading->kind == NULL && may_be_encoded(reading->type)) {
        read_again(reading);
    } else {
        respond_binary(reading);
    }
}

static void reading_release(struct work *work) {
    struct reading *reading = (struct reading *)work;
    free(reading->path);
    if (reading->fd >= 0) {
        close(reading->fd);
    }
    buffer_free(&reading->content);
    free(reading);
}

void files_read(struct http_request *request) {
    struct line_range range = LINE_RANGE_ALL;
    const char *text;
    http_query_text(request, "path", true, &text);
    http_query_integer(request, "start_line", 1, INT64_MAX, &range.first);
    http_query_integer(request, "end_line", 1, INT64_MAX, &range.last);
    if (http_refused_as_invalid(request)) {
        return;
    }
    struct error err;
    struct stat status;
    cleanup_free char *path = files_resolve_query(request, "path", NULL, &err);
    cleanup_close int fd = path == NULL ? -1 : files_open(path, &status, &err);
    if (fd < 0) {
        if (err.code == ERROR_INVALID) { /* a NUL byte: no file has such a name */
            error_set(&err, ERROR_NOT_FOUND, "File not found");
        }
        files_respond_error(request, FILES_CALL_READS, &err);
        return;
    }
    struct reading *reading = calloc(1, sizeof(*reading));
    if (reading == NULL) {
        http_respond_json(request, 200, NULL);
        return;
    }
    char start[MIME_SNIFF_BYTES];
    ssize_t length = pread(fd, start, sizeof(start), 0);
    reading->type = mime_of_file(path, start, length > 0 ? (size_t)length : 0);
    reading->kind = text_child_kind(reading->type);
    reading->work = (struct work){.run = reading_run, .respond = reading_respond, .release = reading_release};
    reading->path = steal_pointer(&path);
    reading->fd = steal_fd(&fd);
    reading->status = status;
    reading->range = range;
    work_do(request, &reading->work, reading->kind != NULL || status.st_size >= BIG_FILE_BYTES);
}
