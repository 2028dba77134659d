#include "common/settings_table.h"

#define MAX_SECONDS       (100LL * 365 * 24 * 3600)
#define MAX_TOKEN_SECONDS (24LL * 3600)

static const char *const backend_choices[] = {"docker", "kubernetes", "kubernetes-operator", "local", "static", NULL};
static const char *const storage_choices[] = {"per-user", "shared", "shared-rwo", NULL};
static const char *const service_choices[] = {"ClusterIP", "NodePort", "LoadBalancer", NULL};
static const char *const sandbox_choices[] = {"auto", "bwrap", "none", NULL};
static const char *const log_level_choices[] = {"DEBUG", "INFO", "WARNING", "ERROR", NULL};
static const char *const log_format_choices[] = {"text", "json", NULL};

#define EVERYBODY (READER_API | READER_GATE | READER_PROVISIONER)
#define AT(field) offsetof(struct settings, field)
#define TEXT(name, field, value, readers)                                                                              \
    { name, SETTING_TEXT, AT(field), value, readers, NULL, 0, 0 }
#define SECRET(name, field, readers)                                                                                   \
    { name, SETTING_SECRET, AT(field), NULL, readers, NULL, 0, 0 }
#define SECRET_OR(name, field, value, readers)                                                                         \
    { name, SETTING_SECRET, AT(field), value, readers, NULL, 0, 0 }
#define NUMBER(name, field, value, readers, minimum, maximum)                                                          \
    { name, SETTING_NUMBER, AT(field), value, readers, NULL, minimum, maximum }
#define SWITCH(name, field, value, readers)                                                                            \
    { name, SETTING_SWITCH, AT(field), value, readers, NULL, 0, 0 }
#define AMOUNT(name, field)                                                                                            \
    { name, SETTING_AMOUNT, AT(field), NULL, READER_PROVISIONER, NULL, 0, 0 }
#define QUANTITY(name, field, value, readers)                                                                          \
    { name, SETTING_AMOUNT, AT(field), value, readers, NULL, 0, 0 }
#define CHOICE(name, field, value, readers, choices)                                                                   \
    { name, SETTING_CHOICE, AT(field), value, readers, choices, 0, 0 }

