/* open_webui_answer.h - what Open WebUI's answer to GET /api/v1/auths/ says about a token. */
#ifndef TERMINALS_FCGI_API_OPEN_WEBUI_ANSWER_H
#define TERMINALS_FCGI_API_OPEN_WEBUI_ANSWER_H

#include <stddef.h>

#include "fcgi-api/token_waiter.h"

/* 200 with a user id in `id`: theirs, unless the account is still `pending`, which Open WebUI itself lets do nothing.
 * 401 and 403: ERROR_UNAUTHORIZED. Everything else is no answer to our question: ERROR_BACKEND. */
void open_webui_read_answer(long status, const char *body, size_t length, struct token_outcome *outcome);

#endif
