#include "instance/regex_literal.h"

#include <string.h>

/* A text is looked for in so many bytes at a time, so that one that is nowhere does not cost a look at all that follows
 * each time another one is found. */
#define WINDOW_BYTES (8 * 1024)

/* One byte value to look for: the rarest of a text, in one of its cases. */
struct scout {
    const struct regex_literal *literal;
    size_t at; /* where in the text it is */
    char byte;
    const char *next; /* the first place at or behind which is not looked at yet; NULL: there is none */
};

/* How often a byte is met in text and code, roughly: the position in this list, the commonest first. */
static size_t rarity(char byte) {
    static const char common[] = " etaoinsrlcdupmfhg_.,yb)(-vw\"=;k/0x1:*2'3T>&SAECRIN#\tjqz456789";
    const char *place = byte == '\0' ? NULL : strchr(common, byte);
    return place == NULL ? sizeof(common) : (size_t)(place - common);
}

static char to_upper(char c) {
    return c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
}

static char to_lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static size_t rarest(const struct regex_literal *literal) {
    size_t best = 0;
    for (size_t i = 1; i < literal->length; i++) {
        best = rarity(literal->bytes[i]) > rarity(literal->bytes[best]) ? i : best;
    }
    return best;
}

static bool is_at(const struct regex_literal *literal, const char *text, bool ignore_case) {
    if (!ignore_case) {
        return memcmp(text, literal->bytes, literal->length) == 0;
    }
    for (size_t i = 0; i < literal->length; i++) {
        if (to_lower(text[i]) != literal->bytes[i]) {
            return false;
        }
    }
    return true;
}

static size_t send_scouts(const struct regex_literals *literals, const char *text, struct scout *scouts) {
    size_t count = 0;
    for (size_t i = 0; i < literals->count; i++) {
        const struct regex_literal *literal = &literals->list[i];
        size_t at = rarest(literal);
        char byte = literal->bytes[at];
        scouts[count++] = (struct scout){literal, at, byte, text + at};
        if (literals->ignore_case && to_upper(byte) != byte) {
            scouts[count++] = (struct scout){literal, at, to_upper(byte), text + at};
        }
    }
    return count;
}

/* Moves a scout on to the next place where its text is; it then points to its byte there. */
static void move_on(struct scout *scout, const char *end, bool ignore_case) {
    const char *last = end - (scout->literal->length - scout->at); /* where its byte can be at the latest */
    while (scout->next != NULL && scout->next <= last) {
        scout->next = memchr(scout->next, scout->byte, (size_t)(last - scout->next) + 1);
        if (scout->next == NULL || is_at(scout->literal, scout->next - scout->at, ignore_case)) {
            return;
        }
        scout->next++;
    }
    scout->next = NULL;
}

static const char *search_window(const struct regex_literals *literals, const char *text, size_t length) {
    struct scout scouts[REGEX_SCOUTS_MAX];
    size_t count = send_scouts(literals, text, scouts);
    const char *found = NULL;
    const char *end = text + length;
    for (size_t i = 0; i < count; i++) {
        if (scouts[i].literal->length > (size_t)(end - text)) {
            continue;
        }
        move_on(&scouts[i], end, literals->ignore_case);
        if (scouts[i].next != NULL) {
            const char *start = scouts[i].next - scouts[i].at;
            found = found == NULL || start < found ? start : found;
            /* What starts behind it is of no interest to the others. */
            const char *enough = found + REGEX_LITERAL_MAX_BYTES;
            end = enough < end ? enough : end;
        }
    }
    return found;
}

const char *regex_literals_search(const struct regex_literals *literals, const char *text, size_t length) {
    const char *found = NULL;
    for (size_t at = 0; at < length && found == NULL; at += WINDOW_BYTES) {
        size_t window = WINDOW_BYTES + REGEX_LITERAL_MAX_BYTES - 1; /* with what begins at its end */
        found = search_window(literals, text + at, length - at < window ? length - at : window);
    }
    return found;
}
