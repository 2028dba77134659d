/* file_walk.h - goes through all that lies below a folder, a folder's own entries before those of its subfolders, each
 * in the order of their names. Symbolic links are followed to tell what they are, and never descended into.
 * Thread-safe.
 */
#ifndef TERMINALS_INSTANCE_FILE_WALK_H
#define TERMINALS_INSTANCE_FILE_WALK_H

#include <stdbool.h>
#include <sys/stat.h>

enum file_walk_type { FILE_WALK_FILE, FILE_WALK_FOLDER, FILE_WALK_OTHER };

struct file_walk_entry {
    const char *name;
    const char *relative;     /* to the root of the walk */
    const char *path;         /* absolute */
    enum file_walk_type type; /* of what it is behind symbolic links */
    bool is_link;
    int folder; /* the descriptor of the folder that `name` is in */
};

enum file_walk_step {
    FILE_WALK_ON,
    FILE_WALK_SKIP, /* not into this folder */
    FILE_WALK_STOP,
};

/* Calls `visit` for every entry that can be looked at. What cannot be read (for lack of permission, because it is gone
 * by now, or because its path is too long) is left out. False only when memory ran out. */
bool file_walk(const char *root, enum file_walk_step (*visit)(void *state, const struct file_walk_entry *entry),
               void *state);

/* What an entry is behind symbolic links: asked for separately, since a folder tells the types by itself, and asking
 * for the rest of a million files takes seconds. False: it is gone. */
bool file_walk_status(const struct file_walk_entry *entry, struct stat *status);

/* The type of an entry of which its folder says `folder_type` (folder_names_type_at()). False: there is nothing behind
 * the name. */
bool file_walk_find_type(int folder, const char *name, unsigned char folder_type, enum file_walk_type *type,
                         bool *is_link);

#endif
