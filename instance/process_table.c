#include "instance/process_table.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "instance/options.h"

struct process_table {
    struct instance *instance;
    struct process *first;
    size_t count;
    bool has_log_folder;
};

struct process_table *process_table_new(struct instance *instance) {
    struct process_table *table = calloc(1, sizeof *table);
    if (table != NULL) {
        table->instance = instance;
    }
    return table;
}

void process_table_free(struct process_table *table) {
    if (table == NULL) {
        return;
    }
    while (table->first != NULL) {
        struct process *process = process_reference(table->first);
        process_table_remove(table, process);
        process_abandon(process);
        process_release(process);
    }
    free(table);
}

struct process *process_table_first(struct process_table *table) {
    return table->first;
}

struct process *process_table_find(struct process_table *table, const char *id) {
    struct process *process = table->first;
    while (process != NULL && strcmp(process->id, id) != 0) {
        process = process->next;
    }
    return process;
}

void process_table_remove(struct process_table *table, struct process *process) {
    struct process **at = &table->first;
    while (*at != process) {
        at = &(*at)->next;
    }
    *at = process->next;
    process->next = NULL;
    table->count--;
    process_release(process);
}

static bool make_room(struct process_table *table, struct error *err) {
    if (table->count < PROCESS_TABLE_MAX) {
        return true;
    }
    for (struct process *process = table->first; process != NULL; process = process->next) {
        if (process->has_ended) {
            unlink(process->log_path);
            process_table_remove(table, process);
            return true;
        }
    }
    return error_set(err, ERROR_CAPACITY, "Maximum number of running commands (%d) reached", PROCESS_TABLE_MAX);
}

/* Logs of runs before this one, which no table knows any more. */
static void delete_old_logs(const char *folder, double max_age_seconds) {
    DIR *directory = opendir(folder);
    if (directory == NULL) {
        return;
    }
    time_t oldest = time(NULL) - (time_t)max_age_seconds;
    const struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        const char *ending = strrchr(entry->d_name, '.');
        struct stat status;
        if (ending != NULL && strcmp(ending, ".jsonl") == 0 &&
            fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status.st_mode) &&
            status.st_mtime < oldest) {
            unlinkat(dirfd(directory), entry->d_name, 0);
        }
    }
    closedir(directory);
}

/* Makes `path` and what is missing above it. */
static bool make_folders(char *path) {
    for (char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
        if (slash != NULL) {
            *slash = '\0';
        }
        if (mkdir(path, 0700) != 0 && errno != EEXIST) {
            return false;
        }
        if (slash == NULL) {
            return true;
        }
        *slash = '/';
    }
}

static char *log_path(struct process_table *table, const char *id, struct error *err) {
    cleanup_free char *folder = NULL;
    if (asprintf(&folder, "%s/processes", table->instance->options->log_dir) < 0) {
        folder = NULL;
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    /* Without a folder the log is kept in memory (output_log.h). */
    bool is_there = access(folder, W_OK) == 0 || make_folders(folder);
    if (is_there && !table->has_log_folder) {
        table->has_log_folder = true;
        delete_old_logs(folder, table->instance->options->log_retention);
    }
    char *path = NULL;
    if (asprintf(&path, "%s/%s.jsonl", folder, id) < 0) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    return path;
}

/* "20261123-093352-351291": when it was started, in UTC, and something random. */
static void make_id(char id[PROCESS_ID_SIZE]) {
    time_t now = time(NULL);
    struct tm parts;
    gmtime_r(&now, &parts);
    size_t length = strftime(id, PROCESS_ID_SIZE, "%Y%m%d-%H%M%S", &parts);
    unsigned char random[3];
    while (getrandom(random, sizeof random, 0) != sizeof random) {
        /* Only a signal in early boot interrupts it (getrandom(2)). */
    }
    snprintf(id + length, PROCESS_ID_SIZE - length, "-%02x%02x%02x", random[0], random[1], random[2]);
}

struct process *process_table_start(struct process_table *table, const char *command, int folder,
                                    char *const *environment, struct error *err) {
    if (!make_room(table, err)) {
        return NULL;
    }
    char id[PROCESS_ID_SIZE];
    do {
        make_id(id);
    } while (process_table_find(table, id) != NULL);
    cleanup_free char *path = log_path(table, id, err);
    if (path == NULL) {
        return NULL;
    }
    struct process_options options = {
        id, command, path, table->instance->options->max_log_size, folder, environment,
    };
    struct process *process = process_start(table->instance->loop, &options, err);
    if (process == NULL) {
        return NULL;
    }
    struct process **last = &table->first;
    while (*last != NULL) {
        last = &(*last)->next;
    }
    *last = process;
    table->count++;
    return process;
}
