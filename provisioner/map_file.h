/* map_file.h - a map file as HAProxy reads it at its start: `<key> <value>` lines, `#` comments.
 *
 * Every change is one system call that leaves the file right for a reader at any moment: an addition is one write at
 * the end, a removal turns its line into a comment by one byte, and everything else replaces the file atomically. So
 * the cost of a change does not grow with the file. */
#ifndef TERMINALS_PROVISIONER_MAP_FILE_H
#define TERMINALS_PROVISIONER_MAP_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/buffer.h"
#include "common/error.h"

struct map_file {
    char *path;
    int fd; /* -1: nothing was written yet */
    off_t length;
    off_t garbage; /* bytes in lines that are comments now */
};

/* NULL path afterwards: no memory. Nothing is opened, but a missing file is made (empty): HAProxy does not start
 * without it. */
void map_file_init(struct map_file *file, const char *path);
void map_file_close(struct map_file *file);

/* The line of an entry, as all files and payloads have it. */
bool map_file_format_line(struct buffer *out, const char *key, const char *value);

/* Adds an entry, tells where its line is. False with ERROR_INTERNAL: the file is as before. */
bool map_file_append(struct map_file *file, const char *key, const char *value, off_t *offset, struct error *err);

/* Removes the line at `offset`. */
bool map_file_remove(struct map_file *file, off_t offset, size_t line_length, struct error *err);

/* Replaces the whole content atomically. */
bool map_file_replace(struct map_file *file, const char *content, size_t length, struct error *err);

/* Whether it should be replaced: it holds mostly garbage, or somebody removed it from its folder. */
bool map_file_wants_replacing(const struct map_file *file);

#endif
