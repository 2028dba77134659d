/* local_command.h - with what arguments and environment a local instance runs. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_LOCAL_COMMAND_H
#define TERMINALS_PROVISIONER_BACKENDS_LOCAL_COMMAND_H

#include <stdint.h>

#include "provisioner/backends/bubblewrap.h"
#include "provisioner/backends/string_list.h"

/* By this variable in its start environment a process is known to be of one of our instances: "<run folder>:<id>". */
#define LOCAL_MARK "TERMINALS_INSTANCE"

struct local_command {
    const struct bubblewrap *sandbox; /* NULL: none */
    const char *binary;
    const char *home;
    const char *key;
    const char *mark; /* the value of LOCAL_MARK */
    uint16_t port;
    int info_fd; /* see bubblewrap_add_command() */
};

/* Fills two empty lists; check their `failed`. The key is in the environment only: arguments show in ps. */
void local_command_build(const struct local_command *command, struct string_list *arguments,
                         struct string_list *environment);

#endif
