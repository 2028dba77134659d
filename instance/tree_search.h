/* tree_search.h - the lines that match in all text files below a folder, found by as many threads as there are
 * processors, and told in the one order that file_walk.h describes, however the threads were scheduled.
 *
 * Symbolic links to folders are not followed, those to files only to what lies below the folder, too. What cannot be
 * read is left out. */
#ifndef TERMINALS_INSTANCE_TREE_SEARCH_H
#define TERMINALS_INSTANCE_TREE_SEARCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/buffer.h"
#include "instance/files_search.h"
#include "instance/regex.h"

struct tree_search {
    const char *root; /* a folder, or one file */
    const struct regex *regex;
    const struct patterns *include; /* of the files' names; empty: all */
    bool tells_lines;               /* each line; else each file once */
    int64_t results_max;
    const atomic_bool *is_abandoned;

    struct buffer matches; /* the members of a JSON array; {0} at first, the caller frees it */
    bool is_truncated;     /* there is more than results_max, or lines took too long to look at */
};

/* Searches all of it. False: no memory. */
bool tree_search_run(struct tree_search *search);

#endif
