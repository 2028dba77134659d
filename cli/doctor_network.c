/* doctor_network.c - do those that we depend on over the network answer, and as what we take them for? */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "cli/doctor_checks.h"
#include "common/cleanup.h"

#define PATIENCE_SECONDS 10
#define INSTANCES_ASKED  3
#define INSTANCE_WAIT_MS 2000
#define SKEW_MAX_SECONDS 30
#define DATE_SIZE        64
#define AUTHS_PATH       "/api/v1/auths/"
#define DATE_HEADER      "date:"
#define ROUTE_LINE_MAX   1024

static size_t ignore(char *data, size_t size, size_t count, void *argument) {
    (void)data;
    (void)argument;
    return size * count;
}

static size_t on_header(char *data, size_t size, size_t count, void *argument) {
    size_t length = size * count;
    size_t name = strlen(DATE_HEADER);
    if (length > name && length < DATE_SIZE && strncasecmp(data, DATE_HEADER, name) == 0) {
        memcpy(argument, data + name, length - name);
        ((char *)argument)[length - name] = '\0';
    }
    return length;
}

static CURL *new_transfer(struct doctor *doctor, const char *url) {
    CURL *curl = curl_easy_init();
    if (curl == NULL) {
        doctor->findings.is_incomplete = true;
        return NULL;
    }
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)PATIENCE_SECONDS);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, ignore);
    return curl;
}

/* --- Open WebUI --------------------------------------------------------------------------------------------------- */

static void check_date(struct doctor *doctor, const char *date) {
    time_t theirs = curl_getdate(date, NULL);
    long long skew = theirs < 0 ? 0 : (long long)theirs - (long long)time(NULL);
    if (theirs < 0) {
        return; /* it says none */
    }
    bool is_bad = llabs(skew) > SKEW_MAX_SECONDS;
    findings_add(&doctor->findings, "clock", is_bad ? FINDING_WARN : FINDING_OK,
                 is_bad ? "run NTP on both machines: tokens that have an end expire at the wrong time" : NULL,
                 "%lld s from Open WebUI's", skew);
}

/* Without a token it must say 401 (or 403), as it does in front of a user who has not signed in. */
static void say_open_webui(struct doctor *doctor, CURLcode result, long status, const char *date) {
    struct findings *findings = &doctor->findings;
    const char *url = doctor->settings->open_webui_url;
    if (result != CURLE_OK) {
        findings_add(findings, "open webui", FINDING_FAIL,
                     "look at TERMINALS_OPEN_WEBUI_URL, at the network, and at Open WebUI", "`%s`: %s", url,
                     curl_easy_strerror(result));
        return;
    }
    if (status == 401 || status == 403) {
        findings_add(findings, "open webui", FINDING_OK, NULL, "`%s` answers", url);
    } else {
        findings_add(findings, "open webui", FINDING_FAIL,
                     "let TERMINALS_OPEN_WEBUI_URL be its address, as a browser has it, without a path",
                     "`%s" AUTHS_PATH "` answers %ld without a token, where Open WebUI answers 401", url, status);
    }
    check_date(doctor, date);
}

static void check_open_webui(struct doctor *doctor) {
    char date[DATE_SIZE] = "";
    cleanup_free char *url = NULL;
    if (doctor->settings->open_webui_url == NULL) {
        return;
    }
    if (asprintf(&url, "%s" AUTHS_PATH, doctor->settings->open_webui_url) < 0) {
        url = NULL;
        doctor->findings.is_incomplete = true;
        return;
    }
    CURL *curl = new_transfer(doctor, url);
    if (curl == NULL) {
        return;
    }
    long status = 0;
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, (void *)date);
    CURLcode result = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(curl);
    say_open_webui(doctor, result, status, date);
}

/* --- the SIEM webhook --------------------------------------------------------------------------------------------- */

/* Connects, TLS included, and sends nothing: an event that did not happen has no place there. The URL may hold a
 * secret, so only its host is said. */
