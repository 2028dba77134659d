/* files_view.c - GET and HEAD /files/view and /files/serve/…: a file as it is, or a range of it, from its descriptor.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "instance/files.h"
#include "instance/files_path.h"
#include "instance/http_range.h"
#include "instance/instance.h"
#include "instance/mime.h"
#include "instance/url.h"

#define SIZELESS_MAX_BYTES (1024 * 1024) /* of a file below /proc or /sys, which says its size is 0 */

/* Files of the kernel have content but no size: read them, once, as far as is sensible. */
static void respond_sizeless(struct http_request *request, const char *type, int fd) {
    cleanup_buffer struct buffer body = {0};
    ssize_t got = 1;
    while (got > 0 && body.length < SIZELESS_MAX_BYTES) {
        char *room = buffer_reserve(&body, 4096);
        got = room == NULL ? 0 : read(fd, room, 4096);
        body.length += got > 0 ? (size_t)got : 0;
    }
    http_respond_buffer(request, 200, type, &body);
}

#define ETAG_SIZE 80

/* Changes with the content, as far as the file system's clock tells. */
static void make_etag(const struct stat *status, char etag[ETAG_SIZE]) {
    snprintf(etag, ETAG_SIZE, "\"%jx-%jx-%jx.%lx\"", (uintmax_t)status->st_ino, (uintmax_t)status->st_size,
             (uintmax_t)status->st_mtim.tv_sec, (unsigned long)status->st_mtim.tv_nsec);
}

/* A range is of the content that the client has the rest of, or not served (RFC 9110 §13.1.5). There is no
 * Last-Modified (nor has the original one), so a date validates nothing. */
static bool is_range_of(struct http_request *request, const char *etag) {
    const char *if_range = http_header(request, "If-Range");
    return if_range == NULL || strcmp(if_range, etag) == 0;
}

static void respond_with_content(struct http_request *request, const char *type, int fd, const struct stat *status) {
    uint64_t size = (uint64_t)status->st_size;
    struct http_range range = {0, size};
    char etag[ETAG_SIZE];
    char content_range[80];
    make_etag(status, etag);
    enum http_range_kind kind = HTTP_RANGE_WHOLE;
    if (is_range_of(request, etag)) {
        kind = http_range_parse(http_header(request, "Range"), size, &range);
    }
    http_add_header(request, "Accept-Ranges", "bytes");
    http_add_header(request, "ETag", etag);
    if (kind == HTTP_RANGE_UNSATISFIABLE) {
        snprintf(content_range, sizeof(content_range), "bytes */%" PRIu64, size);
        http_add_header(request, "Content-Range", content_range);
        http_respond_error(request, 416, "The file has %" PRIu64 " bytes", size);
        close(fd);
        return;
    }
    if (kind == HTTP_RANGE_PART) {
        snprintf(content_range, sizeof(content_range), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, range.first,
                 range.first + range.length - 1, size);
        http_add_header(request, "Content-Range", content_range);
    }
    http_respond_file(request, kind == HTTP_RANGE_PART ? 206 : 200, type, fd, (off_t)range.first, range.length);
}

static void respond_with_file(struct http_request *request, const char *path) {
    struct error err;
    struct stat status;
    cleanup_close int fd = files_open(path, &status, &err);
    if (fd < 0) {
        files_respond_error(request, FILES_CALL_READS, &err);
        return;
    }
    char start[MIME_SNIFF_BYTES];
    ssize_t length = pread(fd, start, sizeof(start), 0);
    const char *type = mime_of_file(path, start, length > 0 ? (size_t)length : 0);
    char with_charset[64];
    if (mime_is_text(type)) {
        snprintf(with_charset, sizeof(with_charset), "%s; charset=utf-8", type);
        type = with_charset;
    }
    if (status.st_size == 0 && length != 0) {
        respond_sizeless(request, type, fd);
    } else {
        respond_with_content(request, type, steal_fd(&fd), &status);
    }
}

void files_view(struct http_request *request) {
    struct error err;
    cleanup_free char *path = files_resolve_query(request, "path", NULL, &err);
    if (path != NULL) {
        respond_with_file(request, path);
    } else if (err.code == ERROR_INVALID) {
        http_respond_error(request, 404, "File not found");
    } else if (err.code != ERROR_NONE) {
        files_respond_error(request, FILES_CALL_READS, &err);
    }
}

/* The path behind /files/serve is absolute, so that links between the files of a page lead to one another. */
void files_serve(struct http_request *request) {
    cleanup_free char *rest = strdup(http_raw_path_rest(request));
    if (rest == NULL) {
        http_respond_json(request, 200, NULL);
        return;
    }
    size_t length = url_decode(rest, strlen(rest), false, rest);
    struct error err;
    cleanup_free char *path = path_resolve("/", http_instance(request)->home, rest, length, &err);
    if (path != NULL) {
        respond_with_file(request, path);
    } else {
        http_respond_error(request, err.code == ERROR_INTERNAL ? 500 : 404, "File not found");
    }
}
