/* files_upload.c - POST /files/upload?directory=…: a multipart form whose part `file` becomes a file of that folder.
 *
 * The part goes to disk as it comes in, into a file that has no name until all of it is there: a client that goes away
 * leaves nothing behind. Of several such parts the last one counts. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "instance/atomic_file.h"
#include "instance/file_tree.h"
#include "instance/files.h"
#include "instance/files_path.h"
#include "instance/files_text.h"
#include "instance/multipart.h"

#define FIELD_NAME         "file"
#define DEFAULT_NAME       "upload"
#define TEXT_FIELD_MAX_KIB 1024 /* of a plain field called `file`, which is told back in the 422 */
#define UNPARSABLE         "There was an error parsing the body"

enum part { PART_OTHER, PART_FILE, PART_TEXT };

struct upload {
    char *folder;
    struct multipart_parser *parser;
    enum part part; /* the one that is being read */

    struct atomic_file *file; /* NULL: no file so far */
    char *path;
    int64_t size;
    bool is_begun; /* something came */
    bool is_text;  /* `file` came as a plain field, last */
    struct buffer text;
};

static void forget_file(struct upload *upload) {
    atomic_file_free(upload->file);
    upload->file = NULL;
    free(upload->path);
    upload->path = NULL;
    upload->size = 0;
}

static void upload_release(void *state) {
    struct upload *upload = state;
    forget_file(upload);
    multipart_free(upload->parser);
    buffer_free(&upload->text);
    free(upload->folder);
    free(upload);
}

/* The last part of the name that the client's file has, which may come as a path of its own system. */
static const char *base_name(const char *filename) {
    const char *slash = strrchr(filename, '/');
    const char *name = slash != NULL ? slash + 1 : filename;
    bool is_windows_path = (name[0] != '\0' && name[1] == ':' && name[2] == '\\') || strncmp(name, "\\\\", 2) == 0;
    const char *backslash = is_windows_path ? strrchr(name, '\\') : NULL;
    name = backslash != NULL ? backslash + 1 : name;
    return *name != '\0' ? name : DEFAULT_NAME;
}

static bool begin_file(struct upload *upload, const char *filename, struct error *err) {
    forget_file(upload);
    upload->is_text = false;
    upload->path = path_join(upload->folder, base_name(filename));
    if (upload->path == NULL) {
        return error_set_path(err, ENOMEM, upload->folder);
    }
    upload->file = folder_make(upload->folder, err) ? atomic_file_open(upload->path, err) : NULL;
    return upload->file != NULL;
}

static bool part_begin(void *state, const struct multipart_part *part, struct error *err) {
    struct upload *upload = state;
    upload->part = PART_OTHER;
    if (strcmp(part->name, FIELD_NAME) != 0) {
        return true;
    }
    if (part->filename == NULL) {
        upload->part = PART_TEXT;
        upload->is_text = true;
        upload->text.length = 0;
        return true;
    }
    upload->part = PART_FILE;
    return begin_file(upload, part->filename, err);
}

static bool part_data(void *state, const char *bytes, size_t length, struct error *err) {
    struct upload *upload = state;
    switch (upload->part) {
    case PART_FILE:
        upload->size += (int64_t)length;
        return atomic_file_write(upload->file, bytes, length, err);
    case PART_TEXT:
        if (upload->text.length + length > TEXT_FIELD_MAX_KIB * 1024) {
            return error_set(err, ERROR_INVALID, "Part exceeded maximum size of %dKB.", TEXT_FIELD_MAX_KIB);
        }
        return buffer_append(&upload->text, bytes, length) || error_set_path(err, ENOMEM, upload->folder);
    default:
        return true;
    }
}

static bool part_end(void *state, struct error *err) {
    (void)err;
    ((struct upload *)state)->part = PART_OTHER;
    return true;
}

static const struct multipart_events events = {part_begin, part_data, part_end};

/* 403 for what is not permitted; the form's own faults and what else the system refused are 400. */
static void respond_error(struct http_request *request, const struct error *err) {
    struct error shown = *err;
    if (shown.code == ERROR_NOT_FOUND) {
        shown.code = ERROR_INVALID;
    }
    files_respond_error(request, FILES_CALL_READS, &shown);
}

/* A form without the file. `text` is what came in its place, if anything did. */
static void respond_missing(struct http_request *request, const struct upload *upload) {
    if (upload != NULL && upload->is_text) {
        struct json_object *context = json_object_new_object();
        json_add(context, "error", json_object_new_object());
        http_invalid(
            request, "value_error", "body", FIELD_NAME, "Value error, Expected UploadFile, received: <class 'str'>",
            json_object_new_string_len(upload->text.length > 0 ? upload->text.data : "", (int)upload->text.length),
            context);
    } else {
        http_invalid(request, "missing", "body", FIELD_NAME, "Field required", NULL, NULL);
    }
    http_refused_as_invalid(request);
}

static void upload_begin(struct http_request *request) {
    struct error err;
    cleanup_free char *folder = files_resolve_query(request, "directory", NULL, &err);
    if (folder == NULL) {
        if (err.code != ERROR_NONE) {
            respond_error(request, &err);
        }
        return;
    }
    struct upload *upload = calloc(1, sizeof(*upload));
    if (upload == NULL) {
        http_respond_json(request, 200, NULL);
        return;
    }
    http_set_state(request, upload, upload_release);
    upload->folder = steal_pointer(&folder);
    upload->parser = multipart_new(http_header(request, "Content-Type"), &events, upload, &err);
    if (upload->parser == NULL && err.code == ERROR_UNPROCESSABLE) {
        respond_missing(request, NULL);
    } else if (upload->parser == NULL) {
        respond_error(request, &err);
    }
}

static size_t upload_take(struct http_request *request, const char *bytes, size_t length) {
    struct upload *upload = http_state(request);
    struct error err;
    upload->is_begun = true;
    if (!multipart_feed(upload->parser, bytes, length, &err)) {
        respond_error(request, &err);
        forget_file(upload);
    }
    return length;
}

const struct http_body_reader files_upload_reader = {.begin = upload_begin, .take = upload_take};

void files_upload(struct http_request *request) {
    struct upload *upload = http_state(request);
    struct error err;
    bool is_whole = multipart_finish(upload->parser, &err);
    if (!is_whole && upload->is_begun && err.code == ERROR_INVALID) {
        http_respond_error(request, 400, UNPARSABLE);
    } else if (!is_whole || upload->file == NULL || upload->is_text) {
        respond_missing(request, upload); /* a form that was cut lacks its file, says the original */
    } else if (!atomic_file_commit(upload->file, &err)) {
        respond_error(request, &err);
    } else {
        files_respond_written(request, upload->path, upload->size);
    }
}
