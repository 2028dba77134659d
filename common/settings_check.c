#include "common/settings_check.h"

#include <string.h>

#include "common/auth_settings.h"
#include "common/docker_settings.h"
#include "common/kubernetes_settings.h"
#include "common/networks.h"
#include "common/origins.h"
#include "common/sandbox.h"
#include "common/settings_table.h"

/* `sqlite:///…` or `postgresql://…`, or with a driver's name, which means nothing to us: `sqlite+aiosqlite:///…`. What
 * else libpq wants of a URL it says itself. */
static bool is_database_url(const char *url) {
    static const char *const schemes[] = {"sqlite", "postgresql", "postgres"};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t length = strlen(schemes[i]);
        const char *rest = url + length;
        if (strncmp(url, schemes[i], length) == 0 && (*rest == '+' || *rest == ':')) {
            rest += *rest == '+' ? strcspn(rest, ":") : 0;
            return i > 0 ? strncmp(rest, "://", 3) == 0 : strncmp(rest, ":///", 4) == 0 && rest[4] != '\0';
        }
    }
    return false;
}

/* Neither is quoted: they are secrets. */
static bool check_webhook(const struct settings *settings, struct error *err) {
    const char *url = settings->siem_webhook_url;
    const char *host = url == NULL                            ? "x"
                       : strncasecmp(url, "http://", 7) == 0  ? url + 7
                       : strncasecmp(url, "https://", 8) == 0 ? url + 8
                                                              : "";
    for (const char *c = url == NULL ? "" : url; *c != '\0'; c++) {
        host = *c <= 0x20 || *c >= 0x7f ? "" : host;
    }
    if (host[0] == '\0' || strchr("/?#:@", host[0]) != NULL) {
        return error_set(err, ERROR_INVALID, SETTINGS_PREFIX "SIEM_WEBHOOK_URL: expected `http://…` or `https://…`");
    }
    for (const char *c = settings->siem_webhook_token == NULL ? "" : settings->siem_webhook_token; *c != '\0'; c++) {
        if (*c < 0x20 || *c >= 0x7f) {
            return error_set(err, ERROR_INVALID,
                             SETTINGS_PREFIX "SIEM_WEBHOOK_TOKEN: a header has printable ASCII characters only");
        }
    }
    return true;
}

bool settings_check(struct settings *settings, struct error *err) {
    if (!is_database_url(settings->database_url)) {
        return error_set(err, ERROR_INVALID,
                         SETTINGS_PREFIX
                         "DATABASE_URL: expected `sqlite:///path` or `postgresql://user@host/database`");
    }
    if (settings->trusted_proxies != NULL && !networks_check(settings->trusted_proxies, err)) {
        return error_prefix(err, SETTINGS_PREFIX "TRUSTED_PROXIES");
    }
    if (!origins_check(settings->cors_allowed_origins, err)) {
        return error_prefix(err, SETTINGS_PREFIX "CORS_ALLOWED_ORIGINS");
    }
    if (!sandbox_check(settings->instance_sandbox, err)) {
        return error_prefix(err, SETTINGS_PREFIX "INSTANCE_SANDBOX");
    }
    if (!check_webhook(settings, err)) {
        return false;
    }
    return auth_settings_check(settings, err) && docker_settings_check(settings, err) &&
           kubernetes_settings_check(settings, err);
}
