/* serve.h - the provisioner's life: alone, or as a node that leads, follows, and leads again. */
#ifndef TERMINALS_PROVISIONER_SERVE_H
#define TERMINALS_PROVISIONER_SERVE_H

#include "common/error.h"
#include "common/settings.h"
#include "provisioner/backend.h"

/* Runs until a signal ends it: SIGTERM leaves the instances running for a successor to adopt, SIGINT stops them first,
 * unless there are other nodes to go on with them. False with *err. */
bool serve(const struct settings *settings, const struct backend_operations *operations, struct error *err);

#endif
