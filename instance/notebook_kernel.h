/* notebook_kernel.h - a Jupyter kernel, reached through instance/notebook_bridge.py, which the kernel's own Python
 * runs: ZeroMQ stays out of this process. Orders are JSON objects, done one after the other. One loop, not thread-safe.
 */
#ifndef TERMINALS_INSTANCE_NOTEBOOK_KERNEL_H
#define TERMINALS_INSTANCE_NOTEBOOK_KERNEL_H

#include "common/json.h"
#include "instance/loop.h"

struct notebook_kernel;

/* What comes of an order: {"result": …}, or {"status": 400, "detail": "…"}. Borrowed; NULL: the kernel is gone. */
typedef void (*notebook_answered)(void *state, struct json_object *answer);

/* Starts the bridge. `ended` is called, once, when it is gone and freed, after all orders were answered with NULL. NULL
 * with *err. */
struct notebook_kernel *notebook_kernel_start(struct loop *loop, const char *home, void (*ended)(void *state),
                                              void *state, struct error *err);

/* Sends an order. `answered` is called exactly once, later. Returns a ticket; NULL: no memory, and it is not called. */
struct notebook_order;
struct notebook_order *notebook_kernel_order(struct notebook_kernel *kernel, struct json_object *order,
                                             notebook_answered answered, void *state);

/* The order is done all the same, but `answered` is not called. */
void notebook_order_forget(struct notebook_order *order);

/* Ends kernel and bridge, which takes a moment; orders are answered with NULL at once. No more orders after this. */
void notebook_kernel_end(struct notebook_kernel *kernel);

/* Frees it at once, without `ended`: when the whole instance stops. */
void notebook_kernel_drop(struct notebook_kernel *kernel);

#endif
