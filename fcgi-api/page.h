/* page.h - the admin page at `/`: one HTML document with all its script and style in it (dashboard/, made by
 * dashboard/bundle), linked into the program as it is and compressed.
 *
 * Constant and thread-safe. */
#ifndef TERMINALS_FCGI_API_PAGE_H
#define TERMINALS_FCGI_API_PAGE_H

#include <stdbool.h>

#include "common/settings.h"
#include "fcgi-api/answer.h"
#include "fcgi-api/request.h"

/* Does this request want the page: GET or HEAD of `/`, by somebody who names neither a user nor a token? (A client that
 * does means the user's instance.) `method` and `target` may be NULL. */
bool page_is_asked(const struct request *request, const char *method, const char *target);

/* The page, compressed if the browser takes that, or 304 if it has it already; 404 where it is turned off, and where
 * TERMINALS_INSTANCE_SANDBOX lets pages of instances act as this origin, and so as this page. Needs no token: the page
 * holds no secret, and asks for the API key itself. */
void page_answer(const struct settings *settings, const struct request *request, struct answer *answer);

#endif
