#include "provisioner/operator/lease.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "provisioner/backends/kubernetes_json.h"

#define LEASE_API    "apis/coordination.k8s.io/v1"
#define LEASES       "leases"
#define LEASE_NAME   "terminals-operator"
#define UPDATE_QUERY "?fieldManager=terminals-operator"
#define TIME_SIZE    48

struct lease {
    struct kubernetes_client *client;
    char *identity;
    int64_t duration_ms;
    void (*changed)(void *argument, bool leads);
    void *argument;
    void (*released)(void *argument);
    void *released_argument;
    struct kubernetes_call *call;
    struct event *timer;
    bool leads;
    int64_t asked_ms;        /* monotonic: when the call under way was made */
    int64_t renewed_ms;      /* monotonic: when what renewed it was asked */
    struct json_object *now; /* as it was told last; NULL: it is to be read */
    char seen[128];          /* its version when it changed last, and when that was seen */
    int64_t seen_ms;
};

static void ask(struct lease *lease);

/* RFC 3339 with microseconds, as MicroTime wants it. */
static void format_now(char out[TIME_SIZE]) {
    struct timespec now;
    struct tm parts;
    char seconds[24];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(out, TIME_SIZE, "%s.%06ldZ", seconds, now.tv_nsec / 1000 % 1000000);
}

static void set_leads(struct lease *lease, bool leads) {
    if (lease->leads != leads) {
        lease->leads = leads;
        log_info(NULL, leads ? "%s leads" : "%s leads no longer", lease->identity);
        lease->changed(lease->argument, leads);
    }
}

static void ask_later(struct lease *lease) {
    int64_t pause_ms = lease->duration_ms / 5;
    const struct timeval pause = {pause_ms / 1000, pause_ms % 1000 * 1000};
    if (evtimer_add(lease->timer, &pause) != 0) {
        log_error(NULL, "no timer to renew the lease: out of memory");
    }
}

/* Nobody may lead whom others may take for dead. */
static void look_at_clock(struct lease *lease) {
    if (clock_monotonic_ms() - lease->renewed_ms > lease->duration_ms * 2 / 3) {
        set_leads(lease, false);
    }
}

static void start(struct lease *lease, const struct kubernetes_request *request, kubernetes_done *done) {
    lease->asked_ms = clock_monotonic_ms();
    lease->call = kubernetes_call_start(lease->client, request, done, lease);
    if (lease->call == NULL) {
        look_at_clock(lease);
        ask_later(lease);
    }
}

/* --- what it says ------------------------------------------------------------------------------------------------- */

static void take(struct lease *lease, struct json_object *json) {
    const char *version = json_get_string(json_get_object(json, "metadata"), "resourceVersion");
    json_object_put(lease->now);
    lease->now = json_object_get(json);
    if (version != NULL && strcmp(version, lease->seen) != 0) {
        snprintf(lease->seen, sizeof lease->seen, "%s", version);
        lease->seen_ms = clock_monotonic_ms();
    }
}

static const char *holder(const struct lease *lease) {
    const char *name = json_get_string(json_get_object(lease->now, "spec"), "holderIdentity");
    return name == NULL ? "" : name;
}

static bool is_mine(const struct lease *lease) {
    return strcmp(holder(lease), lease->identity) == 0;
}

static bool is_free(const struct lease *lease) {
    int64_t lasts_ms = json_get_int(json_get_object(lease->now, "spec"), "leaseDurationSeconds", 0) * 1000;
    return holder(lease)[0] == '\0' || clock_monotonic_ms() - lease->seen_ms > lasts_ms;
}

/* --- what we write ------------------------------------------------------------------------------------------------ */

static bool fill(const struct lease *lease, struct json_object *spec, const char *identity) {
    bool was_mine = is_mine(lease);
    int64_t transitions = json_get_int(spec, "leaseTransitions", 0);
    char now[TIME_SIZE];
    format_now(now);
    return json_add_string(spec, "holderIdentity", identity) &&
           json_add_int(spec, "leaseDurationSeconds", identity[0] == '\0' ? 1 : lease->duration_ms / 1000) &&
           json_add_string(spec, "renewTime", now) &&
           (was_mine || (json_add_string(spec, "acquireTime", now) &&
                         json_add_int(spec, "leaseTransitions", lease->now == NULL ? 0 : transitions + 1)));
}

/* Our word in it: a change of what was read, or a new one. NULL: no memory. */
static struct json_object *make(const struct lease *lease, const char *identity) {
    struct json_object *body = NULL;
    if (lease->now != NULL && json_object_deep_copy(lease->now, &body, NULL) != 0) {
        return NULL;
    }
    if (body == NULL) {
        body = json_object_new_object();
    }
    struct json_object *metadata = body == NULL ? NULL : kubernetes_json_object(body, "metadata");
    struct json_object *spec = metadata == NULL ? NULL : kubernetes_json_object(body, "spec");
    if (spec == NULL || !json_add_string(body, "apiVersion", "coordination.k8s.io/v1") ||
        !json_add_string(body, "kind", "Lease") || !json_add_string(metadata, "name", LEASE_NAME) ||
        !fill(lease, spec, identity)) {
        json_object_put(body);
        return NULL;
    }
    return body;
}

