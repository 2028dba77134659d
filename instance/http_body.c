#include "instance/http_body.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

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
    return subtype_length > 5 && strncasecmp(subtype + subtype_length - 5, "+json", 5) == 0;
}

static const char *syntax_message(enum json_tokener_error problem) {
    static const struct {
        enum json_tokener_error problem;
        const char *message;
    } messages[] = {
        {json_tokener_error_parse_object_key_name, "Expecting property name enclosed in double quotes"},
        {json_tokener_error_parse_object_key_sep, "Expecting ':' delimiter"},
        {json_tokener_error_parse_object_value_sep, "Expecting ',' delimiter"},
        {json_tokener_error_parse_array, "Expecting ',' delimiter"},
        {json_tokener_error_parse_string, "Invalid \\escape"},
        {json_tokener_error_depth, "Too deeply nested"},
    };
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        if (messages[i].problem == problem) {
            return messages[i].message;
        }
    }
    return "Expecting value";
}

static size_t skip_space(const char *text, size_t position, size_t length) {
    while (position < length &&
           (text[position] == ' ' || text[position] == '\t' || text[position] == '\r' || text[position] == '\n')) {
        position++;
    }
    return position;
}

/* The four hex digits of an escape \uXXXX, which the parser has checked. */
static unsigned escaped_unit(const char *digits) {
    unsigned unit = 0;
    for (int i = 0; i < 4; i++) {
        unit =
            unit << 4 | (unsigned)(isdigit((unsigned char)digits[i]) ? digits[i] - '0' : (digits[i] | 0x20) - 'a' + 10);
    }
    return unit;
}

/* Where text that was parsed has half of a surrogate pair (RFC 8259 §8.2), `length` if nowhere. json-c replaces it by
 * U+FFFD: what the client meant to write would be changed without a word. */
static size_t find_lone_surrogate(const char *text, size_t length) {
    for (size_t at = 0; at + 6 <= length; at++) {
        if (text[at] != '\\') {
            continue;
        }
        unsigned unit = text[at + 1] == 'u' ? escaped_unit(text + at + 2) : 0;
        if (unit >= 0xD800 && unit <= 0xDFFF) {
            bool is_pair = unit <= 0xDBFF && at + 12 <= length && memcmp(text + at + 6, "\\u", 2) == 0 &&
                           (escaped_unit(text + at + 8) & 0xFC00) == 0xDC00;
            if (!is_pair) {
                return at;
            }
            at += 6;
        }
        at += text[at + 1] == 'u' ? 5 : 1;
    }
    return length;
}

/* Where a string begins that does not end; `length` if there is none. */
static size_t find_open_string(const char *text, size_t length) {
    size_t start = length;
    for (size_t at = 0; at < length; at++) {
        if (text[at] == '"') {
            start = start == length ? at : length;
        } else if (text[at] == '\\' && start != length) {
            at++;
        }
    }
    return start;
}

/* What json-c takes though it is no JSON (RFC 8259 §7): a control character in a string as it is, and strings in
 * single quotes. Where the first one is, `length` if nowhere. The text was parsed. */
static size_t find_lenience(const char *text, size_t length) {
    bool is_inside = false;
    for (size_t at = 0; at < length; at++) {
        if (is_inside ? (unsigned char)text[at] < 0x20 : text[at] == '\'') {
            return at;
        }
        is_inside = text[at] == '"' ? !is_inside : is_inside;
        at += is_inside && text[at] == '\\';
    }
    return length;
}

static const char *lenience_message(const char *text, size_t at) {
    if (text[at] != '\'') {
        return "Invalid control character at";
    }
    while (at > 0 && strchr(" \t\r\n", text[at - 1]) != NULL) {
        at--;
    }
    return syntax_message(at > 0 && text[at - 1] == '{' ? json_tokener_error_parse_object_key_name
                                                        : json_tokener_error_parse_unexpected);
}

/* Our parser's word for what is wrong, and where it saw it, made those of Python's. */
static void speak_python(const char *text, size_t length, struct http_body_syntax *syntax) {
    size_t at = syntax->position < length ? syntax->position : length;
    size_t before = at;
    while (before > 0 && strchr(" \t\r\n", text[before - 1]) != NULL) {
        before--;
    }
    if (at == length && find_open_string(text, length) < length) {
        *syntax = (struct http_body_syntax){find_open_string(text, length), "Unterminated string starting at"};
    } else if (at < length && (text[at] == '}' || text[at] == ']') && before > 0 && text[before - 1] == ',') {
        *syntax = (struct http_body_syntax){before - 1, text[at] == '}' ? "Illegal trailing comma before end of object"
                                                                        : "Illegal trailing comma before end of array"};
    } else if (at < length && syntax->message == syntax_message(json_tokener_error_parse_string)) {
        bool is_control = (unsigned char)text[at] < 0x20;
        while (!is_control && at > 0 && text[at] != '\\') {
            at--;
        }
        *syntax = (struct http_body_syntax){at, is_control ? "Invalid control character at" : syntax->message};
    } else {
        while (at > 0 && at < length && isalpha((unsigned char)text[at]) && isalpha((unsigned char)text[at - 1])) {
            at--; /* "nope" began like null, but the whole word is none */
        }
        syntax->position = at;
    }
}

/* Python counts characters. */
static size_t count_characters(const char *text, size_t length) {
    size_t count = 0;
    for (size_t i = 0; i < length; i++) {
        count += ((unsigned char)text[i] & 0xc0) != 0x80;
    }
    return count;
}

static enum http_body_problem parse_text(struct json_tokener *tokener, const char *text, size_t length,
                                         struct json_object **value, struct http_body_syntax *syntax) {
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_ALLOW_TRAILING_CHARS);
    *value = json_tokener_parse_ex(tokener, text, (int)length);
    enum json_tokener_error problem = json_tokener_get_error(tokener);
    size_t used = json_tokener_get_parse_end(tokener);
    if (problem == json_tokener_continue) {
        /* A number at the very end is only finished by what follows it. */
        *value = json_tokener_parse_ex(tokener, "", 1);
        problem = json_tokener_get_error(tokener);
        used = length;
    }
    *syntax = (struct http_body_syntax){used, syntax_message(problem)};
    if (problem != json_tokener_success) {
        speak_python(text, length, syntax);
        return HTTP_BODY_NO_JSON;
    }
    syntax->position = skip_space(text, used, length);
    if (syntax->position < length) {
        syntax->message = "Extra data";
        return HTTP_BODY_NO_JSON;
    }
    syntax->position = find_lenience(text, length);
    if (syntax->position < length) {
        syntax->message = lenience_message(text, syntax->position);
        return HTTP_BODY_NO_JSON;
    }
    syntax->position = find_lone_surrogate(text, length);
    if (syntax->position < length) {
        syntax->message = "Unpaired surrogate";
        return HTTP_BODY_NO_JSON;
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
    struct json_tokener *tokener = json_tokener_new_ex(BODY_MAX_DEPTH);
    if (tokener == NULL) {
        return HTTP_BODY_OUT_OF_MEMORY;
    }
    enum http_body_problem problem = parse_text(tokener, text, length, value, syntax);
    if (problem == HTTP_BODY_NO_JSON) {
        syntax->position = count_characters(text, syntax->position < length ? syntax->position : length);
        json_object_put(*value);
        *value = NULL;
    }
    json_tokener_free(tokener);
    return problem;
}
