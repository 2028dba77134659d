/* leader.h - the provisioner as the node that leads: what it hears of the others, and does for them. */
#ifndef TERMINALS_PROVISIONER_LEADER_H
#define TERMINALS_PROVISIONER_LEADER_H

#include "provisioner/node.h"
#include "provisioner/provisioner.h"

/* Takes the role, of a provisioner that is open. Leaves the event loop when it has lost the lead. */
void leader_begin(struct provisioner *provisioner);

/* Before the provisioner is closed: other nodes get no more answers, and ask the next leader. */
void leader_end(struct provisioner *provisioner);

/* A call of another node, as a message: NODE_CALL its number there, `node`, `request`, and `quiet` where no answer is
 * wanted; the answer is NODE_ANSWER the number, `body`. NODE_JOINED: the node has read the routes from the database. */
#define NODE_CALL   "call"
#define NODE_ANSWER "answer"
#define NODE_JOINED "joined"

#endif
