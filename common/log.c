#include "common/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"

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

/* Appends `text` with everything escaped that could end the line or, in JSON, the string. Cuts what does not fit. */
static size_t append_escaped(char *line, size_t used, size_t size, const char *text) {
    for (; *text != '\0' && used + 7 < size; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == 0x7f) {
            used += (size_t)snprintf(line + used, size - used, "\\u%04x", c);
        } else if (logger.format == LOG_JSON && (c == '"' || c == '\\')) {
            line[used++] = '\\';
            line[used++] = (char)c;
        } else {
            line[used++] = (char)c;
        }
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
