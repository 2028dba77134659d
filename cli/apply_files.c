#include "cli/apply_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/yaml_json.h"

static void say(const char *file, const char *what) {
    fprintf(stderr, "terminals apply: %s: %s\n", file, what);
}

/* The reader for a name's ending; NULL: a file that is not ours. */
static struct json_object *(*reader_of(const char *name))(const char *, size_t, struct error *) {
    const char *dot = strrchr(name, '.');
    if (dot == NULL || dot == name || name[0] == '.') {
        return NULL;
    }
    return strcmp(dot, ".json") == 0                               ? json_parse_object
           : strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0 ? yaml_to_json
                                                                   : NULL;
}

/* The text of a file, with a NUL behind it. */
static char *read_file(const char *path, size_t *length, struct error *err) {
    struct stat status;
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &status) != 0) {
        error_set(err, ERROR_INVALID, "%s", strerror(errno));
        return NULL;
    }
    if (!S_ISREG(status.st_mode) || status.st_size > APPLY_FILE_MAX_BYTES) {
        error_set(err, ERROR_INVALID, "it is no file of at most %d bytes", APPLY_FILE_MAX_BYTES);
        return NULL;
    }
    char *text = calloc(1, APPLY_FILE_MAX_BYTES + 1);
    ssize_t part = 1;
    *length = 0;
    while (text != NULL && part > 0 && *length < APPLY_FILE_MAX_BYTES) {
        part = read(fd, text + *length, APPLY_FILE_MAX_BYTES - *length);
        *length += part > 0 ? (size_t)part : 0;
    }
    if (text == NULL || part < 0) {
        error_set(err, ERROR_INVALID, "%s", text == NULL ? "out of memory" : strerror(errno));
        free(text);
        return NULL;
    }
    return text;
}

/* An object, or none. */
static bool take_object(struct json_object *document, const char *name, struct json_object **object,
                        struct error *err) {
    struct json_object *value = NULL;
    json_object_object_get_ex(document, name, &value);
    if (value != NULL && !json_object_is_type(value, json_type_object)) {
        return error_set(err, ERROR_INVALID, "`%s` must be an object", name);
    }
    *object = value == NULL ? json_object_new_object() : json_object_get(value);
    return *object != NULL || error_set(err, ERROR_INTERNAL, "out of memory");
}

/* `id`, or the file's name without its ending. */
static bool take_id(struct json_object *document, const char *name, struct wanted_policy *policy, struct error *err) {
    struct json_object *value = NULL;
    cleanup_free char *stem = strndup(name, (size_t)(strrchr(name, '.') - name));
    const char *id = stem;
    if (json_object_object_get_ex(document, "id", &value)) {
        id = json_get_string(document, "id");
        if (id == NULL) {
            return error_set(err, ERROR_INVALID, "`id` must be a text");
        }
    }
    if (id == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    if (!name_check_policy_id(id, err)) {
        return false;
    }
    snprintf(policy->id, sizeof policy->id, "%s", id);
    return true;
}

static bool take_document(struct json_object *document, const char *name, struct wanted_policy *policy,
                          struct error *err) {
    if (!json_object_is_type(document, json_type_object)) {
        return error_set(err, ERROR_INVALID, "it must hold an object with `data` and perhaps `id` and `lifecycle`");
    }
    json_object_object_foreach(document, member, value) {
        (void)value;
        if (strcmp(member, "id") != 0 && strcmp(member, "data") != 0 && strcmp(member, "lifecycle") != 0) {
            return error_set(err, ERROR_INVALID, "`%.100s` is not known: there are `id`, `data` and `lifecycle`",
                             member);
        }
    }
    return take_id(document, name, policy, err) && take_object(document, "data", &policy->data, err) &&
           take_object(document, "lifecycle", &policy->lifecycle, err);
}

/* Reads one file into the next place. */
static bool read_one(const char *folder, const char *name, struct wanted_policies *wanted) {
    struct error err = {0};
    struct wanted_policy *policy = &wanted->list[wanted->count];
    if (asprintf(&policy->file, "%s/%s", folder, name) < 0) {
        policy->file = NULL;
        say(name, "out of memory");
        return false;
    }
    wanted->count++;
    size_t length = 0;
    cleanup_free char *text = read_file(policy->file, &length, &err);
    cleanup_json struct json_object *document = text == NULL ? NULL : reader_of(name)(text, length, &err);
    if (document == NULL || !take_document(document, name, policy, &err)) {
        say(policy->file, err.message);
        return false;
    }
    return true;
}

static int compare(const void *one, const void *other) {
    return strcmp(((const struct wanted_policy *)one)->id, ((const struct wanted_policy *)other)->id);
}

static bool check_twins(const struct wanted_policies *wanted) {
    bool ok = true;
    for (size_t i = 1; i < wanted->count; i++) {
        if (wanted->list[i].id[0] != '\0' && strcmp(wanted->list[i].id, wanted->list[i - 1].id) == 0) {
            fprintf(stderr, "terminals apply: %s: the policy `%s` is in %s too\n", wanted->list[i].file,
                    wanted->list[i].id, wanted->list[i - 1].file);
            ok = false;
        }
    }
    return ok;
}

bool apply_files_read(const char *folder, struct wanted_policies *wanted) {
    *wanted = (struct wanted_policies){.list = calloc(APPLY_FILES_MAX, sizeof *wanted->list)};
    DIR *entries = wanted->list == NULL ? NULL : opendir(folder);
    bool ok = entries != NULL;
    if (!ok) {
        say(folder, wanted->list == NULL ? "out of memory" : strerror(errno));
        return false;
    }
    for (const struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries)) {
        if (reader_of(entry->d_name) == NULL) {
            continue;
        }
        if (wanted->count == APPLY_FILES_MAX) {
            say(folder, "there are too many files in it");
            ok = false;
            break;
        }
        ok = read_one(folder, entry->d_name, wanted) && ok;
    }
    closedir(entries);
    qsort(wanted->list, wanted->count, sizeof *wanted->list, compare);
    return check_twins(wanted) && ok;
}

void apply_files_free(struct wanted_policies *wanted) {
    for (size_t i = 0; i < wanted->count; i++) {
        free(wanted->list[i].file);
        json_object_put(wanted->list[i].data);
        json_object_put(wanted->list[i].lifecycle);
    }
    free(wanted->list);
}

const struct wanted_policy *apply_files_find(const struct wanted_policies *wanted, const char *id) {
    for (size_t i = 0; i < wanted->count; i++) {
        if (strcmp(wanted->list[i].id, id) == 0) {
            return &wanted->list[i];
        }
    }
    return NULL;
}
