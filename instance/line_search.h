/* line_search.h - the lines of one file that match, in constant memory, whatever the size of the file. */
#ifndef TERMINALS_INSTANCE_LINE_SEARCH_H
#define TERMINALS_INSTANCE_LINE_SEARCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "instance/regex.h"

/* Belongs to one thread, which uses it for one file after the other. */
struct line_search {
    struct regex *regex;
    const atomic_bool *is_stopped; /* looked at in between; the search may then end early */

    /* Called for each line that matches, without the LF or CR LF at its end; false: no more. */
    bool (*found)(void *state, int64_t line, const char *text, size_t length);
    void *state;

    char *buffer; /* grows to the longest line */
    size_t capacity;
    bool failed; /* no memory */
};

/* `search` is filled in up to `state`, the rest {0}. False: no memory. */
bool line_search_prepare(struct line_search *search);
void line_search_free(struct line_search *search);

/* Searches a regular file from its start. One that is no text (a NUL byte, or anything that is no UTF-8) has no lines
 * that match. `found` is called only once that is known of all of the file. */
void line_search_file(struct line_search *search, int fd);

#endif
