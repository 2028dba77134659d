#include "fcgi-api/page.h"

#include <stdlib.h>
#include <string.h>

#include "common/sandbox.h"
#include "fcgi-api/uri.h"

/* dashboard/bundle makes these files; the assembler copies them (relative to the top of the tree, where make runs). */
#define EMBEDDED(name, file)                                                                                           \
    __asm__(".section .rodata\n"                                                                                       \
            ".globl " #name "\n" #name ":\n"                                                                           \
            ".incbin \"build/dashboard/" file "\"\n"                                                                   \
            ".L" #name "_end:\n"                                                                                       \
            ".byte 0\n"                                                                                                \
            ".balign 8\n"                                                                                              \
            ".globl " #name "_length\n" #name "_length:\n"                                                             \
            ".quad .L" #name "_end - " #name "\n"                                                                      \
            ".text\n");                                                                                                \
    extern const char name[];                                                                                          \
    extern const size_t name##_length

EMBEDDED(page_html, "page.html");
EMBEDDED(page_gzip, "page.html.gz");
EMBEDDED(page_policy, "policy");   /* the value of Content-Security-Policy */
EMBEDDED(page_version, "version"); /* the digest of page.html, in hexadecimal */

bool page_is_asked(const struct request *request, const char *method, const char *target) {
    return method != NULL && target != NULL && (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0) &&
           target[0] == '/' && uri_path_length(target) == 1 &&
           request_parameter(request, "HTTP_AUTHORIZATION") == NULL &&
           request_parameter(request, "HTTP_X_USER_ID") == NULL;
}

/* Does a list such as `br;q=1.0, gzip;q=0.8` take gzip (RFC 9110 §12.5.3)? */
static bool accepts_gzip(const char *list) {
    while (list != NULL && *list != '\0') {
        list += strspn(list, " \t,");
        size_t name = strcspn(list, " \t,;");
        size_t whole = strcspn(list, ",");
        const char *weight = memchr(list, '=', whole);
        if (name == strlen("gzip") && strncasecmp(list, "gzip", name) == 0) {
            return weight == NULL || strtod(weight + 1, NULL) > 0;
        }
        list += whole;
    }
    return false;
}

/* The digest decides, compressed or not, weak or not (RFC 9110 §13.1.2). */
static bool has_it_already(const struct request *request) {
    const char *known = request_parameter(request, "HTTP_IF_NONE_MATCH");
    return known != NULL && strstr(known, page_version) != NULL;
}

void page_answer(const struct settings *settings, const struct request *request, struct answer *answer) {
    if (!settings->enable_ui) {
        answer_detail(answer, 404, "The admin page is turned off (TERMINALS_ENABLE_UI)");
        return;
    }
    if (sandbox_allows_origin(settings->instance_sandbox)) {
        answer_detail(
            answer, 404,
            "The admin page is off, since TERMINALS_INSTANCE_SANDBOX lets pages of instances act as this origin");
        return;
    }
    bool is_compressed = accepts_gzip(request_parameter(request, "HTTP_ACCEPT_ENCODING"));
    answer->content_type = "text/html; charset=utf-8";
    answer->cache_control = "no-cache"; /* to be kept, and asked about each time */
    buffer_append_format(&answer->headers, "ETag: W/\"%s\"\r\n", page_version);
    answer_add_header(answer, "Vary", "Accept-Encoding");
    answer_add_header(answer, "Content-Security-Policy", page_policy);
    answer_add_header(answer, "Cross-Origin-Opener-Policy", "same-origin");
    answer_add_header(answer, "Cross-Origin-Resource-Policy", "same-origin");
    answer_add_header(answer, "Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=()");
    if (has_it_already(request)) {
        answer->status = 304;
    } else if (is_compressed) {
        answer_add_header(answer, "Content-Encoding", "gzip");
        answer_text(answer, 200, page_gzip, page_gzip_length);
    } else {
        answer_text(answer, 200, page_html, page_html_length);
    }
}
