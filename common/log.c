#include "common/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/text.h"

#define REPLACEMENT           0xfffd /* U+FFFD REPLACEMENT CHARACTER */
#define LOG_LINE_MAX_BYTES    8192
#define LOG_MESSAGE_MAX_BYTES 2048
/* Kept free behind the escaped message and behind the escaped request id, so that what closes the line always fits. */
#define LOG_ROOM_AFTER_MESSAGE    1024
#define LOG_ROOM_AFTER_REQUEST_ID 16

static const char *const level_names[] = {"DEBUG", "INFO", "WARNING", "ERROR"};

static struct {
    const char *process;
    enum log_level level;
    enum log_format format;
} logger = {.process = "", .level = LOG_INFO, .format = LOG_TEXT};

void log_configure(const char *process, enum log_level level, enum log_format format) {
    logger.process = process;
    logger.level = level;
    logger.format = format;
}

bool log_enabled(enum log_level level) {
    return level >= logger.level;
}

/* The code point of a character of so many bytes; one of four bytes is never asked for. */
static unsigned code_point(const char *text, size_t length) {
    const unsigned char *bytes = (const unsigned char *)text;
    return length == 1   ? bytes[0]
           : length == 2 ? (bytes[0] & 0x1fU) << 6 | (bytes[1] & 0x3fU)
                         : (bytes[0] & 0x0fU) << 12 | (bytes[1] & 0x3fU) << 6 | (bytes[2] & 0x3fU);
}

/* What a terminal or an editor obeys in place of showing it: C0, DEL, C1 (Unicode 16, §23.1), and what ends lines or
 * changes the order in which the rest of a line is shown (§5.8, UAX 9 §2). */
static bool is_obeyed(unsigned c) {
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x061c || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

/* Appends `text` with everything escaped that could end the line, be obeyed or, in JSON, end the string; a byte that is
 * no UTF-8 becomes U+FFFD. Cuts what does not fit. */
static size_t append_escaped(char *line, size_t used, size_t size, const char *text) {
    while (*text != '\0' && used + 7 < size) {
        size_t length = text_utf8_character_length(text);
        unsigned c = length == 0 ? REPLACEMENT : length == 4 ? 0x10000 : code_point(text, length);
        if (length == 0 || is_obeyed(c)) {
            used += (size_t)snprintf(line + used, size - used, "\\u%04x", c);
        } else {
            if (logger.format == LOG_JSON && (c == '"' || c == '\\')) {
                line[used++] = '\\';
            }
            memcpy(line + used, text, length);
            used += length;
        }
        text += length == 0 ? 1 : length;
    }
    line[used] = '\0';
    return used;
}

static size_t append(char *line, size_t used, size_t size, const char *text) {
    int added = snprintf(line + used, size - used, "%s", text);
    return used + (size_t)added < size ? used + (size_t)added : size - 1;
}

void log_write(enum log_level level, const char *request_id, const char *format, ...) {
    if (!log_enabled(level)) {
        return;
    }
    char message[LOG_MESSAGE_MAX_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);

    char now[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339(clock_unix_ms(), now);
    bool json = logger.format == LOG_JSON;
    char line[LOG_LINE_MAX_BYTES];
    size_t used = (size_t)snprintf(
        line, sizeof line,
        json ? "{\"time\":\"%s\",\"level\":\"%s\",\"process\":\"%s\",\"message\":\"" : "%s %-7s %s: ", now,
        level_names[level], logger.process);
    used = append_escaped(line, used, sizeof line - LOG_ROOM_AFTER_MESSAGE, message);
    if (request_id != NULL && request_id[0] != '\0') {
        used = append(line, used, sizeof line, json ? "\",\"request_id\":\"" : " request=");
        used = append_escaped(line, used, sizeof line - LOG_ROOM_AFTER_REQUEST_ID, request_id);
    }
    used = append(line, used, sizeof line, json ? "\"}\n" : "\n");
    /* One write, so that lines of several processes and threads never mix; if standard error is gone there is nobody to
     * tell. */
    ssize_t written = write(STDERR_FILENO, line, used);
    (void)written;
}
