/* doctor_settings.c - the settings themselves, and what they say about who may come in. */
#include <ctype.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/api_key.h"
#include "cli/doctor_checks.h"
#include "common/auth_settings.h"
#include "common/cleanup.h"

#define MISTAKES_MAX          50
#define SECRET_MIN_CHARACTERS 16
#define CERTIFICATE_WARN_DAYS 14

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* The first setting that a message names, in `name`. */
static bool find_name(const char *message, char *name, size_t size) {
    const char *start = strstr(message, "TERMINALS_");
    size_t length = 0;
    while (start != NULL &&
           (isupper((unsigned char)start[length]) || isdigit((unsigned char)start[length]) || start[length] == '_')) {
        length++;
    }
    if (length == 0 || length >= size) {
        return false;
    }
    memcpy(name, start, length);
    name[length] = '\0';
    return true;
}

/* Takes a setting that is wrong out of the environment, so that the next mistake shows. */
static bool take_away(const char *message) {
    char name[128];
    if (!find_name(message, name, sizeof name)) {
        return false;
    }
    if (getenv(name) == NULL) {
        strncat(name, "_FILE", sizeof name - strlen(name) - 1);
    }
    return getenv(name) != NULL && unsetenv(name) == 0;
}

bool doctor_read_settings(struct findings *findings, struct settings *settings) {
    static const char advice[] = "see docs/settings.md, and the environment and `.env` that it comes from";
    bool has_mistake = false;
    for (int i = 0; i < MISTAKES_MAX; i++) {
        struct error err = {0};
        if (settings_load(settings, NULL, &err)) {
            if (has_mistake) {
                settings_free(settings);
            } else {
                findings_add(findings, "settings", FINDING_OK, NULL, "all can be read");
            }
            return !has_mistake;
        }
        has_mistake = true;
        findings_add(findings, "settings", FINDING_FAIL, advice, "%s", err.message);
        if (!take_away(err.message)) {
            return false;
        }
    }
    return false;
}

/* --- who may come in ---------------------------------------------------------------------------------------------- */

static bool is_long_enough(void *argument, const char *key, size_t length) {
    (void)argument;
    (void)key;
    return length >= SECRET_MIN_CHARACTERS;
}

static void check_key_file(struct doctor *doctor) {
    cleanup_free char *path = api_key_path(doctor->settings);
    struct error err = {0};
    if (path == NULL) {
        return;
    }
    char *key = api_key_load(path, &err);
    if (key != NULL) {
        findings_add(&doctor->findings, "api key", FINDING_OK, NULL, "in `%s`", path);
        explicit_bzero(key, strlen(key));
        free(key);
    } else if (err.code != ERROR_NONE) {
        findings_add(&doctor->findings, "api key", FINDING_FAIL,
                     "let the user that runs Terminals read it, or remove it to have another made", "%s", err.message);
    } else if (doctor->settings->open_webui_url == NULL && doctor->settings->jwt_secret == NULL) {
        findings_add(&doctor->findings, "api key", FINDING_OK, NULL, "`terminals serve` will make one in `%s`", path);
    } else {
        findings_add(&doctor->findings, "api key", FINDING_WARN, "set TERMINALS_API_KEY for administration",
                     "there is none, so users come in with their tokens, but nobody can use the admin API");
    }
}

static void check_keys(struct doctor *doctor) {
    const struct settings *settings = doctor->settings;
    struct findings *findings = &doctor->findings;
    if (settings->open) {
        bool is_local = strncmp(settings->host, "127.", 4) == 0 || strcmp(settings->host, "::1") == 0 ||
                        strcmp(settings->host, "localhost") == 0;
        findings_add(findings, "api key", is_local ? FINDING_OK : FINDING_WARN,
                     is_local ? NULL : "set TERMINALS_API_KEY, or TERMINALS_HOST to 127.0.0.1",
                     "TERMINALS_OPEN=true: whoever reaches %s port %lld is anybody they like", settings->host,
                     (long long)settings->port);
        return;
    }
    if (settings->api_key == NULL) {
        check_key_file(doctor);
    } else if (auth_settings_each_key(settings->api_key, is_long_enough, NULL)) {
        findings_add(findings, "api key", FINDING_OK, NULL, "set");
    } else {
        findings_add(findings, "api key", FINDING_WARN, "take one of `openssl rand -hex 32`",
                     "TERMINALS_API_KEY has fewer than %d characters and can be guessed", SECRET_MIN_CHARACTERS);
    }
    if (settings->jwt_secret != NULL) {
        bool is_long = strlen(settings->jwt_secret) >= SECRET_MIN_CHARACTERS;
        findings_add(findings, "jwt secret", is_long ? FINDING_OK : FINDING_WARN,
                     is_long ? NULL : "give Open WebUI a longer WEBUI_SECRET_KEY, and us the same", "%s",
                     is_long ? "set" : "TERMINALS_JWT_SECRET is short enough to be guessed");
    }
}

