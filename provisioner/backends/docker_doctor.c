/* docker_doctor.c - is the engine there, and has it what our containers need? */
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "provisioner/backends/docker_create.h"
#include "provisioner/backends/docker_engine.h"
#include "provisioner/backends/docker_labels.h"
#include "provisioner/doctor.h"

#define TIMEOUT_MS  10000
#define SKEW_MAX_MS 5000

/* One question at a time, waited for. */
struct look {
    const struct settings *settings;
    struct findings *findings;
    struct event_base *base;
    struct docker_engine *engine;
    int64_t asked_ms; /* Unix; when the last question was asked */
    int status;       /* of the last answer; 0: none came */
    struct json_object *json;
    struct error err; /* the last answer as an error */
};

static void on_answer(void *argument, const struct docker_answer *answer) {
    struct look *look = argument;
    look->status = answer->status;
    look->json = json_object_get(answer->json);
    docker_answer_error(answer, &look->err, "ask the engine");
    event_base_loopbreak(look->base);
}

/* True for an answer 200. */
static bool ask(struct look *look, const char *path, bool without_version) {
    const struct docker_request request = {
        .method = "GET", .path = path, .timeout_ms = TIMEOUT_MS, .without_version = without_version};
    json_object_put(look->json);
    look->json = NULL;
    look->status = 0;
    look->asked_ms = clock_unix_ms();
    if (docker_call_start(look->engine, &request, on_answer, look) == NULL) {
        look->findings->is_incomplete = true;
        return false;
    }
    event_base_dispatch(look->base);
    return look->status == 200;
}

static bool ask_about(struct look *look, const char *kind, const char *name, const char *suffix) {
    cleanup_free char *escaped = docker_escape(name);
    cleanup_free char *path = NULL;
    if (escaped == NULL || asprintf(&path, "/%s/%s%s", kind, escaped, suffix) < 0) {
        path = NULL;
        look->findings->is_incomplete = true;
        return false;
    }
    return ask(look, path, false);
}

static bool check_engine(struct look *look) {
    if (!ask(look, "/version", true)) {
        findings_add(
            look->findings, "engine", FINDING_FAIL,
            "start it (`systemctl start docker`), or look at TERMINALS_DOCKER_HOST and at who may use its socket",
            "`%s`: %s", look->settings->docker_host, look->err.message);
        return false;
    }
    const char *newest = json_get_string(look->json, "ApiVersion");
    const char *oldest = json_get_string(look->json, "MinAPIVersion");
    const char *version = json_get_string(look->json, "Version");
    findings_add(look->findings, "engine", FINDING_OK, NULL, "version %s at `%s`", version == NULL ? "?" : version,
                 look->settings->docker_host);
    if (newest != NULL) {
        docker_engine_set_version(look->engine, newest, oldest == NULL ? newest : oldest);
    }
    return true;
}

static void check_network(struct look *look, const char *name, bool is_ours) {
    if (ask_about(look, "networks", name, "")) {
        findings_add(look->findings, "network", FINDING_OK, NULL, "`%s` is there", name);
    } else if (look->status == 404 && is_ours) {
        findings_add(look->findings, "network", FINDING_OK, NULL, "`%s` will be made", name);
    } else if (look->status == 404) {
        findings_add(look->findings, "network", FINDING_FAIL,
                     "make it (`docker network create`), or look at TERMINALS_DOCKER_NETWORK", "there is no `%s`",
                     name);
    } else {
        findings_add(look->findings, "network", FINDING_FAIL, NULL, "`%s`: %s", name, look->err.message);
    }
}

static void check_networks(struct look *look) {
    if (look->settings->docker_network == NULL) {
        check_network(look, DOCKER_NETWORK_OWN, true);
        return;
    }
    cleanup_free char *names = strdup(look->settings->docker_network);
    char *rest = NULL;
    look->findings->is_incomplete = look->findings->is_incomplete || names == NULL;
    for (char *name = names == NULL ? NULL : strtok_r(names, ", ", &rest); name != NULL;
         name = strtok_r(NULL, ", ", &rest)) {
        check_network(look, name, false);
    }
}

static void check_image(struct look *look) {
    const char *image = look->settings->image;
    if (ask_about(look, "images", image, "/json")) {
        findings_add(look->findings, "image", FINDING_OK, NULL, "`%s` is there", image);
    } else if (look->status == 404) {
        findings_add(look->findings, "image", FINDING_WARN, "`docker pull` it, so that the first start is no long one",
                     "the engine does not have `%s` yet: the first start pulls it", image);
    } else {
        findings_add(look->findings, "image", FINDING_FAIL, "look at TERMINALS_IMAGE", "`%s`: %s", image,
                     look->err.message);
    }
}

static void check_runtime(struct look *look) {
    const char *name = look->settings->docker_runtime;
    struct json_object *runtimes = json_get_object(look->json, "Runtimes");
    if (name != NULL) {
        bool is_there = json_object_object_get_ex(runtimes, name, NULL);
        findings_add(look->findings, "runtime", is_there ? FINDING_OK : FINDING_FAIL,
                     is_there ? NULL
                              : "install it and name it in the engine's daemon.json, or unset TERMINALS_DOCKER_RUNTIME",
                     is_there ? "the engine knows `%s`" : "the engine knows no runtime `%s`", name);
    }
}

static void check_machine(struct look *look) {
    static const char advice[] = "boot its machine with the cgroup controllers that are missing (`docker info` warns)";
    int64_t now_ms = 0;
    const char *now = json_get_string(look->json, "SystemTime");
    bool has_limits = json_get_bool(look->json, "MemoryLimit", true) && json_get_bool(look->json, "PidsLimit", true) &&
                      json_get_bool(look->json, "CpuCfsQuota", true);
    findings_add(look->findings, "limits", has_limits ? FINDING_OK : FINDING_WARN, has_limits ? NULL : advice,
                 has_limits ? "the engine can limit memory, processors and processes"
                            : "the engine cannot limit memory, processors or processes: a user can take all");
    if (now != NULL && clock_parse_rfc3339(now, &now_ms)) {
        int64_t answered_ms = clock_unix_ms(); /* it was read somewhere in between */
        int64_t skew_ms = now_ms < look->asked_ms ? look->asked_ms - now_ms
                          : now_ms > answered_ms  ? now_ms - answered_ms
                                                  : 0;
        findings_add(look->findings, "clock", skew_ms > SKEW_MAX_MS ? FINDING_WARN : FINDING_OK,
                     skew_ms > SKEW_MAX_MS ? "run NTP on both machines" : NULL, "%lld ms from the engine's",
                     (long long)skew_ms);
    }
}

void doctor_look_at_docker(const struct settings *settings, struct findings *findings) {
    struct error err = {0};
    struct look look = {.settings = settings, .findings = findings, .base = event_base_new()};
    look.engine = look.base == NULL ? NULL : docker_engine_open(settings->docker_host, look.base, &err);
    if (look.base == NULL) {
        findings->is_incomplete = true;
    } else if (look.engine == NULL) {
        findings_add(findings, "engine", FINDING_FAIL, "look at TERMINALS_DOCKER_HOST", "%s", err.message);
    } else if (check_engine(&look)) {
        check_networks(&look);
        check_image(&look);
        if (ask(&look, "/info", false)) {
            check_runtime(&look);
            check_machine(&look);
        }
    }
    json_object_put(look.json);
    if (look.engine != NULL) {
        docker_engine_close(look.engine);
    }
    if (look.base != NULL) {
        event_base_free(look.base);
    }
}
