#include "fcgi-api/csv.h"

#include <string.h>

#define LINE_END "\r\n"

/* Spreadsheets calculate what begins like this, and may send it somewhere (OWASP, CSV Injection). Others wrote these
 * texts: user agents and user ids are whatever a client said. The last four are the full-width ＝＋－＠, which some
 * take for the same. */
static bool looks_like_a_formula(const char *text) {
    static const char *const wide[] = {"\xef\xbc\x9d", "\xef\xbc\x8b", "\xef\xbc\x8d", "\xef\xbc\xa0"};
    bool is_formula = text[0] != '\0' && strchr("=+-@\t\r\n", text[0]) != NULL;
    for (size_t i = 0; !is_formula && i < sizeof wide / sizeof wide[0]; i++) {
        is_formula = strncmp(text, wide[i], strlen(wide[i])) == 0;
    }
    return is_formula;
}

static bool append_text(struct buffer *out, const char *text) {
    bool is_formula = looks_like_a_formula(text);
    if (!is_formula && strpbrk(text, "\",;\r\n") == NULL) {
        return buffer_append(out, text, strlen(text));
    }
    buffer_append_format(out, "\"%s", is_formula ? "'" : "");
    for (; *text != '\0'; text++) {
        buffer_append(out, text, 1);
        if (*text == '"') {
            buffer_append(out, "\"", 1);
        } else if (*text == ';' && looks_like_a_formula(text + 1)) {
            /* Where a comma is the decimal point, a semicolon begins the next cell, in quotes or not. */
            buffer_append(out, "'", 1);
        }
    }
    return buffer_append(out, "\"", 1);
}

bool csv_append_names(struct buffer *out, const char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++) {
        buffer_append_format(out, "%s%s", i == 0 ? "" : ",", names[i]);
    }
    return buffer_append(out, LINE_END, strlen(LINE_END));
}

bool csv_append_row(struct buffer *out, struct json_object *row, const char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct json_object *value = NULL;
        json_object_object_get_ex(row, names[i], &value);
        buffer_append(out, ",", i == 0 ? 0 : 1);
        if (json_object_is_type(value, json_type_string)) {
            append_text(out, json_object_get_string(value));
        } else if (value != NULL) {
            const char *number = json_text(value, &(size_t){0});
            out->failed = out->failed || number == NULL;
            append_text(out, number == NULL ? "" : number);
        }
    }
    return buffer_append(out, LINE_END, strlen(LINE_END));
}
