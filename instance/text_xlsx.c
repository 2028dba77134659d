/* text_xlsx.c - Excel's .xlsx: rows as lines, cells with tabs between them. Dates are shown as dates. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/buffer.h"
#include "instance/text_package.h"
#include "instance/text_reader.h"
#include "instance/text_relations.h"

#define COLUMNS_MAX    16384
#define CUSTOM_MAX     512
#define SECONDS_A_DAY  86400.0
#define EPOCH_DAYS     25569 /* 1970-01-01 in days since Excel's 1899-12-30 */
#define LAST_DATE_DAYS 2958466.0

struct workbook {
    struct buffer strings;        /* the shared ones, one behind the other */
    struct buffer ends;           /* of size_t: where each ends */
    struct buffer dates;          /* a byte for each style: 1 if it shows a number as a date */
    int custom_dates[CUSTOM_MAX]; /* number formats of the workbook's own that show dates */
    size_t custom_date_count;
    bool in_string;
    bool in_styles;
    int in_phonetic;
    bool in_text;
};

/* ---- shared strings ---- */

static void on_string_start(void *state, const char *name, const char **attributes) {
    struct workbook *book = state;
    (void)attributes;
    book->in_string = book->in_string || strcmp(name, "si") == 0;
    book->in_phonetic += strcmp(name, "rPh") == 0;
    book->in_text = strcmp(name, "t") == 0;
}

static void on_string_end(void *state, const char *name) {
    struct workbook *book = state;
    book->in_phonetic -= strcmp(name, "rPh") == 0;
    book->in_text = false;
    if (strcmp(name, "si") == 0) {
        book->in_string = false;
        buffer_append(&book->ends, &book->strings.length, sizeof(size_t));
    }
}

static void on_string_text(void *state, const char *text, size_t length) {
    struct workbook *book = state;
    if (book->in_string && book->in_text && book->in_phonetic == 0) {
        buffer_append(&book->strings, text, length);
    }
}

/* The index-th shared string; "" if there is none. */
static const char *shared_string(const struct workbook *book, size_t index, size_t *length) {
    size_t start = 0;
    size_t end = 0;
    *length = 0;
    if (index >= book->ends.length / sizeof(size_t)) {
        return "";
    }
    memcpy(&end, book->ends.data + index * sizeof(size_t), sizeof(size_t));
    if (index > 0) {
        memcpy(&start, book->ends.data + (index - 1) * sizeof(size_t), sizeof(size_t));
    }
    *length = end - start;
    return *length > 0 ? book->strings.data + start : "";
}

/* ---- styles ---- */

/* A format like "dd/mm/yyyy": it has one of these letters outside quotes and brackets. */
static bool is_date_format(const char *format) {
    for (; *format != '\0'; format++) {
        if (*format == '"' || *format == '[') {
            const char *end = strchr(format + 1, *format == '"' ? '"' : ']');
            if (end == NULL) {
                return false;
            }
            format = end;
        } else if (*format == '\\' && format[1] != '\0') {
            format++;
        } else if (strchr("dmyhsDMYHS", *format) != NULL) {
            return true;
        }
    }
    return false;
}

/* ECMA-376 part 1, §18.8.30: the formats that every workbook has. */
static bool is_built_in_date(int format) {
    return (format >= 14 && format <= 22) || (format >= 27 && format <= 36) || (format >= 45 && format <= 47) ||
           (format >= 50 && format <= 58);
}

static bool is_date(const struct workbook *book, int format) {
    bool is_found = is_built_in_date(format);
    for (size_t i = 0; i < book->custom_date_count && !is_found; i++) {
        is_found = book->custom_dates[i] == format;
    }
    return is_found;
}

static void on_style_start(void *state, const char *name, const char **attributes) {
    struct workbook *book = state;
    const char *id = xml_attribute(attributes, "numFmtId");
    int format = id != NULL ? atoi(id) : 0;
    if (strcmp(name, "numFmt") == 0) {
        const char *code = xml_attribute(attributes, "formatCode");
        if (code != NULL && is_date_format(code) && book->custom_date_count < CUSTOM_MAX) {
            book->custom_dates[book->custom_date_count++] = format;
        }
    } else if (strcmp(name, "cellXfs") == 0) {
        book->in_styles = true;
    } else if (strcmp(name, "xf") == 0 && book->in_styles) {
        char flag = (char)is_date(book, format);
        buffer_append(&book->dates, &flag, 1);
    }
}

static void on_style_end(void *state, const char *name) {
    struct workbook *book = state;
    book->in_styles = book->in_styles && strcmp(name, "cellXfs") != 0;
}

/* ---- sheets ---- */

struct sheet {
    struct text_sink *sink;
    const struct workbook *book;
    long column; /* of the cell, from 0 */
    long told;   /* cells of this row that have their tab */
    bool is_row_due;
    char type; /* 's' shared, 'b' truth, 'n' number, else text as it stands */
    size_t style;
    bool is_value_next; /* within <v> or <t> */
    struct buffer value;
};

/* "BC12" is column 54; -1: it does not say. */
static long column_of(const char *reference) {
    long column = 0;
    if (reference == NULL || *reference < 'A' || *reference > 'Z') {
        return -1;
    }
    for (; *reference >= 'A' && *reference <= 'Z' && column <= COLUMNS_MAX; reference++) {
        column = column * 26 + (*reference - 'A' + 1);
    }
    return column - 1;
}