const struct setting settings_table[] = {
    CHOICE("BACKEND", backend, "docker", READER_PROVISIONER, backend_choices),
    SECRET("API_KEY", api_key, READER_API),
    TEXT("OPEN_WEBUI_URL", open_webui_url, NULL, READER_API),
    SECRET("JWT_SECRET", jwt_secret, READER_API),
    SECRET("METRICS_TOKEN", metrics_token, READER_API),
    NUMBER("TOKEN_CACHE_TTL", token_cache_ttl, "60", READER_API, 0, MAX_TOKEN_SECONDS),
    SWITCH("OPEN", open, "false", READER_API | READER_HAPROXY),
    TEXT("HOST", host, "0.0.0.0", READER_HAPROXY | READER_API),
    NUMBER("PORT", port, "3000", READER_HAPROXY | READER_API, 1, 65535),
    TEXT("TLS_CERT", tls_cert, NULL, READER_HAPROXY | READER_API),
    TEXT("CORS_ALLOWED_ORIGINS", cors_allowed_origins, "*", READER_HAPROXY | READER_API),
    /* A secret, since a password may be in it. */
    SECRET_OR("DATABASE_URL", database_url, "sqlite:///./data/terminals.db", READER_PROVISIONER),
    SECRET("DATABASE_PASSWORD", database_password, READER_PROVISIONER),
    TEXT("DATA_DIR", data_dir, "./data/terminals", READER_PROVISIONER),
    TEXT("RUN_DIR", run_dir, "./data/run", EVERYBODY | READER_HAPROXY),
    NUMBER("IDLE_TIMEOUT_SECONDS", idle_timeout_seconds, "1800", READER_PROVISIONER, 0, MAX_SECONDS),
    NUMBER("CLEANUP_INTERVAL_SECONDS", cleanup_interval_seconds, "60", READER_PROVISIONER, 0, MAX_SECONDS),
    NUMBER("IDLE_CLEANUP_TIMEOUT_SECONDS", idle_cleanup_timeout_seconds, "120", READER_PROVISIONER, 1, MAX_SECONDS),
    NUMBER("START_CONCURRENCY", start_concurrency, "32", READER_PROVISIONER | READER_API, 1, 1024),
    NUMBER("START_TIMEOUT_SECONDS", start_timeout_seconds, "120", EVERYBODY | READER_HAPROXY, 1, 3600),
    NUMBER("MAX_INSTANCES", max_instances, "0", READER_PROVISIONER, 0, 1000000),
    NUMBER("MAX_INSTANCES_PER_USER", max_instances_per_user, "0", READER_PROVISIONER, 0, 1000000),
    NUMBER("MAX_BODY_BYTES", max_body_bytes, "0", READER_GATE | READER_HAPROXY | READER_API, 0, INT64_MAX),
    NUMBER("USER_RATE_LIMIT", user_rate_limit, "0", READER_HAPROXY | READER_API, 0, 1000000),
    NUMBER("USER_WEBSOCKET_LIMIT", user_websocket_limit, "0", READER_GATE | READER_HAPROXY | READER_API, 0, 1000000),
    NUMBER("FAILED_LOGIN_LIMIT", failed_login_limit, "0", READER_API, 0, 1000000),
    NUMBER("FAILED_LOGIN_SECONDS", failed_login_seconds, "60", READER_API, 1, MAX_TOKEN_SECONDS),
    TEXT("INSTANCE_SANDBOX", instance_sandbox, "allow-scripts allow-forms allow-popups allow-downloads allow-modals",
         READER_HAPROXY | READER_API),
    SWITCH("ENABLE_UI", enable_ui, "true", READER_API),
    NUMBER("CLIENT_TIMEOUT_SECONDS", client_timeout_seconds, "120", READER_HAPROXY | READER_API, 1, 86400),
    NUMBER("PROXY_CONNECT_TIMEOUT_SECONDS", proxy_connect_timeout_seconds, "10",
           READER_GATE | READER_HAPROXY | READER_API, 1, 3600),
    NUMBER("PROXY_READ_TIMEOUT_SECONDS", proxy_read_timeout_seconds, "360", READER_GATE | READER_HAPROXY | READER_API,
           1, 86400),
    AMOUNT("MAX_CPU", max_cpu),
    AMOUNT("MAX_MEMORY", max_memory),
    AMOUNT("MAX_STORAGE", max_storage),
    TEXT("ALLOWED_IMAGES", allowed_images, NULL, READER_PROVISIONER),
    SECRET("ENCRYPTION_KEY", encryption_key, READER_PROVISIONER),
    CHOICE("LOG_LEVEL", log_level, "INFO", EVERYBODY, log_level_choices),
    CHOICE("LOG_FORMAT", log_format, "text", EVERYBODY | READER_HAPROXY, log_format_choices),
    SWITCH("ACCESS_LOG", access_log, "false", READER_GATE | READER_HAPROXY | READER_API),
    TEXT("TRUSTED_PROXIES", trusted_proxies, NULL, READER_HAPROXY | READER_API),
    NUMBER("AUDIT_RETENTION_DAYS", audit_retention_days, "90", READER_PROVISIONER, 0, 36500),
    SECRET("SIEM_WEBHOOK_URL", siem_webhook_url, READER_PROVISIONER),
    SECRET("SIEM_WEBHOOK_TOKEN", siem_webhook_token, READER_PROVISIONER),
    TEXT("IMAGE", image, "ghcr.io/open-webui/open-terminal:latest", READER_PROVISIONER),
    TEXT("DOCKER_HOST", docker_host, "unix:///var/run/docker.sock", READER_PROVISIONER),
    TEXT("DOCKER_NETWORK", docker_network, NULL, READER_PROVISIONER),
    TEXT("DOCKER_PUBLISH", docker_publish, NULL, READER_PROVISIONER),
    TEXT("DOCKER_MOUNTS", docker_mounts, NULL, READER_PROVISIONER),
    TEXT("DOCKER_RUNTIME", docker_runtime, NULL, READER_PROVISIONER),
    NUMBER("DOCKER_PIDS_LIMIT", docker_pids_limit, "512", READER_PROVISIONER, 0, 4194304),
    TEXT("KUBERNETES_NAMESPACE", kubernetes_namespace, "terminals", READER_PROVISIONER),
    TEXT("KUBERNETES_KUBECONFIG", kubernetes_kubeconfig, NULL, READER_PROVISIONER),
    TEXT("KUBERNETES_IMAGE", kubernetes_image, NULL, READER_PROVISIONER),
    TEXT("KUBERNETES_STORAGE_CLASS", kubernetes_storage_class, NULL, READER_PROVISIONER),
    QUANTITY("KUBERNETES_STORAGE_SIZE", kubernetes_storage_size, "1Gi", READER_PROVISIONER),
    CHOICE("KUBERNETES_STORAGE_MODE", kubernetes_storage_mode, "per-user", READER_PROVISIONER, storage_choices),
    CHOICE("KUBERNETES_SERVICE_TYPE", kubernetes_service_type, "ClusterIP", READER_PROVISIONER, service_choices),
    TEXT("KUBERNETES_LABELS", kubernetes_labels, NULL, READER_PROVISIONER),
    TEXT("KUBERNETES_NODE_SELECTOR", kubernetes_node_selector, NULL, READER_PROVISIONER),
    TEXT("KUBERNETES_TOLERATIONS", kubernetes_tolerations, NULL, READER_PROVISIONER),
    SWITCH("KUBERNETES_RESTRICTED", kubernetes_restricted, "false", READER_PROVISIONER),
    TEXT("KUBERNETES_POD_SECURITY_CONTEXT", kubernetes_pod_security_context, NULL, READER_PROVISIONER),
    TEXT("KUBERNETES_CONTAINER_SECURITY_CONTEXT", kubernetes_container_security_context, NULL, READER_PROVISIONER),
    QUANTITY("KUBERNETES_DEFAULT_CPU_REQUEST", kubernetes_default_cpu_request, "100m", READER_PROVISIONER),
    QUANTITY("KUBERNETES_DEFAULT_CPU_LIMIT", kubernetes_default_cpu_limit, "1", READER_PROVISIONER),
    QUANTITY("KUBERNETES_DEFAULT_MEMORY_REQUEST", kubernetes_default_memory_request, "256Mi", READER_PROVISIONER),
    QUANTITY("KUBERNETES_DEFAULT_MEMORY_LIMIT", kubernetes_default_memory_limit, "1Gi", READER_PROVISIONER),
    TEXT("KUBERNETES_CRD_GROUP", kubernetes_crd_group, "openwebui.com", READER_PROVISIONER),
    TEXT("KUBERNETES_CRD_VERSION", kubernetes_crd_version, "v1alpha1", READER_PROVISIONER),
    NUMBER("KUBERNETES_LEASE_SECONDS", kubernetes_lease_seconds, "15", READER_PROVISIONER, 3, 3600),
    TEXT("LOCAL_BINARY", local_binary, "open-terminal", READER_PROVISIONER),
    NUMBER("LOCAL_PORT_RANGE_START", local_port_range_start, "9000", READER_PROVISIONER, 1024, 65535),
    CHOICE("LOCAL_SANDBOX", local_sandbox, "auto", READER_PROVISIONER, sandbox_choices),
    TEXT("STATIC_HOST", static_host, "127.0.0.1", READER_PROVISIONER),
    NUMBER("STATIC_PORT", static_port, "8000", READER_PROVISIONER, 1, 65535),
    SECRET("STATIC_API_KEY", static_api_key, READER_PROVISIONER),
};

const size_t settings_table_count = sizeof settings_table / sizeof settings_table[0];

const struct setting_alias settings_aliases[] = {
    {"DOCKER_DATA_DIR", "DATA_DIR", 1},
    {"IDLE_TIMEOUT_MINUTES", "IDLE_TIMEOUT_SECONDS", 60},
};

const size_t settings_aliases_count = sizeof settings_aliases / sizeof settings_aliases[0];
