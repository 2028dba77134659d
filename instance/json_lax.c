#include "instance/json_lax.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

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

bool json_lax_number(const char *text, int64_t *result) {
    char *end;
    text += strspn(text, " \t\r\n");
    *result = strtoll(text, &end, 10);
    if (end == text) {
        return false;
    }
    size_t zeros = *end == '.' ? strspn(end + 1, "0") : 0;
    end += zeros > 0 ? zeros + 1 : 0;
    end += strspn(end, " \t\r\n");
    return *end == '\0';
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
        if (!json_lax_number(json_object_get_string(value), &whole)) {
            return fail(problem, "int_parsing",
                        "Input should be a valid integer, unable to parse string as an integer");
        }
        *result = whole;
        return true;
    default:
        return fail(problem, "int_type", "Input should be a valid integer");
    }
}
