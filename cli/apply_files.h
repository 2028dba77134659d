/* apply_files.h - the files that `terminals apply` reads: a policy a file, with its lifecycle (docs/policies.md). */
#ifndef TERMINALS_CLI_APPLY_FILES_H
#define TERMINALS_CLI_APPLY_FILES_H

#include "common/json.h"
#include "common/names.h"

#define APPLY_FILES_MAX      1000
#define APPLY_FILE_MAX_BYTES (256 * 1024)

struct wanted_policy {
    char id[NAME_POLICY_MAX_BYTES + 1];
    char *file;                    /* path, for messages */
    struct json_object *data;      /* an object */
    struct json_object *lifecycle; /* an object, empty where the file says nothing */
};

struct wanted_policies {
    struct wanted_policy *list; /* in order of their ids */
    size_t count;
};

/* Reads NAME.yaml, NAME.yml and NAME.json of a folder (not below it, no names that start with a dot). Every mistake is
 * a line on standard error that names file and place; false if there was any. Free it in both cases. */
bool apply_files_read(const char *folder, struct wanted_policies *wanted);
void apply_files_free(struct wanted_policies *wanted);

/* NULL: none of that name. */
const struct wanted_policy *apply_files_find(const struct wanted_policies *wanted, const char *id);

#endif
