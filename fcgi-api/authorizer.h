/* authorizer.h - the FastCGI authorizer that terminals-gate asks: who is this request, and where may it go
 * (docs/internals.md, "terminals-gate to terminals-api"). It looks at parameters only, asks nobody but Open
 * WebUI and never waits: a request whose token must be asked about is put aside (token_waiter.h). */
#ifndef TERMINALS_FCGI_API_AUTHORIZER_H
#define TERMINALS_FCGI_API_AUTHORIZER_H

#include "fcgi-api/answer.h"
#include "fcgi-api/api.h"
#include "fcgi-api/request.h"

/* Fills *answer with the decision, unless the request is put aside: then it is asked again once the token is known. */
void authorizer_answer(const struct api *api, struct request *request, struct answer *answer);

#endif
