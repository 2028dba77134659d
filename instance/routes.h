/* routes.h - every area of the API declares its routes in a table of its own, ended by HTTP_ROUTES_END; router.c puts
 * them together. The first row that matches wins. */
#ifndef TERMINALS_INSTANCE_ROUTES_H
#define TERMINALS_INSTANCE_ROUTES_H

#include "instance/http.h"

extern const struct http_route meta_routes[];  /* meta.c: /health, /api/config, /info, /system, /openapi.json, /docs */
extern const struct http_route files_routes[]; /* files.c: /files/… */
extern const struct http_route execute_routes[];  /* execute.c: /execute… */
extern const struct http_route terminal_routes[]; /* terminals.c: /api/terminals… */
extern const struct http_route port_routes[];     /* ports.c: /ports */
extern const struct http_route proxy_routes[];    /* proxy.c: /proxy/… */
extern const struct http_route notebook_routes[]; /* notebooks.c: /notebooks… */
extern const struct http_route mcp_routes[];      /* mcp_http.c: /mcp */

#endif
