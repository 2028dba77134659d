/* files_grep.c - GET /files/grep: lines that match, in one file or in all text files below a folder. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "instance/file_walk.h"
#include "instance/files.h"
#include "instance/files_search.h"
#include "instance/regex.h"
#include "instance/utf8.h"
#include "instance/work.h"

#define FILE_MAX_BYTES    (64L * 1024 * 1024) /* a bigger file is passed over, like a binary one */
#define CONTENT_MAX_BYTES 2000                /* of one line that is told; the rest of it is cut */

struct grep {
    struct work work;
    char *query;
    char *path;
    struct regex *regex;
    struct patterns include;
    bool tells_lines;
    int64_t results_max;

    int64_t results;
    bool is_truncated;
    struct buffer file; /* the one that is being searched, kept to be used again */
    struct buffer matches;
};

/* The whole file into grep->file. False: it cannot be read, is too big, or is no text. */
static bool read_file(struct grep *grep, const char *path) {
    struct stat status;
    struct error ignored;
    cleanup_close int fd = files_open(path, &status, &ignored);
    if (fd < 0 || status.st_size > FILE_MAX_BYTES) {
        return false;
    }
    grep->file.length = 0;
    ssize_t got;
    do {
        char *room = buffer_reserve(&grep->file, 64 * 1024);
        got = room == NULL || grep->file.length > FILE_MAX_BYTES ? -1 : read(fd, room, 64 * 1024);
        grep->file.length += got > 0 ? (size_t)got : 0;
    } while (got > 0);
    return got == 0 && utf8_is_valid(grep->file.data, grep->file.length);
}

static void add_match(struct grep *grep, const char *path, int64_t line, const char *text, size_t length) {
    struct buffer *out = &grep->matches;
    buffer_append_string(out, out->length > 0 ? ",{\"file\":" : "{\"file\":");
    utf8_append_json(out, path, strlen(path));
    if (grep->tells_lines) {
        bool is_cut;
        length = length > CONTENT_MAX_BYTES ? utf8_valid_prefix(text, CONTENT_MAX_BYTES, &is_cut) : length;
        buffer_append_format(out, ",\"line\":%" PRId64 ",\"content\":", line);
        utf8_append_json(out, text, length);
    }
    buffer_append(out, "}", 1);
    grep->results++;
}

/* False: there are as many results as were asked for, and one more. */
static bool search_file(struct grep *grep, const char *path) {
    if (!read_file(grep, path)) {
        return true;
    }
    const char *at = grep->file.data;
    const char *end = at + grep->file.length;
    for (int64_t line = 1; at < end && !atomic_load(&grep->work.is_abandoned); line++) {
        const char *line_feed = memchr(at, '\n', (size_t)(end - at));
        const char *next = line_feed != NULL ? line_feed + 1 : end;
        size_t length = (size_t)((line_feed != NULL ? line_feed : end) - at);
        length -= length > 0 && at[length - 1] == '\r';
        if (regex_search(grep->regex, at, length)) {
            if (grep->results == grep->results_max) {
                grep->is_truncated = true;
                return false;
            }
            add_match(grep, path, line, at, length);
            if (!grep->tells_lines) {
                return true;
            }
        }
        at = next;
    }
    return true;
}

static enum file_walk_step visit(void *state, const struct file_walk_entry *entry) {
    struct grep *grep = state;
    if (atomic_load(&grep->work.is_abandoned)) {
        return FILE_WALK_STOP;
    }
    if (entry->type != FILE_WALK_FILE ||
        (grep->include.count > 0 && !patterns_match(&grep->include, entry->name, entry->relative))) {
        return FILE_WALK_ON;
    }
    return search_file(grep, entry->path) ? FILE_WALK_ON : FILE_WALK_STOP;
}

static void grep_run(struct work *work) {
    struct grep *grep = (struct grep *)work;
    struct stat status;
    if (stat(grep->path, &status) == 0 && S_ISDIR(status.st_mode)) {
        grep->matches.failed = !file_walk(grep->path, visit, grep) || grep->matches.failed;
    } else {
        search_file(grep, grep->path);
    }
}

static void grep_respond(struct work *work) {
    struct grep *grep = (struct grep *)work;
    search_respond(work->request, "query", grep->query, grep->path, &grep->matches, grep->is_truncated);
}

static void grep_release(struct work *work) {
    struct grep *grep = (struct grep *)work;
    free(grep->query);
    free(grep->path);
    regex_free(grep->regex);
    patterns_free(&grep->include);
    buffer_free(&grep->file);
    buffer_free(&grep->matches);
    free(grep);
}

/* Answers itself when the expression is not one. */
static struct regex *compile(struct http_request *request, bool is_regex, bool ignore_case) {
    size_t length;
    const char *query = http_query(request, "query", &length);
    struct error err;
    struct regex *regex = is_regex ? regex_compile(query, length, ignore_case, &err)
                                   : regex_compile_literal(query, length, ignore_case, &err);
    if (regex == NULL) {
        http_respond_error(request, error_code_http_status(err.code), "Invalid regex: %s", err.message);
    }
    return regex;
}

void files_grep(struct http_request *request) {
    const char *query = NULL;
    bool is_regex = true;
    bool ignore_case = false;
    bool tells_lines = true;
    int64_t results_max = SEARCH_RESULTS_DEFAULT;
    http_query_text(request, "query", true, &query);
    http_query_boolean(request, "regex", &is_regex);
    http_query_boolean(request, "case_insensitive", &ignore_case);
    http_query_boolean(request, "match_per_line", &tells_lines);
    http_query_integer(request, "max_results", 1, SEARCH_RESULTS_MAX, &results_max);
    if (http_refused_as_invalid(request)) {
        return;
    }
    struct error err;
    struct stat status;
    cleanup_free char *path = files_resolve_query(request, "path", ".", &err);
    if (path == NULL || stat(path, &status) != 0) {
        http_respond_error(request, 404, "Search path not found");
        return;
    }
    struct regex *regex = compile(request, is_regex, ignore_case);
    if (regex == NULL) {
        return;
    }
    struct grep *grep = calloc(1, sizeof(*grep));
    char *query_copy = strdup(query);
    struct patterns include = {0};
    if (grep == NULL || query_copy == NULL || !patterns_read(request, "include", &include)) {
        free(grep);
        free(query_copy);
        regex_free(regex);
        patterns_free(&include);
        http_respond_json(request, 200, NULL);
        return;
    }
    grep->work = (struct work){.run = grep_run, .respond = grep_respond, .release = grep_release};
    grep->query = query_copy;
    grep->path = steal_pointer(&path);
    grep->regex = regex;
    grep->include = include;
    grep->tells_lines = tells_lines;
    grep->results_max = results_max;
    work_do(request, &grep->work, true);
}
