/* files_glob.c - GET /files/glob: files and folders by their names. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "instance/file_walk.h"
#include "instance/files.h"
#include "instance/files_search.h"
#include "instance/files_text.h"
#include "instance/utf8.h"
#include "instance/work.h"

#define TYPE_PATTERN "^(file|directory|any)$"

struct glob {
    struct work work;
    char *pattern_text;
    char *path;
    struct patterns pattern;
    struct patterns exclude;
    bool takes_files;
    bool takes_folders;
    int64_t results_max;

    int64_t results;
    bool is_truncated;
    struct buffer matches;
};

static void add_match(struct glob *glob, const struct file_walk_entry *entry) {
    struct buffer *out = &glob->matches;
    struct stat status;
    if (!file_walk_status(entry, &status)) {
        return;
    }
    buffer_append_string(out, out->length > 0 ? ",{\"path\":" : "{\"path\":");
    utf8_append_json(out, entry->relative, strlen(entry->relative));
    buffer_append_format(out,
                         ",\"type\":\"%s\",\"size\":%jd,\"modified\":", S_ISDIR(status.st_mode) ? "directory" : "file",
                         (intmax_t)status.st_size);
    append_timestamp(out, status.st_mtim);
    buffer_append(out, "}", 1);
    glob->results++;
}

static enum file_walk_step visit(void *state, const struct file_walk_entry *entry) {
    struct glob *glob = state;
    if (atomic_load(&glob->work.is_abandoned)) {
        return FILE_WALK_STOP;
    }
    if (patterns_match(&glob->exclude, entry->name, entry->relative)) {
        return FILE_WALK_SKIP;
    }
    bool is_wanted = entry->type == FILE_WALK_FOLDER ? glob->takes_folders : glob->takes_files;
    if (!is_wanted || !patterns_match(&glob->pattern, entry->name, entry->relative)) {
        return FILE_WALK_ON;
    }
    if (glob->results == glob->results_max) {
        glob->is_truncated = true;
        return FILE_WALK_STOP;
    }
    add_match(glob, entry);
    return FILE_WALK_ON;
}

static void glob_run(struct work *work) {
    struct glob *glob = (struct glob *)work;
    glob->matches.failed = !file_walk(glob->path, visit, glob) || glob->matches.failed;
}

static void glob_respond(struct work *work) {
    struct glob *glob = (struct glob *)work;
    search_respond(work->request, "pattern", glob->pattern_text, glob->path, &glob->matches, glob->is_truncated);
}

static void glob_release(struct work *work) {
    struct glob *glob = (struct glob *)work;
    free(glob->pattern_text);
    free(glob->path);
    patterns_free(&glob->pattern);
    patterns_free(&glob->exclude);
    buffer_free(&glob->matches);
    free(glob);
}

/* Notes a type that is none of the three. */
static void read_type(struct http_request *request, bool *takes_files, bool *takes_folders) {
    size_t length = 3;
    const char *given = http_query(request, "type", &length);
    const char *type = given != NULL ? given : "any";
    bool is_any = strcmp(type, "any") == 0;
    *takes_files = is_any || strcmp(type, "file") == 0;
    *takes_folders = is_any || strcmp(type, "directory") == 0;
    if (!*takes_files && !*takes_folders) {
        struct json_object *context = json_object_new_object();
        json_add_string(context, "pattern", TYPE_PATTERN);
        http_invalid(request, "string_pattern_mismatch", "query", "type",
                     "String should match pattern '" TYPE_PATTERN "'", http_echo(type, length), context);
    }
}

void files_glob(struct http_request *request) {
    const char *pattern = NULL;
    bool takes_files;
    bool takes_folders;
    int64_t results_max = SEARCH_RESULTS_DEFAULT;
    http_query_text(request, "pattern", true, &pattern);
    read_type(request, &takes_files, &takes_folders);
    http_query_integer(request, "max_results", 1, SEARCH_RESULTS_MAX, &results_max);
    if (http_refused_as_invalid(request)) {
        return;
    }
    struct error err;
    struct stat status;
    cleanup_free char *path = files_resolve_query(request, "path", ".", &err);
    if (path == NULL || stat(path, &status) != 0 || !S_ISDIR(status.st_mode)) {
        http_respond_error(request, 404, "Search directory not found");
        return;
    }
    struct glob *glob = calloc(1, sizeof(*glob));
    if (glob == NULL) {
        http_respond_json(request, 200, NULL);
        return;
    }
    glob->work = (struct work){.run = glob_run, .respond = glob_respond, .release = glob_release};
    glob->path = steal_pointer(&path);
    glob->pattern_text = strdup(pattern);
    glob->takes_files = takes_files;
    glob->takes_folders = takes_folders;
    glob->results_max = results_max;
    if (glob->pattern_text == NULL || !patterns_read(request, "pattern", &glob->pattern) ||
        !patterns_read(request, "exclude", &glob->exclude)) {
        glob_release(&glob->work);
        http_respond_json(request, 200, NULL);
        return;
    }
    work_do(request, &glob->work, true);
}
