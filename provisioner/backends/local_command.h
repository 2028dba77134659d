/* local_command.h - with what arguments and environment a local instance runs. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_LOCAL_COMMAND_H
#define TERMINALS_PROVISIONER_BACKENDS_LOCAL_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "common/json.h"
#include "provisioner/backends/bubblewrap.h"
#include "provisioner/backends/string_list.h"

/* By this variable in its start environment a process is known to be of one of our instances: "<run folder>:<id>". */
#define LOCAL_MARK "TERMINALS_INSTANCE"

struct local_command {
    const struct bubblewrap *sandbox; /* NULL: none */
    const char *binary;
    bool waits; /* it is ours, and knows --wait-fd */
    const char *home;
    const char *key;
    struct json_object *env; /* what the policy adds to the environment, an object of texts; NULL: nothing */
    const char *mark;        /* the value of LOCAL_MARK */
    uint16_t port;
    int info_fd; /* see bubblewrap_add_command() */
};

/* Whether a policy may set this variable here. Not those by which we know our processes, reach them or keep them apart,
 * and not those that the dynamic loader and libc listen to: bwrap has this environment too, before it has shut anything
 * out. */
bool local_command_may_set(const char *variable);

/* Fills three empty lists; check their `failed`. `words` are what the program waits for itself (spawn.h), and stay
 * empty where it does not. The key is in the environment only: arguments show in ps. */
void local_command_build(const struct local_command *command, struct string_list *arguments, struct string_list *words,
                         struct string_list *environment);

#endif
