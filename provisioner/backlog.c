#include "provisioner/backlog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "provisioner/audit.h"

struct backlog {
    char *audit_path;
    char *accesses_path;
    int audit_fd;      /* -1: there is no file that we know of */
    bool has_accesses; /* there is a file */
};

struct backlog *backlog_open(const char *run_dir, struct error *err) {
    struct backlog *backlog = calloc(1, sizeof *backlog);
    bool ok = backlog != NULL;
    if (ok) {
        backlog->audit_fd = -1;
        backlog->has_accesses = true; /* a predecessor's, perhaps */
        if (asprintf(&backlog->audit_path, "%s/audit.backlog", run_dir) < 0) {
            backlog->audit_path = NULL;
        }
        if (asprintf(&backlog->accesses_path, "%s/accesses.backlog", run_dir) < 0) {
            backlog->accesses_path = NULL;
        }
        ok = backlog->audit_path != NULL && backlog->accesses_path != NULL;
    }
    if (!ok) {
        backlog_close(backlog);
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    return backlog;
}

void backlog_close(struct backlog *backlog) {
    if (backlog == NULL) {
        return;
    }
    if (backlog->audit_fd >= 0) {
        close(backlog->audit_fd);
    }
    free(backlog->audit_path);
    free(backlog->accesses_path);
    free(backlog);
}

/* --- writing --------------------------------------------------------------------------------------------------------
 */

/* In one write, or not at all: half a line would spoil the next one. */
static bool append_whole(int fd, const struct buffer *text) {
    off_t before = lseek(fd, 0, SEEK_END);
    ssize_t written = before < 0 ? -1 : write(fd, text->data, text->length);
    if (written == (ssize_t)text->length) {
        return true;
    }
    if (written >= 0) {
        errno = ENOSPC;
    }
    int saved_errno = errno;
    if (before >= 0 && ftruncate(fd, before) != 0) {
        log_warning(NULL, "half a line is left at the end of a backlog: %s", strerror(errno));
    }
    errno = saved_errno;
    return false;
}

bool backlog_keep_audit(struct backlog *backlog, const struct audit_record *record, struct error *err) {
    cleanup_buffer struct buffer line = {0};
    cleanup_json struct json_object *row = audit_record_to_json(record);
    size_t length = 0;
    const char *text = row == NULL ? NULL : json_text(row, &length);
    if (text == NULL || !buffer_append(&line, text, length) || !buffer_append_string(&line, "\n")) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    if (backlog->audit_fd < 0) {
        backlog->audit_fd =
            open(backlog->audit_path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
    }
    return (backlog->audit_fd >= 0 && append_whole(backlog->audit_fd, &line)) ||
           error_set_errno(err, ERROR_INTERNAL, "write `%s`", backlog->audit_path);
}

bool backlog_keep_accesses(struct backlog *backlog, const struct kept_access *accesses, size_t count,
                           struct error *err) {
    cleanup_buffer struct buffer text = {0};
    cleanup_free char *temporary = NULL;
    for (size_t i = 0; i < count; i++) {
        buffer_append_format(&text, "%s %lld\n", accesses[i].route_key, (long long)accesses[i].last_accessed_at_ms);
    }
    if (text.failed || text.data == NULL || asprintf(&temporary, "%s.new", backlog->accesses_path) < 0) {
        temporary = NULL;
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    cleanup_close int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || !append_whole(fd, &text) || rename(temporary, backlog->accesses_path) != 0) {
        error_set_errno(err, ERROR_INTERNAL, "write `%s`", backlog->accesses_path);
        unlink(temporary);
        return false;
    }
    backlog->has_accesses = true;
    return true;
}

static void remove_file(const char *path) {
    if (unlink(path) != 0 && errno != ENOENT) {
        log_warning(NULL, "remove `%s`: %s", path, strerror(errno));
    }
}

void backlog_forget_audit(struct backlog *backlog) {
    if (backlog->audit_fd >= 0) {
        close(backlog->audit_fd);
        backlog->audit_fd = -1;
        remove_file(backlog->audit_path);
    }
}

void backlog_forget_accesses(struct backlog *backlog) {
    if (backlog->has_accesses) {
        backlog->has_accesses = false;
        remove_file(backlog->accesses_path);
    }
}

/* --- reading --------------------------------------------------------------------------------------------------------
 */

/* Calls `take` for each line, without its line feed. A file that is not there has none. */
static bool each_line(const char *path, bool (*take)(void *context, char *line, size_t length), void *context,
                      struct error *err) {
    cleanup_fclose FILE *file = fopen(path, "re");
    cleanup_free char *line = NULL;
    size_t size = 0;
    ssize_t length = 0;
    unsigned long number = 0;
    if (file == NULL) {
        return errno == ENOENT || error_set_errno(err, ERROR_INTERNAL, "open `%s`", path);
    }
    while ((length = getline(&line, &size, file)) > 0) {
        number++;
        bool is_whole = line[length - 1] == '\n';
        line[length - 1] = '\0';
        if (!is_whole || !take(context, line, (size_t)length - 1)) {
            log_warning(NULL, "line %lu of `%s` makes no sense, and is left out", number, path);
        }
    }
    return ferror(file) == 0 || error_set_errno(err, ERROR_INTERNAL, "read `%s`", path);
}

struct audit_reading {
    bool (*row)(void *argument, const struct audit_record *record);
    void *argument;
};

static bool take_audit(void *context, char *line, size_t length) {
    const struct audit_reading *reading = context;
    struct error ignored;
    cleanup_json struct json_object *row = json_parse_object(line, length, &ignored);
    struct audit_record record = {
        .id = json_get_string(row, "id"),
        .action = json_get_string(row, "action"),
        .severity = json_get_string(row, "severity"),
        .user_id = json_get_string(row, "user_id"),
        .request_id = json_get_string(row, "request_id"),
        .resource_type = json_get_string(row, "resource_type"),
        .resource_id = json_get_string(row, "resource_id"),
        .detail = json_get_string(row, "detail"),
        .ip_address = json_get_string(row, "ip_address"),
        .user_agent = json_get_string(row, "user_agent"),
        .status_code = json_get_int(row, "status_code", 0),
    };
    const char *created_at = json_get_string(row, "created_at");
    return record.id != NULL && record.action != NULL && record.severity != NULL && created_at != NULL &&
           clock_parse_rfc3339(created_at, &record.created_at_ms) && reading->row(reading->argument, &record);
}

bool backlog_each_audit(struct backlog *backlog, bool (*row)(void *argument, const struct audit_record *record),
                        void *argument, struct error *err) {
    struct audit_reading reading = {row, argument};
    if (!each_line(backlog->audit_path, take_audit, &reading, err)) {
        return false;
    }
    /* To be forgotten when its rows are in the database. */
    backlog->audit_fd = open(backlog->audit_path, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
    return backlog->audit_fd >= 0 || errno == ENOENT ||
           error_set_errno(err, ERROR_INTERNAL, "open `%s`", backlog->audit_path);
}

struct access_reading {
    void (*row)(void *argument, const struct kept_access *access);
    void *argument;
};

static bool take_access(void *context, char *line, size_t length) {
    const struct access_reading *reading = context;
    char *end = NULL;
    char *space = memchr(line, ' ', length);
    if (space == NULL) {
        return false;
    }
    *space = '\0';
    errno = 0;
    long long at_ms = strtoll(space + 1, &end, 10);
    if (errno != 0 || end == space + 1 || *end != '\0') {
        return false;
    }
    reading->row(reading->argument, &(struct kept_access){line, at_ms});
    return true;
}

bool backlog_each_access(struct backlog *backlog, void (*row)(void *argument, const struct kept_access *access),
                         void *argument, struct error *err) {
    struct access_reading reading = {row, argument};
    return each_line(backlog->accesses_path, take_access, &reading, err);
}
