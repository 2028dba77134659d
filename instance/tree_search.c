#include "instance/tree_search.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "instance/file_walk.h"
#include "instance/files.h"
#include "instance/files_path.h"
#include "instance/folder_names.h"
#include "instance/line_search.h"
#include "instance/search_tasks.h"
#include "instance/utf8.h"

#define THREADS_MAX       16
#define STACK_BYTES       (256UL * 1024)
#define FILES_A_TASK      16
#define CONTENT_MAX_BYTES 2000 /* of one line that is told; the rest of it is cut */

/* What the threads share. */
struct crew {
    struct tree_search *search;
    char *real_root; /* behind all symbolic links */
    struct search_tasks *tasks;
    atomic_bool failed;  /* no memory */
    atomic_bool gave_up; /* lines were passed over */
};

/* One thread, and the file it is at. */
struct searcher {
    struct crew *crew;
    struct line_search lines;
    struct patterns include;
    struct search_task *task;
    const char *folder;
    const char *name;
};

static bool is_over(struct crew *crew) {
    if (atomic_load(crew->search->is_abandoned)) {
        search_tasks_stop(crew->tasks);
    }
    return atomic_load(search_tasks_are_over(crew->tasks));
}

/* ---- one file ---- */

static void append_path(struct buffer *out, const char *folder, const char *name) {
    cleanup_free char *path = *name != '\0' ? path_join(folder, name) : strdup(folder);
    if (path == NULL) {
        out->failed = true;
        return;
    }
    utf8_append_json(out, path, strlen(path));
}

static bool note_match(void *state, int64_t line, const char *text, size_t length) {
    struct searcher *searcher = state;
    const struct tree_search *search = searcher->crew->search;
    struct buffer *out = search_task_begin_result(searcher->task);
    buffer_append_string(out, "{\"file\":");
    append_path(out, searcher->folder, searcher->name);
    if (search->tells_lines) {
        bool is_cut;
        length = length > CONTENT_MAX_BYTES ? utf8_valid_prefix(text, CONTENT_MAX_BYTES, &is_cut) : length;
        buffer_append_format(out, ",\"line\":%lld,\"content\":", (long long)line);
        utf8_append_json(out, text, length);
    }
    buffer_append(out, "}", 1);
    return search_task_end_result(searcher->task) <= search->results_max && search->tells_lines;
}

/* A link may lead anywhere: what it leads to must lie below the root. */
static bool is_below_root(const struct searcher *searcher, int fd) {
    char self[64];
    char path[PATH_MAX];
    struct stat status;
    snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
    ssize_t length = readlink(self, path, sizeof(path) - 1);
    if (length <= 0 || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        return false;
    }
    path[length] = '\0';
    return path_is_within(path, searcher->crew->real_root);
}

static void search_entry(struct searcher *searcher, int folder, const char *name, bool is_link) {
    /* O_NONBLOCK: it may have become a pipe meanwhile. */
    int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | (is_link ? 0 : O_NOFOLLOW);
    cleanup_close int fd = openat(folder, name, flags);
    if (fd < 0 || (is_link && !is_below_root(searcher, fd))) {
        return;
    }
    searcher->name = name;
    line_search_file(&searcher->lines, fd);
}

/* What is searched is not a folder: the links that lead to it were given on purpose. */
static void search_root(struct searcher *searcher, const struct search_folder *folder) {
    struct stat status;
    struct error ignored;
    cleanup_close int fd = files_open(folder->path, &status, &ignored);
    if (fd >= 0) {
        searcher->folder = folder->path;
        searcher->name = "";
        line_search_file(&searcher->lines, fd);
    }
}

static void search_files(struct searcher *searcher, const struct search_task *task) {
    const struct search_folder *folder = task->folder;
    searcher->folder = folder->path;
    for (size_t i = task->first; i < task->last && !is_over(searcher->crew); i++) {
        const char *name = folder_names_at(&folder->names, i);
        enum file_walk_type type;
        bool is_link;
        if (file_walk_find_type(folder->fd, name, folder_names_type_at(&folder->names, i), &type, &is_link) &&
            type == FILE_WALK_FILE) {
            search_entry(searcher, folder->fd, name, is_link);
        }
    }
}

/* ---- one folder ---- */

static bool is_included(const struct searcher *searcher, const struct search_folder *folder, const char *name) {
    const struct patterns *include = &searcher->include;
    if (include->count == 0) {
        return true;
    }
    cleanup_free char *path = path_join(folder->path, name);
    size_t root_length = strlen(searcher->crew->search->root);
    return path != NULL && patterns_match(include, name, path + root_length + (path[root_length] == '/'));
}

