#include "cli/gc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/command_line.h"
#include "cli/provisioner_program.h"
#include "common/cleanup.h"
#include "common/ipc.h"
#include "common/settings.h"

#define TIMEOUT_MS       (60 * 60 * 1000) /* a user's folder may hold millions of files */
#define AT_ONCE          4000             /* in one request, which may have a mebibyte */
#define OUTPUT_MAX_BYTES (256UL * 1024 * 1024)

static const char usage[] =
    "usage: terminals gc [--dry-run | --yes] [--folders]\n"
    "\n"
    "Lists what nobody owns any more: containers, pods, processes and what belongs to them, deletions that were not\n"
    "finished, tokens whose time is over, and users' files without a tenant. Asks, and then removes it.\n"
    "\n"
    "  --dry-run  only lists\n"
    "  --yes      does not ask\n"
    "  --folders  removes users' files too (folders, volumes' claims), which a deletion keeps unless it says `purge`\n";

struct options {
    bool dry_run;
    bool yes;
    bool folders;
};

/* --- asking ------------------------------------------------------------------------------------------------------- */

static struct json_object *new_request(const struct options *options, bool removes, struct json_object *only,
                                       struct error *err) {
    struct json_object *request = ipc_request("gc");
    if (request == NULL || !json_add_bool(request, "remove", removes) ||
        !json_add_bool(request, "folders", options->folders) ||
        (only != NULL && !json_add(request, "only", json_object_get(only)))) {
        json_object_put(request);
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    return request;
}

static bool write_input(int fd, const char *text, struct error *err) {
    size_t length = strlen(text);
    while (length > 0) {
        ssize_t written = write(fd, text, length);
        if (written < 0 && errno != EINTR) {
            return error_set_errno(err, ERROR_INTERNAL, "write to memory");
        }
        text += written > 0 ? written : 0;
        length -= written > 0 ? (size_t)written : 0;
    }
    return lseek(fd, 0, SEEK_SET) == 0 || error_set_errno(err, ERROR_INTERNAL, "write to memory");
}

static struct json_object *ask_alone(struct json_object *request, struct error *err) {
    cleanup_buffer struct buffer output = {0};
    cleanup_close int input = memfd_create("gc", MFD_CLOEXEC);
    int status = 0;
    if (input < 0) {
        error_set_errno(err, ERROR_INTERNAL, "open memory");
        return NULL;
    }
    if (!write_input(input, json_text(request, &(size_t){0}), err) ||
        !provisioner_run((const char *const[]){"--gc", NULL}, input, OUTPUT_MAX_BYTES, &output, &status, err)) {
        return NULL;
    }
    if (status != 0) {
        error_set(err, ERROR_BACKEND, "terminals-provisioner has said why not");
        return NULL;
    }
    return json_parse_object(output.data == NULL ? "" : output.data, output.length, err);
}

/* {"items": […]}, which the caller puts; NULL with *err. */
static struct json_object *ask(const struct options *options, const char *socket_path, bool removes,
                               struct json_object *only, struct error *err) {
    struct json_object *request = new_request(options, removes, only, err);
    if (request == NULL) {
        return NULL;
    }
    if (provisioner_is_running(socket_path)) {
        return provisioner_ask(socket_path, request, TIMEOUT_MS, err);
    }
    struct json_object *answer = ask_alone(request, err);
    json_object_put(request);
    return answer;
}

/* --- saying ------------------------------------------------------------------------------------------------------- */

static bool is_removable(const struct options *options, struct json_object *item) {
    return options->folders || !json_get_bool(item, "holds_files", true);
}

/* Returns how many of them would be removed. */
static size_t print_found(const struct options *options, struct json_object *items) {
    size_t removable = 0;
    for (size_t i = 0; i < json_object_array_length(items); i++) {
        struct json_object *item = json_object_array_get_idx(items, i);
        bool goes = is_removable(options, item);
        removable += goes;
        printf("%s  %s: %s%s\n", json_get_string(item, "kind"), json_get_string(item, "name"),
               json_get_string(item, "detail"), goes ? "" : " (kept without --folders)");
    }
    printf("found=%zu removable=%zu\n", json_object_array_length(items), removable);
    return removable;
}

struct tally {
    size_t removed;
    size_t failed;
};

static void count_removed(struct json_object *items, struct tally *tally) {
    for (size_t i = 0; i < json_object_array_length(items); i++) {
        struct json_object *item = json_object_array_get_idx(items, i);
        const char *state = json_get_string(item, "state");
        const char *why = json_get_string(item, "error");
        bool is_removed = state != NULL && strcmp(state, "removed") == 0;
        bool is_failed = state != NULL && strcmp(state, "failed") == 0;
        tally->removed += is_removed;
        tally->failed += is_failed;
        if (is_failed) {
            fprintf(stderr, "terminals gc: %s %s: %s\n", json_get_string(item, "kind"), json_get_string(item, "name"),
                    why == NULL ? "out of memory" : why);
        }
    }
}

static bool says_yes(size_t count) {
    char answer[16];
    printf("Remove these %zu? [y/N] ", count);
    fflush(stdout);
    return fgets(answer, sizeof answer, stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y');
}

/* Kind and name of those that go, of `items` from *next on. The caller puts it; NULL: no memory. */
static struct json_object *take_some(const struct options *options, struct json_object *items, size_t *next) {
    struct json_object *some = json_object_new_array();
    size_t count = json_object_array_length(items);
    while (some != NULL && *next < count && json_object_array_length(some) < AT_ONCE) {
        struct json_object *item = json_object_array_get_idx(items, (*next)++);
        struct json_object *copy = is_removable(options, item) ? json_object_new_object() : NULL;
        if (!is_removable(options, item)) {
            continue;
        }
        if (copy == NULL || !json_add_string(copy, "kind", json_get_string(item, "kind")) ||
            !json_add_string(copy, "name", json_get_string(item, "name")) || json_object_array_add(some, copy) != 0) {
            json_object_put(copy);
            json_object_put(some);
            some = NULL;
        }
    }
    return some;
}

/* What was shown, and nothing else. */
static bool remove_all(const struct options *options, const char *socket_path, struct json_object *items,
                       struct error *err) {
    struct tally tally = {0};
    bool ok = true;
    for (size_t next = 0; ok && next < json_object_array_length(items);) {
        cleanup_json struct json_object *some = take_some(options, items, &next);
        cleanup_json struct json_object *answer = some == NULL ? NULL : ask(options, socket_path, true, some, err);
        struct json_object *removed = answer == NULL ? NULL : json_get_array(answer, "items");
        ok = removed != NULL;
        if (ok) {
            count_removed(removed, &tally);
        }
    }
    printf("removed=%zu failed=%zu\n", tally.removed, tally.failed);
    return ok && tally.failed == 0;
}

/* --- the command -------------------------------------------------------------------------------------------------- */

static int run(const struct options *options, const char *socket_path, struct error *err) {
    cleanup_json struct json_object *found = ask(options, socket_path, false, NULL, err);
    struct json_object *items = found == NULL ? NULL : json_get_array(found, "items");
    if (items == NULL) {
        return EXIT_FAILURE;
    }
    size_t removable = print_found(options, items);
    if (options->dry_run || removable == 0) {
        return EXIT_SUCCESS;
    }
    if (!options->yes && !isatty(STDIN_FILENO)) {
        error_set(err, ERROR_INVALID, "nobody is here to ask: --yes removes them");
        return COMMAND_LINE_WRONG;
    }
    if (!options->yes && !says_yes(removable)) {
        puts("Nothing was removed.");
        return EXIT_SUCCESS;
    }
    return remove_all(options, socket_path, items, err) ? EXIT_SUCCESS : EXIT_FAILURE;
}

int gc(int argc, char **argv) {
    struct options options = {0};
    struct settings settings = {0};
    struct error err = {0};
    cleanup_free char *path = NULL;
    const struct command_argument arguments[] = {{"--dry-run", .flag = &options.dry_run},
                                                 {"--yes", .flag = &options.yes},
                                                 {"--folders", .flag = &options.folders},
                                                 {0}};
    int status = EXIT_FAILURE;
    if (!command_line_read(usage, arguments, argc, argv, &status)) {
        return status;
    }
    if (options.dry_run && options.yes) {
        return command_line_refuse(usage);
    }
    if (settings_load(&settings, NULL, &err)) {
        path = provisioner_socket_path(&settings, &err);
        settings_free(&settings);
        status = path == NULL ? EXIT_FAILURE : run(&options, path, &err);
    }
    if (err.code != ERROR_NONE) {
        fprintf(stderr, "terminals gc: %s\n", err.message);
    }
    return status;
}
