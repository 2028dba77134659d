/* answer_scan.h - tells from the bytes of an instance's answer when the real answer starts: interim answers (1xx,
 * RFC 9110 §15.2) pass before it, and after them the gate may still answer by itself. No I/O. */
#ifndef TERMINALS_GATE_ANSWER_SCAN_H
#define TERMINALS_GATE_ANSWER_SCAN_H

#include <stdbool.h>
#include <stddef.h>

/* `struct answer_scan s = {0};` is a scan before the first byte. */
struct answer_scan {
    size_t position;  /* in the status line */
    int status;       /* of the final answer; 0 while there is none; -1: it is no HTTP */
    int digits;       /* of the status being read */
    unsigned matched; /* of the CRLF CRLF that ends an interim answer */
    bool in_interim;
};

/* Scans bytes and returns how many of them belong to whole or partial interim answers and to the status line read so
 * far, up to the point where `status` becomes known; after that everything may pass unseen. */
size_t answer_scan_feed(struct answer_scan *scan, const char *bytes, size_t length);

#endif
