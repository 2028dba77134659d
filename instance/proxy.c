#include "instance/routes.h"
const struct http_route proxy_routes[] = {HTTP_ROUTES_END};
