/* files_archive.c - POST /files/archive: files and folders as one ZIP file.
 *
 * A small archive is answered with its length, and an error while it is made as an error. A big one is sent while it is
 * made; then an error can only cut the connection, which an HTTP client notices. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "instance/archive_stream.h"
#include "instance/files.h"
#include "instance/files_path.h"
#include "instance/instance.h"
#include "instance/loop.h"
#include "instance/utf8.h"

#define CONTENT_TYPE   "application/zip"
#define SMALL_BYTES    (256 * 1024)
#define READ_BYTES     (16 * 1024)
#define MANY_FILE_NAME "download"

struct archive {
    struct http_request *request;
    struct archive_stream *stream;
    char *name;              /* of what is in it */
    struct loop_watch watch; /* the pipe that the archive comes from */
    struct buffer start;     /* what came so far of one that may be small; then what is still to be sent of that */
    size_t start_sent;
    bool is_streamed;
};

static struct loop *loop_of(const struct archive *archive) {
    return http_instance(archive->request)->loop;
}

static void archive_release(void *state) {
    struct archive *archive = state;
    loop_watch_remove(loop_of(archive), &archive->watch);
    close(archive->watch.fd);
    archive_stream_free(archive->stream);
    buffer_free(&archive->start);
    free(archive->name);
    free(archive);
}

/* As read(2), but EAGAIN is HTTP_SOURCE_LATER and the end is HTTP_SOURCE_END. */
static ssize_t read_pipe(const struct archive *archive, char *out, size_t size) {
    ssize_t got;
    do {
        got = read(archive->watch.fd, out, size);
    } while (got < 0 && errno == EINTR);
    if (got > 0) {
        return got;
    }
    return got == 0 ? HTTP_SOURCE_END : errno == EAGAIN ? HTTP_SOURCE_LATER : HTTP_SOURCE_FAILED;
}

/* RFC 6266: a plain name for every client and, where that is not the whole truth, the true one in UTF-8. */
static void add_disposition(struct http_request *request, const char *path) {
    static const char digits[] = "0123456789ABCDEF";
    cleanup_free char *name = utf8_name_to_text(*path != '\0' ? path : "root");
    cleanup_buffer struct buffer plain = {0};
    cleanup_buffer struct buffer encoded = {0};
    bool is_plain = true;
    for (const char *c = name != NULL ? name : ""; *c != '\0'; c++) {
        unsigned char byte = (unsigned char)*c;
        bool is_safe = byte >= 0x20 && byte < 0x7F && byte != '"' && byte != '\\';
        bool is_token = (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z') ||
                        (byte < 0x80 && byte != 0 && strchr("-._~", byte) != NULL);
        is_plain = is_plain && is_safe;
        if (is_safe || (byte & 0xC0) != 0x80) {
            buffer_append(&plain, is_safe ? c : "_", 1);
        }
        if (is_token) {
            buffer_append(&encoded, c, 1);
        } else {
            buffer_append(&encoded, (char[]){'%', digits[byte >> 4], digits[byte & 15]}, 3);
        }
    }
    cleanup_buffer struct buffer header = {0};
    buffer_append_format(&header, "attachment; filename=\"%s.zip\"", plain.length > 0 ? plain.data : "_");
    if (!is_plain) {
        buffer_append_format(&header, "; filename*=UTF-8''%s.zip", encoded.length > 0 ? encoded.data : "_");
    }
    if (!header.failed && !plain.failed && !encoded.failed) {
        http_add_header(request, "Content-Disposition", header.data);
    }
}

/* ---- a big one ---- */

static ssize_t read_source(void *state, char *out, size_t size) {
    struct archive *archive = state;
    size_t left = archive->start.length - archive->start_sent;
    if (left > 0) {
        left = left < size ? left : size;
        memcpy(out, archive->start.data + archive->start_sent, left);
        archive->start_sent += left;
        return (ssize_t)left;
    }
    buffer_free(&archive->start);
    archive->start_sent = 0;
    struct error ignored;
    ssize_t got = read_pipe(archive, out, size);
    if (got == HTTP_SOURCE_LATER && !loop_watch_set(loop_of(archive), &archive->watch, EPOLLIN)) {
        return HTTP_SOURCE_FAILED;
    }
    return got == HTTP_SOURCE_END && !archive_stream_is_whole(archive->stream, &ignored) ? HTTP_SOURCE_FAILED : got;
}

/* ---- a small one ---- */

static void respond_whole(struct archive *archive) {
    struct error err;
    if (archive_stream_is_whole(archive->stream, &err)) {
        add_disposition(archive->request, archive->name);
        http_respond_buffer(archive->request, 200, CONTENT_TYPE, &archive->start);
    } else {
        files_respond_error(archive->request, FILES_CALL_READS, &err);
    }
}

static void read_start(struct archive *archive) {
    ssize_t got;
    do {
        char *room = buffer_reserve(&archive->start, READ_BYTES);
        got = room == NULL ? HTTP_SOURCE_FAILED : read_pipe(archive, room, READ_BYTES);
        archive->start.length += got > 0 ? (size_t)got : 0;
    } while (got > 0 && archive->start.length < SMALL_BYTES);
    if (got == HTTP_SOURCE_LATER) {
        return;
    }
    loop_watch_remove(loop_of(archive), &archive->watch);
    if (got == HTTP_SOURCE_END) {
        respond_whole(archive);
    } else if (got == HTTP_SOURCE_FAILED) {
        http_respond_json(archive->request, 500, NULL);
    } else {
        archive->is_streamed = true;
        add_disposition(archive->request, archive->name);
        http_respond_source(archive->request, 200, CONTENT_TYPE, HTTP_LENGTH_UNKNOWN, read_source, archive, NULL);
    }
}

static void on_readable(struct loop_watch *watch, uint32_t events) {
    (void)events;
    struct archive *archive = loop_owner(watch, struct archive, watch);
    if (archive->is_streamed) {
        loop_watch_remove(loop_of(archive), watch);
        http_resume(archive->request);
    } else {
        read_start(archive);
    }
}

/* ---- the request ---- */

static void free_paths(char **paths, size_t count) {
    for (size_t i = 0; paths != NULL && i < count; i++) {
        free(paths[i]);
    }
    free(paths);
}

/* loc: ["body", "paths", index]. */
static void note_no_text(struct http_request *request, struct json_object *item, size_t index) {
    struct json_object *location = json_object_new_array();
    json_object_array_add(location, json_object_new_string("body"));
    json_object_array_add(location, json_object_new_string("paths"));
    json_object_array_add(location, json_object_new_int64((int64_t)index));
    http_invalid_at(request, "string_type", location, "Input should be a valid string", json_object_get(item), NULL);
}

/* The index-th path, made absolute; NULL: answered. */
static char *find_path(struct http_request *request, struct json_object *list, size_t index) {
    struct json_object *item = json_object_array_get_idx(list, index);
    const char *text = json_object_get_string(item);
    size_t length = (size_t)json_object_get_string_len(item);
    struct error err;
    struct stat status;
    cleanup_free char *path = files_resolve(request, text, length, &err);
    if (path == NULL && err.code == ERROR_INTERNAL) {
        http_respond_json(request, 500, NULL);
        return NULL;
    }
    if (path == NULL || stat(path, &status) != 0 || !(S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))) {
        http_respond_error(request, 404, "Path not found: %s", text);
        return NULL;
    }
    return steal_pointer(&path);
}

