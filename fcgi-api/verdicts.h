/* verdicts.h - what was found about users' tokens lately: who they belong to, or that they are refused.
 *
 * Keeps digests, never tokens, and a bounded number of them: a flood of bad tokens only ever pushes out other bad ones.
 * A verdict that was pushed out is asked for again. Times are clock_monotonic_ms(). Not thread-safe. */
#ifndef TERMINALS_FCGI_API_VERDICTS_H
#define TERMINALS_FCGI_API_VERDICTS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/digest.h"
#include "common/names.h"

#define VERDICTS_ACCEPTED_MAX 20000
#define VERDICTS_REFUSED_MAX  4096
#define VERDICTS_REFUSED_MS   5000                  /* how long a refusal is remembered */
#define VERDICTS_FAMILIAR_MS  (24 * 60 * 60 * 1000) /* how long it is known that a token was good once */

struct verdicts;
enum verdict { VERDICT_UNKNOWN, VERDICT_ACCEPTED, VERDICT_REFUSED };

/* NULL: no memory. */
struct verdicts *verdicts_new(void);
void verdicts_free(struct verdicts *verdicts);

/* Remembers a good token of `user_id` until `until_ms` (which may have passed: then only that it was good), or a
 * refused one for a few seconds. No memory: forgets it. */
void verdicts_accept(struct verdicts *verdicts, const char *digest, const char *user_id, int64_t now_ms,
                     int64_t until_ms);
void verdicts_refuse(struct verdicts *verdicts, const char *digest, int64_t now_ms);

/* What is known at `now_ms`; fills `user_id` if it is VERDICT_ACCEPTED. */
enum verdict verdicts_find(struct verdicts *verdicts, const char *digest, int64_t now_ms,
                           char user_id[NAME_USER_ID_MAX_BYTES + 1]);

/* Whether this token was accepted in the last day, and not refused since. It may be good no longer. */
bool verdicts_is_familiar(struct verdicts *verdicts, const char *digest, int64_t now_ms);

#endif
