/* text_open_document.c - LibreOffice's .odt, .ods and .odp: paragraphs as lines, rows of tables as lines with tabs. */
#include <stdlib.h>
#include <string.h>

#include "instance/text_package.h"
#include "instance/text_reader.h"

#define REPEAT_MAX 1000 /* spaces in a row, empty cells before one with content */

struct body {
    struct text_sink *sink;
    int in_paragraph;
    int skipped;
    int in_row;
    long tabs;       /* due before the next cell with content */
    bool is_row_due; /* its line is begun with its first content: rows without any are left out */
    bool is_first_paragraph;
    long repeated; /* how often this cell is there */
};

static bool is_hidden(const char *name) {
    static const char *const hidden[] = {"annotation", "tracked-changes", "note-citation", "forms"};
    for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
        if (strcmp(name, hidden[i]) == 0) {
            return true;
        }
    }
    return false;
}

static long number(const char **attributes, const char *name) {
    const char *text = xml_attribute(attributes, name);
    long value = text != NULL ? strtol(text, NULL, 10) : 1;
    return value < 1 ? 1 : value > REPEAT_MAX ? REPEAT_MAX : value;
}

/* The name of a sheet or a slide, between lines of its own. */
static void heading(struct body *body, const char *kind, const char **attributes) {
    const char *name = xml_attribute(attributes, "name");
    if (body->sink->has_line) {
        text_sink_line(body->sink);
    }
    text_sink_line(body->sink);
    fprintf(body->sink->file, "--- %s: %s ---", kind, name != NULL ? name : "");
}

static void start_paragraph(struct body *body) {
    if (body->in_row == 0) {
        text_sink_line(body->sink);
        return;
    }
    if (body->is_row_due) {
        text_sink_line(body->sink);
        body->is_row_due = false;
    }
    for (; body->tabs > 0; body->tabs--) {
        text_sink_add_string(body->sink, "\t");
    }
    text_sink_add_string(body->sink, body->is_first_paragraph ? "" : " ");
    body->is_first_paragraph = false;
}

static void on_start(void *state, const char *name, const char **attributes) {
    struct body *body = state;
    body->skipped += body->skipped > 0 || is_hidden(name);
    if (body->skipped > 0) {
        return;
    }
    if (strcmp(name, "p") == 0 || strcmp(name, "h") == 0) {
        start_paragraph(body);
        body->in_paragraph++;
    } else if (strcmp(name, "s") == 0 && body->in_paragraph > 0) {
        for (long i = number(attributes, "c"); i > 0; i--) {
            text_sink_add_string(body->sink, " ");
        }
    } else if (strcmp(name, "tab") == 0 && body->in_paragraph > 0) {
        text_sink_add_string(body->sink, "\t");
    } else if (strcmp(name, "line-break") == 0 && body->in_paragraph > 0) {
        text_sink_add_string(body->sink, body->in_row > 0 ? " " : "\n");
    } else if (strcmp(name, "table-row") == 0) {
        body->in_row++;
        body->tabs = 0;
        body->is_row_due = true;
    } else if (strcmp(name, "table-cell") == 0 || strcmp(name, "covered-table-cell") == 0) {
        body->is_first_paragraph = true;
        body->repeated = number(attributes, "number-columns-repeated");
    }
}

static void on_end(void *state, const char *name) {
    struct body *body = state;
    if (body->skipped > 0) {
        body->skipped--;
    } else if (strcmp(name, "p") == 0 || strcmp(name, "h") == 0) {
        body->in_paragraph--;
    } else if (strcmp(name, "table-row") == 0) {
        body->in_row--;
    } else if (strcmp(name, "table-cell") == 0 || strcmp(name, "covered-table-cell") == 0) {
        body->tabs += body->repeated;
    }
}

static void on_text(void *state, const char *text, size_t length) {
    const struct body *body = state;
    if (body->in_paragraph > 0 && body->skipped == 0) {
        text_sink_add(body->sink, text, length);
    }
}

/* Sheets have a name that says something; tables within a text have one that nobody sees. */
static void on_start_with_headings(void *state, const char *name, const char **attributes) {
    struct body *body = state;
    if (body->skipped == 0 && body->in_row == 0 && strcmp(name, "page") == 0) {
        heading(body, "Slide", attributes);
    } else if (body->skipped == 0 && body->in_row == 0 && strcmp(name, "table") == 0) {
        heading(body, "Sheet", attributes);
    }
    on_start(state, name, attributes);
}

/* Which of them it is, from the first element within the body: "text", "spreadsheet", "presentation". */
static void note_kind(void *state, const char *name, const char **attributes) {
    bool *is_sheet_or_slides = state;
    (void)attributes;
    *is_sheet_or_slides = *is_sheet_or_slides || strcmp(name, "spreadsheet") == 0 || strcmp(name, "presentation") == 0;
}

enum text_result text_read_open_document(struct text_sink *sink) {
    static const struct xml_events kind_events = {.start = note_kind};
    static const struct xml_events text_events = {on_start, on_end, on_text};
    static const struct xml_events heading_events = {on_start_with_headings, on_end, on_text};
    struct body body = {.sink = sink};
    bool has_headings = false;
    struct package *package = package_open();
    bool ok = package != NULL && package_parse(package, "content.xml", &kind_events, &has_headings) &&
              package_parse(package, "content.xml", has_headings ? &heading_events : &text_events, &body);
    package_close(package);
    return ok ? TEXT_READ : TEXT_DAMAGED;
}
