/* terminal_message.h - the text messages that a client of a shell sends. Thread-safe. */
#ifndef TERMINALS_INSTANCE_TERMINAL_MESSAGE_H
#define TERMINALS_INSTANCE_TERMINAL_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>

enum terminal_auth { TERMINAL_AUTH_FINE, TERMINAL_AUTH_WRONG_KEY, TERMINAL_AUTH_NO_MESSAGE };

/* Looks at a first message: {"type":"auth","token":"<key>"}. */
enum terminal_auth terminal_message_check_auth(const char *text, size_t length, const char *api_key);

/* {"type":"resize","cols":120,"rows":40}, each from 1 to 65535. False if it is anything else. */
bool terminal_message_parse_resize(const char *text, size_t length, unsigned short *rows, unsigned short *columns);

#endif
