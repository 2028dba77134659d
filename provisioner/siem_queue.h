/* siem_queue.h - every row of the audit log goes to the SIEM webhook, in order, at least once (docs/audit.md).
 *
 * The queue is the audit log itself; the property `siem_cursor` is the number of the last row that arrived. It is
 * bounded by the retention of the log and by SIEM_QUEUE_MAX_ROWS: what falls out is counted and logged. While the
 * receiver does not take events they are tried again with a growing pause, or the one that it asks for. */
#ifndef TERMINALS_PROVISIONER_SIEM_QUEUE_H
#define TERMINALS_PROVISIONER_SIEM_QUEUE_H

#include "provisioner/provisioner.h"

#define SIEM_QUEUE_MAX_ROWS    1000000
#define SIEM_PAUSE_FIRST_MS    1000
#define SIEM_PAUSE_MAX_MS      (5 * 60 * 1000)
#define SIEM_RETRY_AFTER_MAX_S 3600

/* An event that the receiver refuses as such (400, 413, 415, 422) this many times is given up, if it takes the one
 * after it: a receiver that refuses everything is a mistake that somebody will correct. */
#define SIEM_REFUSALS_MAX 3

/* Starts with what is written from now on, if there was no webhook before; else goes on where it was. NULL with *err.
 */
struct siem_queue *siem_queue_open(struct provisioner *provisioner, struct error *err);
void siem_queue_close(struct siem_queue *queue);

/* There is no webhook: what is written meanwhile will not be sent when there is one again. */
bool siem_queue_forget(struct provisioner *provisioner, struct error *err);

/* Is there something that the receiver does not take? Then so many rows wait for it, at least (0: nobody knows). NULL
 * is fine. */
bool siem_queue_is_stuck(const struct siem_queue *queue, int64_t *waiting);

/* Something was written. NULL is fine. */
void siem_queue_wake(struct siem_queue *queue);

#endif