static void on_written(void *argument, const struct kubernetes_answer *answer) {
    struct lease *lease = argument;
    lease->call = NULL;
    if (answer->status == 200 || answer->status == 201) {
        take(lease, answer->json);
        lease->renewed_ms = lease->asked_ms;
        set_leads(lease, true);
    } else {
        json_object_put(lease->now);
        lease->now = NULL; /* somebody else was faster, or nobody knows: it is read anew */
        look_at_clock(lease);
    }
    ask_later(lease);
}

static void write_it(struct lease *lease, const char *identity, kubernetes_done *done) {
    bool is_new = lease->now == NULL;
    cleanup_json struct json_object *body = make(lease, identity);
    const struct kubernetes_request request = {.method = is_new ? "POST" : "PUT",
                                               .api = LEASE_API,
                                               .kind = LEASES,
                                               .name = is_new ? NULL : LEASE_NAME,
                                               .query = UPDATE_QUERY,
                                               .body = body,
                                               .timeout_ms = (int)lease->duration_ms / 3};
    if (body == NULL) {
        ask_later(lease);
    } else {
        start(lease, &request, done);
    }
}

static void on_read(void *argument, const struct kubernetes_answer *answer) {
    struct lease *lease = argument;
    lease->call = NULL;
    if (answer->status == 404) {
        write_it(lease, lease->identity, on_written);
        return;
    }
    if (answer->status != 200) {
        struct error err;
        kubernetes_answer_error(answer, &err, "read the lease");
        log_warning(NULL, "%s", err.message);
        look_at_clock(lease);
        ask_later(lease);
        return;
    }
    take(lease, answer->json);
    if (is_mine(lease) || is_free(lease)) {
        write_it(lease, lease->identity, on_written);
    } else {
        set_leads(lease, false);
        json_object_put(lease->now);
        lease->now = NULL;
        ask_later(lease);
    }
}

static void ask(struct lease *lease) {
    const struct kubernetes_request request = {.method = "GET",
                                               .api = LEASE_API,
                                               .kind = LEASES,
                                               .name = LEASE_NAME,
                                               .timeout_ms = (int)lease->duration_ms / 3};
    look_at_clock(lease);
    if (lease->now != NULL && is_mine(lease)) {
        write_it(lease, lease->identity, on_written);
    } else {
        start(lease, &request, on_read);
    }
}

static void on_timer(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    ask(argument);
}

/* --- open, release, close ----------------------------------------------------------------------------------------- */

struct lease *lease_open(struct kubernetes_client *client, struct event_base *base, const char *identity,
                         int64_t duration_s, void (*changed)(void *argument, bool leads), void *argument) {
    struct lease *lease = calloc(1, sizeof *lease);
    if (lease == NULL) {
        return NULL;
    }
    const struct timeval now = {0, 0};
    lease->client = client;
    lease->identity = strdup(identity);
    lease->duration_ms = duration_s * 1000;
    lease->changed = changed;
    lease->argument = argument;
    lease->timer = evtimer_new(base, on_timer, lease);
    if (lease->identity == NULL || lease->timer == NULL || evtimer_add(lease->timer, &now) != 0) {
        lease_close(lease);
        return NULL;
    }
    return lease;
}

void lease_close(struct lease *lease) {
    if (lease == NULL) {
        return;
    }
    kubernetes_call_cancel(lease->call);
    if (lease->timer != NULL) {
        event_free(lease->timer);
    }
    json_object_put(lease->now);
    free(lease->identity);
    free(lease);
}

bool lease_leads(const struct lease *lease) {
    return lease->leads;
}

static void on_released(void *argument, const struct kubernetes_answer *answer) {
    struct lease *lease = argument;
    (void)answer; /* what could not be given back runs out */
    lease->call = NULL;
    lease->released(lease->released_argument);
}

void lease_release(struct lease *lease, void (*done)(void *argument), void *argument) {
    bool is_held = lease->leads && lease->now != NULL && is_mine(lease);
    kubernetes_call_cancel(
        lease->call); /* if that writes, the version is not the one that we have: nothing is given back */
    lease->call = NULL;
    evtimer_del(lease->timer);
    set_leads(lease, false);
    lease->released = done;
    lease->released_argument = argument;
    if (is_held) {
        write_it(lease, "", on_released);
    }
    if (lease->call == NULL) {
        evtimer_del(lease->timer);
        done(argument);
    }
}
