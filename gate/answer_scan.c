#include "gate/answer_scan.h"

#define STATUS_START 9 /* behind "HTTP/1.1 " */
#define STATUS_END   12
#define SWITCHING    101 /* final: what follows is no HTTP any more */

static void scan_status_character(struct answer_scan *scan, char character) {
    static const char start[STATUS_START] = "HTTP/1.1 ";
    size_t position = scan->position++;
    if (position < STATUS_START) {
        bool is_minor_version = position == 7 && character == '0';
        scan->status = character == start[position] || is_minor_version ? 0 : -1;
        return;
    }
    if (character < '0' || character > '9') {
        scan->status = -1;
        return;
    }
    scan->digits = scan->digits * 10 + (character - '0');
    if (scan->position == STATUS_END) {
        scan->in_interim = scan->digits >= 100 && scan->digits < 200 && scan->digits != SWITCHING;
        scan->status = scan->in_interim ? 0 : scan->digits;
    }
}

static void scan_interim_character(struct answer_scan *scan, char character) {
    static const char end[] = "\r\n\r\n";
    scan->matched = character == end[scan->matched] ? scan->matched + 1 : character == '\r';
    if (scan->matched == sizeof end - 1) {
        *scan = (struct answer_scan){0};
    }
}

size_t answer_scan_feed(struct answer_scan *scan, const char *bytes, size_t length) {
    size_t done = 0;
    while (done < length && scan->status == 0) {
        if (scan->in_interim) {
            scan_interim_character(scan, bytes[done]);
        } else {
            scan_status_character(scan, bytes[done]);
        }
        done++;
    }
    return done;
}
