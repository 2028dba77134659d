/* identity_announcer.h - tells the provisioner whose token was found to be good, without ever delaying a request.
 *
 * The provisioner puts the token's digest into identities.map, so that the user's next request is decided by HAProxy
 * alone. While the provisioner is away, what it is to be told waits until the token's time is over: a verdict that we
 * keep ourselves is told only once. What finds no place then is dropped: that user's requests go the long way.
 * Thread-safe. */
#ifndef TERMINALS_FCGI_API_IDENTITY_ANNOUNCER_H
#define TERMINALS_FCGI_API_IDENTITY_ANNOUNCER_H

#include <stdint.h>

#include "fcgi-api/api.h"

struct identity_announcer;

/* NULL: no memory. */
struct identity_announcer *identity_announcer_new(void);
void identity_announcer_free(struct identity_announcer *announcer);

/* The token with this digest is `user_id`'s until `expires_at_ms` (Unix). Never blocks; NULL `announcer` is fine. */
void identity_announcer_tell(struct identity_announcer *announcer, const char *digest, const char *user_id,
                             int64_t expires_at_ms);

/* Tells, with `provisioner`, what comes until identity_announcer_stop(). Runs in a thread of its own. */
void identity_announcer_run(struct identity_announcer *announcer, const struct provisioner *provisioner);
void identity_announcer_stop(struct identity_announcer *announcer);

#endif
