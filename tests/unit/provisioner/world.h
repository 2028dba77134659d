/* world.h - a whole provisioner around a backend, two maps and an HAProxy that do what a test tells them.
 *
 * The functions of maps.h and haproxy_runtime.h are defined here, so that the real ones are not linked. */
#ifndef TERMINALS_TESTS_WORLD_H
#define TERMINALS_TESTS_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <uthash.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/names.h"
#include "provisioner/provisioner.h"
#include "provisioner/starts.h"
#include "provisioner/stops.h"
#include "provisioner/store_internal.h"
#include "provisioner/tenants.h"
#include "tests/unit/provisioner/temporary_folder.h"
#include "tests/unit/provisioner/test_database.h"

/* --- maps -----------------------------------------------------------------------------------------------------------
 */

struct fake_entry {
    char *key;
    char *value;
    UT_hash_handle hh;
};
struct map {
    struct fake_entry *entries;
};
static bool fake_map_is_full;

struct map *map_open(const char *file, struct haproxy_runtime *runtime) {
    (void)runtime;
    assert_int_equal(file[0], '/');
    return calloc(1, sizeof(struct map));
}

void map_remove(struct map *map, const char *key) {
    struct fake_entry *entry;
    HASH_FIND_STR(map->entries, key, entry);
    if (entry != NULL) {
        HASH_DEL(map->entries, entry);
        free(entry->key);
        free(entry->value);
        free(entry);
    }
}

static void fake_map_clear(struct map *map) {
    struct fake_entry *entry, *next;
    HASH_ITER(hh, map->entries, entry, next) {
        map_remove(map, entry->key);
    }
}

void map_close(struct map *map) {
    fake_map_clear(map);
    free(map);
}

bool map_put(struct map *map, const char *key, const char *value, struct error *err) {
    if (fake_map_is_full) {
        return error_set(err, ERROR_CAPACITY, "append to the map: No space left on device");
    }
    map_remove(map, key);
    struct fake_entry *entry = calloc(1, sizeof *entry);
    entry->key = strdup(key);
    entry->value = strdup(value);
    HASH_ADD_KEYPTR(hh, map->entries, entry->key, strlen(entry->key), entry);
    return true;
}

void map_flush(struct map *map, void (*done)(void *argument), void *argument) {
    (void)map;
    done(argument);
}

const char *map_get(const struct map *map, const char *key) {
    struct fake_entry *entry;
    HASH_FIND_STR(map->entries, key, entry);
    return entry == NULL ? NULL : entry->value;
}

const struct histogram *map_pushes(const struct map *map) {
    (void)map;
    static const struct histogram none;
    return &none;
}

size_t map_count(const struct map *map) {
    return HASH_COUNT(map->entries);
}

bool map_replace_all(struct map *map, const struct map_entry *entries, size_t count, struct error *err) {
    fake_map_clear(map);
    for (size_t i = 0; i < count; i++) {
        if (!map_put(map, entries[i].key, entries[i].value, err)) {
            return false;
        }
    }
    return true;
}

bool map_change_to(struct map *map, const struct map_entry *entries, size_t count, struct error *err) {
    return map_replace_all(map, entries, count, err);
}

/* --- HAProxy --------------------------------------------------------------------------------------------------------
 */

struct haproxy_runtime {
    int unused;
};
static struct {
    bool is_up;      /* runs */
    bool is_silent;  /* runs, but does not answer */
    int64_t lost_ms; /* haproxy_runtime_lost_ms() */
    struct route_activity routes[4];
    size_t count;
    int looks;
    void (*on_look)(int look); /* called before the answer to the look of this number, from 1 */
    const char *stat;
} fake_haproxy;

struct haproxy_runtime *haproxy_runtime_open(const char *socket_path, const char *master_path,
                                             struct event_base *base) {
    (void)socket_path;
    (void)master_path;
    (void)base;
    return calloc(1, sizeof(struct haproxy_runtime));
}

