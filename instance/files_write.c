/* files_write.c - POST /files/write: text into a file, all of it or nothing. */
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "instance/atomic_file.h"
#include "instance/file_tree.h"
#include "instance/files.h"
#include "instance/files_path.h"
#include "instance/files_text.h"

static bool write_file(const char *path, const char *content, size_t length, struct error *err) {
    cleanup_free char *folder = path_folder(path);
    if (folder == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    if (!folder_make(folder, err)) {
        return false;
    }
    cleanup_atomic_file struct atomic_file *file = atomic_file_open(path, err);
    return file != NULL && atomic_file_write(file, content, length, err) && atomic_file_commit(file, err);
}

void files_write(struct http_request *request) {
    const char *text;
    const char *content;
    size_t length;
    http_json_text(request, "path", true, &text, NULL);
    http_json_text(request, "content", true, &content, &length);
    if (http_refused_as_invalid(request)) {
        return;
    }
    struct error err;
    cleanup_free char *path = files_resolve_json(request, "path", &err);
    if (path == NULL || !write_file(path, content, length, &err)) {
        files_respond_error(request, FILES_CALL_CHANGES, &err);
    } else {
        files_respond_written(request, path, (int64_t)length);
    }
}
