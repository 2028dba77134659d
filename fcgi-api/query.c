#include "fcgi-api/query.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/names.h"
#include "fcgi-api/answer.h"
#include "fcgi-api/uri.h"

#define TEXT_MAX_BYTES 256
#define MESSAGE_SIZE   256

/* The values of one query string, by the row of the field. */
struct values {
    char *texts[QUERY_FIELDS_MAX];
    bool is_bad[QUERY_FIELDS_MAX]; /* no UTF-8, or a NUL */
    unsigned counts[QUERY_FIELDS_MAX];
};

static void values_free(struct values *values) {
    for (size_t i = 0; i < QUERY_FIELDS_MAX; i++) {
        free(values->texts[i]);
    }
}

/* One `name=value` pair of the query; names that no field has are passed over. */
static bool take_pair(struct values *values, const struct query_field *fields, const char *pair, size_t length,
                      struct error *err) {
    const char *equals = memchr(pair, '=', length);
    size_t name_length = equals == NULL ? length : (size_t)(equals - pair);
    cleanup_free char *name = uri_decode(pair, name_length, true, err);
    if (name == NULL) {
        return err->code != ERROR_INTERNAL;
    }
    for (size_t i = 0; fields[i].name != NULL; i++) {
        if (strcmp(fields[i].name, name) != 0) {
            continue;
        }
        if (values->counts[i]++ == 0) {
            size_t used = equals == NULL ? length : name_length + 1;
            values->texts[i] = uri_decode(pair + used, length - used, true, err);
            values->is_bad[i] = values->texts[i] == NULL;
            return values->texts[i] != NULL || err->code != ERROR_INTERNAL;
        }
    }
    return true;
}

static bool take_all(struct values *values, const struct query_field *fields, const char *query, struct error *err) {
    while (*query != '\0') {
        size_t length = strcspn(query, "&");
        if (!take_pair(values, fields, query, length, err)) {
            return false;
        }
        query += length;
        query += *query == '&';
    }
    return true;
}

/* What is wrong with a value, in the words clients know from FastAPI. */
struct complaint {
    const char *type;
    char message[MESSAGE_SIZE];
};