static void on_sheet_start(void *state, const char *name, const char **attributes) {
    struct sheet *sheet = state;
    if (strcmp(name, "row") == 0) {
        sheet->column = -1;
        sheet->told = 0;
        sheet->is_row_due = true;
    } else if (strcmp(name, "c") == 0) {
        const char *type = xml_attribute(attributes, "t");
        const char *style = xml_attribute(attributes, "s");
        long column = column_of(xml_attribute(attributes, "r"));
        sheet->column = column >= 0 ? column : sheet->column + 1;
        sheet->type = type == NULL                                                                 ? 'n'
                      : strcmp(type, "s") == 0 || strcmp(type, "b") == 0 || strcmp(type, "n") == 0 ? type[0]
                                                                                                   : 't';
        sheet->style = style != NULL ? strtoul(style, NULL, 10) : 0;
        sheet->value.length = 0;
    }
    sheet->is_value_next = strcmp(name, "v") == 0 || strcmp(name, "t") == 0;
}

static void on_sheet_text(void *state, const char *text, size_t length) {
    struct sheet *sheet = state;
    if (sheet->is_value_next) {
        buffer_append(&sheet->value, text, length);
    }
}

/* Days since 1899-12-30, as a date, with the time of day if there is one. */
static void add_date(struct text_sink *sink, double days) {
    char text[64];
    struct tm tm;
    time_t seconds = (time_t)(days * SECONDS_A_DAY + 0.5) - EPOCH_DAYS * (time_t)SECONDS_A_DAY;
    bool is_time_only = days < 1;
    bool has_time = seconds % (time_t)SECONDS_A_DAY != 0;
    gmtime_r(&seconds, &tm);
    strftime(text, sizeof(text), is_time_only ? "%H:%M:%S" : has_time ? "%Y-%m-%d %H:%M:%S" : "%Y-%m-%d", &tm);
    text_sink_add_string(sink, text);
}

/* In a cell a line feed or a tab would look like the end of it. */
static void add_cell_text(struct text_sink *sink, const char *text, size_t length) {
    for (size_t i = 0; i < length; i++) {
        text_sink_add(sink, strchr("\n\r\t", text[i]) != NULL && text[i] != '\0' ? " " : text + i, 1);
    }
}

static void add_cell(struct sheet *sheet) {
    const char *value = sheet->value.data;
    size_t length = sheet->value.length;
    char *end;
    double number = strtod(value, &end);
    if (sheet->type == 's') {
        value = shared_string(sheet->book, strtoul(value, NULL, 10), &length);
    } else if (sheet->type == 'b') {
        value = *value == '1' ? "TRUE" : "FALSE";
        length = strlen(value);
    } else if (sheet->type == 'n' && *end == '\0' && number >= 0 && number < LAST_DATE_DAYS &&
               sheet->style < sheet->book->dates.length && sheet->book->dates.data[sheet->style] == 1) {
        add_date(sheet->sink, number);
        return;
    }
    add_cell_text(sheet->sink, value, length);
}

static void on_sheet_end(void *state, const char *name) {
    struct sheet *sheet = state;
    sheet->is_value_next = false;
    if (strcmp(name, "c") != 0 || sheet->value.length == 0 || sheet->column > COLUMNS_MAX) {
        return;
    }
    if (sheet->is_row_due) {
        text_sink_line(sheet->sink);
        sheet->is_row_due = false;
    }
    for (; sheet->told < sheet->column; sheet->told++) {
        text_sink_add_string(sheet->sink, "\t");
    }
    add_cell(sheet);
    sheet->value.length = 0;
}

static bool read_sheet(struct package *package, const struct workbook *book, const struct relation *relation,
                       struct text_sink *sink) {
    static const struct xml_events events = {on_sheet_start, on_sheet_end, on_sheet_text};
    struct sheet sheet = {.sink = sink, .book = book};
    if (sink->has_line) {
        text_sink_line(sink);
    }
    text_sink_line(sink);
    fprintf(sink->file, "--- Sheet: %s ---", relation->name != NULL ? relation->name : "");
    bool ok = relation->path != NULL && package_parse(package, relation->path, &events, &sheet) && !sheet.value.failed;
    buffer_free(&sheet.value);
    return ok;
}

enum text_result text_read_xlsx(struct text_sink *sink) {
    static const struct xml_events string_events = {on_string_start, on_string_end, on_string_text};
    static const struct xml_events style_events = {on_style_start, on_style_end, NULL};
    struct workbook book = {.in_string = false};
    struct relations sheets = {0};
    struct package *package = package_open();
    bool ok = package != NULL && relations_read(package, "xl/workbook.xml", "sheet", &sheets);
    if (ok) { /* a workbook may do without either */
        package_parse(package, "xl/sharedStrings.xml", &string_events, &book);
        package_parse(package, "xl/styles.xml", &style_events, &book);
    }
    ok = ok && !book.strings.failed && !book.ends.failed && !book.dates.failed;
    for (size_t i = 0; ok && i < sheets.count; i++) {
        ok = read_sheet(package, &book, &sheets.list[i], sink);
    }
    relations_free(&sheets);
    package_close(package);
    buffer_free(&book.strings);
    buffer_free(&book.ends);
    buffer_free(&book.dates);
    return ok ? TEXT_READ : TEXT_DAMAGED;
}
