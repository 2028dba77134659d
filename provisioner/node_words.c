/* node_words.c - what the nodes tell each other: announcements to all, and messages to one. */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/secret.h"
#include "provisioner/node_internal.h"

#define WORDS_MAX    5000           /* more: all routes and identities are read anew, which says as much */
#define AT_ONCE      200            /* in one statement; a notification has 8,000 bytes, and the server's queue 8 GB */
#define MESSAGE_NAME "node message" /* what it is sealed for, in place of a tenant's id */

static struct word *word_new(char kind, const char *text) {
    size_t length = strlen(text);
    struct word *word = calloc(1, sizeof *word + length + 2);
    if (word != NULL) {
        word->text[0] = kind;
        memcpy(word->text + 1, text, length + 1);
    }
    return word;
}

static void words_free(struct word **words) {
    struct word *word;
    struct word *next;
    DL_FOREACH_SAFE(*words, word, next) {
        DL_DELETE(*words, word);
        free(word);
    }
}

void node_forget_words(struct node *node) {
    words_free(&node->heard);
    words_free(&node->to_say);
    node->to_say_count = 0;
}

/* --- in ----------------------------------------------------------------------------------------------------------- */

/* From inside a statement of whoever asks the database: it is only taken down. */
void node_hear(void *argument, const char *payload) {
    struct node *node = argument;
    size_t mail = strlen(NODE_MAIL);
    event_active(node->turn, EV_TIMEOUT, 0);
    if (strncmp(payload, NODE_MAIL, mail) == 0) {
        bool is_ours = strcmp(payload + mail, node->id) == 0 || strcmp(payload + mail, NODE_LEADER) == 0;
        node->has_mail = node->has_mail || is_ours;
        return;
    }
    struct word *word = payload[0] == '\0' ? NULL : word_new(payload[0], payload + 1);
    if (word == NULL) {
        log_error(NULL, "an announcement of another node is lost: out of memory");
        return;
    }
    DL_APPEND(node->heard, word);
}

static void take_words(struct node *node) {
    while (node->heard != NULL) {
        struct word *word = node->heard;
        DL_DELETE(node->heard, word);
        if (word->text[0] == ANNOUNCE_ELECTION) {
            event_active(node->beat, EV_TIMEOUT, 0);
        } else if (node->role.announced != NULL) {
            node->role.announced(node->role.argument, word->text[0], word->text + 1);
        }
        free(word);
    }
}

static void take_message(void *argument, const void *body, size_t length) {
    struct node *node = argument;
    struct error err = {.message = "out of memory"};
    cleanup_secret char *text = vault_unseal(node->vault, MESSAGE_NAME, body, length, &err);
    cleanup_json struct json_object *message = text == NULL ? NULL : json_parse_object(text, strlen(text), &err);
    if (message == NULL) {
        log_warning(NULL, "a message of another node is not to be read: %s", err.message);
    } else if (node->role.message != NULL) {
        node->role.message(node->role.argument, message);
    }
}

static void take_mail(struct node *node) {
    struct error err;
    if (!node->has_mail || node->role.message == NULL) {
        return;
    }
    node->has_mail = false;
    if (!node_store_take(node->nodes, node->id, node->term > 0, take_message, node, &err)) {
        node->has_mail = true; /* the next beat tries again */
    }
}

/* --- out ---------------------------------------------------------------------------------------------------------- */

static bool say_some(struct node *node, struct error *err) {
    const char *payloads[AT_ONCE];
    size_t count = 0;
    const struct word *word;
    DL_FOREACH(node->to_say, word) {
        if (count < AT_ONCE) {
            payloads[count++] = word->text;
        }
    }
    if (!node_store_announce(node->nodes, payloads, count, err)) {
        return false;
    }
    while (count-- > 0) {
        struct word *said = node->to_say;
        DL_DELETE(node->to_say, said);
        node->to_say_count--;
        free(said);
    }
    return true;
}

static void say(struct node *node) {
    struct error err;
    while (node->to_say != NULL) {
        if (!say_some(node, &err)) {
            return; /* the next beat tries again */
        }
    }
}

void node_work_off(struct node *node) {
    take_words(node);
    take_mail(node);
    say(node);
}

void node_announce(struct node *node, enum announcement kind, const char *text) {
    if (node == NULL) {
        return;
    }
    if (node->to_say_count >= WORDS_MAX) {
        words_free(&node->to_say);
        node->to_say_count = 0;
        node_announce(node, ANNOUNCE_ROUTES, "");
        node_announce(node, ANNOUNCE_IDENTITIES, "");
        return;
    }
    struct word *word = word_new((char)kind, text);
    if (word == NULL) {
        log_error(NULL, "an announcement to the other nodes is lost: out of memory");
        return;
    }
    DL_APPEND(node->to_say, word);
    node->to_say_count++;
    event_active(node->turn, EV_TIMEOUT, 0);
}

/* --- routes, and messages ----------------------------------------------------------------------------------------- */

void node_announce_route(struct node *node, const char *route_key, const char *value) {
    struct error err = {.message = "out of memory"};
    size_t length = 0;
    cleanup_buffer struct buffer text = {0};
    if (node == NULL) {
        return;
    }
    cleanup_free void *box = vault_seal(node->vault, route_key, value, &length, &err);
    cleanup_free unsigned char *encoded = box == NULL ? NULL : malloc(length * 4 / 3 + 5);
    if (encoded == NULL || EVP_EncodeBlock(encoded, box, (int)length) < 0 ||
        !buffer_append_format(&text, "%s %zu %s", route_key, length, (const char *)encoded)) {
        log_error(NULL, "announce a route: %s", err.message);
        node_announce(node, ANNOUNCE_ROUTES, "");
        return;
    }
    node_announce(node, ANNOUNCE_ROUTE, text.data);
}

char *node_read_route(const struct node *node, const char *text, char route_key[DIGEST_HEX_SIZE]) {
    char *end = NULL;
    if (strlen(text) < DIGEST_HEX_SIZE || text[DIGEST_HEX_LENGTH] != ' ') {
        return NULL;
    }
    memcpy(route_key, text, DIGEST_HEX_LENGTH);
    route_key[DIGEST_HEX_LENGTH] = '\0';
    unsigned long length = strtoul(text + DIGEST_HEX_SIZE, &end, 10);
    size_t encoded = *end == ' ' ? strlen(end + 1) : 0;
    cleanup_free unsigned char *box =
        encoded % 4 == 0 && length <= encoded / 4 * 3 ? malloc(encoded / 4 * 3 + 1) : NULL;
    if (box == NULL || EVP_DecodeBlock(box, (const unsigned char *)end + 1, (int)encoded) < 0) {
        return NULL;
    }
    return vault_unseal(node->vault, route_key, box, length, NULL);
}

bool node_send(struct node *node, const char *to, struct json_object *message, struct error *err) {
    size_t size = 0;
    size_t length = 0;
    const char *text = message == NULL ? NULL : json_text(message, &size);
    cleanup_free void *box = text == NULL ? NULL : vault_seal(node->vault, MESSAGE_NAME, text, &length, err);
    if (box == NULL) {
        return text == NULL ? error_set(err, ERROR_INTERNAL, "out of memory") : false;
    }
    return node_store_send(node->nodes, to, box, length, err);
}