static bool complain(struct complaint *complaint, const char *type, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool complain(struct complaint *complaint, const char *type, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    complaint->type = type;
    vsnprintf(complaint->message, sizeof complaint->message, format, arguments);
    va_end(arguments);
    return false;
}

static bool add_number(const struct query_field *field, const char *text, struct json_object *request,
                       struct complaint *complaint) {
    char *end = NULL;
    long long number = strtoll(text, &end, 10);
    /* strtoll() would also take leading white space. */
    if (text[0] == '\0' || *end != '\0' || strspn(text, "+-0123456789") != strlen(text)) {
        return complain(complaint, "int_parsing",
                        "Input should be a valid integer, unable to parse string as an integer");
    }
    if (number < field->minimum) {
        return complain(complaint, "greater_than_equal", "Input should be greater than or equal to %lld",
                        (long long)field->minimum);
    }
    if (number > field->maximum) {
        return complain(complaint, "less_than_equal", "Input should be less than or equal to %lld",
                        (long long)field->maximum);
    }
    return json_add_int(request, field->name, number);
}

static bool add_switch(const struct query_field *field, const char *text, struct json_object *request,
                       struct complaint *complaint) {
    static const char *const words[][2] = {{"false", "true"}, {"0", "1"}, {"no", "yes"}, {"off", "on"}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        for (int truth = 0; truth <= 1; truth++) {
            if (strcasecmp(words[i][truth], text) == 0) {
                return json_add_bool(request, field->name, truth == 1);
            }
        }
    }
    return complain(complaint, "bool_parsing", "Input should be a valid boolean, unable to interpret input");
}

static bool add_choice(const struct query_field *field, const char *text, struct json_object *request,
                       struct complaint *complaint) {
    char list[MESSAGE_SIZE] = "";
    size_t used = 0;
    for (const char *const *choice = field->choices; *choice != NULL; choice++) {
        if (strcmp(*choice, text) == 0) {
            return json_add_string(request, field->name, text);
        }
        int added = snprintf(list + used, sizeof list - used, "%s'%s'", used == 0 ? "" : ", ", *choice);
        used += (size_t)added < sizeof list - used ? (size_t)added : 0;
    }
    return complain(complaint, "enum", "Input should be one of %s", list);
}

static bool add_time(const struct query_field *field, const char *text, struct json_object *request,
                     struct complaint *complaint) {
    int64_t unix_ms = 0;
    if (!clock_parse_rfc3339(text, &unix_ms)) {
        return complain(complaint, "datetime_parsing", "Input should be an RFC 3339 date and time");
    }
    char utc[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339(unix_ms, utc);
    return json_add_string(request, field->name, utc);
}

static bool add_text(const struct query_field *field, const char *text, struct json_object *request,
                     struct complaint *complaint) {
    if (strlen(text) > TEXT_MAX_BYTES) {
        return complain(complaint, "string_too_long", "Input should have at most 256 bytes");
    }
    return json_add_string(request, field->name, text);
}

/* Adds the member for one value. False with a complaint, or with *err. */
static bool add_value(const struct query_field *field, const char *text, struct json_object *request,
                      struct complaint *complaint, struct error *err) {
    switch (field->type) {
    case QUERY_NUMBER:
        return add_number(field, text, request, complaint);
    case QUERY_SWITCH:
        return add_switch(field, text, request, complaint);
    case QUERY_CHOICE:
        return add_choice(field, text, request, complaint);
    case QUERY_TIME:
        return add_time(field, text, request, complaint);
    case QUERY_POLICY:
        return name_check_policy_id(text, err) && json_add_string(request, field->name, text);
    case QUERY_CONTEXT:
        return name_check_context_id(name_or_default(text), err) &&
               json_add_string(request, field->name, name_or_default(text));
    case QUERY_TEXT:
        break;
    }
    return add_text(field, text, request, complaint);
}

/* One field of the call: its value or its fallback into the request, or an entry of what is wrong. False with *err only
 * where going on makes no sense. */
static bool read_field(const struct query_field *field, const char *text, bool is_bad, unsigned count,
                       struct json_object *request, struct json_object **entries, struct error *err) {
    struct complaint complaint = {0};
    bool good = true;
    if (count > 1) {
        good = complain(&complaint, "repeated", "Input should be given once");
    } else if (is_bad) {
        good = complain(&complaint, "string_unicode", "Input should be UTF-8 text");
    } else if (count == 1 || field->fallback != NULL) {
        good = add_value(field, count == 1 ? text : field->fallback, request, &complaint, err);
    }
    if (good) {
        return true;
    }
    if (complaint.type != NULL) {
        return answer_entry_add(entries, "query", field->name, complaint.type, complaint.message, text) ||
               error_set(err, ERROR_INTERNAL, "out of memory");
    }
    return err->code != ERROR_NONE ? false : error_set(err, ERROR_INTERNAL, "out of memory");
}

bool query_read(const char *query, const struct query_field *fields, struct json_object *request,
                struct json_object **entries, struct error *err) {
    *entries = NULL;
    __attribute__((cleanup(values_free))) struct values values = {0};
    if (fields == NULL) {
        return true;
    }
    if (!take_all(&values, fields, query, err)) {
        return false;
    }
    err->code = ERROR_NONE;
    for (size_t i = 0; fields[i].name != NULL; i++) {
        if (!read_field(&fields[i], values.texts[i], values.is_bad[i], values.counts[i], request, entries, err)) {
            json_object_put(*entries);
            *entries = NULL;
            return false;
        }
    }
    return *entries == NULL || error_set(err, ERROR_UNPROCESSABLE, "the query is not valid");
}
