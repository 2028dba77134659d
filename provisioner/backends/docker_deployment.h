/* docker_deployment.h - which Terminals this is. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_DOCKER_DEPLOYMENT_H
#define TERMINALS_PROVISIONER_BACKENDS_DOCKER_DEPLOYMENT_H

#include <stdbool.h>

#include "common/error.h"
#include "provisioner/backends/docker_backend.h"

/* Reads `<data_dir>/.deployment`, and makes it (32 hex digits, 0600) if there is none. It lies where the homes lie,
 * since who has these is who has the containers; no user's folder starts with a dot. */
bool docker_deployment_read(const char *data_dir, char out[DOCKER_DEPLOYMENT_SIZE], struct error *err);

#endif
