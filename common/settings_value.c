#include "common/settings_value.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/quantity.h"

void *settings_field(const struct settings *settings, const struct setting *row) {
    return (char *)settings + row->offset;
}

bool settings_number(const char *text, int64_t *number) {
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    *number = value;
    return errno == 0 && end != text && *end == '\0' && strchr(" \t\n\v\f\r+", text[0]) == NULL;
}

static bool store_switch(bool *field, const char *text) {
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"true", true},   {"1", true},  {"yes", true}, {"on", true},
                 {"false", false}, {"0", false}, {"no", false}, {"off", false}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcasecmp(words[i].word, text) == 0) {
            *field = words[i].value;
            return true;
        }
    }
    return false;
}

static bool store_choice(int *field, const struct setting *row, const char *text) {
    for (int i = 0; row->choices[i] != NULL; i++) {
        if (strcasecmp(row->choices[i], text) == 0) {
            *field = i;
            return true;
        }
    }
    return false;
}

/* "TERMINALS_X: `value` is not one of a, b" */
static bool refuse_choice(const struct setting *row, const char *text, struct error *err) {
    cleanup_buffer struct buffer list = {0};
    for (int i = 0; row->choices[i] != NULL; i++) {
        buffer_append_format(&list, "%s%s", i > 0 ? ", " : "", row->choices[i]);
    }
    return error_set(err, ERROR_INVALID, SETTINGS_PREFIX "%s: `%s` is not one of %s", row->name, text,
                     list.data == NULL ? "" : list.data);
}

static bool store_text(char **field, const struct setting *row, const char *text, struct error *err) {
    if (text == NULL) {
        return true;
    }
    if (text[0] == '\0') {
        return error_set(err, ERROR_INVALID, SETTINGS_PREFIX "%s is empty", row->name);
    }
    if (strpbrk(text, "\n\r") != NULL) {
        return error_set(err, ERROR_INVALID, SETTINGS_PREFIX "%s holds a line feed", row->name);
    }
    *field = strdup(text);
    return *field != NULL || error_set(err, ERROR_INTERNAL, "out of memory");
}

static bool store_amount(char **field, const struct setting *row, const char *text, struct error *err) {
    int64_t amount = 0;
    if (text != NULL && (!quantity_thousandths(text, &amount) || amount <= 0)) {
        return error_set(err, ERROR_INVALID,
                         SETTINGS_PREFIX "%s: `%s` is not a Kubernetes quantity above zero (500m, 2, 512Mi, 4Gi)",
                         row->name, text);
    }
    return store_text(field, row, text, err);
}

bool settings_store(struct settings *settings, const struct setting *row, const char *text, struct error *err) {
    void *field = settings_field(settings, row);
    /* Empty is what an unset variable in a compose file becomes. */
    if (text == NULL || (text[0] == '\0' && (row->type != SETTING_TEXT || row->default_value == NULL))) {
        text = row->default_value;
    }
    int64_t number = 0;
    switch (row->type) {
    case SETTING_TEXT:
    case SETTING_SECRET:
        return store_text(field, row, text, err);
    case SETTING_AMOUNT:
        return store_amount(field, row, text, err);
    case SETTING_SWITCH:
        return store_switch(field, text) ||
               error_set(err, ERROR_INVALID, SETTINGS_PREFIX "%s: `%s` is neither true nor false", row->name, text);
    case SETTING_CHOICE:
        return store_choice(field, row, text) || refuse_choice(row, text, err);
    case SETTING_NUMBER:
        if (!settings_number(text, &number) || number < row->minimum || number > row->maximum) {
            return error_set(err, ERROR_INVALID, SETTINGS_PREFIX "%s: `%s` is not a number from %lld to %lld",
                             row->name, text, (long long)row->minimum, (long long)row->maximum);
        }
        *(int64_t *)field = number;
        return true;
    }
    return false;
}
