#include "gate/user_limit.h"

#include <string.h>

static bool counts(const struct connection *other, const struct connection *connection) {
    return other != connection && other->terminal != NULL && other->state != STATE_CLOSING && other->user != NULL &&
           strcmp(other->user, connection->user) == 0;
}

bool user_limit_allows(const struct connection *connection) {
    const int64_t limit = connection->gate->settings->user_websocket_limit;
    int64_t open = 0;
    if (limit == 0) {
        return true;
    }
    for (const struct connection *other = connection->gate->connections; other != NULL; other = other->next) {
        open += counts(other, connection);
    }
    return open < limit;
}
