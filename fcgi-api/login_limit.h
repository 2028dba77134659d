/* login_limit.h - how many tokens of an address were refused lately: who guesses is made to wait.
 *
 * An address with as many failures as the limit is to wait for `seconds` from the last of them; failures count together
 * for that long from the first. An IPv6 address counts as its /64, which is what a single customer has. What is kept
 * has a fixed size (512 KiB) whatever the number of addresses, and each call takes the same small time: where more
 * addresses fail at a time than there is room for, those with the fewest failures are forgotten first. Who has no IP
 * address (a client on HAProxy's own socket) is not counted. Times are clock_monotonic_ms(). Thread-safe; NULL is a
 * limit that nobody reaches. */
#ifndef TERMINALS_FCGI_API_LOGIN_LIMIT_H
#define TERMINALS_FCGI_API_LOGIN_LIMIT_H

#include <stdint.h>

struct login_limit;

/* NULL: no memory, or no random numbers. */
struct login_limit *login_limit_new(int64_t failures, int64_t seconds);
void login_limit_free(struct login_limit *limit);

/* A token from this address was refused. */
void login_limit_count(struct login_limit *limit, const char *address, int64_t now_ms);

/* How long this address is to wait, in seconds, rounded up; 0: not at all. */
int64_t login_limit_wait_seconds(struct login_limit *limit, const char *address, int64_t now_ms);

#endif
