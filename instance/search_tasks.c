#include "instance/search_tasks.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct search_tasks {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct search_task *head; /* the first whose results are not yet told; all others are behind it */
    struct search_task *top;  /* of those that nobody has taken, the first on top */
    size_t running;
    int64_t results;
    int64_t results_max;
    struct buffer *out;
    bool is_truncated;
    atomic_bool is_over;
};

/* ---- folders ---- */

struct search_folder *search_folder_new(char *path) {
    struct search_folder *folder = path == NULL ? NULL : calloc(1, sizeof(*folder));
    if (folder == NULL) {
        free(path);
        return NULL;
    }
    folder->path = path;
    folder->fd = -1;
    return folder;
}

bool search_folder_read(struct search_folder *folder) {
    folder->fd = open(folder->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return folder->fd >= 0 && folder_names_read(folder->fd, &folder->names);
}

static void release_folder(struct search_folder *folder) {
    if (atomic_fetch_sub(&folder->users, 1) > 1) {
        return;
    }
    if (folder->fd >= 0) {
        close(folder->fd);
    }
    folder_names_free(&folder->names);
    free(folder->path);
    free(folder);
}

/* ---- one task ---- */

/* A folder that is nobody's yet is freed with it. */
static struct search_task *new_task(struct search_folder *folder, size_t first, size_t last) {
    struct search_task *task = folder == NULL ? NULL : calloc(1, sizeof(*task));
    if (folder != NULL) {
        atomic_fetch_add(&folder->users, 1);
    }
    if (task == NULL) {
        if (folder != NULL) {
            release_folder(folder);
        }
        return NULL;
    }
    task->folder = folder;
    task->first = first;
    task->last = last;
    return task;
}

static void free_task(struct search_task *task) {
    release_folder(task->folder);
    buffer_free(&task->results);
    buffer_free(&task->ends);
    free(task);
}

bool search_tasks_add(struct search_task *task, struct search_folder *folder, size_t first, size_t last) {
    struct search_task *child = new_task(folder, first, last);
    if (child == NULL) {
        return false;
    }
    if (task->last_child != NULL) {
        task->last_child->next = child;
        task->last_child->below = child;
    } else {
        task->first_child = child;
    }
    task->last_child = child;
    return true;
}

struct buffer *search_task_begin_result(struct search_task *task) {
    return &task->results;
}

int64_t search_task_end_result(struct search_task *task) {
    buffer_append(&task->ends, &task->results.length, sizeof(size_t));
    return (int64_t)(task->ends.length / sizeof(size_t));
}

/* ---- all of them ---- */

struct search_tasks *search_tasks_new(struct search_folder *folder, int64_t results_max, struct buffer *out) {
    struct search_tasks *tasks = calloc(1, sizeof(*tasks));
    struct search_task *first = new_task(folder, 0, 0);
    if (tasks == NULL || first == NULL) {
        free(tasks);
        if (first != NULL) {
            free_task(first);
        }
        return NULL;
    }
    pthread_mutex_init(&tasks->mutex, NULL);
    pthread_cond_init(&tasks->changed, NULL);
    tasks->head = tasks->top = first;
    tasks->results_max = results_max;
    tasks->out = out;
    return tasks;
}

struct search_task *search_tasks_take(struct search_tasks *tasks) {
    struct search_task *task = NULL;
    pthread_mutex_lock(&tasks->mutex);
    while (!atomic_load(&tasks->is_over) && tasks->top == NULL && tasks->running > 0) {
        pthread_cond_wait(&tasks->changed, &tasks->mutex);
    }
    if (!atomic_load(&tasks->is_over) && tasks->top != NULL) {
        task = tasks->top;
        tasks->top = task->below;
        tasks->running++;
    }
    pthread_mutex_unlock(&tasks->mutex);
    return task;
}

/* Appends the results of a task, as many as are still wanted. */
static void tell_results(struct search_tasks *tasks, const struct search_task *task) {
    size_t count = task->ends.length / sizeof(size_t);
    size_t start = 0;
    tasks->out->failed = tasks->out->failed || task->results.failed || task->ends.failed;
    for (size_t i = 0; i < count && !tasks->is_truncated; i++) {
        size_t end;
        memcpy(&end, task->ends.data + i * sizeof(size_t), sizeof(size_t));
        if (tasks->results == tasks->results_max) {
            tasks->is_truncated = true;
            atomic_store(&tasks->is_over, true);
            return;
        }
        if (tasks->out->length > 0) {
            buffer_append(tasks->out, ",", 1);
        }
        buffer_append(tasks->out, task->results.data + start, end - start);
        tasks->results++;
        start = end;
    }
}

void search_tasks_finish(struct search_tasks *tasks, struct search_task *task) {
    pthread_mutex_lock(&tasks->mutex);
    if (task->first_child != NULL) {
        task->last_child->next = task->next;
        task->last_child->below = tasks->top;
        task->next = tasks->top = task->first_child;
    }
    task->is_done = true;
    tasks->running--;
    while (tasks->head != NULL && tasks->head->is_done) {
        struct search_task *done = tasks->head;
        tasks->head = done->next;
        tell_results(tasks, done);
        free_task(done);
    }
    pthread_cond_broadcast(&tasks->changed);
    pthread_mutex_unlock(&tasks->mutex);
}

void search_tasks_stop(struct search_tasks *tasks) {
    pthread_mutex_lock(&tasks->mutex);
    atomic_store(&tasks->is_over, true);
    pthread_cond_broadcast(&tasks->changed);
    pthread_mutex_unlock(&tasks->mutex);
}

const atomic_bool *search_tasks_are_over(const struct search_tasks *tasks) {
    return &tasks->is_over;
}

bool search_tasks_are_truncated(const struct search_tasks *tasks) {
    return tasks->is_truncated;
}

void search_tasks_free(struct search_tasks *tasks) {
    if (tasks == NULL) {
        return;
    }
    while (tasks->head != NULL) {
        struct search_task *task = tasks->head;
        tasks->head = task->next;
        free_task(task);
    }
    pthread_cond_destroy(&tasks->changed);
    pthread_mutex_destroy(&tasks->mutex);
    free(tasks);
}
