#include "common/quantity.h"

#include <stddef.h>
#include <string.h>

#define DIGITS        "0123456789"
#define EXPONENT_MAX  1000 /* far beyond what fits, and far below what would overflow an int */
#define BINARY_PREFIX 1024

/* What a suffix means: value × 2^binary × 10^decimal. */
struct scale {
    int binary;
    int decimal;
};

static bool read_exponent(const char *text, struct scale *scale) {
    bool is_negative = *text == '-';
    text += *text == '-' || *text == '+';
    if (*text == '\0' || strspn(text, DIGITS) != strlen(text)) {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (scale->decimal < EXPONENT_MAX) {
            scale->decimal = scale->decimal * 10 + (*text - '0');
        }
    }
    scale->decimal = is_negative ? -scale->decimal : scale->decimal;
    return true;
}

static bool read_suffix(const char *text, struct scale *scale) {
    static const char decimal[] = "num kMGTPE"; /* 10^-9, 10^-6, … 10^18 */
    static const char binary[] = "KMGTPE";
    *scale = (struct scale){0};
    if (text[0] == '\0') {
        return true;
    }
    if (text[1] == '\0') {
        const char *found = strchr(decimal, text[0]);
        scale->decimal = found == NULL ? 0 : 3 * (int)(found - decimal) - 9;
        return found != NULL && text[0] != ' ';
    }
    if (text[1] == 'i' && text[2] == '\0') {
        const char *found = strchr(binary, text[0]);
        scale->binary = found == NULL ? 0 : 10 * (int)(found - binary + 1);
        return found != NULL;
    }
    return (text[0] == 'e' || text[0] == 'E') && read_exponent(text + 1, scale);
}

/* A number that is not negative. Its first 19 digits, times 1024^6 at most, fit easily. */
struct number {
    unsigned __int128 value;
    bool more;     /* something that is not zero was cut off at the end */
    bool is_large; /* more than fits into any result */
};

#define NUMBER_LIMIT  ((unsigned __int128)1 << 126)
#define ENOUGH_DIGITS ((unsigned __int128)1 << 60)

static void multiply(struct number *number, unsigned factor) {
    number->is_large = number->is_large || number->value > NUMBER_LIMIT / factor;
    number->value = number->is_large ? number->value : number->value * factor;
}

static void divide(struct number *number, unsigned divisor) {
    number->more = number->more || number->value % divisor != 0;
    number->value /= divisor;
}

/* The digits that make a difference to a result of 64 bits; *decimal is corrected by where they end. */
static struct number read_number(const char *digits, size_t whole, const char *fraction, size_t places, int *decimal) {
    struct number number = {0};
    for (size_t i = 0; i < whole + places; i++) {
        unsigned digit = (unsigned)((i < whole ? digits[i] : fraction[i - whole]) - '0');
        if (number.value >= ENOUGH_DIGITS) {
            number.more = number.more || digit != 0;
            *decimal += i < whole ? 1 : 0;
            continue;
        }
        number.value = number.value * 10 + digit;
        *decimal -= i < whole ? 0 : 1;
    }
    return number;
}

static bool parse(const char *text, int decimal, int64_t *result) {
    struct scale scale;
    if (strnlen(text, QUANTITY_MAX_BYTES + 1) > QUANTITY_MAX_BYTES) {
        return false;
    }
    bool is_negative = *text == '-';
    text += *text == '-' || *text == '+';
    size_t whole = strspn(text, DIGITS);
    const char *fraction = text + whole + (text[whole] == '.');
    size_t places = text[whole] == '.' ? strspn(fraction, DIGITS) : 0;
    if (whole + places == 0 || !read_suffix(fraction + places, &scale)) {
        return false;
    }
    decimal += scale.decimal;
    struct number number = read_number(text, whole, fraction, places, &decimal);
    for (; scale.binary > 0; scale.binary -= 10) {
        multiply(&number, BINARY_PREFIX);
    }
    for (; decimal > 0 && !number.is_large && number.value > 0; decimal--) {
        multiply(&number, 10);
    }
    for (; decimal < 0 && number.value > 0; decimal++) {
        divide(&number, 10);
    }
    number.value += number.more;
    int64_t value = number.is_large || number.value > INT64_MAX ? INT64_MAX : (int64_t)number.value;
    *result = is_negative ? -value : value;
    return true;
}

bool quantity_units(const char *text, int64_t *units) {
    return parse(text, 0, units);
}

bool quantity_thousandths(const char *text, int64_t *thousandths) {
    return parse(text, 3, thousandths);
}
