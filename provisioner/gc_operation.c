/* gc_operation.c - `gc`, as a peer asks for it. */
#include "provisioner/gc.h"
#include "provisioner/operations.h"

static void on_done(void *argument, struct json_object *items, const struct error *err) {
    if (err != NULL) {
        ipc_call_fail(argument, err);
    } else {
        operation_answer(argument, "items", json_object_get(items));
    }
}

void operation_gc(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    struct gc_order order;
    gc_order_read(request, &order);
    gc_begin(provisioner, &order, on_done, call);
}
