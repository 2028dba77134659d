#include "cli/banner.h"

#include <string.h>

#include "cli/health.h"
#include "common/secret.h"

/* In single quotes nothing is special to a shell but the quote itself. */
static bool append_quoted(struct buffer *out, const char *text) {
    bool fine = buffer_append_string(out, "'");
    for (; fine && *text != '\0'; text++) {
        fine = *text == '\'' ? buffer_append_string(out, "'\\''") : buffer_append(out, text, 1);
    }
    return fine && buffer_append_string(out, "'");
}

static bool append_quoted_pair(struct buffer *out, const char *before, const char *text) {
    struct buffer pair = {0};
    bool fine =
        buffer_append_string(&pair, before) && buffer_append_string(&pair, text) && append_quoted(out, pair.data);
    if (pair.data != NULL) {
        explicit_bzero(pair.data, pair.length);
    }
    buffer_free(&pair);
    return fine;
}

static bool append_authorization(struct buffer *out, const struct settings *settings, bool show_key) {
    if (settings->open) {
        return true;
    }
    if (settings->api_key == NULL) {
        return buffer_append_string(out, " -H \"Authorization: Bearer $TOKEN\"");
    }
    if (!show_key) {
        return buffer_append_string(out, " -H \"Authorization: Bearer $TERMINALS_API_KEY\"");
    }
    cleanup_secret char *first = strndup(settings->api_key, strcspn(settings->api_key, ","));
    return first != NULL && buffer_append_string(out, " -H ") &&
           append_quoted_pair(out, "Authorization: Bearer ", first);
}

static bool append_users(struct buffer *out, const struct settings *settings) {
    if (settings->open_webui_url != NULL) {
        return buffer_append_format(out, "  users:    with their tokens of %s\n", settings->open_webui_url);
    }
    return settings->jwt_secret == NULL ||
           buffer_append_string(out, "  users:    with their Open WebUI tokens, verified here\n");
}

static bool append_key(struct buffer *out, const struct settings *settings, const char *key_file, bool show_key) {
    if (settings->open) {
        return buffer_append_string(out, "  no authentication at all (TERMINALS_OPEN=true)\n");
    }
    if (settings->api_key == NULL) {
        return buffer_append_string(out, "  API key:  none, so nobody may administer (TERMINALS_API_KEY)\n");
    }
    if (!show_key) {
        return buffer_append_string(out, "  API key:  as configured (TERMINALS_API_KEY)\n");
    }
    return buffer_append_format(out, "  API key:  %s\n", settings->api_key) &&
           (key_file == NULL || buffer_append_format(out, "            made by us and kept in %s\n", key_file));
}

bool banner_write(struct buffer *out, const struct settings *settings, const char *key_file, bool show_key) {
    const char *host = health_reachable_host(settings);
    bool is_ipv6 = strchr(host, ':') != NULL;
    char address[300];
    struct buffer text = {0};
    buffer_append_format(&text, "%s://%s%s%s:%d", settings->tls_cert != NULL ? "https" : "http", is_ipv6 ? "[" : "",
                         host, is_ipv6 ? "]" : "", (int)settings->port);
    bool fine = !text.failed && text.length < sizeof address;
    if (fine) {
        memcpy(address, text.data, text.length + 1);
    }
    buffer_free(&text);
    show_key = show_key || key_file != NULL;
    return fine && buffer_append_format(out, "\nTerminals is ready.\n\n  address:  %s\n", address) &&
           append_key(out, settings, key_file, show_key) && append_users(out, settings) &&
           buffer_append_string(out, "\nA first command, in the terminal of user-123:\n\n  curl -X POST ") &&
           append_quoted_pair(out, address, "/terminals/execute?wait=5") &&
           append_authorization(out, settings, show_key) &&
           buffer_append_string(out, " -H 'X-User-Id: user-123' -H 'Content-Type: application/json'"
                                     " -d '{\"command\": \"echo hello\"}'\n\nCtrl-C ends everything.\n\n");
}
