#include "instance/output_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "instance/utf8.h"

#define ENTRIES_PER_MARK 64
#define SCAN_BYTES       16384

static const char limit_reached[] =
    "{\"type\":\"output\",\"data\":\"\\r\\n[output cut here: the log is full]\\r\\n\"}\n";

struct output_log {
    int fd;
    bool is_in_memory; /* a memfd */
    char *path;        /* NULL once it has been settled */
    off_t max_bytes;   /* of a file */
    off_t size;
    uint64_t count;
    bool is_full;
    char cut[4]; /* the beginning of a character whose rest is still to come */
    size_t cut_length;
    off_t *marks; /* where entry number i * ENTRIES_PER_MARK begins */
    size_t mark_count;
    size_t mark_capacity;
};

/* Makes the folders above `path`. */
static void make_folders(char *path) {
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0700); /* open(2) finds out whether it is there */
        *slash = '/';
    }
}

static int make_file(char *path) {
    const int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_APPEND;
    int fd = open(path, flags, 0600);
    if (fd < 0 && errno == ENOENT) {
        make_folders(path);
        fd = open(path, flags, 0600);
    }
    return fd;
}

static int make_memory_file(void) {
    cleanup_close int fd = memfd_create("output", MFD_CLOEXEC);
    return fd >= 0 && fcntl(fd, F_SETFL, O_APPEND) == 0 ? steal_fd(&fd) : -1;
}

/* Goes on in `to`, an empty file that is taken, with what is there so far. False: nothing has changed. */
static bool move_to(struct output_log *log, int to, bool is_in_memory) {
    cleanup_close int fd = to;
    char bytes[SCAN_BYTES];
    /* Not sendfile(2), which neither every file system nor O_APPEND lets write. */
    for (off_t moved = 0; moved < log->size;) {
        ssize_t length = pread(log->fd, bytes, sizeof bytes, moved);
        if (length <= 0 || write(fd, bytes, (size_t)length) != length) {
            return false;
        }
        moved += length;
    }
    if (log->fd >= 0) {
        close(log->fd);
    }
    log->fd = steal_fd(&fd);
    log->is_in_memory = is_in_memory;
    return true;
}

void output_log_settle(struct output_log *log) {
    cleanup_free char *path = log->path;
    log->path = NULL;
    int fd = path != NULL ? make_file(path) : -1;
    if (fd >= 0 && !move_to(log, fd, false)) {
        unlink(path);
    }
}

