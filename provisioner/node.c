#include "provisioner/node.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "provisioner/node_internal.h"

#define AGAIN_MS      100 /* after a leader was cut off */
#define SEARCH_MS     250 /* while the database is away */
#define TIDY_MS       (10 * 60 * 1000LL)
#define BOUND_WAIT_MS 30000
#define BOUND_STEP_MS 200
#define NO_TERM       (-1)

/* --- the connection ----------------------------------------------------------------------------------------------- */

static void on_readable(evutil_socket_t fd, short what, void *argument);

/* It has a role that ends in a moment, and reads everything as what it is then. */
static bool is_elected(const struct node *node) {
    return node->term > 0 && node->role.elected != NULL;
}

/* Its number is given to whatever is opened next. An event that outlives it would make libevent take that for watched
 * already, and nobody would ever read there: the store says so in time. */
static void let_go(void *argument) {
    struct node *node = argument;
    if (node->readable != NULL) {
        event_free(node->readable);
        node->readable = NULL;
    }
    node->socket = -1;
}

/* Watches the connection there is now. What was announced between two is lost. */
static void watch(struct node *node) {
    evutil_socket_t socket = node_store_socket(node->nodes);
    unsigned generation = node_store_generation(node->nodes);
    if (socket == node->socket && generation == node->generation) {
        return;
    }
    let_go(node);
    node->socket = socket;
    bool is_new = generation != node->generation;
    node->generation = generation;
    if (socket >= 0) {
        node->readable = event_new(node->base, socket, EV_READ | EV_PERSIST, on_readable, node);
        if (node->readable == NULL || event_add(node->readable, NULL) < 0) {
            log_error(NULL, "watch the database: out of memory");
        }
    }
    if (is_new && socket >= 0 && node->role.reread != NULL && !is_elected(node)) {
        node->has_mail = true;
        node->role.reread(node->role.argument);
    }
}

static void on_readable(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    struct node *node = argument;
    node_store_poll(node->nodes); /* if the connection is lost, the next beat connects anew */
}

/* --- the election ------------------------------------------------------------------------------------------------- */

static void beat_after(struct node *node, int64_t milliseconds) {
    const struct timeval delay = {.tv_sec = milliseconds / 1000, .tv_usec = milliseconds % 1000 * 1000};
    if (event_add(node->beat, &delay) < 0) {
        log_error(NULL, "no heartbeat: out of memory");
    }
}

/* Tries once. */
static bool try_to_lead(struct node *node, struct error *err) {
    int64_t term = 0;
    int64_t asked_ms = clock_monotonic_ms();
    bool was_mine = strcmp(node->state.leader, node->id) == 0;
    bool was_anothers = node->state.leader[0] != '\0' && !was_mine;
    if (!node_store_lead(node->nodes, node->id, node->operations->name, &term, err)) {
        return false;
    }
    if (term > 0) {
        node->term = term;
        node->lease_ms = NODE_LEASE_MS;
        node->succeeds_another = was_anothers;
        node->renewed_ms = node->led_ms = asked_ms;
        log_info(NULL, "this node leads (term %lld)", (long long)term);
    }
    return true;
}

static void depose(struct node *node, const char *why) {
    log_warning(NULL, "this node does not lead any more: %s", why);
    node->term = 0;
    if (node->role.deposed != NULL) {
        node->role.deposed(node->role.argument, why);
    }
}

/* Another node leads, or nobody does. */
static void follow_or_lead(struct node *node, int64_t term_before) {
    struct error err;
    if (node->state.leader_is_alive && strcmp(node->state.leader, node->id) != 0) {
        node->led_ms = clock_monotonic_ms();
        if (strcmp(node->state.backend, node->operations->name) != 0) {
            error_set(&err, ERROR_CONFLICT,
                      "the nodes of this database have the backend `%s`, and this one is set to `%s`: all have to be "
                      "the same",
                      node->state.backend, node->operations->name);
            if (node->role.unfit != NULL) {
                node->role.unfit(node->role.argument, &err);
            }
        } else if (node->state.term != term_before && node->role.leader_changed != NULL) {
            node->role.leader_changed(node->role.argument);
        }
        return;
    }
    if (!try_to_lead(node, &err)) {
        log_warning(NULL, "take the lead: %s (tried again)", err.message);
    } else if (node->term > 0 && node->role.elected != NULL) {
        node->role.elected(node->role.argument);
    } else if (node->term == 0) {
        beat_after(node, AGAIN_MS);
    }
}

