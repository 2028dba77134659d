#include "provisioner/commands.h"

#include <stdio.h>
#include <string.h>

#include "provisioner/database_commands.h"
#include "provisioner/doctor.h"
#include "provisioner/gc.h"
#include "provisioner/key_rotation.h"
#include "provisioner/restore.h"

/* `arguments` follow the flag, and end with NULL. */
static bool rotate_key(const struct settings *settings, const struct backend_operations *operations, char **arguments,
                       struct error *err) {
    size_t count = 0;
    bool changed = key_rotation_run_alone(settings, operations, arguments[0], &count, err);
    if (changed) {
        printf("resealed=%zu\n", count);
    }
    return changed;
}

static bool run_database_command(const struct settings *settings, const struct backend_operations *operations,
                                 char **arguments, struct error *err) {
    (void)operations;
    return database_command_run(settings, arguments[0], arguments[1], err);
}

static bool look(const struct settings *settings, const struct backend_operations *operations, char **arguments,
                 struct error *err) {
    (void)operations;
    (void)arguments;
    return doctor_print(settings, err);
}

static bool clear(const struct settings *settings, const struct backend_operations *operations, char **arguments,
                  struct error *err) {
    (void)arguments;
    return gc_run_alone(settings, operations, err);
}

static bool back_up(const struct settings *settings, const struct backend_operations *operations, char **arguments,
                    struct error *err) {
    (void)operations;
    return backup_run(settings, arguments[0], arguments[1] != NULL, err);
}

static bool may_restore(const struct settings *settings, const struct backend_operations *operations, char **arguments,
                        struct error *err) {
    (void)operations;
    return restore_check(settings, arguments[0] != NULL, err);
}

static bool restore(const struct settings *settings, const struct backend_operations *operations, char **arguments,
                    struct error *err) {
    (void)operations;
    return restore_run(settings, arguments[0] != NULL, err);
}

struct command {
    const char *flag;
    int least; /* arguments after it */
    int most;
    bool (*run)(const struct settings *settings, const struct backend_operations *operations, char **arguments,
                struct error *err);
};

static const struct command commands[] = {
    {"--rotate-key", 0, 1, rotate_key}, {"--database", 1, 2, run_database_command},
    {"--doctor", 0, 0, look},           {"--gc", 0, 0, clear},
    {"--backup", 1, 2, back_up},        {"--may-restore", 0, 1, may_restore},
    {"--restore", 0, 1, restore},
};

const struct command *command_find(int count, char **words) {
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(words[0], commands[i].flag) == 0 && count - 1 >= commands[i].least &&
            count - 1 <= commands[i].most) {
            return &commands[i];
        }
    }
    return NULL;
}

bool command_run(const struct command *command, const struct settings *settings,
                 const struct backend_operations *operations, char **arguments, struct error *err) {
    return command->run(settings, operations, arguments, err);
}
