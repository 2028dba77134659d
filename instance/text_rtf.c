/* text_rtf.c - Rich Text Format 1.9. What Debian has for it (unrtf) puts the author and a rule around the text, and
 * loses characters outside its own code page; the format needs little more than to know what to leave out. */
#include <ctype.h>
#include <iconv.h>
#include <stdlib.h>
#include <string.h>

#include "instance/text_reader.h"

#define DEPTH_MAX  500 /* groups in groups */
#define WORD_SIZE  33
#define BYTES_SIZE 256

struct group {
    bool is_hidden;
    int fallbacks; /* \ucN: how many characters stand in for a \u one */
};

struct rtf {
    struct text_sink *sink;
    struct group groups[DEPTH_MAX];
    size_t depth;
    int to_skip; /* characters that stand in for the \u one just shown */
    uint32_t high_surrogate;
    char bytes[BYTES_SIZE]; /* in the document's code page, not yet shown */
    size_t byte_count;
    iconv_t code_page;
};

static struct group *top(struct rtf *rtf) {
    return &rtf->groups[rtf->depth];
}

/* ---- showing ---- */

/* What is in the code page goes through iconv(3) together: a character may be two bytes. */
static void flush_bytes(struct rtf *rtf) {
    char out[BYTES_SIZE * 4];
    char *from = rtf->bytes;
    while (rtf->byte_count > 0) {
        char *to = out;
        size_t room = sizeof(out);
        size_t done =
            rtf->code_page == (iconv_t)-1 ? (size_t)-1 : iconv(rtf->code_page, &from, &rtf->byte_count, &to, &room);
        text_sink_add(rtf->sink, out, (size_t)(to - out));
        if (done == (size_t)-1 && rtf->byte_count > 0) { /* no character: show the byte as one of ISO 8859-1 */
            text_sink_add_character(rtf->sink, (unsigned char)*from++);
            rtf->byte_count--;
        }
    }
}

static void show_byte(struct rtf *rtf, char byte) {
    if (rtf->to_skip > 0) {
        rtf->to_skip--;
    } else if (!top(rtf)->is_hidden) {
        rtf->bytes[rtf->byte_count++] = byte;
        if (rtf->byte_count == BYTES_SIZE) {
            flush_bytes(rtf);
        }
    }
}

static void show(struct rtf *rtf, const char *text) {
    if (!top(rtf)->is_hidden) {
        flush_bytes(rtf);
        text_sink_add_string(rtf->sink, text);
    }
}

/* \u12345, a signed number of 16 bits; beyond these, two surrogates. */
static void show_unicode(struct rtf *rtf, long number) {
    uint32_t c = (uint32_t)(number < 0 ? number + 65536 : number);
    rtf->to_skip = top(rtf)->fallbacks;
    if (top(rtf)->is_hidden) {
        return;
    }
    flush_bytes(rtf);
    if (c >= 0xD800 && c <= 0xDBFF) {
        rtf->high_surrogate = c;
        return;
    }
    if (c >= 0xDC00 && c <= 0xDFFF && rtf->high_surrogate != 0) {
        c = 0x10000 + ((rtf->high_surrogate - 0xD800) << 10) + (c - 0xDC00);
    }
    rtf->high_surrogate = 0;
    text_sink_add_character(rtf->sink, c);
}

/* ---- control words ---- */

