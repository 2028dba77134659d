#include "instance/http_body.h"

#include <string.h>
#include <strings.h>

#include "instance/json_syntax.h"
#include "instance/utf8.h"

#define BODY_MAX_DEPTH 64

/* application/json, application/<anything>+json, or none at all (RFC 6839 §3.1). */
static bool is_json_type(const char *content_type) {
    static const char application[] = "application/";
    if (content_type == NULL) {
        return true;
    }
    content_type += strspn(content_type, " \t");
    size_t length = strcspn(content_type, "; \t");
    if (length < sizeof application - 1 || strncasecmp(content_type, application, sizeof application - 1) != 0) {
        return false;
    }
    const char *subtype = content_type + sizeof application - 1;
    size_t subtype_length = length - (sizeof application - 1);
    if (subtype_length == 4 && strncasecmp(subtype, "json", 4) == 0) {
        return true;
    }
    return subtype_length >= 5 && strncasecmp(subtype + subtype_length - 5, "+json", 5) == 0;
}

/* Python counts characters. */
static size_t count_characters(const char *text, size_t length) {
    size_t count = 0;
    for (size_t i = 0; i < length; i++) {
        count += ((unsigned char)text[i] & 0xc0) != 0x80;
    }
    return count;
}

/* Parses what json_syntax_check() has found to be JSON. */
static enum http_body_problem parse_text(const char *text, size_t length, struct json_object **value) {
    struct json_tokener *tokener = json_tokener_new_ex(BODY_MAX_DEPTH + 1);
    if (tokener == NULL) {
        return HTTP_BODY_OUT_OF_MEMORY;
    }
    *value = json_tokener_parse_ex(tokener, text, (int)length);
    if (json_tokener_get_error(tokener) == json_tokener_continue) {
        *value = json_tokener_parse_ex(tokener, "", 1); /* a number is only finished by what follows it */
    }
    enum json_tokener_error error = json_tokener_get_error(tokener);
    json_tokener_free(tokener);
    if (error != json_tokener_success) {
        return HTTP_BODY_OUT_OF_MEMORY;
    }
    if (*value == NULL) {
        return HTTP_BODY_MISSING;
    }
    return json_object_is_type(*value, json_type_object) ? HTTP_BODY_FINE : HTTP_BODY_NO_OBJECT;
}

enum http_body_problem http_body_parse(const char *text, size_t length, const char *content_type,
                                       struct json_object **value, struct http_body_syntax *syntax) {
    *value = NULL;
    if (length == 0) {
        return HTTP_BODY_MISSING;
    }
    if (!is_json_type(content_type)) {
        *value = json_object_new_string_len(text, (int)length);
        return *value != NULL ? HTTP_BODY_NO_OBJECT : HTTP_BODY_OUT_OF_MEMORY;
    }
    if (!utf8_is_valid(text, length)) {
        return HTTP_BODY_NO_TEXT;
    }
    if (length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) { /* a byte order mark, which Python skips */
        text += 3;
        length -= 3;
    }
    struct json_syntax_problem problem;
    if (!json_syntax_check(text, length, BODY_MAX_DEPTH, &problem)) {
        *syntax = (struct http_body_syntax){count_characters(text, problem.position), problem.message};
        return HTTP_BODY_NO_JSON;
    }
    return parse_text(text, length, value);
}
