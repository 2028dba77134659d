/* settings.h - the settings in force: read once at start, constant afterwards.
 *
 * Sources, the later wins: defaults, `.env` in the working directory, the environment, flags. The table in
 * settings_table.c is the one list of names, types, defaults and meanings; docs/settings.md is checked against it.
 * Adding a setting is a field here and a row there. */
#ifndef TERMINALS_COMMON_SETTINGS_H
#define TERMINALS_COMMON_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/json.h"

enum settings_backend {
    BACKEND_DOCKER,
    BACKEND_KUBERNETES,
    BACKEND_KUBERNETES_OPERATOR,
    BACKEND_LOCAL,
    BACKEND_STATIC,
};
enum settings_storage_mode { STORAGE_PER_USER, STORAGE_SHARED, STORAGE_SHARED_RWO };
enum settings_sandbox { SANDBOX_AUTO, SANDBOX_BWRAP, SANDBOX_NONE };

/* Who needs a setting. `terminals serve` hands each process only what it needs. */
enum settings_reader {
    READER_API = 1 << 0,
    READER_GATE = 1 << 1,
    READER_PROVISIONER = 1 << 2,
    READER_HAPROXY = 1 << 3,
};

struct settings {
    int backend;             /* enum settings_backend */
    char *api_key;           /* secret; one, or several with commas between; NULL when not set */
    char *open_webui_url;    /* without a slash at the end; NULL when not set */
    char *jwt_secret;        /* secret; NULL when not set */
    char *metrics_token;     /* secret */
    int64_t token_cache_ttl; /* seconds */
    bool open;
    char *host;
    int64_t port;
    char *tls_cert; /* NULL: no TLS */
    char *cors_allowed_origins;
    char *database_url;
    char *database_password; /* NULL: in the URL, or none */
    char *data_dir;
    char *run_dir;
    int64_t idle_timeout_seconds;
    int64_t cleanup_interval_seconds;
    int64_t idle_cleanup_timeout_seconds;
    int64_t start_concurrency;
    int64_t start_timeout_seconds;
    int64_t max_instances; /* 0: no limit */
    int64_t max_instances_per_user;
    int64_t max_body_bytes;
    int64_t user_rate_limit; /* requests a second; 0: no limit */
    int64_t user_websocket_limit;
    int64_t failed_login_limit; /* of an address within the time that follows; 0: no limit */
    int64_t failed_login_seconds;
    char *instance_sandbox; /* what a page of an instance may (sandbox.h), or `off` */
    bool enable_ui;         /* the admin page */
    int64_t client_timeout_seconds;
    int64_t proxy_connect_timeout_seconds;
    int64_t proxy_read_timeout_seconds;
    char *max_cpu; /* caps on policies: quantities, NULL where there is none */
    char *max_memory;
    char *max_storage;
    char *allowed_images; /* shell patterns, comma-separated; NULL: any image */
    char *encryption_key; /* secret; NULL: a generated file */
    int log_level;        /* enum log_level */
    int log_format;       /* enum log_format */
    bool access_log;
    char *trusted_proxies; /* NULL, or a list (networks.h) */
    int64_t audit_retention_days;
    char *siem_webhook_url;   /* secret: it may hold credentials; NULL: no webhook */
    char *siem_webhook_token; /* secret */
    char *image;
    char *docker_host;
    char *docker_network; /* NULL: we make one */
    char *docker_publish; /* NULL: nothing is published */
    char *docker_mounts;  /* NULL, or a JSON array (docker_settings.h) */
    char *docker_runtime; /* NULL: the engine's default */
    int64_t docker_pids_limit;
    char *kubernetes_namespace;
    char *kubernetes_kubeconfig;    /* NULL: in-cluster credentials */
    char *kubernetes_image;         /* NULL: `image` */
    char *kubernetes_storage_class; /* NULL: the cluster's default */
    char *kubernetes_storage_size;  /* a quantity */
    int kubernetes_storage_mode;    /* enum settings_storage_mode */
    int kubernetes_service_type;    /* its name is the choice's */
    char *kubernetes_labels;        /* all of these: kubernetes_settings.h */
    char *kubernetes_node_selector;
    char *kubernetes_tolerations;
    bool kubernetes_restricted;
    char *kubernetes_pod_security_context;
    char *kubernetes_container_security_context;
    char *kubernetes_default_cpu_request; /* quantities, for a policy that says nothing */
    char *kubernetes_default_cpu_limit;
    char *kubernetes_default_memory_request;
    char *kubernetes_default_memory_limit;
    char *kubernetes_crd_group; /* of `Terminal` resources */
    char *kubernetes_crd_version;
    int64_t kubernetes_lease_seconds; /* how long terminals-operator leads without renewing that */
    char *local_binary;
    int64_t local_port_range_start;
    int local_sandbox; /* enum settings_sandbox */
    char *static_host;
    int64_t static_port;
    char *static_api_key; /* secret */
};

/* A flag of the command line that wins over the environment: {"TERMINALS_PORT", "3001"}. */
struct settings_override {
    const char *name;
    const char *value;
};

/* Reads everything. Unknown TERMINALS_ names and values that do not parse are errors that name the setting and what was
 * expected. `overrides` may be NULL, else ends with a {NULL, NULL}. The environment must not change meanwhile.
 * On failure *settings needs no free. */
bool settings_load(struct settings *settings, const struct settings_override *overrides, struct error *err);

/* The same with every source given: a NULL-terminated list of "NAME=value" for the environment, and the text of a
 * `.env` file (NULL: none). For tests, fuzzing, and the supervisor. */
bool settings_parse(struct settings *settings, const char *const *environment, const char *dotenv,
                    const struct settings_override *overrides, struct error *err);

/* Frees all strings, secrets overwritten first. */
void settings_free(struct settings *settings);

/* Sets up the logger (log.h) for the process called `process`. */
void settings_configure_log(const struct settings *settings, const char *process);

/* Puts the settings that `reader` needs into the environment of this process (setenv) and removes every other
 * TERMINALS_ name: what the supervisor does in a child between fork and exec. Every value is written out in full,
 * defaults included. */
bool settings_export(const struct settings *settings, enum settings_reader reader, struct error *err);

/* The settings that `readers` (a set) need as a JSON object, lower-case names without prefix; a secret becomes
 * "has_<name>": bool. NULL: no memory. The caller puts it. */
struct json_object *settings_to_json(const struct settings *settings, unsigned readers);

#endif
