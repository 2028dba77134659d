/* text_epub.c - books: the chapters in the order of reading, their blocks as lines. */
#include <stdlib.h>
#include <string.h>

#include "instance/text_package.h"
#include "instance/text_reader.h"

#define CHAPTERS_MAX 10000

struct item {
    char *id;
    char *path;
};

struct book {
    char *package_path; /* of the file that names the chapters */
    struct item *items; /* all files of the book */
    size_t item_count;
    char **chapters; /* paths, borrowed from the items */
    size_t chapter_count;
    bool failed; /* no memory */
};

/* ---- what there is ---- */

static void on_container_start(void *state, const char *name, const char **attributes) {
    struct book *book = state;
    const char *path = xml_attribute(attributes, "full-path");
    if (strcmp(name, "rootfile") == 0 && path != NULL && book->package_path == NULL) {
        book->package_path = strdup(path);
    }
}

static void add_item(struct book *book, const char *id, const char *href) {
    struct item *larger = realloc(book->items, (book->item_count + 1) * sizeof(*larger));
    if (larger == NULL) {
        book->failed = true;
        return;
    }
    book->items = larger;
    larger[book->item_count++] = (struct item){strdup(id), package_resolve(book->package_path, href)};
}

static void add_chapter(struct book *book, const char *id) {
    for (size_t i = 0; i < book->item_count; i++) {
        const struct item *item = &book->items[i];
        if (item->id == NULL || item->path == NULL || strcmp(item->id, id) != 0) {
            continue;
        }
        char **larger = realloc(book->chapters, (book->chapter_count + 1) * sizeof(*larger));
        if (larger == NULL) {
            book->failed = true;
            return;
        }
        book->chapters = larger;
        larger[book->chapter_count++] = item->path;
        return;
    }
}

static void on_package_start(void *state, const char *name, const char **attributes) {
    struct book *book = state;
    const char *id = xml_attribute(attributes, "id");
    const char *href = xml_attribute(attributes, "href");
    const char *idref = xml_attribute(attributes, "idref");
    if (strcmp(name, "item") == 0 && id != NULL && href != NULL && book->item_count < CHAPTERS_MAX) {
        add_item(book, id, href);
    } else if (strcmp(name, "itemref") == 0 && idref != NULL && book->chapter_count < CHAPTERS_MAX) {
        add_chapter(book, idref);
    }
}

/* ---- a chapter ---- */

struct chapter {
    struct text_sink *sink;
    int in_body;
    int skipped;
    bool is_line_due;  /* the next word begins a line */
    bool is_space_due; /* and this one comes before the next word of the line */
};

static bool is_one_of(const char *name, const char *const *names) {
    for (; *names != NULL; names++) {
        if (strcmp(name, *names) == 0) {
            return true;
        }
    }
    return false;
}

static const char *const blocks[] = {"p",  "div", "h1",         "h2",      "h3",      "h4",    "h5",  "h6", "li", "tr",
                                     "br", "hr",  "blockquote", "section", "article", "table", "pre", "dt", "dd", NULL};
static const char *const hidden[] = {"script", "style", "head", NULL};

static void on_start(void *state, const char *name, const char **attributes) {
    struct chapter *chapter = state;
    (void)attributes;
    chapter->in_body += strcmp(name, "body") == 0;
    chapter->skipped += chapter->skipped > 0 || is_one_of(name, hidden);
    chapter->is_line_due = chapter->is_line_due || is_one_of(name, blocks);
    chapter->is_space_due = chapter->is_space_due || strcmp(name, "td") == 0 || strcmp(name, "th") == 0;
}

static void on_end(void *state, const char *name) {
    struct chapter *chapter = state;
    chapter->in_body -= strcmp(name, "body") == 0;
    chapter->skipped -= chapter->skipped > 0;
    chapter->is_line_due = chapter->is_line_due || is_one_of(name, blocks);
}

/* White space is one space, and none at the ends of a line. */
static void on_text(void *state, const char *text, size_t length) {
    struct chapter *chapter = state;
    const char *end = text + length;
    if (chapter->in_body == 0 || chapter->skipped > 0) {
        return;
    }
    while (text < end) {
        const char *word = text;
        while (text < end && strchr(" \t\r\n", *text) == NULL) {
            text++;
        }
        if (text > word) {
            if (chapter->is_line_due) {
                text_sink_line(chapter->sink);
            } else if (chapter->is_space_due) {
                text_sink_add_string(chapter->sink, " ");
            }
            chapter->is_line_due = chapter->is_space_due = false;
            text_sink_add(chapter->sink, word, (size_t)(text - word));
        }
        while (text < end && *text != '\0' && strchr(" \t\r\n", *text) != NULL) {
            chapter->is_space_due = true;
            text++;
        }
    }
}

/* A chapter that is no XML after all is shown as far as it is. False if not one of them could be read. */
static bool read_chapters(struct package *package, const struct book *book, struct text_sink *sink) {
    static const struct xml_events events = {on_start, on_end, on_text};
    bool is_any_read = false;
    for (size_t i = 0; i < book->chapter_count; i++) {
        struct chapter chapter = {.sink = sink, .is_line_due = true};
        if (i > 0) {
            text_sink_line(sink);
        }
        is_any_read = package_parse(package, book->chapters[i], &events, &chapter) || is_any_read;
    }
    return is_any_read;
}

enum text_result text_read_epub(struct text_sink *sink) {
    static const struct xml_events container_events = {.start = on_container_start};
    static const struct xml_events package_events = {.start = on_package_start};
    struct book book = {.package_path = NULL};
    struct package *package = package_open();
    bool ok = package != NULL && package_parse(package, "META-INF/container.xml", &container_events, &book) &&
              book.package_path != NULL && package_parse(package, book.package_path, &package_events, &book) &&
              !book.failed && read_chapters(package, &book, sink);
    for (size_t i = 0; i < book.item_count; i++) {
        free(book.items[i].id);
        free(book.items[i].path);
    }
    free(book.items);
    free(book.chapters);
    free(book.package_path);
    package_close(package);
    return ok ? TEXT_READ : TEXT_DAMAGED;
}
