/* Several nodes on one PostgreSQL: who leads, and that nobody else writes; what they tell each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>

#include "common/clock.h"
#include "common/log.h"
#include "provisioner/database_internal.h"
#include "provisioner/follower_maps.h"
#include "provisioner/postgres_link.h"
#include "provisioner/store_internal.h"
#include "provisioner/store_nodes.h"
#include "provisioner/survey_words.h"
#include "tests/unit/provisioner/temporary_folder.h"
#include "tests/unit/provisioner/test_database.h"

#define HEARD_MAX 64

/* One node's connection, and what it has heard. */
struct peer {
    struct store *store;
    struct node_store *nodes;
    char heard[HEARD_MAX][64];
    int heard_count;
};

struct nodes_world {
    struct peer one, two;
};

static char folder[64];
static char url[TEST_DATABASE_URL_SIZE];

static void hear(void *argument, const char *payload) {
    struct peer *peer = argument;
    if (peer->heard_count < HEARD_MAX) {
        snprintf(peer->heard[peer->heard_count++], sizeof peer->heard[0], "%s", payload);
    }
}

static void join(struct peer *peer) {
    struct error err = {0};
    peer->store = store_join(url, NULL, &err);
    must(peer->store != NULL, &err);
    peer->nodes = node_store_open(peer->store, hear, NULL, peer, &err);
    must(peer->nodes != NULL, &err);
}

static void leave(struct peer *peer) {
    node_store_close(peer->nodes);
    store_close(peer->store);
}

static int make(void **state) {
    log_configure("test", LOG_ERROR + 1, LOG_TEXT);
    temporary_folder_make(folder);
    test_database_make(folder, url);
    struct nodes_world *world = calloc(1, sizeof *world);
    join(&world->one);
    join(&world->two);
    *state = world;
    return 0;
}

static int remove_it(void **state) {
    struct nodes_world *world = *state;
    leave(&world->one);
    leave(&world->two);
    free(world);
    test_database_remove(url);
    temporary_folder_remove(folder);
    return 0;
}

static void run_sql(struct peer *peer, const char *sql) {
    struct error err = {0};
    must(database_execute(peer->store->database, sql, &err), &err);
}

static struct node_state beat_for(struct peer *peer, const char *id, int64_t term, int64_t lease_ms) {
    struct error err = {0};
    struct node_state state = {0};
    const struct node_beat sign = {
        .id = id, .name = id, .websockets = 3, .term = term == 0 ? -1 : term, .lease_ms = lease_ms};
    must(node_store_beat(peer->nodes, &sign, &state, &err), &err);
    return state;
}

static struct node_state beat(struct peer *peer, const char *id, int64_t term) {
    return beat_for(peer, id, term, NODE_LEASE_MS);
}

/* The term, or 0 if it does not lead. */
static int64_t lead(struct peer *peer, const char *id) {
    struct error err = {0};
    int64_t term = 0;
    must(node_store_lead(peer->nodes, id, "static", &term, &err), &err);
    return term;
}

static bool write_something(struct peer *peer) {
    struct error err = {0};
    return store_set_property(peer->store, "written", "x", 1, &err);
}

static void let_lease_run_out(struct peer *peer) {
    run_sql(peer, "UPDATE leadership SET renewed_at = renewed_at - 6001");
}

/* --- leading ------------------------------------------------------------------------------------------------------ */

static void test_one_node_leads_until_its_lease_has_run_out(void **state) {
    struct nodes_world *world = *state;
    int64_t term = lead(&world->one, "one");
    assert_true(term > 0);
    assert_true(beat(&world->one, "one", term).is_renewed);
    assert_int_equal(lead(&world->two, "two"), 0);
    struct node_state seen = beat(&world->two, "two", 0);
    assert_string_equal(seen.leader, "one");
    assert_string_equal(seen.backend, "static");
    assert_true(seen.leader_is_alive);
    assert_int_equal(seen.others, 1);
    assert_int_equal(seen.others_websockets, 3);
    assert_true(write_something(&world->one));
}

