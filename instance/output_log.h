/* output_log.h - what a command wrote, as entries in a file: one line {"type":"output","data":"…"} each.
 *
 * On disk, not in memory, and of a given size at most: what comes after that is dropped, and a last entry says so. Only
 * at first it is in memory, so that nobody waits for a file system before a short command is answered.
 * Bytes that are not UTF-8 become U+FFFD; a character cut in two by reading is put together again. */
#ifndef TERMINALS_INSTANCE_OUTPUT_LOG_H
#define TERMINALS_INSTANCE_OUTPUT_LOG_H

#include <stdint.h>
#include <sys/types.h>

#include "common/buffer.h"
#include "common/error.h"

struct output_log;

/* An empty log, in memory, or at once in its file where the system has no memfd_create(2); `path` is copied. NULL with
 * *err. */
struct output_log *output_log_new(const char *path, uint64_t max_bytes, struct error *err);

/* Moves the log to its file (0600; it must not exist), with the folders that are missing above it (0700), unless it is
 * there: on the first call, or once OUTPUT_LOG_UNSETTLED_MAX_BYTES are exceeded. Where no file can be made, or written
 * any more because the disk is full, the entries are kept in memory, OUTPUT_LOG_MEMORY_MAX_BYTES at most: whoever
 * filled the disk needs commands, and their output, to tidy up. */
#define OUTPUT_LOG_UNSETTLED_MAX_BYTES (64 * 1024)
#define OUTPUT_LOG_MEMORY_MAX_BYTES    (256 * 1024)
void output_log_settle(struct output_log *log);

/* Closes the file and frees. */
void output_log_free(struct output_log *log);

/* Adds an entry of what was read. A write that fails (a full disk) is treated like the limit. */
void output_log_append(struct output_log *log, const char *bytes, size_t length);

/* Nothing more comes: writes what is left of a cut character. */
void output_log_finish(struct output_log *log);

/* How many entries were written so far. */
uint64_t output_log_count(const struct output_log *log);

/* Where the entries from number `first` (0: the oldest) to the newest are in the file. An empty range if there are
 * none. False if the file cannot be read. */
bool output_log_range(struct output_log *log, uint64_t first, off_t *start, off_t *end);

/* Copies the file's bytes [start, end) to `out`, `size` at most, every line feed made a comma: with the last one of a
 * range left out it is the inside of a JSON array. Returns how many; -1: the file cannot be read. */
ssize_t output_log_read(const struct output_log *log, off_t start, off_t end, char *out, size_t size);

#endif
