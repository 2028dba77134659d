#include "fcgi-api/login_limit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define BUCKETS           2048
#define BUCKET_SLOTS      8
#define MILLISECONDS_IN_S 1000

/* The failures of one address; free once `until_ms` has passed. */
struct slot {
    uint64_t network[2];
    int64_t count;
    int64_t until_ms;
};

struct login_limit {
    pthread_mutex_t lock;
    int64_t failures;
    int64_t period_ms;
    uint64_t seed[2]; /* so that nobody can choose addresses that share a bucket */
    struct slot slots[BUCKETS][BUCKET_SLOTS];
};

struct login_limit *login_limit_new(int64_t failures, int64_t seconds) {
    struct login_limit *limit = calloc(1, sizeof *limit);
    if (limit == NULL || getrandom(limit->seed, sizeof limit->seed, 0) != (ssize_t)sizeof limit->seed) {
        free(limit);
        return NULL;
    }
    pthread_mutex_init(&limit->lock, NULL);
    limit->failures = failures;
    limit->period_ms = seconds * MILLISECONDS_IN_S;
    return limit;
}

void login_limit_free(struct login_limit *limit) {
    if (limit != NULL) {
        pthread_mutex_destroy(&limit->lock);
        free(limit);
    }
}

/* The address as IPv6 has it, an IPv4 one in ::ffff:0:0/96 (RFC 4291 §2.5.5.2), else without its interface id. */
static bool read_network(const char *address, uint64_t network[2]) {
    struct in6_addr v6 = {.s6_addr = {[10] = 0xff, [11] = 0xff}};
    if (inet_pton(AF_INET, address, &v6.s6_addr[12]) != 1 && inet_pton(AF_INET6, address, &v6) != 1) {
        return false;
    }
    memcpy(network, &v6, sizeof v6);
    if (!IN6_IS_ADDR_V4MAPPED(&v6)) {
        network[1] = 0;
    }
    return true;
}

static struct slot *bucket_of(struct login_limit *limit, const uint64_t network[2]) {
    uint64_t hash = (network[0] ^ limit->seed[0]) * 0x9e3779b97f4a7c15U;
    hash = ((hash ^ (hash >> 32)) ^ network[1] ^ limit->seed[1]) * 0xd6e8feb86659fd93U;
    return limit->slots[(hash >> 32) % BUCKETS];
}

static struct slot *find(struct slot *bucket, const uint64_t network[2], int64_t now_ms) {
    for (size_t i = 0; i < BUCKET_SLOTS; i++) {
        if (bucket[i].until_ms > now_ms && memcmp(bucket[i].network, network, sizeof bucket[i].network) == 0) {
            return &bucket[i];
        }
    }
    return NULL;
}

/* A free slot, or the one that is missed least, made this network's. */
static struct slot *claim(struct login_limit *limit, struct slot *bucket, const uint64_t network[2], int64_t now_ms) {
    struct slot *chosen = bucket;
    for (size_t i = 0; i < BUCKET_SLOTS && chosen->until_ms > now_ms; i++) {
        bool is_poorer =
            bucket[i].count == chosen->count ? bucket[i].until_ms < chosen->until_ms : bucket[i].count < chosen->count;
        if (bucket[i].until_ms <= now_ms || is_poorer) {
            chosen = &bucket[i];
        }
    }
    *chosen = (struct slot){.network = {network[0], network[1]}, .until_ms = now_ms + limit->period_ms};
    return chosen;
}

void login_limit_count(struct login_limit *limit, const char *address, int64_t now_ms) {
    uint64_t network[2];
    if (limit == NULL || !read_network(address, network)) {
        return;
    }
    pthread_mutex_lock(&limit->lock);
    struct slot *bucket = bucket_of(limit, network);
    struct slot *slot = find(bucket, network, now_ms);
    if (slot == NULL) {
        slot = claim(limit, bucket, network, now_ms);
    }
    slot->count++;
    if (slot->count == limit->failures) {
        slot->until_ms = now_ms + limit->period_ms;
    }
    pthread_mutex_unlock(&limit->lock);
}

int64_t login_limit_wait_seconds(struct login_limit *limit, const char *address, int64_t now_ms) {
    uint64_t network[2];
    if (limit == NULL || !read_network(address, network)) {
        return 0;
    }
    pthread_mutex_lock(&limit->lock);
    const struct slot *slot = find(bucket_of(limit, network), network, now_ms);
    int64_t wait_ms = slot != NULL && slot->count >= limit->failures ? slot->until_ms - now_ms : 0;
    pthread_mutex_unlock(&limit->lock);
    return (wait_ms + MILLISECONDS_IN_S - 1) / MILLISECONDS_IN_S;
}
