#include "cli/apply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/admin_client.h"
#include "cli/apply_files.h"
#include "cli/command_line.h"
#include "cli/json_difference.h"
#include "common/cleanup.h"

#define PAGE         200
#define EXIT_CHANGES 3

enum change { CHANGE_NONE, CHANGE_CREATE, CHANGE_UPDATE, CHANGE_DELETE };
static const char *const change_names[] = {"unchanged", "create", "update", "delete"};

/* What is to be done about one policy, and what there was. */
struct step {
    char id[NAME_POLICY_MAX_BYTES + 1];
    enum change change;
    struct json_object *before; /* data; NULL: there was none */
    struct json_object *after;  /* as Terminals will store it, capped and all; NULL: deleted */
    struct json_object *lifecycle_before;
    struct json_object *lifecycle_after;
    bool changes_data;
    bool changes_lifecycle;
};

struct plan {
    struct step *steps;
    size_t count;
};

struct options {
    const char *folder;
    const char *url;
    bool dry_run;
    bool prune;
};

static void plan_free(struct plan *plan) {
    for (size_t i = 0; i < plan->count; i++) {
        json_object_put(plan->steps[i].before);
        json_object_put(plan->steps[i].after);
        json_object_put(plan->steps[i].lifecycle_before);
        json_object_put(plan->steps[i].lifecycle_after);
    }
    free(plan->steps);
}

/* "/policies/big/lifecycle"; a policy's id needs no encoding. NULL: no memory. The caller frees. */
static char *policy_path(const char *id, const char *rest) {
    char *path = NULL;
    return asprintf(&path, "/policies/%s%s", id, rest) < 0 ? NULL : path;
}

