/* verdicts.h - what was found about users' tokens lately: who they belong to, or that they are refused.
 *
 * Keeps digests, never tokens, and a bounded number of them: a flood of bad tokens only ever pushes out other bad ones.
 * A verdict that was pushed out is asked for again. Times are clock_monotonic_ms(). Not thread-safe. */
#ifndef TERMINALS_FCGI_API_VERDICTS_H
#define TERMINALS_FCGI_API_VERDICTS_H

#include <stdint.h>

#include "common/digest.h"
#include "common/names.h"

#define VERDICTS_ACCEPTED_MAX 20000
#define VERDICTS_REFUSED_MAX  4096
#define VERDICTS_REFUSED_MS   5000 /* how long a refusal is remembered */

struct verdicts;
enum verdict { VERDICT_UNKNOWN, VERDICT_ACCEPTED, VERDICT_REFUSED };

/* NULL: no memory. */
struct verdicts *verdicts_new(void);
void verdicts_free(struct verdicts *verdicts);

/* Remembers a good token of `user_id` until `until_ms`, or a refused one for a few seconds. No memory: forgets it. */
void verdicts_accept(struct verdicts *verdicts, const char *digest, const char *user_id, int64_t now_ms,
                     int64_t until_ms);
void verdicts_refuse(struct verdicts *verdicts, const char *digest, int64_t now_ms);

/* What is known at `now_ms`; fills `user_id` if it is VERDICT_ACCEPTED. */
enum verdict verdicts_find(struct verdicts *verdicts, const char *digest, int64_t now_ms,
                           char user_id[NAME_USER_ID_MAX_BYTES + 1]);

#endif
