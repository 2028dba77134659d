/* object_query.h - who waits for a backend's list_objects() or remove_object() (backend.h) while it asks its engine.
 * The event loop's thread only. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_OBJECT_QUERY_H
#define TERMINALS_PROVISIONER_BACKENDS_OBJECT_QUERY_H

#include "provisioner/backend.h"

/* Ends with object_query_finish() or object_query_fail(). Where closing the backend cancels the call that would do so,
 * it is left to the end of the program. */
struct object_query {
    struct backend *backend;
    void (*each)(void *argument, const struct backend_object *object); /* NULL: something is removed */
    void (*done)(void *argument, const struct error *err);
    void *argument;
    char *handle; /* of what is removed, or NULL */
    size_t kind;  /* the one in hand, of the backend's table of kinds; at first 0 */
};

/* A query for a list (`each`), or about one object (`handle`, copied). NULL: no memory, and `done` has been told. */
struct object_query *object_query_new(struct backend *backend,
                                      void (*each)(void *argument, const struct backend_object *object),
                                      const char *handle, void (*done)(void *argument, const struct error *err),
                                      void *argument);

/* Frees it and calls `done`; `err` is NULL when all went well. */
void object_query_finish(struct object_query *query, const struct error *err);

/* The same, with an error: there is no memory. */
void object_query_fail(struct object_query *query);

#endif