/* Makes tasks of the entries `first` to `last`, which are files that are wanted. */
static bool add_files(struct searcher *searcher, struct search_folder *folder, size_t first, size_t last) {
    return first == last || search_tasks_add(searcher->task, folder, first, last);
}

static bool add_folders(struct searcher *searcher, const struct search_folder *folder) {
    for (size_t i = 0; i < folder->names.count; i++) {
        const char *name = folder_names_at(&folder->names, i);
        unsigned char folder_type = folder_names_type_at(&folder->names, i);
        enum file_walk_type type;
        bool is_link;
        if ((folder_type != DT_DIR && folder_type != DT_UNKNOWN) ||
            !file_walk_find_type(folder->fd, name, folder_type, &type, &is_link) || type != FILE_WALK_FOLDER ||
            is_link) {
            continue;
        }
        if (!search_tasks_add(searcher->task, search_folder_new(path_join(folder->path, name)), 0, 0)) {
            return false;
        }
    }
    return true;
}

/* Reads a folder and makes tasks of what is in it: its files in small bundles, then its folders. */
static void open_folder(struct searcher *searcher, struct search_folder *folder) {
    if (!search_folder_read(folder)) {
        if (errno == ENOTDIR && strcmp(folder->path, searcher->crew->search->root) == 0) {
            search_root(searcher, folder);
        }
        return;
    }
    size_t first = 0;
    bool ok = true;
    size_t at = 0;
    for (; ok && at < folder->names.count; at++) {
        if (!is_included(searcher, folder, folder_names_at(&folder->names, at))) {
            ok = add_files(searcher, folder, first, at);
            first = at + 1;
        } else if (at - first == FILES_A_TASK) {
            ok = add_files(searcher, folder, first, at);
            first = at;
        }
    }
    ok = ok && add_files(searcher, folder, first, at) && add_folders(searcher, folder);
    if (!ok) {
        atomic_store(&searcher->crew->failed, true);
    }
}

/* ---- the threads ---- */

static void *work(void *argument) {
    struct crew *crew = argument;
    struct searcher searcher = {.crew = crew};
    searcher.lines = (struct line_search){.regex = regex_share(crew->search->regex),
                                          .is_stopped = search_tasks_are_over(crew->tasks),
                                          .found = note_match,
                                          .state = &searcher};
    bool ok = searcher.lines.regex != NULL && line_search_prepare(&searcher.lines) &&
              patterns_share(crew->search->include, &searcher.include);
    while (ok && (searcher.task = search_tasks_take(crew->tasks)) != NULL) {
        if (searcher.task->last > 0) {
            search_files(&searcher, searcher.task);
        } else {
            open_folder(&searcher, searcher.task->folder);
        }
        ok = !searcher.lines.failed;
        search_tasks_finish(crew->tasks, searcher.task);
    }
    if (!ok) {
        atomic_store(&crew->failed, true);
        search_tasks_stop(crew->tasks);
    } else if (regex_gave_up(searcher.lines.regex)) {
        atomic_store(&crew->gave_up, true);
    }
    line_search_free(&searcher.lines);
    patterns_free(&searcher.include);
    regex_free(searcher.lines.regex);
    return NULL;
}

static size_t processors(void) {
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    return count < 1 ? 1 : count > THREADS_MAX ? THREADS_MAX : (size_t)count;
}

/* This thread is one of them. Those that cannot be had are not missed. */
static void work_together(struct crew *crew) {
    pthread_t helpers[THREADS_MAX];
    size_t count = 0;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) == 0) {
        pthread_attr_setstacksize(&attributes, STACK_BYTES);
        for (size_t wanted = processors() - 1;
             count < wanted && pthread_create(&helpers[count], &attributes, work, crew) == 0;) {
            count++;
        }
        pthread_attr_destroy(&attributes);
    }
    work(crew);
    while (count > 0) {
        pthread_join(helpers[--count], NULL);
    }
}

bool tree_search_run(struct tree_search *search) {
    struct crew crew = {.search = search, .real_root = realpath(search->root, NULL)};
    if (crew.real_root == NULL) { /* it is gone by now: nothing is found in it */
        return errno != ENOMEM;
    }
    crew.tasks = search_tasks_new(search_folder_new(strdup(search->root)), search->results_max, &search->matches);
    bool ok = crew.tasks != NULL;
    if (ok) {
        work_together(&crew);
        search->is_truncated = search_tasks_are_truncated(crew.tasks) || atomic_load(&crew.gave_up);
        ok = !atomic_load(&crew.failed) && !search->matches.failed;
    }
    search_tasks_free(crew.tasks);
    free(crew.real_root);
    return ok;
}
