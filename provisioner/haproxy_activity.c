#include "provisioner/haproxy_activity.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 512 /* an entry of the table is about 130 */
#define ROUTE_KEY_SIZE sizeof(((struct route_activity *)0)->route_key)

/* Copies one line without its line feed and returns where the next one starts; NULL at the end. */
static const char *take_line(const char *text, char line[LINE_MAX_BYTES]) {
    if (*text == '\0') {
        return NULL;
    }
    size_t length = strcspn(text, "\n");
    size_t kept = length < LINE_MAX_BYTES - 1 ? length : LINE_MAX_BYTES - 1;
    memcpy(line, text, kept);
    line[kept] = '\0';
    return text + length + (text[length] == '\n');
}

static bool append(struct route_activity_list *list, const struct route_activity *route) {
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 64 : list->capacity * 2;
        struct route_activity *routes = realloc(list->routes, capacity * sizeof *routes);
        if (routes == NULL) {
            return false;
        }
        list->routes = routes;
        list->capacity = capacity;
    }
    list->routes[list->count++] = *route;
    return true;
}

/* "0x55d0: key=BB82… use=0 exp=86399968 conn_cur=0 http_req_cnt=6" */
static bool parse_entry(const char *line, struct route_activity *route) {
    long long expires_ms;
    const char *key = strstr(line, " key=");
    const char *expires = strstr(line, " exp=");
    const char *in_flight = strstr(line, " conn_cur=");
    memset(route, 0, sizeof *route);
    if (key == NULL || expires == NULL || in_flight == NULL || sscanf(expires, " exp=%lld", &expires_ms) != 1 ||
        sscanf(in_flight, " conn_cur=%u", &route->in_flight) != 1) {
        return false;
    }
    key += strlen(" key=");
    for (size_t i = 0; i < ROUTE_KEY_SIZE - 1; i++) {
        if (!isxdigit((unsigned char)key[i])) {
            return false;
        }
        route->route_key[i] = (char)toupper((unsigned char)key[i]);
    }
    long long idle_ms = HAPROXY_TABLE_EXPIRE_MS - expires_ms;
    route->idle_ms = idle_ms < 0 ? 0 : idle_ms;
    return key[ROUTE_KEY_SIZE - 1] == ' ';
}

bool haproxy_activity_parse(const char *answer, struct route_activity_list *list) {
    char line[LINE_MAX_BYTES];
    if (strncmp(answer, "# table: " HAPROXY_TABLE ",", strlen("# table: " HAPROXY_TABLE ",")) != 0) {
        return false;
    }
    for (const char *at = take_line(answer, line); at != NULL && (at = take_line(at, line)) != NULL;) {
        struct route_activity route;
        if (parse_entry(line, &route) && !append(list, &route)) {
            return false;
        }
    }
    return true;
}

/* Adds the pids below `title`. */
static void take_pids(const char *answer, const char *title, struct haproxy_workers *workers) {
    char line[LINE_MAX_BYTES];
    bool below = false;
    for (const char *at = take_line(answer, line); at != NULL && workers->count < HAPROXY_WORKERS_MAX;
         at = take_line(at, line)) {
        char *end = NULL;
        long pid = strtol(line, &end, 10);
        if (line[0] == '#') {
            below = strcmp(line, title) == 0;
        } else if (below && end != line && pid > 1) {
            workers->pids[workers->count++] = (pid_t)pid;
        }
    }
}

bool haproxy_activity_workers(const char *answer, struct haproxy_workers *workers) {
    workers->count = 0;
    take_pids(answer, "# workers", workers);
    workers->current = workers->count;
    take_pids(answer, "# old workers", workers);
    return workers->current > 0;
}
