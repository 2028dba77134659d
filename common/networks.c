#include "common/networks.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define SEPARATORS ", \t"

/* A number of at most three digits, without sign or leading zero. */
static bool is_prefix_length(const char *text, unsigned longest) {
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 3 || text[digits] != '\0' || (digits > 1 && text[0] == '0')) {
        return false;
    }
    unsigned length = 0;
    for (; *text != '\0'; text++) {
        length = length * 10 + (unsigned)(*text - '0');
    }
    return length <= longest;
}

static bool is_network(char *text) {
    struct in6_addr address;
    char *slash = strchr(text, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
    bool is_ipv4 = inet_pton(AF_INET, text, &address) == 1;
    if (!is_ipv4 && inet_pton(AF_INET6, text, &address) != 1) {
        return false;
    }
    return slash == NULL || is_prefix_length(slash + 1, is_ipv4 ? 32 : 128);
}

bool networks_check(const char *list, struct error *err) {
    size_t count = 0;
    while (*(list += strspn(list, SEPARATORS)) != '\0') {
        char entry[INET6_ADDRSTRLEN + 4] = "";
        size_t length = strcspn(list, SEPARATORS);
        if (length < sizeof entry) {
            memcpy(entry, list, length); /* NOLINT: the initializer left the NUL */
        }
        if (!is_network(entry)) {
            return error_set(err, ERROR_INVALID, "`%.*s` is no address (10.0.0.1, fd00::1) and no network (10.0.0.0/8)",
                             (int)(length < 100 ? length : 100), list);
        }
        list += length;
        count++;
    }
    return count > 0 || error_set(err, ERROR_INVALID, "it names no address");
}
