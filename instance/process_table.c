#include "instance/process_table.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "instance/options.h"

#define LOG_FOLDER "processes"
#define LOG_ENDING ".jsonl"

struct process_table {
    struct instance *instance;
    struct process *first;
    size_t count;
    bool has_looked_for_old_logs;
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
        process_settle(process);
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
            process_settle(process); /* or its log might come later */
            unlink(process->log_path);
            process_table_remove(table, process);
            return true;
        }
    }
    return error_set(err, ERROR_CAPACITY, "Maximum number of running commands (%d) reached", PROCESS_TABLE_MAX);
}

/* Logs of runs before this one, which no table knows any more. */
static void delete_old_logs(const struct options *options) {
    cleanup_buffer struct buffer path = {0};
    DIR *folder = buffer_append_format(&path, "%s/" LOG_FOLDER, options->log_dir) ? opendir(path.data) : NULL;
    if (folder == NULL) {
        return;
    }
    time_t oldest = time(NULL) - (time_t)options->log_retention;
    const struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        const char *ending = strrchr(entry->d_name, '.');
        struct stat status;
        if (ending != NULL && strcmp(ending, LOG_ENDING) == 0 &&
            fstatat(dirfd(folder), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status.st_mode) &&
            status.st_mtime < oldest) {
            unlinkat(dirfd(folder), entry->d_name, 0);
        }
    }
    closedir(folder);
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
    cleanup_buffer struct buffer path = {0};
    if (!buffer_append_format(&path, "%s/" LOG_FOLDER "/%s" LOG_ENDING, table->instance->options->log_dir, id)) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    struct process_options options = {
        id, command, path.data, table->instance->options->max_log_size, folder, environment,
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
    if (!table->has_looked_for_old_logs) {
        table->has_looked_for_old_logs = true;
        delete_old_logs(table->instance->options);
    }
    return process;
}
