/* tenant_list.h - pages of the list of tenants: filtered, sorted, cut.
 *
 * Everything is read from memory, where the provisioner has its tenants anyway: the database is not asked, and no index
 * would help. A page of 100,000 takes 10 to 25 ms, since what is outside of it is not sorted. */
#ifndef TERMINALS_PROVISIONER_TENANT_LIST_H
#define TERMINALS_PROVISIONER_TENANT_LIST_H

#include "common/json.h"
#include "provisioner/provisioner.h"
#include "provisioner/request.h"

/* The tenants of one page as an array of the API's objects; *total counts all that match. Without `filter->sort` they
 * are in order of creation; equal ones are so too. NULL: no memory. */
struct json_object *tenant_list_page(struct provisioner *provisioner, const struct tenant_filter *filter,
                                     int64_t *total);

#endif