/* Nobody else can go on with what it does. */
static bool is_only_one(const struct node *node) {
    return node->operations->is_bound_to_node && node->state.others == 0;
}

static bool holds_for(const struct node *node, int64_t lease_ms) {
    return clock_monotonic_ms() - node->renewed_ms < lease_ms - NODE_MARGIN_MS;
}

/* It leads, as far as it knows, and could not make sure. */
static void doubt(struct node *node) {
    bool is_deposed = node_store_is_deposed(node->nodes);
    if (is_deposed ? !holds_for(node, NODE_LEASE_MS) : !is_only_one(node) && !holds_for(node, node->lease_ms)) {
        depose(node, is_deposed ? "another one has taken over, or holds on to the database"
                                : "the database is away, and another one may have taken over");
    }
}

static void tidy(struct node *node) {
    struct error err;
    int64_t now_ms = clock_monotonic_ms();
    if (node->term > 0 && now_ms - node->tidied_ms >= TIDY_MS) {
        node->tidied_ms = now_ms;
        if (!node_store_forget_mail(node->nodes, &err)) {
            log_warning(NULL, "messages to nodes that are gone stay: %s", err.message);
        }
    }
}

/* A lease as long as one may ask for who knows of these others. Where nobody else can go on, nobody is to wait. */
static int64_t lease_for(const struct node *node) {
    bool is_alone = node->term > 0 && node->state.others == 0 && !node->operations->is_bound_to_node;
    return is_alone ? NODE_LONE_LEASE_MS : NODE_LEASE_MS;
}

/* Whoever leads renews that. A shorter lease than before it counts on from here on, heard or not; a longer one only
 * when the database has said yes. */
static bool send_beat(struct node *node, struct error *err) {
    int64_t asked_ms = clock_monotonic_ms();
    const struct node_beat beat = {
        .id = node->id,
        .name = node->name,
        .websockets = node->server == NULL ? 0 : ipc_server_websockets(node->server),
        .term = node->term > 0 ? node->term : NO_TERM,
        .lease_ms = lease_for(node),
    };
    node->lease_ms = beat.lease_ms < node->lease_ms ? beat.lease_ms : node->lease_ms;
    bool heard = node_store_beat(node->nodes, &beat, &node->state, err);
    if (heard && node->state.is_renewed) {
        node->renewed_ms = node->led_ms = asked_ms; /* what the answer says may be older than the answer */
        node->lease_ms = beat.lease_ms;
    }
    if (!heard && clock_monotonic_ms() - asked_ms < SEARCH_MS / 2) {
        node_store_try_again(node->nodes); /* it says no at once: whoever asks next may ask */
    }
    return heard;
}

static void on_beat(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    struct node *node = argument;
    struct error err;
    int64_t term_before = node->state.term;
    beat_after(node, NODE_BEAT_MS);
    if (!send_beat(node, &err)) {
        beat_after(node, SEARCH_MS);
        if (node->term > 0) {
            doubt(node);
        }
    } else if (node->term == 0) {
        follow_or_lead(node, term_before);
    } else if (!node->state.is_renewed) {
        depose(node, "another one has taken over");
    }
    watch(node);
    tidy(node);
    if (node->role.beat != NULL && !is_elected(node)) {
        node->role.beat(node->role.argument);
    }
    event_active(node->turn, EV_TIMEOUT, 0);
}

bool node_renew(struct node *node, struct error *err) {
    if (node == NULL || clock_monotonic_ms() - node->renewed_ms < NODE_BEAT_MS) {
        return true;
    }
    if (!send_beat(node, err)) {
        return false;
    }
    return node->state.is_renewed || error_set(err, ERROR_CAPACITY, "another node has taken the lead");
}

static void on_turn(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    struct node *node = argument;
    watch(node);
    node_work_off(node);
}

/* --- opening and closing ------------------------------------------------------------------------------------------ */

static void describe(struct node *node) {
    char host[128] = "";
    if (gethostname(host, sizeof host - 1) != 0) {
        host[0] = '\0';
    }
    snprintf(node->name, sizeof node->name, "%s:%.100s", host, node->settings->run_dir);
}

