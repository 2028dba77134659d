/* files_search.h - what /files/grep and /files/glob share: lists of name patterns, limits, and the form of the answer.
 */
#ifndef TERMINALS_INSTANCE_FILES_SEARCH_H
#define TERMINALS_INSTANCE_FILES_SEARCH_H

#include "instance/http.h"
#include "instance/regex.h"

#define SEARCH_RESULTS_DEFAULT 50
#define SEARCH_RESULTS_MAX     500
#define SEARCH_PATTERNS_MAX    64 /* of one parameter; more are ignored */

struct patterns {
    struct regex *list[SEARCH_PATTERNS_MAX];
    size_t count;
};

/* Every value of a repeated query parameter; `patterns` starts as {0}. A pattern that is too long to be one matches
 * nothing. False: no memory. */
bool patterns_read(struct http_request *request, const char *name, struct patterns *patterns);

/* True if one of them matches the name or the path. A pattern that begins with two stars and a slash also matches what
 * lies in no subfolder. */
bool patterns_match(const struct patterns *patterns, const char *name, const char *relative);

/* The same patterns for another thread (regex_share()); `copy` starts as {0}. False: no memory. */
bool patterns_share(const struct patterns *patterns, struct patterns *copy);

/* Frees what it holds; `{0}` holds nothing. */
void patterns_free(struct patterns *patterns);

/* {"<key>": query, "path": …, "matches": [<matches>], "truncated": …}; `matches` is what stands between the brackets.
 */
void search_respond(struct http_request *request, const char *key, const char *query, const char *path,
                    const struct buffer *matches, bool is_truncated);

#endif
