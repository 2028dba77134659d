/* log.h - one line an event on standard error, text for people or JSON for machines.
 *
 *   log_info(request_id, "instance started user=%s port=%d", user, port);
 *
 * Line feeds and other control characters in a message are escaped, and so are those that change the order in which a
 * line is shown: nobody can forge a line, or command the terminal in which it is read. Never log a secret.
 * Thread-safe: a line is one write(2). The logger and the settings are the only globals. */
#ifndef TERMINALS_COMMON_LOG_H
#define TERMINALS_COMMON_LOG_H

#include <stdbool.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };

/* Names the process ("gate") in each line. Before it is called: text, INFO, no name. */
void log_configure(const char *process, enum log_level level, enum log_format format);
bool log_enabled(enum log_level level);

/* `request_id` may be NULL. */
void log_write(enum log_level level, const char *request_id, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_debug(request_id, ...)                                                                                     \
    do {                                                                                                               \
        if (log_enabled(LOG_DEBUG)) {                                                                                  \
            log_write(LOG_DEBUG, request_id, __VA_ARGS__);                                                             \
        }                                                                                                              \
    } while (0)
#define log_info(request_id, ...)    log_write(LOG_INFO, request_id, __VA_ARGS__)
#define log_warning(request_id, ...) log_write(LOG_WARNING, request_id, __VA_ARGS__)
#define log_error(request_id, ...)   log_write(LOG_ERROR, request_id, __VA_ARGS__)

#endif
