/* folder_names.h - the names in a folder, sorted: two allocations however many there are. Thread-safe. */
#ifndef TERMINALS_INSTANCE_FOLDER_NAMES_H
#define TERMINALS_INSTANCE_FOLDER_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buffer.h"

struct folder_names {
    struct buffer text;    /* one name behind the other, each with its type before it and its NUL behind it */
    struct buffer offsets; /* of size_t: where each starts, in the order of the names' bytes */
    size_t count;
};

/* Reads the folder behind `fd`, from where that is to the end, without `.` and `..`. `names` starts as {0}. False:
 * errno says. */
bool folder_names_read(int fd, struct folder_names *names);

/* The name, as the disk has it; index < count. Valid until `names` is freed. */
const char *folder_names_at(const struct folder_names *names, size_t index);

/* What the folder itself says of the entry: DT_REG, DT_DIR, DT_LNK, …, or DT_UNKNOWN (readdir(3)). */
unsigned char folder_names_type_at(const struct folder_names *names, size_t index);

/* Frees what it holds; `{0}` holds nothing. */
void folder_names_free(struct folder_names *names);
#define cleanup_folder_names __attribute__((cleanup(folder_names_free)))

#endif
