/* responder.h - the FastCGI responder that HAProxy asks: the admin API and the OpenAPI document.
 *
 * Credentials come first, even for a path that does not exist; then the path, the method, the query. */
#ifndef TERMINALS_FCGI_API_RESPONDER_H
#define TERMINALS_FCGI_API_RESPONDER_H

#include "fcgi-api/answer.h"
#include "fcgi-api/api.h"
#include "fcgi-api/request.h"

/* `may_wait`: this thread may spend its time waiting for an instance. A call that would wait elsewhere is refused, so
 * that a wrong rule in haproxy.cfg can never let starts block the rest of the API. */
void responder_answer(const struct api *api, const struct provisioner *provisioner, bool may_wait,
                      struct request *request, struct answer *answer);

#endif
