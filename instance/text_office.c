/* text_office.c - Word's .docx and PowerPoint's .pptx: paragraphs as lines, rows of tables as lines with tabs. In both,
 * the names of the elements are the same once their prefixes are off. */
#include <string.h>

#include "instance/text_package.h"
#include "instance/text_reader.h"
#include "instance/text_relations.h"

struct body {
    struct text_sink *sink;
    int in_text;  /* depth of <t> */
    int skipped;  /* depth of what is not shown */
    int in_table; /* depth of <tbl>: cells in cells */
    bool is_first_cell;
    bool is_first_paragraph; /* of its cell */
};

static bool is_one_of(const char *name, const char *const *names) {
    for (; *names != NULL; names++) {
        if (strcmp(name, *names) == 0) {
            return true;
        }
    }
    return false;
}

/* The same once more for old programs, the code of a field beside its result, what was deleted, where tabs stop. */
static const char *const hidden[] = {"Fallback",  "instrText", "delText", "pPrChange",
                                     "rPrChange", "tabs",      "tabLst",  NULL};

static void start_paragraph(struct body *body) {
    if (body->in_table == 0) {
        text_sink_line(body->sink);
    } else if (!body->is_first_paragraph) {
        text_sink_add_string(body->sink, " ");
    }
    body->is_first_paragraph = false;
}

static void on_start(void *state, const char *name, const char **attributes) {
    struct body *body = state;
    (void)attributes;
    body->skipped += body->skipped > 0 || is_one_of(name, hidden);
    if (body->skipped > 0) {
        return;
    }
    if (strcmp(name, "p") == 0) {
        start_paragraph(body);
    } else if (strcmp(name, "t") == 0) {
        body->in_text++;
    } else if (strcmp(name, "tab") == 0) {
        text_sink_add_string(body->sink, "\t");
    } else if (strcmp(name, "br") == 0 || strcmp(name, "cr") == 0) {
        text_sink_add_string(body->sink, body->in_table > 0 ? " " : "\n");
    } else if (strcmp(name, "tbl") == 0) {
        body->in_table++;
    } else if (strcmp(name, "tr") == 0 && body->in_table == 1) {
        text_sink_line(body->sink);
        body->is_first_cell = true;
    } else if (strcmp(name, "tc") == 0) {
        if (!body->is_first_cell) {
            text_sink_add_string(body->sink, body->in_table == 1 ? "\t" : " ");
        }
        body->is_first_cell = false;
        body->is_first_paragraph = true;
    }
}

static void on_end(void *state, const char *name) {
    struct body *body = state;
    if (body->skipped > 0) {
        body->skipped--;
    } else if (strcmp(name, "t") == 0) {
        body->in_text--;
    } else if (strcmp(name, "tbl") == 0) {
        body->in_table--;
    }
}

static void on_text(void *state, const char *text, size_t length) {
    const struct body *body = state;
    if (body->in_text > 0 && body->skipped == 0) {
        text_sink_add(body->sink, text, length);
    }
}

static const struct xml_events events = {on_start, on_end, on_text};

enum text_result text_read_docx(struct text_sink *sink) {
    struct body body = {.sink = sink};
    struct package *package = package_open();
    bool ok = package != NULL && package_parse(package, "word/document.xml", &events, &body);
    package_close(package);
    return ok ? TEXT_READ : TEXT_DAMAGED;
}

enum text_result text_read_pptx(struct text_sink *sink) {
    struct relations slides = {0};
    struct package *package = package_open();
    bool ok = package != NULL && relations_read(package, "ppt/presentation.xml", "sldId", &slides);
    for (size_t i = 0; ok && i < slides.count; i++) {
        struct body body = {.sink = sink};
        if (i > 0) {
            text_sink_line(sink);
        }
        text_sink_line(sink);
        fprintf(sink->file, "--- Slide %zu ---", i + 1);
        ok = slides.list[i].path != NULL && package_parse(package, slides.list[i].path, &events, &body);
    }
    relations_free(&slides);
    package_close(package);
    return ok ? TEXT_READ : TEXT_DAMAGED;
}