static void test_who_leads_alone_keeps_the_lead_for_longer_and_gives_that_up_with_the_next_renewal(void **state) {
    struct nodes_world *world = *state;
    int64_t term = lead(&world->one, "one");
    assert_true(beat_for(&world->one, "one", term, NODE_LONE_LEASE_MS).is_renewed);
    let_lease_run_out(&world->two);
    assert_true(beat(&world->two, "two", 0).leader_is_alive);
    assert_int_equal(lead(&world->two, "two"), 0);
    assert_true(write_something(&world->one)); /* nor was it cut off */
    assert_true(beat(&world->one, "one", term).is_renewed);
    let_lease_run_out(&world->two);
    assert_false(beat(&world->two, "two", 0).leader_is_alive);
}

static void test_who_has_lost_the_lead_writes_nothing_any_more(void **state) {
    struct nodes_world *world = *state;
    assert_true(lead(&world->one, "one") > 0);
    let_lease_run_out(&world->two);
    int64_t term = 0;
    for (int tries = 0; term == 0 && tries < 100; tries++) { /* the other one is cut off first, which takes a moment */
        term = lead(&world->two, "two");
        poll(NULL, 0, 20);
    }
    assert_true(term > 1);
    assert_false(write_something(&world->one));
    assert_true(node_store_is_deposed(world->one.nodes));
    assert_true(write_something(&world->two));
    /* It follows, and may write what any node may. */
    node_store_follow(world->one.nodes);
    assert_true(write_something(&world->one));
    assert_false(beat(&world->one, "one", 1).is_renewed);
}

static void test_who_works_alone_is_not_cut_off_however_long_it_takes(void **state) {
    struct nodes_world *world = *state;
    struct error err = {0};
    struct store *alone = store_open(url, NULL, &err);
    must(alone != NULL, &err);
    let_lease_run_out(&world->two);
    for (int tries = 0; tries < 5; tries++) {
        assert_int_equal(lead(&world->two, "two"), 0);
    }
    must(store_set_property(alone, "written", "x", 1, &err), &err);
    store_close(alone);
    int64_t term = 0;
    for (int tries = 0; term == 0 && tries < 100; tries++) { /* its session ends in a moment */
        term = lead(&world->two, "two");
        poll(NULL, 0, 20);
    }
    assert_true(term > 0);
}

static void test_who_comes_back_after_another_has_led_is_no_leader(void **state) {
    struct nodes_world *world = *state;
    assert_true(lead(&world->one, "one") > 0);
    node_store_try_again(world->one.nodes);
    postgres_link_drop(database_postgres_link(world->one.store->database)); /* and with it the lock */
    let_lease_run_out(&world->two);
    for (int tries = 0; lead(&world->two, "two") == 0 && tries < 100; tries++) {
        poll(NULL, 0, 20);
    }
    node_store_follow(world->two.nodes);
    poll(NULL, 0, 100); /* nobody has the lock now */
    assert_false(write_something(&world->one));
}

static void test_a_broken_connection_keeps_its_lead_if_nobody_else_had_it(void **state) {
    struct nodes_world *world = *state;
    struct error err = {0};
    assert_true(lead(&world->one, "one") > 0);
    postgres_link_drop(database_postgres_link(world->one.store->database));
    int64_t until_ms = clock_monotonic_ms() + 10000;
    while (!write_something(&world->one) && clock_monotonic_ms() < until_ms) {
        node_store_try_again(world->one.nodes); /* the server has yet to notice that the old one is gone */
        poll(NULL, 0, 20);
    }
    assert_true(write_something(&world->one));
    must(node_store_leave(world->one.nodes, "one", &err), &err);
    node_store_follow(world->one.nodes);
    poll(NULL, 0, 100);
    assert_true(lead(&world->two, "two") > 1); /* who leaves is not waited for */
}

