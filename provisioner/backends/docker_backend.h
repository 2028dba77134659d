/* docker_backend.h - the opened `docker` backend, shared by its parts. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_DOCKER_BACKEND_H
#define TERMINALS_PROVISIONER_BACKENDS_DOCKER_BACKEND_H

#include <event2/event.h>

#include "common/json.h"
#include "common/settings.h"
#include "provisioner/backend.h"
#include "provisioner/backends/docker_engine.h"
#include "provisioner/backends/docker_link.h"
#include "provisioner/backends/docker_pull.h"

#define DOCKER_CALL_TIMEOUT_MS 60000 /* of one call to the engine, which may be busy with fifty others */
#define DOCKER_LOOK_TIMEOUT_MS 15000 /* of one that only asks: an engine that hangs is as good as away */
#define DOCKER_DEPLOYMENT_SIZE 33

struct docker_instance;
struct docker_roundup;

struct backend {
    struct event_base *base;
    struct backend_events events;
    const struct settings *settings;
    struct docker_engine *engine;
    struct docker_link *link;
    struct docker_roundup *roundup;
    struct docker_pull *pulls;
    struct docker_instance *instances;       /* by instance id */
    struct docker_instance *with_containers; /* by container id */
    /* Which Terminals we are, on the labels of our containers: two on one engine leave each other's alone. */
    char deployment[DOCKER_DEPLOYMENT_SIZE];
    bool storage_is_unlimited;   /* the driver knows no limits, and that has been said */
    bool opened_homes_are_known; /* that homes are open for all has been said */
};

#endif
