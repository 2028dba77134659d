/* atomic_file.h - writes a file so that readers see the old content or the new, never a part, and a writer that dies
 * leaves the old one as it was.
 *
 * The new content goes into a file without a name (O_TMPFILE; where the file system has none, into a hidden one) in the
 * target's folder, which takes the target's place when all of it is there, with the target's permissions. Symbolic
 * links are followed. What cannot be replaced is written in place instead: devices, pipes and sockets of the user, a
 * file with several hard links, and one in a folder where the user may not create files. Into the latter two the new
 * content goes when all of it is there and the disk has promised the room: only a death in that moment leaves a part.
 */
#ifndef TERMINALS_INSTANCE_ATOMIC_FILE_H
#define TERMINALS_INSTANCE_ATOMIC_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

struct atomic_file;

/* Begins to write `path` (absolute). Never waits for the other end of a pipe. NULL with *err, as error_set_path(). */
struct atomic_file *atomic_file_open(const char *path, struct error *err);

/* Appends to the new content, which nobody sees yet. False with *err: no space, for example. */
bool atomic_file_write(struct atomic_file *file, const void *bytes, size_t length, struct error *err);

/* Puts the new content in place. The file is still to be freed. */
bool atomic_file_commit(struct atomic_file *file, struct error *err);

/* Releases it; without a commit before, what was written is gone (unless it was written in place). NULL is fine. */
void atomic_file_free(struct atomic_file *file);

static inline void atomic_file_cleanup_function(struct atomic_file **file) {
    atomic_file_free(*file);
}
#define cleanup_atomic_file __attribute__((cleanup(atomic_file_cleanup_function)))

#endif
