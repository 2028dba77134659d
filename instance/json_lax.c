#include "instance/json_lax.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/cleanup.h"

#define INTEGER_MAX 9.2e18 /* below INT64_MAX, as a double */

bool json_lax_word(const char *text, bool *result) {
    static const struct {
        const char *word;
        bool truth;
    } words[] = {
        {"true", true},   {"1", true},  {"on", true},   {"t", true},  {"yes", true}, {"y", true},
        {"false", false}, {"0", false}, {"off", false}, {"f", false}, {"no", false}, {"n", false},
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasecmp(text, words[i].word) == 0) {
            *result = words[i].truth;
            return true;
        }
    }
    return false;
}

static bool fail(struct json_problem *problem, const char *type, const char *message) {
    *problem = (struct json_problem){type, message};
    return false;
}

bool json_lax_boolean(struct json_object *value, bool *result, struct json_problem *problem) {
    double number;
    bool is_known = false;
    switch (json_object_get_type(value)) {
    case json_type_boolean:
        *result = json_object_get_boolean(value);
        return true;
    case json_type_int:
    case json_type_double:
        number = json_object_get_double(value);
        is_known = number == 0 || number == 1;
        *result = is_known ? number == 1 : *result;
        break;
    case json_type_string:
        is_known = json_lax_word(json_object_get_string(value), result);
        break;
    default:
        return fail(problem, "bool_type", "Input should be a valid boolean");
    }
    return is_known || fail(problem, "bool_parsing", "Input should be a valid boolean, unable to interpret input");
}

/* Takes the blanks off both ends. */
static void trim(const char **text, size_t *length) {
    while (*length > 0 && isspace((unsigned char)**text)) {
        (*text)++;
        (*length)--;
    }
    while (*length > 0 && isspace((unsigned char)(*text)[*length - 1])) {
        (*length)--;
    }
}

/* A number as C has it, from one with blanks around it and underscores in it. NULL: it is none. The caller frees. */
static char *plain_number(const char *text, size_t length, const char *allowed) {
    trim(&text, &length);
    if (length == 0 || text[0] == '_' || text[length - 1] == '_') {
        return NULL;
    }
    char *plain = malloc(length + 1);
    size_t used = 0;
    for (size_t i = 0; plain != NULL && i < length; i++) {
        bool is_separator = text[i] == '_' && text[i - 1] != '_';
        if (!is_separator && (text[i] == '\0' || strchr(allowed, text[i]) == NULL)) {
            free(plain);
            return NULL;
        }
        plain[used] = text[i];
        used += !is_separator;
    }
    if (plain != NULL) {
        plain[used] = '\0';
    }
    return plain;
}

bool json_lax_number(const char *text, size_t length, int64_t *result) {
    cleanup_free char *plain = plain_number(text, length, "0123456789+-.");
    if (plain == NULL || !isdigit((unsigned char)plain[plain[0] == '-' || plain[0] == '+'])) {
        return false;
    }
    char *end;
    *result = strtoll(plain, &end, 10); /* what is too large becomes the largest */
    size_t zeros = *end == '.' ? strspn(end + 1, "0") : 0;
    end += zeros > 0 ? zeros + 1 : 0;
    return *end == '\0';
}

bool json_lax_decimal(const char *text, size_t length, double *result) {
    /* The letters are those of an exponent, "nan" and "infinity"; no hexadecimal. */
    cleanup_free char *plain = plain_number(text, length, "0123456789+-.eEaAfFiInNtTyY");
    if (plain == NULL) {
        return false;
    }
    char *end;
    *result = strtod(plain, &end);
    return end != plain && *end == '\0';
}

bool json_lax_integer(struct json_object *value, int64_t *result, struct json_problem *problem) {
    double number;
    int64_t whole;
    switch (json_object_get_type(value)) {
    case json_type_int:
    case json_type_boolean:
        *result = json_object_get_int64(value);
        return true;
    case json_type_double:
        number = json_object_get_double(value);
        if (!(number > -INTEGER_MAX && number < INTEGER_MAX) || number != (double)(int64_t)number) {
            return fail(problem, "int_from_float",
                        "Input should be a valid integer, got a number with a fractional part");
        }
        *result = (int64_t)number;
        return true;
    case json_type_string:
        if (!json_lax_number(json_object_get_string(value), (size_t)json_object_get_string_len(value), &whole)) {
            return fail(problem, "int_parsing",
                        "Input should be a valid integer, unable to parse string as an integer");
        }
        *result = whole;
        return true;
    default:
        return fail(problem, "int_type", "Input should be a valid integer");
    }
}
