#include "provisioner/policy_census.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "provisioner/tenants.h"

struct counted_policy {
    const char *policy_id; /* a tenant's */
    struct census census;
    UT_hash_handle hh;
};

static void count(struct census *census, enum instance_state status) {
    census->by_status[status]++;
    census->total++;
}

/* By how many there are, and then by name, so that it is always the same ones. */
static int compare(const struct counted_policy *left, const struct counted_policy *right) {
    if (left->census.total != right->census.total) {
        return left->census.total > right->census.total ? -1 : 1;
    }
    return strcmp(left->policy_id, right->policy_id);
}

static bool count_tenant(struct counted_policy **policies, const struct tenant *tenant) {
    struct counted_policy *policy = NULL;
    HASH_FIND_STR(*policies, tenant->record.policy_id, policy);
    if (policy == NULL) {
        policy = calloc(1, sizeof *policy);
        if (policy == NULL) {
            return false;
        }
        policy->policy_id = tenant->record.policy_id;
        HASH_ADD_KEYPTR(hh, *policies, policy->policy_id, strlen(policy->policy_id), policy);
    }
    count(&policy->census, tenant->record.status);
    return true;
}

static void add(struct census *sum, const struct census *more) {
    sum->total += more->total;
    for (int state = 0; state < INSTANCE_STATE_COUNT; state++) {
        sum->by_status[state] += more->by_status[state];
    }
}

bool policy_census_each(struct provisioner *provisioner,
                        void (*each)(void *argument, const char *policy_id, const struct census *census),
                        void *argument) {
    struct counted_policy *policies = NULL;
    struct counted_policy *policy = NULL;
    struct counted_policy *next = NULL;
    struct census others = {0};
    int told = 0;
    bool ok = true;
    TENANTS_EACH(provisioner, tenant) {
        ok = ok && (tenant->is_warm || count_tenant(&policies, tenant));
    }
    HASH_SORT(policies, compare);
    for (policy = policies; policy != NULL; policy = policy->hh.next) {
        if (ok && told < POLICY_CENSUS_MAX && strcmp(policy->policy_id, POLICY_CENSUS_OTHER) != 0) {
            each(argument, policy->policy_id, &policy->census);
            told++;
        } else {
            add(&others, &policy->census);
        }
    }
    HASH_ITER(hh, policies, policy, next) {
        HASH_DEL(policies, policy);
        free(policy);
    }
    if (ok && others.total > 0) {
        each(argument, POLICY_CENSUS_OTHER, &others);
    }
    return ok;
}