/* --- telling ------------------------------------------------------------------------------------------------------ */

static void hear_all(struct peer *peer, int count) {
    int64_t until_ms = clock_monotonic_ms() + 10000;
    while (peer->heard_count < count && clock_monotonic_ms() < until_ms) {
        struct pollfd socket = {.fd = node_store_socket(peer->nodes), .events = POLLIN};
        poll(&socket, 1, 100);
        assert_true(node_store_poll(peer->nodes));
    }
}

static void test_announcements_reach_all_others_in_order(void **state) {
    struct nodes_world *world = *state;
    struct error err = {0};
    const char *said[] = {"pfirst", "i\"quoted\" \\ {x,y}", "wlast"};
    beat(&world->one, "one", 0); /* both listen */
    beat(&world->two, "two", 0);
    must(node_store_announce(world->one.nodes, said, 3, &err), &err);
    hear_all(&world->two, 3);
    assert_int_equal(world->two.heard_count, 3);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(world->two.heard[i], said[i]);
    }
    beat(&world->one, "one", 0);
    assert_int_equal(world->one.heard_count, 0);
}

static void note_mail(void *argument, const void *body, size_t length) {
    struct peer *peer = argument;
    snprintf(peer->heard[peer->heard_count++], sizeof peer->heard[0], "%.*s", (int)length, (const char *)body);
}

static void test_mail_is_taken_once_in_order_by_whom_it_is_for(void **state) {
    struct nodes_world *world = *state;
    struct error err = {0};
    char text[16];
    beat(&world->two, "two", 0);
    for (int i = 0; i < 20; i++) {
        int length = snprintf(text, sizeof text, "%d", i);
        must(node_store_send(world->one.nodes, i % 2 == 0 ? "two" : NODE_LEADER, text, (size_t)length, &err), &err);
    }
    hear_all(&world->two, 20);
    assert_string_equal(world->two.heard[0], NODE_MAIL "two");
    assert_string_equal(world->two.heard[1], NODE_MAIL NODE_LEADER);
    world->two.heard_count = 0;
    must(node_store_take(world->two.nodes, "two", false, note_mail, &world->two, &err), &err);
    assert_int_equal(world->two.heard_count, 10);
    assert_string_equal(world->two.heard[9], "18");
    world->two.heard_count = 0;
    must(node_store_take(world->two.nodes, "two", true, note_mail, &world->two, &err), &err);
    assert_int_equal(world->two.heard_count, 10);
    assert_string_equal(world->two.heard[0], "1");
    assert_string_equal(world->two.heard[9], "19");
    must(node_store_forget_mail(world->two.nodes, &err), &err);
}

static void test_what_has_lain_for_long_is_not_done_any_more(void **state) {
    struct nodes_world *world = *state;
    struct error err = {0};
    must(node_store_send(world->one.nodes, NODE_LEADER, "old", 3, &err), &err);
    run_sql(&world->one, "UPDATE node_messages SET sent_at = sent_at - 20001");
    must(node_store_send(world->one.nodes, NODE_LEADER, "new", 3, &err), &err);
    world->two.heard_count = 0;
    node_store_follow(world->two.nodes); /* so that nothing is heard meanwhile */
    must(node_store_take(world->two.nodes, "two", true, note_mail, &world->two, &err), &err);
    assert_int_equal(world->two.heard_count, 1);
    assert_string_equal(world->two.heard[0], "new");
}

