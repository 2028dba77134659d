/* files.c - the routes of /files/…, the short handlers (working folder, mkdir, delete, move, display), and what all of
 * them share. */
#include "instance/files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "instance/file_tree.h"
#include "instance/files_path.h"
#include "instance/files_text.h"
#include "instance/instance.h"
#include "instance/routes.h"
#include "instance/session_folders.h"
#include "instance/utf8.h"
#include "instance/work.h"

/* ---- shared ---- */

void files_respond_error(struct http_request *request, enum files_call call, const struct error *err) {
    int status = error_code_http_status(err->code);
    if (call == FILES_CALL_CHANGES && (err->code == ERROR_FORBIDDEN || err->code == ERROR_NOT_FOUND)) {
        status = 400;
    }
    http_respond_error(request, status, "%s", err->message);
}

static const char *session_folder(struct http_request *request) {
    return session_folder_get(http_instance(request)->folders, http_header(request, "X-Session-Id"));
}

char *files_resolve(struct http_request *request, const char *text, size_t length, struct error *err) {
    return path_resolve(session_folder(request), http_instance(request)->home, text, length, err);
}

char *files_resolve_query(struct http_request *request, const char *name, const char *fallback, struct error *err) {
    err->code = ERROR_NONE;
    const char *text = fallback;
    http_query_text(request, name, fallback == NULL, &text);
    if (http_refused_as_invalid(request)) {
        return NULL;
    }
    size_t length;
    text = http_query(request, name, &length);
    if (text == NULL) {
        text = fallback != NULL ? fallback : "";
        length = strlen(text);
    }
    return files_resolve(request, text, length, err);
}

char *files_resolve_json(struct http_request *request, const char *name, struct error *err) {
    const char *text = "";
    size_t length = 0;
    http_json_text(request, name, true, &text, &length);
    return files_resolve(request, text, length, err);
}

bool files_add_path(struct json_object *object, const char *key, const char *path) {
    cleanup_free char *text = utf8_name_to_text(path);
    return text != NULL && json_add_string(object, key, text);
}

/* Answers 200 with an object, or 500 if it could not be made. */
static void respond_made(struct http_request *request, struct json_object *body, bool is_made) {
    if (!is_made) {
        json_object_put(body);
        body = NULL;
    }
    http_respond_json(request, 200, body);
}

void files_respond_written(struct http_request *request, const char *path, int64_t size) {
    struct json_object *body = json_object_new_object();
    respond_made(request, body, files_add_path(body, "path", path) && json_add_int(body, "size", size));
}

int files_open(const char *path, struct stat *status, struct error *err) {
    if (stat(path, status) != 0 || !S_ISREG(status->st_mode)) {
        error_set(err, ERROR_NOT_FOUND, "File not found");
        return -1;
    }
    cleanup_close int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, status) != 0) {
        error_set_path(err, errno, path);
        return -1;
    }
    if (!S_ISREG(status->st_mode)) { /* it was replaced in between */
        error_set(err, ERROR_NOT_FOUND, "File not found");
        return -1;
    }
    return steal_fd(&fd);
}

/* ---- the working folder ---- */

static void get_working_folder(struct http_request *request) {
    const char *home = http_instance(request)->home;
    struct json_object *body = json_object_new_object();
    struct json_object *root = json_object_new_object();
    bool is_made = files_add_path(root, "path", home) && json_add_string(root, "label", "Home") &&
                   files_add_path(body, "cwd", session_folder(request)) && files_add_path(body, "home", home);
    if (!is_made) {
        json_object_put(root);
    }
    respond_made(request, body, is_made && json_add(body, "root", root));
}

static void set_working_folder(struct http_request *request) {
    const char *text = "";
    size_t length = 0;
    http_json_text(request, "path", true, &text, &length);
    if (http_refused_as_invalid(request)) {
        return;
    }
    const struct instance *instance = http_instance(request);
    struct error err = {0};
    /* Relative to home, not to the session's folder: as the original does. */
    cleanup_free char *path = path_resolve(instance->home, instance->home, text, length, &err);
    struct stat status;
    if (path == NULL || stat(path, &status) != 0 || !S_ISDIR(status.st_mode)) {
        http_respond_error(request, err.code == ERROR_INTERNAL ? 500 : 404, "Directory not found");
        return;
    }
    if (!session_folder_set(instance->folders, http_header(request, "X-Session-Id"), path)) {
        http_respond_json(request, 200, NULL);
        return;
    }
    struct json_object *body = json_object_new_object();
    respond_made(request, body, files_add_path(body, "cwd", path));
}

/* ---- display ---- */

static void display(struct http_request *request) {
    struct error err;
    cleanup_free char *path = files_resolve_query(request, "path", NULL, &err);
    if (path == NULL) {
        if (err.code != ERROR_NONE) {
            files_respond_error(request, FILES_CALL_READS, &err);
        }
        return;
    }
    struct stat status;
    struct json_object *body = json_object_new_object();
    respond_made(request, body,
                 files_add_path(body, "path", path) && json_add_bool(body, "exists", stat(path, &status) == 0));
}

/* ---- folders: mkdir, delete, move ---- */

static void make_folder(struct http_request *request) {
    const char *text;
    http_json_text(request, "path", true, &text, NULL);
    if (http_refused_as_invalid(request)) {
        return;
    }
    struct error err;
    cleanup_free char *path = files_resolve_json(request, "path", &err);
    if (path == NULL || !folder_make(path, &err)) {
        files_respond_error(request, FILES_CALL_CHANGES, &err);
        return;
    }
    struct json_object *body = json_object_new_object();
    respond_made(request, body, files_add_path(body, "path", path));
}

