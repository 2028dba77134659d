/* One node: its place in the event loop, and what it asks the leader. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/ipc.h"
#include "common/log.h"
#include "provisioner/database_internal.h"
#include "provisioner/node.h"
#include "provisioner/node_calls.h"
#include "provisioner/postgres_link.h"
#include "provisioner/store_internal.h"
#include "provisioner/store_nodes.h"
#include "provisioner/vault.h"
#include "tests/unit/provisioner/temporary_folder.h"
#include "tests/unit/provisioner/test_database.h"

/* It has no role, so that nothing is done with what it hears. */
struct node_world {
    struct settings settings;
    struct event_base *base;
    struct node *node;
    struct database *database; /* the node's own connection */
    struct node_calls *calls;
    int answers;
};

static char folder[64];
static char url[TEST_DATABASE_URL_SIZE];

static int make(void **state) {
    static const struct backend_operations operations = {.name = "static"};
    struct error err = {0};
    log_configure("test", LOG_ERROR + 1, LOG_TEXT);
    temporary_folder_make(folder);
    test_database_make(folder, url);
    struct node_world *world = calloc(1, sizeof *world);
    world->settings = (struct settings){.database_url = url, .run_dir = folder};
    world->base = event_base_new();
    world->node = node_open(&world->settings, &operations, world->base, NULL, &err);
    must(world->node != NULL, &err);
    world->database = node_store_of(world->node)->database;
    while (!database_postgres_link(world->database)->is_connected) {
        event_base_loop(world->base, EVLOOP_ONCE); /* a beat, which connects */
    }
    struct vault *vault = vault_open(node_store_of(world->node), "key", NULL, &err);
    must(vault != NULL, &err);
    node_keep_vault(world->node, vault);
    world->calls = node_calls_open(world->node);
    *state = world;
    return 0;
}

static int remove_it(void **state) {
    struct node_world *world = *state;
    node_calls_close(world->calls);
    node_close(world->node);
    event_base_free(world->base);
    free(world);
    test_database_remove(url);
    temporary_folder_remove(folder);
    return 0;
}

/* --- the event loop ----------------------------------------------------------------------------------------------- */

static void note_byte(evutil_socket_t fd, short what, void *argument) {
    char byte;
    bool *has_come = argument;
    (void)what;
    *has_come = recv(fd, &byte, 1, 0) == 1;
}

/* It gets the number of the connection's socket, and an event for that number that was left would keep the loop from
 * watching it: whoever asked us there would never be answered. */
static void test_what_is_opened_when_the_connection_is_lost_is_heard(void **state) {
    struct node_world *world = *state;
    struct postgres_link *link = database_postgres_link(world->database);
    int ends[2];
    bool has_come = false;
    int number = PQsocket(link->connection);
    postgres_link_drop(link); /* as a statement does that gets no answer */
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    if (ends[0] != number) {
        assert_int_equal(dup2(ends[0], number), number);
        close(ends[0]);
    }
    struct event *readable = event_new(world->base, number, EV_READ, note_byte, &has_come);
    assert_int_equal(event_add(readable, NULL), 0);
    assert_int_equal(send(ends[1], "x", 1, 0), 1);
    for (int64_t until_ms = clock_monotonic_ms() + 10000; !has_come && clock_monotonic_ms() < until_ms;) {
        event_base_loop(world->base, EVLOOP_ONCE);
    }
    assert_true(has_come);
    event_free(readable);
    close(number);
    close(ends[1]);
}

/* --- what it asks the leader -------------------------------------------------------------------------------------- */

static void note_answer(void *argument, struct json_object *answer) {
    struct node_world *world = argument;
    assert_non_null(answer);
    world->answers++;
}

static void ask_leader(struct node_world *world, const char *operation) {
    struct json_object *request = ipc_request(operation);
    struct ipc_call *call = ipc_call_new_remote(note_answer, world);
    assert_true(request != NULL && call != NULL);
    node_calls_forward(world->calls, call, request);
    json_object_put(request);
}

/* How many messages a leader finds, who has lost them in the next moment. */
static int take_leaders_mail(struct node_world *world) {
    struct error err = {0};
    int count = 0;
    int more = 0;
    struct database_statement *statement = database_prepare(
        world->database, "DELETE FROM node_messages WHERE to_node = '" NODE_LEADER "' RETURNING 1", &err);
    must(statement != NULL, &err);
    while ((more = database_step(statement, &err)) > 0) {
        count++;
    }
    must(more == 0, &err);
    database_statement_free(statement);
    return count;
}

static void test_what_the_leader_leaves_unanswered_is_asked_again(void **state) {
    struct node_world *world = *state;
    ask_leader(world, "tenant_stop");
    assert_int_equal(take_leaders_mail(world), 1);
    int64_t now_ms = clock_monotonic_ms();
    node_calls_tend(world->calls, now_ms);
    assert_int_equal(take_leaders_mail(world), 0);
    node_calls_tend(world->calls, now_ms + NODE_CALLS_AGAIN_MS);
    assert_int_equal(take_leaders_mail(world), 1);
    assert_int_equal(world->answers, 0);
    /* Where nobody leads, nobody waits for ever. */
    node_calls_tend(world->calls, now_ms + NODE_CALLS_PATIENCE_MS);
    assert_int_equal(world->answers, 1);
    assert_int_equal(take_leaders_mail(world), 0);
}

static void test_what_must_not_be_done_twice_is_asked_once(void **state) {
    struct node_world *world = *state;
    ask_leader(world, "tenant_delete");
    assert_int_equal(take_leaders_mail(world), 1);
    node_calls_tend(world->calls, clock_monotonic_ms() + NODE_CALLS_AGAIN_MS);
    assert_int_equal(take_leaders_mail(world), 0);
    assert_int_equal(world->answers, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_opened_when_the_connection_is_lost_is_heard, make, remove_it),
        cmocka_unit_test_setup_teardown(test_what_the_leader_leaves_unanswered_is_asked_again, make, remove_it),
        cmocka_unit_test_setup_teardown(test_what_must_not_be_done_twice_is_asked_once, make, remove_it),
    };
    return test_database_is_postgres() ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}
