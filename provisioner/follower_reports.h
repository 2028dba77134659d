/* follower_reports.h - what the gate of a node that follows has told of activity, on its way to the leader. */
#ifndef TERMINALS_PROVISIONER_FOLLOWER_REPORTS_H
#define TERMINALS_PROVISIONER_FOLLOWER_REPORTS_H

#include "common/error.h"
#include "common/json.h"

/* Adds the routes and shells of the gate's `activity` to *reports, which is made if it is NULL and there are any. */
bool follower_reports_add(struct json_object **reports, struct json_object *request, struct error *err);

/* All of them as one `activity`. NULL: no memory. */
struct json_object *follower_reports_request(struct json_object *reports);

#endif
