/* adoption.h - the first thing a provisioner does: taking over what its predecessor left running. */
#ifndef TERMINALS_PROVISIONER_ADOPTION_H
#define TERMINALS_PROVISIONER_ADOPTION_H

#include "provisioner/tenants.h"

/* So many are asked for their health at once: ten thousand at once would find none of them healthy. */
#define ADOPTIONS_AT_ONCE 64

/* Passes every instance that may exist to the backend, then has it end what nobody owns. routes.map is rebuilt when all
 * have been found or given up, or after ADOPTION_PATIENCE_MS: those still undecided then keep their old route. */
#define ADOPTION_PATIENCE_MS 2000
bool adoption_begin(struct provisioner *provisioner, struct error *err);

/* Somebody waits for this one: it is next. */
void adoption_hurry(struct provisioner *provisioner, struct tenant *tenant);

/* The backend has found an instance that no row speaks of (backend.h, `found`): it becomes the running one of its
 * tenant, who is made if need be. False with *err: there is no place for it. */
bool adoption_of_stranger(struct provisioner *provisioner, const struct instance_spec *spec, const char *reference,
                          const struct instance_address *address, struct error *err);

/* The backend has said what became of this tenant's instance. */
void adoption_ended(struct provisioner *provisioner, struct tenant *tenant);

#endif