/* Groups whose content is no text of the document. */
static bool is_hidden_group(const char *word) {
    static const char *const words[] = {
        "fonttbl",      "colortbl",  "stylesheet",        "info",    "pict",      "object",    "header",
        "headerl",      "headerr",   "headerf",           "footer",  "footerl",   "footerr",   "footerf",
        "fldinst",      "listtable", "listoverridetable", "rsidtbl", "xmlnstbl",  "themedata", "datastore",
        "latentstyles", "generator", "filetbl",           "revtbl",  "nonshppict"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(word, words[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void set_code_page(struct rtf *rtf, long number) {
    char name[32];
    flush_bytes(rtf);
    snprintf(name, sizeof(name), "CP%ld", number);
    iconv_t code_page = iconv_open("UTF-8", number == 10000 ? "MACINTOSH" : name);
    if (code_page != (iconv_t)-1) {
        if (rtf->code_page != (iconv_t)-1) {
            iconv_close(rtf->code_page);
        }
        rtf->code_page = code_page;
    }
}

static void obey(struct rtf *rtf, const char *word, bool has_number, long number) {
    static const struct {
        const char *word;
        const char *text;
    } texts[] = {
        {"par", "\n"},           {"line", "\n"},       {"sect", "\n"},       {"page", "\n"},
        {"row", "\n"},           {"tab", "\t"},        {"cell", "\t"},       {"emdash", "\u2014"},
        {"endash", "\u2013"},    {"lquote", "\u2018"}, {"rquote", "\u2019"}, {"ldblquote", "\u201C"},
        {"rdblquote", "\u201D"}, {"bullet", "\u2022"},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (strcmp(word, texts[i].word) == 0) {
            show(rtf, texts[i].text);
            return;
        }
    }
    if (strcmp(word, "u") == 0 && has_number) {
        show_unicode(rtf, number);
    } else if (strcmp(word, "uc") == 0 && number >= 0 && number < BYTES_SIZE) {
        top(rtf)->fallbacks = (int)number;
    } else if (strcmp(word, "ansicpg") == 0 && number > 0) {
        set_code_page(rtf, number);
    } else if (strcmp(word, "mac") == 0) {
        set_code_page(rtf, 10000);
    } else if (is_hidden_group(word)) {
        top(rtf)->is_hidden = true;
    }
}

static int next(void) {
    return getchar();
}

/* Behind a backslash and a letter: the word, its number, and the space that ends it. */
static void read_word(struct rtf *rtf, int c) {
    char word[WORD_SIZE];
    size_t length = 0;
    long number = 0;
    bool has_number = false;
    for (; c != EOF && isalpha(c); c = next()) {
        length += length < WORD_SIZE - 1;
        word[length - 1] = (char)c;
    }
    word[length] = '\0';
    bool is_negative = c == '-';
    c = is_negative ? next() : c;
    for (; c != EOF && isdigit(c); c = next()) {
        number = number > 100000000 ? number : number * 10 + (c - '0');
        has_number = true;
    }
    if (c != ' ' && c != EOF) {
        ungetc(c, stdin);
    }
    if (strcmp(word, "bin") == 0) {
        for (; number > 0 && next() != EOF; number--) {
        }
        return;
    }
    obey(rtf, word, has_number, is_negative ? -number : number);
}

static int hex_value(int c) {
    return isdigit(c) ? c - '0' : isxdigit(c) ? (c | 0x20) - 'a' + 10 : -1;
}

static void read_control(struct rtf *rtf) {
    int c = next();
    if (c != EOF && isalpha(c)) {
        read_word(rtf, c);
    } else if (c == '\'') {
        int high = hex_value(next());
        int low = hex_value(next());
        if (high >= 0 && low >= 0) {
            show_byte(rtf, (char)(high << 4 | low));
        }
    } else if (c == '*') {
        top(rtf)->is_hidden = true; /* for programs that know it */
    } else if (c == '~') {
        show(rtf, "\u00A0");
    } else if (c == '_') {
        show(rtf, "\u2011");
    } else if (c == '\n' || c == '\r') {
        show(rtf, "\n");
    } else if (c == '\\' || c == '{' || c == '}') {
        show_byte(rtf, (char)c);
    }
}

static bool open_group(struct rtf *rtf) {
    if (rtf->depth + 1 == DEPTH_MAX) {
        return false;
    }
    rtf->groups[rtf->depth + 1] = rtf->groups[rtf->depth];
    rtf->depth++;
    rtf->to_skip = 0;
    return true;
}

static bool close_group(struct rtf *rtf) {
    if (rtf->depth == 0) {
        return false;
    }
    rtf->depth--;
    rtf->to_skip = 0;
    return rtf->depth > 0;
}

enum text_result text_read_rtf(struct text_sink *sink) {
    static const char magic[] = "{\\rtf";
    char start[sizeof(magic) - 1];
    struct rtf *rtf = calloc(1, sizeof(*rtf));
    if (rtf == NULL || fread(start, 1, sizeof(start), stdin) != sizeof(start) ||
        memcmp(start, magic, sizeof(start)) != 0) {
        free(rtf);
        return TEXT_DAMAGED;
    }
    rtf->sink = sink;
    rtf->depth = 1;
    rtf->groups[1].fallbacks = 1;
    rtf->code_page = iconv_open("UTF-8", "CP1252");
    int c = next();
    while (isdigit(c)) { /* the version */
        c = next();
    }
    bool is_open = true;
    for (; is_open && c != EOF; c = next()) {
        if (c == '\\') {
            read_control(rtf);
        } else if (c == '{') {
            is_open = open_group(rtf);
        } else if (c == '}') {
            is_open = close_group(rtf);
        } else if (c != '\n' && c != '\r' && c != '\0') {
            show_byte(rtf, (char)c);
        }
        if (!is_open) {
            break;
        }
    }
    flush_bytes(rtf);
    bool is_whole = rtf->depth == 0;
    if (rtf->code_page != (iconv_t)-1) {
        iconv_close(rtf->code_page);
    }
    free(rtf);
    return is_whole ? TEXT_READ : TEXT_DAMAGED;
}
