#include "provisioner/database_commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "provisioner/migrations.h"

static bool print_version(struct database *database, struct error *err) {
    int version = migrations_current(database, err);
    if (version >= 0) {
        printf("version=%d newest=%d\n", version, migrations_newest(migrations_known(database)));
    }
    return version >= 0;
}

static bool current(struct database *database, const char *version, struct error *err) {
    (void)version;
    return print_version(database, err);
}

static bool upgrade(struct database *database, const char *version, struct error *err) {
    (void)version;
    return migrations_run(database, migrations_known(database), err) && print_version(database, err);
}

static bool history(struct database *database, const char *unused, struct error *err) {
    (void)unused;
    struct migration_list known = migrations_known(database);
    int version = migrations_current(database, err);
    if (version < 0) {
        return false;
    }
    for (size_t i = 0; i < known.count; i++) {
        printf("%s %s\n", known.items[i].name, known.items[i].version <= version ? "done" : "to do");
    }
    int newest = migrations_newest(known);
    if (version > newest) {
        printf("up to %d by a newer program\n", version);
    }
    return true;
}

static bool stamp(struct database *database, const char *version, struct error *err) {
    char *end = NULL;
    long number = version == NULL ? -1 : strtol(version, &end, 10);
    if (version == NULL || end == version || *end != '\0' || number < 0 || number > 999999) {
        return error_set(err, ERROR_INVALID, "a version is a number, as `terminals db history` lists them");
    }
    return migrations_stamp(database, migrations_known(database), (int)number, err) && print_version(database, err);
}

bool database_command_run(const struct settings *settings, const char *command, const char *version,
                          struct error *err) {
    static const struct {
        const char *name;
        bool takes_version;
        bool (*run)(struct database *database, const char *version, struct error *err);
    } commands[] = {
        {"upgrade", false, upgrade},
        {"current", false, current},
        {"history", false, history},
        {"stamp", true, stamp},
    };
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(commands[i].name, command) == 0 && commands[i].takes_version == (version != NULL)) {
            struct database *database =
                database_open(settings->database_url, settings->database_password, DATABASE_SHARED, err);
            bool ok = database != NULL && commands[i].run(database, version, err);
            database_close(database);
            return ok;
        }
    }
    return error_set(err, ERROR_INVALID, "expected upgrade, current, history or stamp VERSION");
}
