/* files_replace.c - POST /files/replace: exact strings in a text file, one replacement after the other, all or none. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "instance/atomic_file.h"
#include "instance/files.h"
#include "instance/files_text.h"
#include "instance/json_lax.h"
#include "instance/mime.h"
#include "instance/utf8.h"
#include "instance/work.h"

#define TEXT_MAX_BYTES (64L * 1024 * 1024) /* before and after: the whole text is held in memory */
#define BIG_FILE_BYTES (512L * 1024)       /* from here on it is done off the loop */

struct replacement {
    const char *target;
    size_t target_length;
    const char *text;
    size_t text_length;
    struct line_range range;
    bool allow_multiple;
};

/* ---- what the client asked for ---- */

/* loc: ["body", "replacements", index, name] (name NULL: without it). */
static struct json_object *location(size_t index, const char *name) {
    struct json_object *place = json_object_new_array();
    json_object_array_add(place, json_object_new_string("body"));
    json_object_array_add(place, json_object_new_string("replacements"));
    json_object_array_add(place, json_object_new_int64((int64_t)index));
    if (name != NULL) {
        json_object_array_add(place, json_object_new_string(name));
    }
    return place;
}

static void invalid(struct http_request *request, size_t index, const char *name, const char *type, const char *message,
                    struct json_object *input) {
    http_invalid_at(request, type, location(index, name), message, json_object_get(input), NULL);
}

static void read_text_member(struct http_request *request, struct json_object *chunk, size_t index, const char *name,
                             const char **text, size_t *length) {
    struct json_object *value;
    if (!json_object_object_get_ex(chunk, name, &value)) {
        invalid(request, index, name, "missing", "Field required", chunk);
    } else if (!json_object_is_type(value, json_type_string)) {
        invalid(request, index, name, "string_type", "Input should be a valid string", value);
    } else {
        *text = json_object_get_string(value);
        *length = (size_t)json_object_get_string_len(value);
    }
}

static void read_line_member(struct http_request *request, struct json_object *chunk, size_t index, const char *name,
                             int64_t *line) {
    struct json_object *value;
    if (!json_object_object_get_ex(chunk, name, &value) || value == NULL) {
        return;
    }
    struct json_problem problem;
    int64_t number;
    if (!json_lax_integer(value, &number, &problem)) {
        invalid(request, index, name, problem.type, problem.message, value);
    } else if (number < 1) {
        struct json_object *context = json_object_new_object();
        json_add_int(context, "ge", 1);
        http_invalid_at(request, "greater_than_equal", location(index, name),
                        "Input should be greater than or equal to 1", json_object_get(value), context);
    } else {
        *line = number;
    }
}

static struct replacement read_replacement(struct http_request *request, struct json_object *chunk, size_t index) {
    struct replacement replacement = {.range = LINE_RANGE_ALL};
    if (!json_object_is_type(chunk, json_type_object)) {
        invalid(request, index, NULL, "model_attributes_type",
                "Input should be a valid dictionary or object to extract fields from", chunk);
        return replacement;
    }
    read_text_member(request, chunk, index, "target", &replacement.target, &replacement.target_length);
    read_text_member(request, chunk, index, "replacement", &replacement.text, &replacement.text_length);
    read_line_member(request, chunk, index, "start_line", &replacement.range.first);
    read_line_member(request, chunk, index, "end_line", &replacement.range.last);
    struct json_object *multiple;
    if (json_object_object_get_ex(chunk, "allow_multiple", &multiple)) {
        struct json_problem problem;
        if (!json_lax_boolean(multiple, &replacement.allow_multiple, &problem)) {
            invalid(request, index, "allow_multiple", problem.type, problem.message, multiple);
        }
    }
    return replacement;
}

/* ---- doing it ---- */

/* Where the next occurrence is, NULL if there is none. An empty target is found before each character and at the end.
 */