void haproxy_runtime_close(struct haproxy_runtime *runtime) {
    free(runtime);
}

bool haproxy_runtime_on_restart(struct haproxy_runtime *runtime, void (*restarted)(void *argument), void *argument) {
    (void)runtime;
    (void)restarted;
    (void)argument;
    return true;
}

bool haproxy_runtime_is_up(const struct haproxy_runtime *runtime) {
    (void)runtime;
    return fake_haproxy.is_up && !fake_haproxy.is_silent;
}

bool haproxy_runtime_is_gone(const struct haproxy_runtime *runtime) {
    (void)runtime;
    return !fake_haproxy.is_up;
}

int64_t haproxy_runtime_lost_ms(const struct haproxy_runtime *runtime) {
    (void)runtime;
    return fake_haproxy.lost_ms;
}

pid_t haproxy_runtime_pid(const struct haproxy_runtime *runtime) {
    (void)runtime;
    return 0;
}

void haproxy_runtime_command(struct haproxy_runtime *runtime, const char *command,
                             void (*done)(void *argument, const char *answer), void *argument) {
    (void)runtime;
    (void)command;
    done(argument, fake_haproxy.stat);
}

void haproxy_runtime_activity(struct haproxy_runtime *runtime,
                              void (*done)(void *argument, bool ok, const struct route_activity *routes, size_t count),
                              void *argument) {
    (void)runtime;
    fake_haproxy.looks++;
    if (fake_haproxy.on_look != NULL) {
        fake_haproxy.on_look(fake_haproxy.looks);
    }
    bool ok = fake_haproxy.is_up && !fake_haproxy.is_silent;
    done(argument, ok, fake_haproxy.routes, ok ? fake_haproxy.count : 0);
}

/* --- the backend ----------------------------------------------------------------------------------------------------
 */

enum fake_answer { FAKE_WAIT, FAKE_SUCCEED, FAKE_FAIL };

static struct {
    struct backend_events events;
    enum fake_answer on_start, on_adopt, on_stop; /* FAKE_WAIT: the test raises the event */
    bool is_alive;                                /* what check() finds */
    bool is_silent;                               /* it runs, but check() has no answer */
    int starts, adoptions, stops, checks, sweeps;
    char last_id[33];
    char last_home[512];
    char last_reference[64];
    char last_env[256];                    /* of the policy; "": it says nothing */
    void (*before_call)(const char *call); /* "start", "run", "stop": about to happen */
} fake_backend;

struct backend {
    int unused;
};

static void fake_about_to(const char *call) {
    if (fake_backend.before_call != NULL) {
        fake_backend.before_call(call);
    }
}

static void fake_ready(const char *instance_id) {
    struct instance_address address = {.host = "127.0.0.1", .port = 9000};
    struct tenant *tenant = tenants_find_instance(fake_backend.events.owner, instance_id);
    strcpy(address.key, tenant == NULL ? "?" : tenant->key);
    fake_backend.events.ready(fake_backend.events.owner, instance_id, &address);
}

static void fake_failed(const char *instance_id) {
    struct error err;
    error_set(&err, ERROR_BACKEND, "it exited with status 1");
    fake_backend.events.failed(fake_backend.events.owner, instance_id, &err);
}

static bool fake_created(const char *instance_id) {
    struct error err;
    return fake_backend.events.created(fake_backend.events.owner, instance_id, "pid 1", &err);
}

static struct backend *fake_open(const struct settings *settings, struct event_base *base,
                                 const struct backend_events *events, struct error *err) {
    (void)settings;
    (void)base;
    (void)err;
    fake_backend.events = *events;
    return calloc(1, sizeof(struct backend));
}

static void fake_close(struct backend *backend) {
    free(backend);
}

