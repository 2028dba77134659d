/* files_list.c - GET /files/list: one pass over a folder, one fstatat() an entry, JSON written as it goes. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "instance/files.h"
#include "instance/files_text.h"
#include "instance/folder_names.h"
#include "instance/utf8.h"
#include "instance/work.h"

#define BIG_FOLDER_BYTES (256 * 1024) /* a folder's own size from which on it is listed off the loop */
#define ENTRY_JSON_BYTES 128          /* a guess of one entry's length, to size the buffer */

struct listing {
    struct work work;
    char *path;
    int fd; /* of the folder */
    struct buffer json;
    struct error err;
};

/* Nothing for what cannot be looked at: gone by now, or a symbolic link that leads nowhere. */
static void append_entry(struct buffer *json, int folder, const char *name) {
    struct stat status;
    if (fstatat(folder, name, &status, 0) != 0) {
        return;
    }
    if (json->data[json->length - 1] != '[') {
        buffer_append(json, ",", 1);
    }
    buffer_append_string(json, "{\"name\":");
    utf8_append_json(json, name, strlen(name));
    buffer_append_string(json, S_ISDIR(status.st_mode) ? ",\"type\":\"directory\",\"size\":"
                                                       : ",\"type\":\"file\",\"size\":");
    append_integer(json, status.st_size);
    buffer_append_string(json, ",\"modified\":");
    append_timestamp(json, status.st_mtim);
    buffer_append(json, "}", 1);
}

static void listing_run(struct work *work) {
    struct listing *listing = (struct listing *)work;
    cleanup_folder_names struct folder_names names = {0};
    if (!folder_names_read(listing->fd, &names)) {
        error_set_path(&listing->err, errno, listing->path);
        return;
    }
    buffer_reserve(&listing->json, (names.count + 1) * ENTRY_JSON_BYTES);
    buffer_append_string(&listing->json, "{\"dir\":");
    utf8_append_json(&listing->json, listing->path, strlen(listing->path));
    buffer_append_string(&listing->json, ",\"entries\":[");
    for (size_t i = 0; i < names.count && !listing->json.failed && !atomic_load(&work->is_abandoned); i++) {
        append_entry(&listing->json, listing->fd, folder_names_at(&names, i));
    }
    buffer_append_string(&listing->json, "]}");
}

static void listing_respond(struct work *work) {
    struct listing *listing = (struct listing *)work;
    if (listing->err.code != ERROR_NONE) {
        files_respond_error(work->request, FILES_CALL_READS, &listing->err);
    } else {
        http_respond_buffer(work->request, 200, "application/json", &listing->json);
    }
}

static void listing_release(struct work *work) {
    struct listing *listing = (struct listing *)work;
    free(listing->path);
    close(listing->fd);
    buffer_free(&listing->json);
    free(listing);
}

/* -1: *err says. A name that cannot be a folder (a NUL byte, too long) is one that is not found. */
static int open_folder(const char *path, struct error *err) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        bool is_refused = errno == EACCES || errno == EPERM || errno == EMFILE || errno == ENFILE || errno == ENOMEM;
        is_refused ? error_set_path(err, errno, path) : error_set(err, ERROR_NOT_FOUND, "Directory not found");
    }
    return fd;
}

void files_list(struct http_request *request) {
    struct error err;
    cleanup_free char *path = files_resolve_query(request, "directory", ".", &err);
    cleanup_close int fd = -1;
    if (path == NULL && err.code == ERROR_INVALID) {
        http_respond_error(request, 404, "Directory not found");
        return;
    }
    struct listing *listing = NULL;
    if (path == NULL || (fd = open_folder(path, &err)) < 0) {
        files_respond_error(request, FILES_CALL_READS, &err);
        return;
    }
    struct stat status;
    if (fstat(fd, &status) != 0 || (listing = calloc(1, sizeof(*listing))) == NULL) {
        http_respond_json(request, 200, NULL);
        return;
    }
    listing->work = (struct work){.run = listing_run, .respond = listing_respond, .release = listing_release};
    listing->path = steal_pointer(&path);
    listing->fd = steal_fd(&fd);
    work_do(request, &listing->work, status.st_size >= BIG_FOLDER_BYTES);
}