static const char *find(const struct replacement *replacement, const char *from, const char *end) {
    return replacement->target_length == 0
               ? from
               : memmem(from, (size_t)(end - from), replacement->target, replacement->target_length);
}

/* Appends `length` bytes at `text` with every occurrence replaced; returns how many there were. Gives up, with `out`
 * failed, when it becomes too long. */
static size_t append_replaced(struct buffer *out, const char *text, size_t length,
                              const struct replacement *replacement) {
    const char *end = text + length;
    size_t count = 0;
    const char *found;
    while ((found = find(replacement, text, end)) != NULL && !out->failed) {
        buffer_append(out, text, (size_t)(found - text));
        buffer_append(out, replacement->text, replacement->text_length);
        out->failed = out->failed || out->length > TEXT_MAX_BYTES;
        count++;
        text = found + replacement->target_length;
        if (replacement->target_length == 0) {
            if (text == end) {
                break;
            }
            size_t size = utf8_decode(text, (size_t)(end - text), NULL);
            buffer_append(out, text, size);
            text += size;
        }
    }
    buffer_append(out, text, (size_t)(end - text));
    return count;
}

/* Does one replacement on the whole text. False: the sentence that says why not is in *problem. */
static bool apply(struct buffer *text, const struct replacement *replacement, struct buffer *problem) {
    size_t start;
    size_t length = line_range_find(text->data, text->length, replacement->range, &start);
    cleanup_buffer struct buffer changed = {0};
    buffer_append(&changed, text->data, start);
    size_t count = append_replaced(&changed, text->data + start, length, replacement);
    buffer_append(&changed, text->data + start + length, text->length - start - length);
    if (count == 0) {
        buffer_append_string(problem, "Target string not found: ");
        append_repr(problem, replacement->target, replacement->target_length);
        return false;
    }
    if (count > 1 && !replacement->allow_multiple) {
        buffer_append_format(problem, "Found %zu occurrences of target string but allow_multiple is false", count);
        return false;
    }
    if (changed.failed) {
        buffer_append_string(problem, "The text would become too long");
        return false;
    }
    struct buffer old = *text;
    *text = changed;
    changed = old;
    return true;
}

/* The whole text, as bytes. */
static bool read_file(const char *path, struct buffer *text, struct error *err) {
    struct stat status;
    cleanup_close int fd = files_open(path, &status, err);
    if (fd < 0) {
        return false;
    }
    ssize_t got = 1;
    while (got > 0) {
        if (text->length > TEXT_MAX_BYTES) {
            return error_set(err, ERROR_TOO_LARGE, "The file has more than %ld MiB", TEXT_MAX_BYTES / 1024 / 1024);
        }
        char *room = buffer_reserve(text, 64 * 1024);
        got = room == NULL ? -1 : read(fd, room, 64 * 1024);
        text->length += got > 0 ? (size_t)got : 0;
    }
    if (got < 0) {
        return error_set_path(err, text->failed ? ENOMEM : errno, path);
    }
    buffer_append(text, "", 0);
    if (!utf8_is_valid(text->data, text->length)) {
        return error_set(err, ERROR_INVALID, "Unsupported binary file type: %s (%zu bytes)", mime_of_name(path),
                         text->length);
    }
    return true;
}