/* Of a backend whose instances are out of the reach of other nodes: leads, or is not there. */
static bool wait_to_lead(struct node *node, struct error *err) {
    const struct timespec step = {.tv_nsec = BOUND_STEP_MS * 1000000L};
    int64_t until_ms = clock_monotonic_ms() + BOUND_WAIT_MS;
    bool is_told = false;
    for (;;) {
        bool ok = try_to_lead(node, err);
        if (node->term > 0) {
            return true;
        }
        if (ok) {
            error_set(err, ERROR_CAPACITY,
                      "the database: another provisioner uses it, and only one can at a time, since instances of the "
                      "backend `%s` belong to the machine they run on (docs/clustering.md)",
                      node->operations->name);
        }
        if (clock_monotonic_ms() >= until_ms) {
            return false;
        }
        if (!is_told) {
            log_warning(NULL, "%s; waiting for it", err->message);
            is_told = true;
        }
        nanosleep(&step, NULL);
    }
}

struct node *node_open(const struct settings *settings, const struct backend_operations *operations,
                       struct event_base *base, struct ipc_server *server, struct error *err) {
    struct node *node = calloc(1, sizeof *node);
    if (node == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    *node = (struct node){
        .settings = settings, .operations = operations, .base = base, .server = server, .id_lock = -1, .socket = -1};
    describe(node);
    node->beat = event_new(base, -1, 0, on_beat, node);
    node->turn = event_new(base, -1, 0, on_turn, node);
    node->store = store_join(settings->database_url, settings->database_password, err);
    if (node->beat == NULL || node->turn == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
    } else if (node->store != NULL && node_id_open(settings->run_dir, node->id, &node->id_lock, err)) {
        node->nodes = node_store_open(node->store, node_hear, let_go, node, err);
    }
    if (node->nodes == NULL || (operations->is_bound_to_node && !wait_to_lead(node, err))) {
        node_close(node);
        return NULL;
    }
    node->led_ms = clock_monotonic_ms();
    event_active(node->beat, EV_TIMEOUT, 0);
    return node;
}

void node_close(struct node *node) {
    struct error err;
    if (node == NULL) {
        return;
    }
    if (node->nodes != NULL && !node_store_leave(node->nodes, node->id, &err)) {
        log_warning(NULL, "leave the other nodes: %s", err.message);
    }
    node_forget_words(node);
    let_go(node);
    if (node->beat != NULL) {
        event_free(node->beat);
    }
    if (node->turn != NULL) {
        event_free(node->turn);
    }
    node_store_close(node->nodes);
    vault_close(node->vault);
    store_close(node->store);
    if (node->id_lock >= 0) {
        close(node->id_lock);
    }
    free(node);
}

void node_set_role(struct node *node, const struct node_role *role) {
    node->role = role == NULL ? (struct node_role){0} : *role;
    if (role != NULL) {
        node->has_mail = true;
        event_active(node->turn, EV_TIMEOUT, 0);
    }
}

void node_follow(struct node *node) {
    node_store_follow(node->nodes);
}

/* --- what it knows ------------------------------------------------------------------------------------------------ */

struct vault *node_vault(const struct node *node) {
    return node == NULL ? NULL : node->vault;
}

void node_keep_vault(struct node *node, struct vault *vault) {
    if (node != NULL) {
        node->vault = vault;
    }
}

struct store *node_store_of(const struct node *node) {
    return node->store;
}

struct ipc_server *node_server(const struct node *node) {
    return node->server;
}

const char *node_id(const struct node *node) {
    return node->id;
}

bool node_leads(const struct node *node) {
    return node == NULL || node->term > 0;
}

bool node_leads_for_certain(const struct node *node) {
    return node == NULL || (node->term > 0 && holds_for(node, node->lease_ms));
}

bool node_may_act(const struct node *node) {
    return node_leads_for_certain(node) || (node->term > 0 && is_only_one(node));
}

bool node_has_others(const struct node *node) {
    return node != NULL && node->state.others > 0;
}

int64_t node_others_websockets(const struct node *node) {
    return node == NULL ? 0 : node->state.others_websockets;
}

int64_t node_led_ms(const struct node *node) {
    return node->led_ms;
}

bool node_succeeds_another(const struct node *node) {
    return node != NULL && node->succeeds_another;
}

bool node_others(struct node *node, char (**ids)[33], size_t *count, struct error *err) {
    return node_store_others(node->nodes, node->id, ids, count, err);
}

bool node_each_route(struct node *node,
                     bool (*row)(void *argument, const struct tenant_record *record, struct error *err), void *argument,
                     struct error *err) {
    return node_store_each_route(node->nodes, row, argument, err);
}
