#include "instance/routes.h"
const struct http_route port_routes[] = {HTTP_ROUTES_END};
