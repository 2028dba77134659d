/* router.h - finds the row of the route tables that a request's path and method mean. */
#ifndef TERMINALS_INSTANCE_ROUTER_H
#define TERMINALS_INSTANCE_ROUTER_H

#include "instance/http_request.h"

enum router_result { ROUTER_FOUND, ROUTER_NO_PATH, ROUTER_NO_METHOD, ROUTER_NO_MEMORY };

/* Sets route, path parameters and the rest on the request. For ROUTER_NO_METHOD `allow` gets the methods that the path
 * has ("GET, POST"). */
enum router_result router_find(struct http_request *request, char *allow, size_t allow_size);

/* True if some route that this instance offers, of any method, has this path (`length` bytes, encoded). */
bool router_knows(const struct instance *instance, const char *path, size_t length);

/* Compares one path with one pattern. Fills `parameters` (name only, value still encoded) up to `maximum` and *rest;
 * returns how many there are, or -1. For tests, and for the two functions above. */
int router_match(const char *pattern, const char *path, size_t length, struct http_path_parameter *parameters,
                 size_t maximum, const char **rest);

#endif