static void test_who_lives_is_who_was_seen_lately(void **state) {
    struct nodes_world *world = *state;
    struct error err = {0};
    char(*ids)[33] = NULL;
    size_t count = 0;
    beat(&world->one, "one", 0);
    beat(&world->two, "two", 0);
    must(node_store_others(world->one.nodes, "one", &ids, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_string_equal(ids[0], "two");
    free(ids);
    run_sql(&world->one, "UPDATE nodes SET seen_at = seen_at - 6001 WHERE id = 'two'");
    must(node_store_others(world->one.nodes, "one", &ids, &count, &err), &err);
    assert_int_equal(count, 0);
    free(ids);
}

/* --- what needs no database --------------------------------------------------------------------------------------- */

static void test_a_route_is_cut_into_its_parts_or_refused(void **state) {
    (void)state;
    struct route route;
    char good[] = "2001:db8::1|8000|key|0123";
    assert_true(route_parse(good, &route));
    assert_string_equal(route.address, "2001:db8::1");
    assert_int_equal(route.port, 8000);
    assert_string_equal(route.key, "key");
    assert_string_equal(route.instance_id, "0123");
    char *bad[] = {(char[]){"127.0.0.1|8000|key"}, (char[]){"127.0.0.1|x|key|id"}, (char[]){"127.0.0.1|0|key|id"},
                   (char[]){"127.0.0.1|65536|key|id"}, (char[]){""}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(route_parse(bad[i], &route));
    }
}

static void read_answer(const char *text, bool expected, size_t count) {
    struct error err = {0};
    struct route_activity_list list = {0};
    struct json_object *message = json_parse_object(text, strlen(text), &err);
    must(message != NULL, &err);
    assert_int_equal(survey_read_answer(message, &list), expected);
    if (expected) {
        assert_int_equal(list.count, count);
    }
    free(list.routes);
    json_object_put(message);
}

#define KEY "0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF"

static void test_an_answer_that_makes_no_sense_is_no_answer(void **state) {
    (void)state;
    read_answer("{\"ok\": true, \"routes\": []}", true, 0);
    read_answer("{\"ok\": true, \"routes\": [[\"" KEY "\", 1500, 2], [\"" KEY "\", 0, 0]]}", true, 2);
    read_answer("{\"ok\": false, \"routes\": []}", false, 0);
    read_answer("{}", false, 0);
    read_answer("{\"ok\": true, \"routes\": [[\"short\", 1, 2]]}", false, 0);
    read_answer("{\"ok\": true, \"routes\": [[\"" KEY "\", 1]]}", false, 0);
    read_answer("{\"ok\": true, \"routes\": [null]}", false, 0);
}

int main(void) {
    const struct CMUnitTest with_database[] = {
        cmocka_unit_test_setup_teardown(test_one_node_leads_until_its_lease_has_run_out, make, remove_it),
        cmocka_unit_test_setup_teardown(
            test_who_leads_alone_keeps_the_lead_for_longer_and_gives_that_up_with_the_next_renewal, make, remove_it),
        cmocka_unit_test_setup_teardown(test_who_has_lost_the_lead_writes_nothing_any_more, make, remove_it),
        cmocka_unit_test_setup_teardown(test_who_works_alone_is_not_cut_off_however_long_it_takes, make, remove_it),
        cmocka_unit_test_setup_teardown(test_who_comes_back_after_another_has_led_is_no_leader, make, remove_it),
        cmocka_unit_test_setup_teardown(test_a_broken_connection_keeps_its_lead_if_nobody_else_had_it, make, remove_it),
        cmocka_unit_test_setup_teardown(test_announcements_reach_all_others_in_order, make, remove_it),
        cmocka_unit_test_setup_teardown(test_mail_is_taken_once_in_order_by_whom_it_is_for, make, remove_it),
        cmocka_unit_test_setup_teardown(test_what_has_lain_for_long_is_not_done_any_more, make, remove_it),
        cmocka_unit_test_setup_teardown(test_who_lives_is_who_was_seen_lately, make, remove_it),
    };
    const struct CMUnitTest without[] = {
        cmocka_unit_test(test_a_route_is_cut_into_its_parts_or_refused),
        cmocka_unit_test(test_an_answer_that_makes_no_sense_is_no_answer),
    };
    int failed = cmocka_run_group_tests(without, NULL, NULL);
    return test_database_is_postgres() ? failed + cmocka_run_group_tests(with_database, NULL, NULL) : failed;
}
