/* search_tasks.h - a search cut into tasks that several threads take, and whose results come out in the tasks' order.
 *
 * A task is a folder that is to be read, or a few of its files that are to be searched. While it runs it adds tasks of
 * its own, which come right behind it. Threads take them in about that order, so that a search that is cut short by its
 * limit does little in vain. All functions but those of one task or folder are thread-safe. */
#ifndef TERMINALS_INSTANCE_SEARCH_TASKS_H
#define TERMINALS_INSTANCE_SEARCH_TASKS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"
#include "instance/folder_names.h"

/* A folder, or the one file that is searched. Belongs to the tasks that use it. */
struct search_folder {
    char *path; /* absolute */
    int fd;     /* -1: not read */
    struct folder_names names;
    atomic_int users;
};

/* `path` is taken over, whatever comes of it (NULL is no memory, too). NULL: no memory. */
struct search_folder *search_folder_new(char *path);

/* Opens it and reads its names. False: it cannot be read. */
bool search_folder_read(struct search_folder *folder);

struct search_task {
    struct search_folder *folder;
    size_t first; /* of its names: those from here */
    size_t last;  /* to before here are to be searched; 0: it is to be read */

    struct buffer results; /* one behind the other */
    struct buffer ends;    /* of size_t: where each ends */
    struct search_task *next;
    struct search_task *below; /* on the stack of those that nobody has taken */
    struct search_task *first_child;
    struct search_task *last_child;
    bool is_done;
};

/* Where the next result is to be appended, and how many there are with it. */
struct buffer *search_task_begin_result(struct search_task *task);
int64_t search_task_end_result(struct search_task *task);

struct search_tasks;

/* Results are appended to *out, with commas in between, up to `results_max`. The folder (NULL is no memory) becomes the
 * first task. NULL: no memory. */
struct search_tasks *search_tasks_new(struct search_folder *folder, int64_t results_max, struct buffer *out);

/* The next task; waits while there is none but may be one. NULL: there will be none. */
struct search_task *search_tasks_take(struct search_tasks *tasks);

/* Adds a task behind those that `task` has already. The folder (NULL is no memory) is used by it too. False: no memory.
 */
bool search_tasks_add(struct search_task *task, struct search_folder *folder, size_t first, size_t last);

/* The task is done, and no longer the caller's. */
void search_tasks_finish(struct search_tasks *tasks, struct search_task *task);

/* No task is to be taken any more. */
void search_tasks_stop(struct search_tasks *tasks);

/* True from then on, and when there are more results than wanted. */
const atomic_bool *search_tasks_are_over(const struct search_tasks *tasks);

/* True if there were more results than wanted. */
bool search_tasks_are_truncated(const struct search_tasks *tasks);

/* When all threads have ended. NULL is fine. */
void search_tasks_free(struct search_tasks *tasks);

#endif