static struct json_object *call_policy(struct admin_client *client, const char *method, const char *id,
                                       const char *rest, struct json_object *body, struct error *err) {
    cleanup_free char *path = policy_path(id, rest);
    if (path == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    return admin_client_call(client, method, path, body, err);
}

/* --- what there is -------------------------------------------------------------------------------------------------
 */

/* All policies, as {id: data}. */
static struct json_object *list_policies(struct admin_client *client, struct error *err) {
    cleanup_json struct json_object *all = json_object_new_object();
    for (size_t offset = 0, got = PAGE; got == PAGE; offset += got) {
        char path[64];
        snprintf(path, sizeof path, "/policies?limit=%d&offset=%zu", PAGE, offset);
        cleanup_json struct json_object *page = admin_client_call(client, "GET", path, NULL, err);
        if (page == NULL || all == NULL) {
            return NULL;
        }
        got = json_object_is_type(page, json_type_array) ? json_object_array_length(page) : 0;
        for (size_t i = 0; i < got; i++) {
            struct json_object *policy = json_object_array_get_idx(page, i);
            const char *id = json_get_string(policy, "id");
            if (id == NULL || !json_add(all, id, json_object_get(json_get_object(policy, "data")))) {
                error_set(err, ERROR_BACKEND, "the list of policies makes no sense");
                return NULL;
            }
        }
    }
    return json_object_get(all);
}

/* {"reset": …} of a lifecycle, without what the API tells besides and without nulls; an empty object for none. */
static struct json_object *own_lifecycle(struct json_object *lifecycle, struct error *err) {
    struct json_object *own = json_object_new_object();
    struct json_object *reset = lifecycle == NULL ? NULL : json_get_object(lifecycle, "reset");
    if (own == NULL || (reset != NULL && !json_add(own, "reset", json_object_get(reset)))) {
        json_object_put(own);
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    return own;
}

/* A lifecycle as it is. */
static struct json_object *get_lifecycle(struct admin_client *client, const char *id, struct error *err) {
    cleanup_json struct json_object *lifecycle = call_policy(client, "GET", id, "/lifecycle", NULL, err);
    return lifecycle == NULL && err->code != ERROR_NOT_FOUND ? NULL : own_lifecycle(lifecycle, err);
}

/* What the API says of a reset without a time zone. */
static bool add_time_zone(struct json_object *lifecycle) {
    struct json_object *reset = json_get_object(lifecycle, "reset");
    return reset == NULL || json_object_object_get_ex(reset, "timezone", NULL) ||
           json_add_string(reset, "timezone", "UTC");
}

/* --- the plan ------------------------------------------------------------------------------------------------------
 */

/* {"id": …, "data": …} */
static struct json_object *policy_body(const char *id, struct json_object *data) {
    struct json_object *body = json_object_new_object();
    if (body == NULL || !json_add_string(body, "id", id) || !json_add(body, "data", json_object_get(data))) {
        json_object_put(body);
        return NULL;
    }
    return body;
}

/* Has Terminals check the data: what it would store, which is what is compared. */
static struct json_object *try_data(struct admin_client *client, const struct wanted_policy *wanted, bool is_new,
                                    struct error *err) {
    cleanup_json struct json_object *body = policy_body(wanted->id, wanted->data);
    cleanup_json struct json_object *policy =
        body == NULL ? NULL
        : is_new     ? admin_client_call(client, "POST", "/policies?dry_run=true", body, err)
                     : call_policy(client, "PUT", wanted->id, "?dry_run=true", body, err);
    struct json_object *data = policy == NULL ? NULL : json_get_object(policy, "data");
    if (body == NULL || (policy != NULL && data == NULL)) {
        error_set(err, ERROR_BACKEND, body == NULL ? "out of memory" : "the answer makes no sense");
    }
    return json_object_get(data);
}

static bool plan_wanted(struct admin_client *client, const struct wanted_policy *wanted, struct json_object *present,
                        struct step *step, struct error *err) {
    struct json_object *before = NULL;
    bool is_new = !json_object_object_get_ex(present, wanted->id, &before);
    memcpy(step->id, wanted->id, sizeof step->id);
    step->before = json_object_get(before);
    step->after = try_data(client, wanted, is_new, err);
    step->lifecycle_after = json_object_get(wanted->lifecycle);
    if (step->after == NULL) {
        return false;
    }
    if (!add_time_zone(step->lifecycle_after)) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    step->lifecycle_before = is_new ? json_object_new_object() : get_lifecycle(client, wanted->id, err);
    if (step->lifecycle_before == NULL) {
        return false;
    }
    step->changes_data = is_new || json_object_equal(step->before, step->after) != 1;
    step->changes_lifecycle = json_object_equal(step->lifecycle_before, step->lifecycle_after) != 1;
    step->change = is_new ? CHANGE_CREATE : step->changes_data || step->changes_lifecycle ? CHANGE_UPDATE : CHANGE_NONE;
    return true;
}

/* Policies of which there is no file; `default` always exists and stays as it is. */
static void plan_deletions(const struct wanted_policies *wanted, struct json_object *present, struct plan *plan) {
    json_object_object_foreach(present, id, data) {
        if (apply_files_find(wanted, id) != NULL || strcmp(id, NAME_DEFAULT) == 0) {
            continue;
        }
        struct step *step = &plan->steps[plan->count++];
        snprintf(step->id, sizeof step->id, "%s", id);
        step->change = CHANGE_DELETE;
        step->before = json_object_get(data);
    }
}

/* Every file is looked at, so that all mistakes are said at once. Returns an exit status. */
static int make_plan(struct admin_client *client, const struct options *options, const struct wanted_policies *wanted,
                     struct plan *plan) {
    struct error err = {.code = ERROR_INTERNAL, .message = "out of memory"};
    int status = EXIT_SUCCESS;
    cleanup_json struct json_object *present = list_policies(client, &err);
    if (present != NULL) {
        plan->steps = calloc(wanted->count + (size_t)json_object_object_length(present) + 1, sizeof *plan->steps);
    }
    if (plan->steps == NULL) {
        fprintf(stderr, "terminals apply: %s\n", err.message);
        return EXIT_FAILURE;
    }
    for (size_t i = 0; i < wanted->count; i++) {
        if (!plan_wanted(client, &wanted->list[i], present, &plan->steps[plan->count++], &err)) {
            fprintf(stderr, "terminals apply: %s: %s\n", wanted->list[i].file, err.message);
            status = err.code == ERROR_INVALID && status != EXIT_FAILURE ? 2 : EXIT_FAILURE;
        }
    }
    if (options->prune) {
        plan_deletions(wanted, present, plan);
    }
    return status;
}

/* --- doing it ------------------------------------------------------------------------------------------------------
 */

static bool put_lifecycle(struct admin_client *client, const struct step *step, struct error *err) {
    cleanup_json struct json_object *answer =
        call_policy(client, "PUT", step->id, "/lifecycle", step->lifecycle_after, err);
    return answer != NULL || error_prefix(err, "lifecycle");
}

static bool put_data(struct admin_client *client, const struct step *step, struct error *err) {
    cleanup_json struct json_object *body = policy_body(step->id, step->after);
    if (body == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    cleanup_json struct json_object *answer = step->change == CHANGE_CREATE
                                                  ? admin_client_call(client, "POST", "/policies", body, err)
                                                  : call_policy(client, "PUT", step->id, "", body, err);
    return answer != NULL;
}

static bool do_step(struct admin_client *client, const struct step *step, struct error *err) {
    if (step->change == CHANGE_DELETE) {
        cleanup_json struct json_object *answer = call_policy(client, "DELETE", step->id, "", NULL, err);
        return answer != NULL;
    }
    return (!step->changes_data || put_data(client, step, err)) &&
           (!step->changes_lifecycle || put_lifecycle(client, step, err));
}

static void print_step(const struct step *step) {
    printf("%s %s\n", change_names[step->change], step->id);
    json_difference_print(stdout, "", step->before, step->after);
    json_difference_print(stdout, "lifecycle", step->lifecycle_before, step->lifecycle_after);
}

/* Goes on after a failure: the next steps have nothing to do with it. Returns an exit status. */
static int run_plan(struct admin_client *client, const struct options *options, const struct plan *plan) {
    size_t counts[sizeof change_names / sizeof change_names[0]] = {0};
    size_t failed = 0;
    for (size_t i = 0; i < plan->count; i++) {
        const struct step *step = &plan->steps[i];
        struct error err = {0};
        if (step->change != CHANGE_NONE) {
            print_step(step);
            fflush(stdout);
        }
        if (step->change != CHANGE_NONE && !options->dry_run && !do_step(client, step, &err)) {
            failed++;
            fprintf(stderr, "terminals apply: %s %s: %s\n", change_names[step->change], step->id, err.message);
        } else {
            counts[step->change]++;
        }
    }
    printf("%screated=%zu updated=%zu deleted=%zu unchanged=%zu failed=%zu\n", options->dry_run ? "dry run: " : "",
           counts[CHANGE_CREATE], counts[CHANGE_UPDATE], counts[CHANGE_DELETE], counts[CHANGE_NONE], failed);
    if (failed > 0) {
        return EXIT_FAILURE;
    }
    return options->dry_run && counts[CHANGE_NONE] < plan->count ? EXIT_CHANGES : EXIT_SUCCESS;
}

/* --- the command ---------------------------------------------------------------------------------------------------
 */

static const char usage[] =
    "usage: terminals apply -f DIR [--dry-run] [--prune] [--url URL]\n"
    "\n"
    "  -f DIR     a folder with a policy in each NAME.yaml, NAME.yml or NAME.json\n"
    "  --dry-run  say what would be changed, and change nothing; exit status 3 if it is anything\n"
    "  --prune    delete the policies that are in no file\n"
    "  --url URL  the Terminals to talk to, instead of the one of this machine's settings\n";

static int apply_wanted(const struct options *options, const struct wanted_policies *wanted) {
    struct error err = {0};
    struct settings settings = {0};
    if (!settings_load(&settings, NULL, &err)) {
        fprintf(stderr, "terminals apply: %s\n", err.message);
        return EXIT_FAILURE;
    }
    struct admin_client *client = admin_client_open(&settings, options->url, &err);
    settings_free(&settings);
    if (client == NULL) {
        fprintf(stderr, "terminals apply: %s\n", err.message);
        return EXIT_FAILURE;
    }
    struct plan plan = {0};
    int status = make_plan(client, options, wanted, &plan);
    if (status != EXIT_SUCCESS) {
        fputs("terminals apply: nothing was changed\n", stderr);
    } else {
        status = run_plan(client, options, &plan);
    }
    plan_free(&plan);
    admin_client_close(client);
    return status;
}

int apply(int argc, char **argv) {
    struct options options = {0};
    struct wanted_policies wanted = {0};
    const struct command_argument arguments[] = {{"-f", .value = &options.folder},
                                                 {"--url", .value = &options.url},
                                                 {"--dry-run", .flag = &options.dry_run},
                                                 {"--prune", .flag = &options.prune},
                                                 {0}};
    int status = COMMAND_LINE_WRONG;
    if (!command_line_read(usage, arguments, argc, argv, &status)) {
        return status;
    }
    if (options.folder == NULL) {
        return command_line_refuse(usage);
    }
    if (apply_files_read(options.folder, &wanted)) {
        status = apply_wanted(&options, &wanted);
    } else {
        fputs("terminals apply: nothing was changed\n", stderr);
    }
    apply_files_free(&wanted);
    return status;
}
