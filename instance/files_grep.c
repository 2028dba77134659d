/* files_grep.c - GET /files/grep: lines that match, in one file or in all text files below a folder. */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "instance/files.h"
#include "instance/files_search.h"
#include "instance/regex.h"
#include "instance/tree_search.h"
#include "instance/work.h"

struct grep {
    struct work work;
    char *query;
    char *path;
    struct regex *regex;
    struct patterns include;
    struct tree_search search;
};

static void grep_run(struct work *work) {
    struct grep *grep = (struct grep *)work;
    grep->search.matches.failed = !tree_search_run(&grep->search) || grep->search.matches.failed;
}

static void grep_respond(struct work *work) {
    struct grep *grep = (struct grep *)work;
    search_respond(work->request, "query", grep->query, grep->path, &grep->search.matches, grep->search.is_truncated);
}

static void grep_release(struct work *work) {
    struct grep *grep = (struct grep *)work;
    free(grep->query);
    free(grep->path);
    regex_free(grep->regex);
    patterns_free(&grep->include);
    buffer_free(&grep->search.matches);
    free(grep);
    malloc_trim(0); /* what the threads had, which glibc would keep for others */
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
    grep->search = (struct tree_search){.root = grep->path,
                                        .regex = grep->regex,
                                        .include = &grep->include,
                                        .tells_lines = tells_lines,
                                        .results_max = results_max,
                                        .is_abandoned = &grep->work.is_abandoned};
    work_do(request, &grep->work, true);
}