/* All paths, made absolute; NULL: answered. */
static char **find_paths(struct http_request *request, struct json_object *list, size_t count) {
    char **paths = calloc(count, sizeof(*paths));
    if (paths == NULL) {
        http_respond_json(request, 500, NULL);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        paths[i] = find_path(request, list, i);
        if (paths[i] == NULL) {
            free_paths(paths, i);
            return NULL;
        }
    }
    return paths;
}

void files_archive(struct http_request *request) {
    struct json_object *list = NULL;
    http_json_array(request, "paths", true, &list);
    size_t count = list != NULL ? json_object_array_length(list) : 0;
    for (size_t i = 0; i < count; i++) {
        if (!json_object_is_type(json_object_array_get_idx(list, i), json_type_string)) {
            note_no_text(request, json_object_array_get_idx(list, i), i);
        }
    }
    if (http_refused_as_invalid(request)) {
        return;
    }
    if (count == 0) {
        http_respond_error(request, 400, "No paths given");
        return;
    }
    char **paths = find_paths(request, list, count);
    struct archive *archive = paths == NULL ? NULL : calloc(1, sizeof(*archive));
    if (archive == NULL) {
        free_paths(paths, count);
        http_respond_json(request, 500, NULL); /* unless it was answered */
        return;
    }
    archive->name = strdup(count == 1 ? path_name(paths[0]) : MANY_FILE_NAME);
    struct error err;
    int fd = -1;
    archive->stream = archive_stream_start(paths, count, &fd, &err);
    if (archive->stream == NULL) {
        free(archive->name);
        free(archive);
        files_respond_error(request, FILES_CALL_READS, &err);
        return;
    }
    archive->request = request;
    archive->watch = (struct loop_watch){.fd = fd, .ready = on_readable};
    http_set_state(request, archive, archive_release);
    if (archive->name == NULL || !loop_watch_set(loop_of(archive), &archive->watch, EPOLLIN)) {
        http_respond_json(request, 500, NULL);
    }
}