/* Every LF becomes CR LF if the file had it so. Tells the size. */
static bool write_lines(struct atomic_file *file, const struct buffer *text, bool is_crlf, int64_t *size,
                        struct error *err) {
    if (!is_crlf) {
        *size = (int64_t)text->length;
        return atomic_file_write(file, text->data, text->length, err);
    }
    cleanup_buffer struct buffer lines = {0};
    const char *at = text->data;
    const char *end = at + text->length;
    const char *line_feed;
    while ((line_feed = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        buffer_append(&lines, at, (size_t)(line_feed - at));
        buffer_append_string(&lines, "\r\n");
        at = line_feed + 1;
    }
    buffer_append(&lines, at, (size_t)(end - at));
    *size = (int64_t)lines.length;
    return lines.failed ? error_set(err, ERROR_INTERNAL, "out of memory")
                        : atomic_file_write(file, lines.data, lines.length, err);
}

struct replacing {
    struct work work;
    char *path;
    struct json_object *body; /* which the replacements point into */
    struct replacement *replacements;
    size_t count;
    int64_t size;          /* of the new text */
    struct buffer problem; /* why nothing was replaced, or empty */
    struct error err;
};

/* Files with CR LF throughout are searched with LF, as /files/read shows them, and keep their CR LF. */
static bool replace(struct replacing *replacing) {
    cleanup_buffer struct buffer text = {0};
    if (!read_file(replacing->path, &text, &replacing->err)) {
        return false;
    }
    bool is_crlf = newlines_are_crlf(text.data, text.length);
    if (is_crlf) {
        text.length = newlines_normalize(text.data, text.length);
    }
    for (size_t i = 0; i < replacing->count; i++) {
        if (!apply(&text, &replacing->replacements[i], &replacing->problem)) {
            return false;
        }
    }
    cleanup_atomic_file struct atomic_file *file = atomic_file_open(replacing->path, &replacing->err);
    return file != NULL && write_lines(file, &text, is_crlf, &replacing->size, &replacing->err) &&
           atomic_file_commit(file, &replacing->err);
}

static void replacing_run(struct work *work) {
    replace((struct replacing *)work);
}

static void replacing_respond(struct work *work) {
    struct replacing *replacing = (struct replacing *)work;
    if (replacing->problem.length > 0) {
        http_respond_error(work->request, 400, "%s", replacing->problem.data);
    } else if (replacing->err.code == ERROR_NOT_FOUND) {
        http_respond_error(work->request, 404, "%s", replacing->err.message);
    } else if (replacing->err.code != ERROR_NONE) {
        files_respond_error(work->request, FILES_CALL_CHANGES, &replacing->err);
    } else {
        files_respond_written(work->request, replacing->path, replacing->size);
    }
}

static void replacing_release(struct work *work) {
    struct replacing *replacing = (struct replacing *)work;
    free(replacing->path);
    free(replacing->replacements);
    json_object_put(replacing->body);
    buffer_free(&replacing->problem);
    free(replacing);
}

/* Reads the body's list; what is wrong with it is noted on the request. NULL: no memory. */
static struct replacement *read_replacements(struct http_request *request, size_t *count) {
    struct json_object *list = NULL;
    http_json_array(request, "replacements", true, &list);
    *count = list != NULL ? json_object_array_length(list) : 0;
    struct replacement *replacements = calloc(*count + 1, sizeof(*replacements));
    for (size_t i = 0; replacements != NULL && i < *count; i++) {
        replacements[i] = read_replacement(request, json_object_array_get_idx(list, i), i);
    }
    return replacements;
}

void files_replace(struct http_request *request) {
    const char *text;
    size_t count;
    http_json_text(request, "path", true, &text, NULL);
    cleanup_free struct replacement *replacements = read_replacements(request, &count);
    if (http_refused_as_invalid(request)) {
        return;
    }
    struct error err;
    cleanup_free char *path = files_resolve_json(request, "path", &err);
    if (path == NULL) {
        files_respond_error(request, FILES_CALL_CHANGES, &err);
        return;
    }
    struct replacing *replacing = replacements == NULL ? NULL : calloc(1, sizeof(*replacing));
    if (replacing == NULL) {
        http_respond_json(request, 200, NULL);
        return;
    }
    struct stat status;
    bool is_big = stat(path, &status) == 0 && status.st_size >= BIG_FILE_BYTES;
    replacing->work = (struct work){.run = replacing_run, .respond = replacing_respond, .release = replacing_release};
    replacing->path = steal_pointer(&path);
    replacing->body = json_object_get(http_json(request));
    replacing->replacements = steal_pointer(&replacements);
    replacing->count = count;
    work_do(request, &replacing->work, is_big);
}
