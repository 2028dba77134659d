#include "common/heartbeat.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/clock.h"

#define RECORD_SIZE 64

/* "<monotonic milliseconds> ready" or "… waiting", and a line feed. */
static const char *const words[] = {"waiting", "ready"};

static bool write_file(const char *path, const char *text, struct error *err) {
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return error_set_errno(err, ERROR_INTERNAL, "open `%s`", path);
    }
    return write(fd, text, strlen(text)) == (ssize_t)strlen(text) ||
           error_set_errno(err, ERROR_INTERNAL, "write to `%s`", path);
}

bool heartbeat_write(const char *folder, const char *process, bool is_ready, struct error *err) {
    cleanup_buffer struct buffer path = {0};
    cleanup_buffer struct buffer fresh = {0};
    char record[RECORD_SIZE];
    if (!buffer_append_format(&path, "%s/%s.heartbeat", folder, process) ||
        !buffer_append_format(&fresh, "%s.new", path.data)) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    snprintf(record, sizeof record, "%" PRId64 " %s\n", clock_monotonic_ms(), words[is_ready]);
    return write_file(fresh.data, record, err) &&
           (rename(fresh.data, path.data) == 0 || error_set_errno(err, ERROR_INTERNAL, "rename `%s`", fresh.data));
}

bool heartbeat_check(const char *folder, const char *process, bool must_be_ready, struct error *err) {
    cleanup_buffer struct buffer path = {0};
    char record[RECORD_SIZE] = "";
    char word[RECORD_SIZE] = "";
    int64_t written_ms = 0;
    if (!buffer_append_format(&path, "%s/%s.heartbeat", folder, process)) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    cleanup_close int fd = open(path.data, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return error_set_errno(err, ERROR_BACKEND, "open `%s`", path.data);
    }
    if (read(fd, record, sizeof record - 1) < 0) {
        return error_set_errno(err, ERROR_BACKEND, "read `%s`", path.data);
    }
    if (sscanf(record, "%" SCNd64 " %63s", &written_ms, word) != 2) {
        return error_set(err, ERROR_BACKEND, "`%s` is no heartbeat", path.data);
    }
    int64_t age_ms = clock_monotonic_ms() - written_ms;
    if (age_ms < 0 || age_ms > HEARTBEAT_STALE_MS) { /* before 0: it is of before the machine started */
        return error_set(err, ERROR_TIMEOUT, "the %s has not been heard for %d seconds", process,
                         HEARTBEAT_STALE_MS / 1000);
    }
    return !must_be_ready || strcmp(word, words[true]) == 0 ||
           error_set(err, ERROR_CAPACITY, "the %s is alive, and waits for the Kubernetes API server", process);
}