static void fake_start(struct backend *backend, const struct instance_spec *spec) {
    (void)backend;
    fake_backend.starts++;
    strcpy(fake_backend.last_id, spec->instance_id);
    strcpy(fake_backend.last_home, spec->home == NULL ? "" : spec->home); /* NULL: a warm one */
    assert_int_equal(strlen(spec->key), 32);
    assert_non_null(spec->policy);
    assert_string_equal(spec->policy->id, spec->policy_id);
    snprintf(fake_backend.last_env, sizeof fake_backend.last_env, "%s",
             spec->policy->env == NULL ? "" : json_text(spec->policy->env, &(size_t){0}));
    fake_about_to("start");
    if (fake_backend.on_start == FAKE_WAIT) {
        return;
    }
    char id[33];
    strcpy(id, spec->instance_id);
    if (fake_backend.on_start == FAKE_FAIL || !fake_created(id)) {
        fake_failed(id);
        return;
    }
    fake_about_to("run");
    fake_ready(id);
}

static void fake_adopt(struct backend *backend, const struct instance_spec *spec, const char *reference) {
    (void)backend;
    fake_backend.adoptions++;
    strcpy(fake_backend.last_id, spec->instance_id);
    strcpy(fake_backend.last_reference, reference == NULL ? "" : reference);
    if (fake_backend.on_adopt == FAKE_SUCCEED) {
        fake_ready(spec->instance_id);
    } else if (fake_backend.on_adopt == FAKE_FAIL) {
        fake_failed(spec->instance_id);
    }
}

static void fake_stop(struct backend *backend, const char *instance_id) {
    (void)backend;
    fake_backend.stops++;
    strcpy(fake_backend.last_id, instance_id);
    fake_about_to("stop");
    if (fake_backend.on_stop == FAKE_SUCCEED) {
        fake_backend.events.stopped(fake_backend.events.owner, fake_backend.last_id);
    }
}

static void fake_check(struct backend *backend, const char *instance_id, void (*checked)(void *argument, bool alive),
                       void *argument) {
    (void)backend;
    fake_backend.checks++;
    bool alive = fake_backend.is_alive && !fake_backend.is_silent;
    if (!fake_backend.is_alive) {
        fake_backend.events.gone(fake_backend.events.owner, instance_id, "killed by signal 9");
    }
    checked(argument, alive);
}

static void fake_sweep(struct backend *backend) {
    (void)backend;
    fake_backend.sweeps++;
}

static void fake_openapi(struct backend *backend, void (*done)(void *argument, const char *document), void *argument) {
    (void)backend;
    done(argument, "{\"openapi\": \"3.1.0\"}");
}

static struct backend_operations fake_operations = {
    .name = "fake",
    .open = fake_open,
    .close = fake_close,
    .start = fake_start,
    .adopt = fake_adopt,
    .stop = fake_stop,
    .check = fake_check,
    .sweep = fake_sweep,
    .openapi = fake_openapi,
};

/* --- the world ------------------------------------------------------------------------------------------------------
 */

struct world {
    char folder[64];
    char data_dir[96];
    char run_dir[96];
    char database_url[TEST_DATABASE_URL_SIZE];
    struct settings settings;
    struct event_base *base;
    struct provisioner provisioner;
};

static void world_open_provisioner(struct world *world) {
    struct error err = {0};
    world->base = event_base_new();
    if (!provisioner_open(&world->provisioner, &world->settings, &fake_operations, world->base, NULL, &err)) {
        fail_msg("%s", err.message);
    }
}

static void world_close_provisioner(struct world *world) {
    provisioner_close(&world->provisioner);
    event_base_free(world->base);
}

