#include "instance/work.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "instance/instance.h"
#include "instance/loop.h"

#define STACK_BYTES (256UL * 1024)

struct work_thread {
    struct work *work;
    struct instance *instance;
    struct loop *loop;
    struct work_thread *previous; /* in instance->work_threads */
    struct work_thread *next;
    struct loop_watch watch; /* an eventfd that the thread raises as its last act */
    atomic_bool is_done; /* orders the thread's writes before the loop's reads, which a descriptor does not promise */
};

/* The request is over before the work: the work goes on and is released when it is done. */
static void abandon(void *state) {
    struct work *work = state;
    work->request = NULL;
    atomic_store(&work->is_abandoned, true);
    if (work->thread == NULL) {
        work->release(work);
    }
}

static void *run_on_thread(void *argument) {
    struct work_thread *thread = argument;
    int fd = thread->watch.fd; /* the loop may free `thread` and close this as soon as it is raised */
    thread->work->run(thread->work);
    atomic_store(&thread->is_done, true);
    eventfd_write(fd, 1);
    return NULL;
}

static void free_thread(struct work_thread *thread) {
    if (thread->previous != NULL) {
        thread->previous->next = thread->next;
    } else {
        thread->instance->work_threads = thread->next;
    }
    if (thread->next != NULL) {
        thread->next->previous = thread->previous;
    }
    if (thread->watch.fd >= 0) {
        loop_watch_remove(thread->loop, &thread->watch);
        close(thread->watch.fd);
    }
    free(thread);
}

static void finish(struct loop_watch *watch, uint32_t events) {
    (void)events;
    struct work_thread *thread = loop_owner(watch, struct work_thread, watch);
    if (!atomic_load(&thread->is_done)) {
        return;
    }
    struct work *work = thread->work;
    free_thread(thread);
    work->thread = NULL;
    if (work->request != NULL) {
        work->respond(work); /* the end of the request releases it */
    } else {
        work->release(work);
    }
}

/* What still runs when the instance stops: nobody comes back for it, and it is no leak. */
static struct work_thread *volatile left_running;

void work_release_done(struct instance *instance) {
    struct work_thread *next;
    for (struct work_thread *thread = instance->work_threads; thread != NULL; thread = next) {
        next = thread->next;
        if (atomic_load(&thread->is_done)) {
            struct work *work = thread->work;
            free_thread(thread);
            work->release(work);
        }
    }
    left_running = instance->work_threads;
}

static bool start_thread(struct work_thread *thread) {
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) {
        return false;
    }
    pthread_t id;
    bool ok = pthread_attr_setstacksize(&attributes, STACK_BYTES) == 0 &&
              pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0 &&
              pthread_create(&id, &attributes, run_on_thread, thread) == 0;
    pthread_attr_destroy(&attributes);
    return ok;
}

static void do_now(struct http_request *request, struct work *work) {
    work->request = request;
    http_set_state(request, work, abandon);
    work->run(work);
    work->respond(work);
}

void work_do(struct http_request *request, struct work *work, bool may_take_long) {
    struct work_thread *thread = may_take_long ? calloc(1, sizeof(*thread)) : NULL;
    if (thread == NULL) {
        do_now(request, work);
        return;
    }
    thread->work = work;
    thread->instance = http_instance(request);
    thread->loop = thread->instance->loop;
    thread->next = thread->instance->work_threads;
    if (thread->next != NULL) {
        thread->next->previous = thread;
    }
    thread->instance->work_threads = thread;
    thread->watch.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    thread->watch.ready = finish;
    work->thread = thread;
    if (thread->watch.fd < 0 || !loop_watch_set(thread->loop, &thread->watch, EPOLLIN) || !start_thread(thread)) {
        work->thread = NULL;
        free_thread(thread);
        do_now(request, work);
        return;
    }
    work->request = request;
    http_set_state(request, work, abandon);
}
