/* follower.h - the provisioner as a node that follows: keeps its HAProxy's maps as the leader's are, knows its own
 * users' tokens and rows of the audit log, and passes everything else on. */
#ifndef TERMINALS_PROVISIONER_FOLLOWER_H
#define TERMINALS_PROVISIONER_FOLLOWER_H

#include "provisioner/node.h"
#include "provisioner/node_calls.h"
#include "provisioner/provisioner.h"

struct follower;

/* Takes the node's role and its socket. Leaves the event loop when the node leads, or can be no node of these
 * (follower_problem()). NULL with *err. */
struct follower *follower_open(const struct settings *settings, const struct backend_operations *operations,
                               struct event_base *base, struct node *node, struct error *err);

/* Why it cannot go on, or NULL. */
const struct error *follower_problem(const struct follower *follower);

/* What waits for an answer, which the caller is to hand over or to close. */
struct node_calls *follower_take_calls(struct follower *follower);

void follower_close(struct follower *follower);

#endif
