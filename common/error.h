/* error.h - the one error type: what went wrong, said once, where it happened.
 *
 * A function that can fail takes a `struct error *` as its last parameter and returns false (or NULL, or -1).
 * The error is filled where the failure is seen, with what was attempted and on what, may gain context on its
 * way up, and becomes an HTTP status, an IPC code or an exit status in exactly one place per process.
 * Thread-safety: a `struct error` belongs to its caller; the functions keep no state. */
#ifndef TERMINALS_COMMON_ERROR_H
#define TERMINALS_COMMON_ERROR_H

#include <stdbool.h>

enum error_code {
    ERROR_NONE = 0,
    ERROR_INVALID,       /* the caller asked for something that makes no sense: 400 */
    ERROR_UNAUTHORIZED,  /* no, malformed or wrong credentials: 401 */
    ERROR_FORBIDDEN,     /* good credentials, of somebody who may not: 403 */
    ERROR_NOT_FOUND,     /* 404 */
    ERROR_CONFLICT,      /* it exists already, or its state forbids it: 409 */
    ERROR_TOO_LARGE,     /* 413 */
    ERROR_UNPROCESSABLE, /* something needed is missing: 422 */
    ERROR_TOO_MANY,      /* the caller did too much of it lately: 429 */
    ERROR_BACKEND,       /* what we depend on failed (an instance, an engine): 502 */
    ERROR_CAPACITY,      /* not now, try again: 503 */
    ERROR_TIMEOUT,       /* it took too long: 504 */
    ERROR_INTERNAL,      /* out of memory, a bug, a disk: 500 */
    ERROR_CODE_COUNT,
};

#define ERROR_TOLD_SIZE 80

struct error {
    enum error_code code;
    char message[512]; /* one sentence, no trailing full stop or line feed, no secret */
    /* What a client is told in its place, where the message has names of hosts, paths or addresses, which are the
     * administrators' business; "": the message itself. */
    char told[ERROR_TOLD_SIZE];
};

/* Fills *err (which may be NULL) and returns false, so that a failing function can `return error_set(…)`.
 * A message that is too long is cut; bytes in it that are no UTF-8 become question marks, as JSON and databases take
 * none. */
bool error_set(struct error *err, enum error_code code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The same, with ": " and the text of the current errno appended. errno is unchanged. */
bool error_set_errno(struct error *err, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts context in front of a message on its way up: "start instance 7: open `/x`: No such file". Returns false. */
bool error_prefix(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Users are to be told `told`, and no more. Returns false. */
bool error_veil(struct error *err, const char *told);
const char *error_for_clients(const struct error *err);

/* The code's name as IPC carries it ("not_found"), and back; an unknown name is ERROR_INTERNAL. */
const char *error_code_name(enum error_code code);
enum error_code error_code_from_name(const char *name);

/* The HTTP status of a code (RFC 9110 §15), and the reason phrase of any status that this project sends. */
int error_code_http_status(enum error_code code);
const char *http_reason_phrase(int status);

#endif
