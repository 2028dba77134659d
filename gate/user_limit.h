/* user_limit.h - how many terminals one user may have open at once (TERMINALS_USER_WEBSOCKET_LIMIT). */
#ifndef TERMINALS_GATE_USER_LIMIT_H
#define TERMINALS_GATE_USER_LIMIT_H

#include <stdbool.h>

#include "gate/connection.h"

/* Whether this terminal, whose user is authorized, is within the limit: the others of that user that are open or about
 * to be are counted. Walks all connections, and only where there is a limit. */
bool user_limit_allows(const struct connection *connection);

#endif