static int world_make(void **state) {
    struct world *world = calloc(1, sizeof *world);
    log_configure("test", LOG_ERROR + 1, LOG_TEXT);
    memset(&fake_backend, 0, sizeof fake_backend);
    memset(&fake_haproxy, 0, sizeof fake_haproxy);
    fake_map_is_full = false;
    fake_operations.shares_one_instance = false;
    fake_backend.on_start = fake_backend.on_adopt = fake_backend.on_stop = FAKE_SUCCEED;
    temporary_folder_make(world->folder);
    snprintf(world->data_dir, sizeof world->data_dir, "%s/homes", world->folder);
    snprintf(world->run_dir, sizeof world->run_dir, "%s/run", world->folder);
    test_database_make(world->folder, world->database_url);
    mkdir(world->run_dir, 0700);
    world->settings = (struct settings){
        .database_url = world->database_url,
        .data_dir = world->data_dir,
        .run_dir = world->run_dir,
        .idle_timeout_seconds = 1800,
        .idle_cleanup_timeout_seconds = 10,
        .start_concurrency = 2,
        .start_timeout_seconds = 60,
    };
    world_open_provisioner(world);
    *state = world;
    return 0;
}

static int world_remove(void **state) {
    struct world *world = *state;
    world_close_provisioner(world);
    test_database_remove(world->database_url);
    temporary_folder_remove(world->folder);
    free(world);
    return 0;
}

/* A successor takes over, as after a kill: what was only in memory is gone. */
static inline void world_restart(struct world *world) {
    world_close_provisioner(world);
    world_open_provisioner(world);
    event_base_loop(world->base, EVLOOP_NONBLOCK);
}

/* A database that cannot be written from one moment to the next, and can again later. */
static inline void world_set_database_full(struct world *world, bool is_full) {
    test_database_set_full(world->provisioner.store->database, is_full);
}

/* What a waiter was told. */
struct told {
    int times;
    struct tenant *tenant;
    struct error err;
};

static inline void told_done(void *argument, struct tenant *tenant, const struct error *err) {
    struct told *told = argument;
    told->times++;
    told->tenant = tenant;
    told->err = err == NULL ? (struct error){0} : *err;
}

static inline struct tenant *world_find(struct world *world, const char *user_id) {
    char route_key[DIGEST_HEX_SIZE];
    name_route_key(user_id, NAME_DEFAULT, NAME_DEFAULT, route_key);
    return tenants_find(&world->provisioner, route_key);
}

static inline struct tenant *world_tenant(struct world *world, const char *user_id) {
    struct error err;
    struct tenant *tenant = world_find(world, user_id);
    if (tenant == NULL) {
        struct tenant_name name = {.user_id = user_id, .policy_id = NAME_DEFAULT, .context_id = NAME_DEFAULT};
        name_route_key(user_id, NAME_DEFAULT, NAME_DEFAULT, name.route_key);
        tenant = tenants_add(&world->provisioner, &name, &err);
        assert_non_null(tenant);
    }
    return tenant;
}

static inline void world_start(struct world *world, const char *user_id, struct told *told) {
    starts_want(&world->provisioner, world_tenant(world, user_id), NULL, told_done, told);
}

static inline void world_stop(struct world *world, const char *user_id, struct told *told) {
    stops_want(&world->provisioner, world_tenant(world, user_id), "tenant_stopped", NULL, told_done, told);
}

static inline void world_delete(struct world *world, const char *user_id, bool purge, struct told *told) {
    stops_want_deletion(&world->provisioner, world_tenant(world, user_id), purge, NULL, told_done, told);
}

static inline const char *world_route(struct world *world, const char *user_id) {
    return map_get(world->provisioner.routes, world_tenant(world, user_id)->record.route_key);
}

/* Runs the loop until something is true. */
#define WORLD_UNTIL(world, condition)                                                                                  \
    for (int64_t until_ = clock_monotonic_ms() + 10000; !(condition);) {                                               \
        if (clock_monotonic_ms() > until_) {                                                                           \
            fail_msg("never: %s", #condition);                                                                         \
        }                                                                                                              \
        event_base_loop((world)->base, EVLOOP_ONCE);                                                                   \
    }

#define assert_state(tenant_, state_)                                                                                  \
    assert_string_equal(instance_state_name((tenant_)->record.status), instance_state_name(state_))

#endif
