/* key_announcer.h - keeps the provisioner told which API keys (their digests only) stand for everybody in
 * identities.map.
 *
 * The first time it also says that the users' tokens of a predecessor are to be forgotten: that one may have judged
 * them by another secret or another Open WebUI.
 *
 * It is told whenever a connection to it is new, which a ping every second notices: a provisioner that was restarted
 * knows no key. Until then requests with the key go the cold way and work all the same. */
#ifndef TERMINALS_FCGI_API_KEY_ANNOUNCER_H
#define TERMINALS_FCGI_API_KEY_ANNOUNCER_H

#include "common/ipc_client.h"
#include "fcgi-api/authenticate.h"

/* Runs in a thread of its own until `stop_fd` becomes readable. */
void key_announcer_run(const struct authenticator *authenticator, struct ipc_client *client, int stop_fd);

#endif
