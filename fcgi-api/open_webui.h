/* open_webui.h - asks Open WebUI whose token this is: GET {url}/api/v1/auths/ with it (libcurl).
 *
 * One thread asks for all, many at a time over connections that are kept. Whoever needs an answer that is not known yet
 * is put aside (token_waiter.h); all who wait for one token share one question. What Open WebUI accepted is remembered
 * for the cache time and never past the token's `exp`, what it refused for a few seconds (verdicts.h). An Open WebUI
 * that does not answer within 10 s, or nonsense, is an error for those who wait and remembered by nobody. Redirects are
 * not followed: the token is for this address only. Thread-safe. */
#ifndef TERMINALS_FCGI_API_OPEN_WEBUI_H
#define TERMINALS_FCGI_API_OPEN_WEBUI_H

#include <stdint.h>

#include "fcgi-api/identity_announcer.h"
#include "fcgi-api/token_waiter.h"

struct open_webui;

/* `ttl_seconds` 0: nothing good is remembered or shared, each request asks. `announcer` is told of what is good; it
 * must outlive this. The strings are copied. NULL with *err. */
struct open_webui *open_webui_new(const char *url, int64_t ttl_seconds, struct identity_announcer *announcer,
                                  struct error *err);
void open_webui_free(struct open_webui *open_webui);

/* True: `outcome` says what is known, or that `waiter` is NULL and so nobody can be asked. False: `waiter` was taken
 * over and will be resumed. `digest` is the token's. `familiar_only`: of a token that was never good nobody is asked;
 * it is refused as if it were bad. */
bool open_webui_check(struct open_webui *open_webui, const char *token, const char *digest, bool familiar_only,
                      struct token_waiter *waiter, struct token_outcome *outcome);

/* Asks what is to be asked until open_webui_stop(); then resumes all who wait with an error. Runs in a thread of its
 * own. */
void open_webui_run(struct open_webui *open_webui);
void open_webui_stop(struct open_webui *open_webui);

#endif
