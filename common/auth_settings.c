#include "common/auth_settings.h"

#include <string.h>
#include <strings.h>

#define PREFIX "TERMINALS_"

/* As in request_digests() of the provisioner, which is told of them all. */
#define API_KEYS_MAX 1000

bool auth_settings_each_key(const char *api_key, bool (*take)(void *argument, const char *key, size_t length),
                            void *argument) {
    while (api_key != NULL) {
        size_t length = strcspn(api_key, ",");
        if (!take(argument, api_key, length)) {
            return false;
        }
        api_key = api_key[length] == ',' ? api_key + length + 1 : NULL;
    }
    return true;
}

struct key_check {
    size_t count;
    size_t empty;
};

static bool is_sendable(void *argument, const char *key, size_t length) {
    struct key_check *check = argument;
    check->count++;
    check->empty += length == 0;
    for (size_t i = 0; i < length; i++) {
        if (key[i] <= 0x20 || key[i] >= 0x7f) {
            return false;
        }
    }
    return true;
}

static bool check_keys(const char *api_key, struct error *err) {
    struct key_check check = {0};
    if (!auth_settings_each_key(api_key, is_sendable, &check)) {
        return error_set(err, ERROR_INVALID, PREFIX "API_KEY: a bearer token has printable ASCII characters only");
    }
    if (check.empty > 0) {
        return error_set(err, ERROR_INVALID, PREFIX "API_KEY: there is a comma with no key before or behind it");
    }
    return check.count <= API_KEYS_MAX ||
           error_set(err, ERROR_INVALID, PREFIX "API_KEY: more than %d keys", API_KEYS_MAX);
}

/* `http(s)://host[:port][/prefix]`. Credentials would be shown by GET /api/v1/config. */
static bool check_url(char *url, struct error *err) {
    size_t scheme = strncasecmp(url, "https://", 8) == 0 ? 8 : strncasecmp(url, "http://", 7) == 0 ? 7 : 0;
    const char *host = url + scheme;
    for (size_t length = strlen(url); length > scheme && url[length - 1] == '/'; length--) {
        url[length - 1] = '\0';
    }
    bool is_plain = scheme > 0 && *host != '\0' && *host != '/' && *host != ':' && strpbrk(host, "@?#\\ ") == NULL;
    for (const char *c = host; is_plain && *c != '\0'; c++) {
        is_plain = *c > 0x20 && *c < 0x7f;
    }
    return is_plain ||
           error_set(err, ERROR_INVALID,
                     PREFIX "OPEN_WEBUI_URL: expected `https://host[:port]`, perhaps with a path, without a user name, "
                            "query or fragment");
}

bool auth_settings_check(struct settings *settings, struct error *err) {
    const struct {
        const char *name;
        bool is_set;
    } contradicting[] = {{"API_KEY", settings->api_key != NULL},
                         {"OPEN_WEBUI_URL", settings->open_webui_url != NULL},
                         {"JWT_SECRET", settings->jwt_secret != NULL}};
    for (size_t i = 0; settings->open && i < sizeof contradicting / sizeof contradicting[0]; i++) {
        if (contradicting[i].is_set) {
            return error_set(err, ERROR_INVALID, PREFIX "OPEN=true (no auth at all) contradicts " PREFIX "%s",
                             contradicting[i].name);
        }
    }
    if (settings->open_webui_url != NULL && settings->jwt_secret != NULL) {
        return error_set(err, ERROR_INVALID,
                         PREFIX "OPEN_WEBUI_URL (ask Open WebUI) contradicts " PREFIX
                                "JWT_SECRET (verify tokens here): set one of them");
    }
    return check_keys(settings->api_key, err) &&
           (settings->open_webui_url == NULL || check_url(settings->open_webui_url, err));
}
