/* backend_events.h - what the backend reports, turned into changes of tenants. */
#ifndef TERMINALS_PROVISIONER_BACKEND_EVENTS_H
#define TERMINALS_PROVISIONER_BACKEND_EVENTS_H

#include "provisioner/provisioner.h"

/* The functions for backend_operations.open(). An event for an instance nobody waits for any more is ignored. */
struct backend_events backend_events(struct provisioner *provisioner);

#endif
