/* refusal.h - the answer to a request whose credentials authenticate() did not take. */
#ifndef TERMINALS_FCGI_API_REFUSAL_H
#define TERMINALS_FCGI_API_REFUSAL_H

#include "fcgi-api/answer.h"
#include "fcgi-api/api.h"
#include "fcgi-api/request.h"

/* Notes it for the audit log if it is the client's fault, and answers with *err. */
void refuse_credentials(const struct api *api, const struct request *request, const struct error *err,
                        struct answer *answer);

#endif