/* --- the certificate ---------------------------------------------------------------------------------------------- */

static void cleanup_x509_function(X509 **certificate) {
    X509_free(*certificate);
}

static void cleanup_key_function(EVP_PKEY **key) {
    EVP_PKEY_free(*key);
}

/* No password is asked for: HAProxy would not ask either. */
static int no_password(char *buffer, int size, int is_for_writing, void *argument) {
    (void)buffer;
    (void)size;
    (void)is_for_writing;
    (void)argument;
    return 0;
}

static void check_dates(struct findings *findings, const char *path, const X509 *certificate) {
    int days = 0;
    int seconds = 0;
    if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0) {
        findings_add(findings, "tls", FINDING_FAIL, "look at the clock, or wait", "`%s` is not valid yet", path);
    } else if (ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(certificate)) != 1 || days < 0 || seconds < 0) {
        findings_add(findings, "tls", FINDING_FAIL, "renew it, then `systemctl reload terminals` (or send SIGHUP)",
                     "the certificate in `%s` has expired", path);
    } else {
        bool is_soon = days < CERTIFICATE_WARN_DAYS;
        findings_add(findings, "tls", is_soon ? FINDING_WARN : FINDING_OK,
                     is_soon ? "renew it, then `systemctl reload terminals` (or send SIGHUP)" : NULL,
                     "the certificate in `%s` is valid for %d days", path, days);
    }
}

static void check_certificate(struct doctor *doctor) {
    const char *path = doctor->settings->tls_cert;
    cleanup_fclose FILE *file = path == NULL ? NULL : fopen(path, "re");
    if (path == NULL) {
        return;
    }
    if (file == NULL) {
        struct error err = {0};
        error_set_errno(&err, ERROR_INVALID, "open TERMINALS_TLS_CERT `%s`", path);
        findings_add(&doctor->findings, "tls", FINDING_FAIL, "let the user that runs HAProxy read it", "%s",
                     err.message);
        return;
    }
    __attribute__((cleanup(cleanup_x509_function))) X509 *certificate = PEM_read_X509(file, NULL, no_password, NULL);
    rewind(file);
    __attribute__((cleanup(cleanup_key_function))) EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, no_password, NULL);
    if (certificate == NULL || key == NULL || X509_check_private_key(certificate, key) != 1) {
        findings_add(&doctor->findings, "tls", FINDING_FAIL,
                     "put the certificate, its chain and its key without a password into this one file, in this order",
                     "`%s` %s", path,
                     certificate == NULL ? "has no certificate"
                     : key == NULL       ? "has no key that can be read"
                                         : "has a key of another certificate");
        return;
    }
    check_dates(&doctor->findings, path, certificate);
}

/* --- what is easily forgotten ------------------------------------------------------------------------------------- */

static void check_cleanup(struct doctor *doctor) {
    if (doctor->settings->cleanup_interval_seconds == 0) {
        findings_add(&doctor->findings, "idle cleanup", FINDING_WARN,
                     "install scripts/crontab, or set TERMINALS_CLEANUP_INTERVAL_SECONDS=60",
                     "TERMINALS_CLEANUP_INTERVAL_SECONDS=0: idle instances stop only when something else, such as "
                     "cron, runs `terminals reap`");
    } else if (doctor->settings->idle_timeout_seconds == 0) {
        findings_add(&doctor->findings, "idle cleanup", FINDING_WARN, "set TERMINALS_IDLE_TIMEOUT_MINUTES=30",
                     "the idle timeout is 0: instances run until somebody stops them");
    } else {
        findings_add(
            &doctor->findings, "idle cleanup", FINDING_OK, NULL, "after %lld s without use, looked for every %lld s",
            (long long)doctor->settings->idle_timeout_seconds, (long long)doctor->settings->cleanup_interval_seconds);
    }
}

void doctor_check_access(struct doctor *doctor) {
    check_keys(doctor);
    check_certificate(doctor);
    check_cleanup(doctor);
}