struct output_log *output_log_new(const char *path, uint64_t max_bytes, struct error *err) {
    struct output_log *log = calloc(1, sizeof *log);
    if (log == NULL || (log->path = strdup(path)) == NULL) {
        free(log);
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    log->max_bytes = (off_t)max_bytes;
    log->fd = make_memory_file();
    log->is_in_memory = log->fd >= 0;
    if (!log->is_in_memory) {
        output_log_settle(log); /* a system that allows none */
    }
    if (log->fd < 0) {
        error_set_errno(err, ERROR_INTERNAL, "make the log `%s`", path);
        output_log_free(log);
        return NULL;
    }
    return log;
}

/* The disk is full. False: it is in memory already, too long for that, or cannot be read. */
static bool move_to_memory(struct output_log *log) {
    if (log->is_in_memory || log->size > OUTPUT_LOG_MEMORY_MAX_BYTES / 2) {
        return false;
    }
    int fd = make_memory_file();
    return fd >= 0 && move_to(log, fd, true);
}

static off_t limit_of(const struct output_log *log) {
    return log->is_in_memory && log->max_bytes > OUTPUT_LOG_MEMORY_MAX_BYTES ? OUTPUT_LOG_MEMORY_MAX_BYTES
                                                                             : log->max_bytes;
}

void output_log_free(struct output_log *log) {
    if (log != NULL) {
        if (log->fd >= 0) {
            close(log->fd);
        }
        free(log->path);
        free(log->marks);
        free(log);
    }
}

/* Notes where every so-manieth entry begins, so that finding one reads little of the file. */
static bool mark_entry(struct output_log *log) {
    if (log->count % ENTRIES_PER_MARK != 0) {
        return true;
    }
    if (log->mark_count == log->mark_capacity) {
        size_t capacity = log->mark_capacity == 0 ? 16 : log->mark_capacity * 2;
        off_t *marks = realloc(log->marks, capacity * sizeof *marks);
        if (marks == NULL) {
            return false;
        }
        log->marks = marks;
        log->mark_capacity = capacity;
    }
    log->marks[log->mark_count++] = log->size;
    return true;
}

/* Writes one line, whole or (by cutting off what got written) not at all. */
static bool write_line(struct output_log *log, const char *line, size_t length) {
    size_t mark_count = log->mark_count;
    if (!mark_entry(log)) {
        return false;
    }
    ssize_t written = write(log->fd, line, length);
    if (written != (ssize_t)length) {
        if (written > 0 && ftruncate(log->fd, log->size) != 0) {
            log->is_full = true;
        }
        if (log->is_full || !move_to_memory(log) || write(log->fd, line, length) != (ssize_t)length) {
            log->mark_count = mark_count;
            return false;
        }
    }
    log->size += (off_t)length;
    log->count++;
    return true;
}

static void write_entry(struct output_log *log, struct buffer *text) {
    static const char head[] = "{\"type\":\"output\",\"data\":";
    cleanup_buffer struct buffer line = {0};
    buffer_append(&line, head, sizeof head - 1);
    bool is_made = utf8_append_json(&line, text->data, text->length) && buffer_append(&line, "}\n", 2);
    if (log->size + (off_t)line.length > OUTPUT_LOG_UNSETTLED_MAX_BYTES) {
        output_log_settle(log);
    }
    bool fits = log->size + (off_t)(line.length + sizeof limit_reached) <= limit_of(log);
    if (!is_made || line.failed || !fits || !write_line(log, line.data, line.length)) {
        log->is_full = true;
        write_line(log, limit_reached, sizeof limit_reached - 1);
    }
}

/* Appends `bytes` as UTF-8; keeps an unfinished character at the end for the next time. */
static bool clean(struct output_log *log, const char *bytes, size_t length, struct buffer *out) {
    static const char replacement[] = "\xef\xbf\xbd";
    while (length > 0) {
        bool is_cut = false;
        size_t good = utf8_valid_prefix(bytes, length, &is_cut);
        if (!buffer_append(out, bytes, good)) {
            return false;
        }
        bytes += good;
        length -= good;
        if (is_cut && length < sizeof log->cut) {
            memcpy(log->cut, bytes, length);
            log->cut_length = length;
            return true;
        }
        if (length > 0) {
            if (!buffer_append(out, replacement, sizeof replacement - 1)) {
                return false;
            }
            bytes++;
            length--;
        }
    }
    return true;
}

void output_log_append(struct output_log *log, const char *bytes, size_t length) {
    if (log->is_full) {
        return;
    }
    cleanup_buffer struct buffer raw = {0};
    cleanup_buffer struct buffer text = {0};
    buffer_append(&raw, log->cut, log->cut_length);
    log->cut_length = 0;
    if (!buffer_append(&raw, bytes, length) || raw.failed || !clean(log, raw.data, raw.length, &text)) {
        log->is_full = true;
    } else if (text.length > 0) {
        write_entry(log, &text);
    }
}

void output_log_finish(struct output_log *log) {
    if (log->cut_length > 0 && !log->is_full) {
        cleanup_buffer struct buffer text = {0};
        log->cut_length = 0;
        if (buffer_append_string(&text, "\xef\xbf\xbd")) {
            write_entry(log, &text);
        }
    }
}

uint64_t output_log_count(const struct output_log *log) {
    return log->count;
}

bool output_log_range(struct output_log *log, uint64_t first, off_t *start, off_t *end) {
    *end = log->size;
    *start = log->size;
    if (first >= log->count) {
        return true;
    }
    size_t mark = (size_t)(first / ENTRIES_PER_MARK);
    off_t position = log->marks[mark];
    uint64_t to_skip = first % ENTRIES_PER_MARK;
    char bytes[SCAN_BYTES];
    while (to_skip > 0) {
        ssize_t length = pread(log->fd, bytes, sizeof bytes, position);
        if (length <= 0) {
            return false;
        }
        const char *at = bytes;
        const char *line_feed;
        while (to_skip > 0 && (line_feed = memchr(at, '\n', (size_t)(bytes + length - at))) != NULL) {
            at = line_feed + 1;
            to_skip--;
        }
        position += to_skip > 0 ? length : at - bytes;
    }
    *start = position;
    return true;
}

ssize_t output_log_read(const struct output_log *log, off_t start, off_t end, char *out, size_t size) {
    if (start >= end) {
        return 0;
    }
    if ((off_t)size > end - start) {
        size = (size_t)(end - start);
    }
    ssize_t length = pread(log->fd, out, size, start);
    if (length <= 0) {
        return -1; /* somebody cut the file short */
    }
    /* No entry holds a line feed: JSON writes it as \n. */
    for (char *at = out; (at = memchr(at, '\n', (size_t)(out + length - at))) != NULL;) {
        *at = ',';
    }
    return length;
}