static void check_siem(struct doctor *doctor) {
    const char *url = doctor->settings->siem_webhook_url;
    CURL *curl = url == NULL ? NULL : new_transfer(doctor, url);
    if (curl == NULL) {
        return;
    }
    cleanup_free char *host = NULL;
    CURLU *parts = curl_url();
    char *part = NULL;
    if (parts != NULL && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_get(parts, CURLUPART_HOST, &part, 0) == CURLUE_OK) {
        host = strdup(part);
    }
    curl_free(part);
    curl_url_cleanup(parts);
    curl_easy_setopt(curl, CURLOPT_CONNECT_ONLY, 1L);
    CURLcode result = curl_easy_perform(curl);
    curl_easy_cleanup(curl);
    findings_add(
        &doctor->findings, "siem webhook", result == CURLE_OK ? FINDING_OK : FINDING_FAIL,
        result == CURLE_OK ? NULL : "look at TERMINALS_SIEM_WEBHOOK_URL and at the network: events are kept meanwhile",
        "%s: %s", host == NULL ? "its host" : host,
        result == CURLE_OK ? "can be connected to" : curl_easy_strerror(result));
}

/* --- instances ---------------------------------------------------------------------------------------------------- */

static bool fill_address(struct sockaddr_storage *storage, socklen_t *length, const char *host, int port) {
    struct sockaddr_in *ipv4 = (struct sockaddr_in *)storage;
    struct sockaddr_in6 *ipv6 = (struct sockaddr_in6 *)storage;
    *storage = (struct sockaddr_storage){0};
    if (inet_pton(AF_INET, host, &ipv4->sin_addr) == 1) {
        ipv4->sin_family = AF_INET;
        ipv4->sin_port = htons((uint16_t)port);
        *length = sizeof *ipv4;
        return true;
    }
    if (inet_pton(AF_INET6, host, &ipv6->sin6_addr) == 1) {
        ipv6->sin6_family = AF_INET6;
        ipv6->sin6_port = htons((uint16_t)port);
        *length = sizeof *ipv6;
        return true;
    }
    return false;
}

/* 0, or an errno. */
static int connect_to(const char *host, int port) {
    struct sockaddr_storage address;
    socklen_t length = 0;
    if (!fill_address(&address, &length, host, port)) {
        return EAFNOSUPPORT;
    }
    cleanup_close int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return errno;
    }
    if (connect(fd, (struct sockaddr *)&address, length) == 0) {
        return 0;
    }
    struct pollfd waiting = {.fd = fd, .events = POLLOUT};
    if (errno != EINPROGRESS) {
        return errno;
    }
    if (poll(&waiting, 1, INSTANCE_WAIT_MS) != 1) {
        return ETIMEDOUT;
    }
    int failure = 0;
    socklen_t size = sizeof failure;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size) == 0 ? failure : errno;
}

/* A line of routes.map is `key address|port|…`; what follows is secret. */
static bool parse_route(char *line, char **host, int *port) {
    char *value = strchr(line, ' ');
    char *bar = value == NULL ? NULL : strchr(value, '|');
    if (line[0] == '#' || bar == NULL) {
        return false;
    }
    *bar = '\0';
    *host = value + 1;
    *port = (int)strtol(bar + 1, NULL, 10);
    return true;
}

/* Some of them: what stands between is the same for all. Which instance it was is not said: it may have ended just now.
 */
static void check_instances(struct doctor *doctor) {
    char path[512];
    char line[ROUTE_LINE_MAX];
    int asked = 0;
    int failed = 0;
    int failure = 0;
    snprintf(path, sizeof path, "%s/routes.map", doctor->settings->run_dir);
    cleanup_fclose FILE *file = doctor->has_haproxy ? fopen(path, "re") : NULL;
    while (file != NULL && asked < INSTANCES_ASKED && fgets(line, sizeof line, file) != NULL) {
        char *host = NULL;
        int port = 0;
        if (parse_route(line, &host, &port)) {
            int result = connect_to(host, port);
            asked++;
            failed += result != 0;
            failure = result != 0 ? result : failure;
        }
    }
    explicit_bzero(line, sizeof line);
    if (asked > 0) {
        findings_add(&doctor->findings, "instances",
                     failed == 0      ? FINDING_OK
                     : failed < asked ? FINDING_WARN
                                      : FINDING_FAIL,
                     failed == 0 ? NULL
                                 : "look at firewalls and networks between HAProxy and the instances: "
                                   "TERMINALS_DOCKER_NETWORK, TERMINALS_DOCKER_PUBLISH, NetworkPolicies",
                     "%d of %d that were tried can be connected to%s%s", asked - failed, asked, failed == 0 ? "" : ": ",
                     failed == 0 ? "" : strerror(failure));
    }
}

void doctor_check_network(struct doctor *doctor) {
    check_open_webui(doctor);
    check_siem(doctor);
    check_instances(doctor);
}