/* Deleting and moving may take long (a big tree, another file system), so they are done off the loop. */
struct change {
    struct work work;
    char *source;
    char *destination; /* NULL: delete */
    bool is_folder;    /* what is deleted */
    bool ok;
    struct error err;
};

static void change_run(struct work *work) {
    struct change *change = (struct change *)work;
    change->ok = change->destination == NULL ? tree_remove(change->source, &change->err)
                                             : tree_move(change->source, change->destination, &change->err);
}

static void change_respond(struct work *work) {
    const struct change *change = (const struct change *)work;
    if (!change->ok) {
        files_respond_error(work->request, FILES_CALL_CHANGES, &change->err);
        return;
    }
    struct json_object *body = json_object_new_object();
    bool is_made;
    if (change->destination == NULL) {
        is_made = files_add_path(body, "path", change->source) &&
                  json_add_string(body, "type", change->is_folder ? "directory" : "file");
    } else {
        is_made =
            files_add_path(body, "source", change->source) && files_add_path(body, "destination", change->destination);
    }
    respond_made(work->request, body, is_made);
}

static void change_release(struct work *work) {
    struct change *change = (struct change *)work;
    free(change->source);
    free(change->destination);
    free(change);
}

/* Takes over both paths. */
static void start_change(struct http_request *request, char *source, char *destination, bool is_folder) {
    struct change *change = calloc(1, sizeof(*change));
    if (change == NULL) {
        free(source);
        free(destination);
        http_respond_json(request, 200, NULL);
        return;
    }
    change->work = (struct work){.run = change_run, .respond = change_respond, .release = change_release};
    change->source = source;
    change->destination = destination;
    change->is_folder = is_folder;
    work_do(request, &change->work, is_folder || destination != NULL);
}

static bool is_own_home(struct http_request *request, const char *path) {
    if (!tree_holds(path, http_instance(request)->home)) {
        return false;
    }
    http_respond_error(request, 400, "The home folder itself cannot be deleted or moved");
    return true;
}

static void delete_path(struct http_request *request) {
    struct error err;
    cleanup_free char *path = files_resolve_query(request, "path", NULL, &err);
    if (path == NULL && err.code == ERROR_NONE) {
        return;
    }
    struct stat status;
    if (path == NULL || stat(path, &status) != 0) {
        http_respond_error(request, 404, "Path not found");
    } else if (!is_own_home(request, path)) {
        start_change(request, steal_pointer(&path), NULL, S_ISDIR(status.st_mode));
    }
}

/* Makes the folder that the destination is to be in. */
static bool make_way(const char *destination, struct error *err) {
    cleanup_free char *folder = path_folder(destination);
    return folder != NULL ? folder_make(folder, err) : error_set_path(err, ENOMEM, destination);
}

static void move_path(struct http_request *request) {
    const char *text;
    http_json_text(request, "source", true, &text, NULL);
    http_json_text(request, "destination", true, &text, NULL);
    if (http_refused_as_invalid(request)) {
        return;
    }
    struct error err;
    cleanup_free char *source = files_resolve_json(request, "source", &err);
    cleanup_free char *destination = source != NULL ? files_resolve_json(request, "destination", &err) : NULL;
    struct stat status;
    if (source != NULL ? lstat(source, &status) != 0 : err.code == ERROR_INVALID) { /* a NUL: nothing has such a name */
        http_respond_error(request, 404, "Source path not found");
    } else if (destination == NULL) {
        files_respond_error(request, FILES_CALL_CHANGES, &err);
    } else if (lstat(destination, &status) == 0) {
        http_respond_error(request, 409, "Destination already exists");
    } else if (is_own_home(request, source)) {
        return;
    } else if (path_is_within(destination, source)) {
        http_respond_error(request, 400, "Cannot move a directory '%s' into itself '%s'.", source, destination);
    } else if (!make_way(destination, &err)) {
        files_respond_error(request, FILES_CALL_CHANGES, &err);
    } else {
        start_change(request, steal_pointer(&source), steal_pointer(&destination), false);
    }
}

const struct http_route files_routes[] = {
    {.method = "GET", .pattern = "/files/cwd", .handle = get_working_folder},
    {.method = "POST", .pattern = "/files/cwd", .body = HTTP_BODY_JSON, .handle = set_working_folder},
    {.method = "GET", .pattern = "/files/list", .handle = files_list},
    {.method = "GET", .pattern = "/files/read", .handle = files_read},
    {.method = "GET", .pattern = "/files/display", .handle = display},
    {.method = "GET", .pattern = "/files/view", .handle = files_view},
    {.method = "HEAD", .pattern = "/files/view", .handle = files_view},
    {.method = "GET", .pattern = "/files/serve/{path...}", .handle = files_serve},
    {.method = "HEAD", .pattern = "/files/serve/{path...}", .handle = files_serve},
    {.method = "POST", .pattern = "/files/write", .body = HTTP_BODY_JSON, .handle = files_write},
    {.method = "POST",
     .pattern = "/files/upload",
     .body = HTTP_BODY_STREAMED,
     .reader = &files_upload_reader,
     .handle = files_upload},
    {.method = "POST", .pattern = "/files/replace", .body = HTTP_BODY_JSON, .handle = files_replace},
    {.method = "POST", .pattern = "/files/mkdir", .body = HTTP_BODY_JSON, .handle = make_folder},
    {.method = "DELETE", .pattern = "/files/delete", .handle = delete_path},
    {.method = "POST", .pattern = "/files/move", .body = HTTP_BODY_JSON, .handle = move_path},
    {.method = "POST", .pattern = "/files/archive", .body = HTTP_BODY_JSON, .handle = files_archive},
    {.method = "GET", .pattern = "/files/grep", .handle = files_grep},
    {.method = "GET", .pattern = "/files/glob", .handle = files_glob},
    HTTP_ROUTES_END,
};
