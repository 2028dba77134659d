#include "provisioner/backends/object_query.h"

#include <stdlib.h>
#include <string.h>

static void say_no_memory(void (*done)(void *argument, const struct error *err), void *argument) {
    struct error err;
    error_set(&err, ERROR_INTERNAL, "out of memory");
    done(argument, &err);
}

struct object_query *object_query_new(struct backend *backend,
                                      void (*each)(void *argument, const struct backend_object *object),
                                      const char *handle, void (*done)(void *argument, const struct error *err),
                                      void *argument) {
    struct object_query *query = calloc(1, sizeof *query);
    char *copy = query == NULL || handle == NULL ? NULL : strdup(handle);
    if (query == NULL || (copy == NULL && handle != NULL)) {
        free(query);
        say_no_memory(done, argument);
        return NULL;
    }
    *query =
        (struct object_query){.backend = backend, .each = each, .done = done, .argument = argument, .handle = copy};
    return query;
}

void object_query_finish(struct object_query *query, const struct error *err) {
    const struct object_query copy = *query;
    free(query->handle);
    free(query);
    copy.done(copy.argument, err);
}

void object_query_fail(struct object_query *query) {
    void (*done)(void *argument, const struct error *err) = query->done;
    void *argument = query->argument;
    free(query->handle);
    free(query);
    say_no_memory(done, argument);
}
