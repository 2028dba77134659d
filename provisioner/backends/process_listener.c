/* Who really listens on a port: sock_diag(7) names the inode of the listening socket, /proc/pid/fd says who holds it.
 *
 * Needed because instances share the network: one tenant could take the next port in the moment between our look and
 * the new instance's bind(), and would then be sent another tenant's requests. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "provisioner/backends/process.h"

#define DEPTH_MAX    4 /* bwrap, its init, the instance, a child that a launcher script may have made */
#define CHILDREN_MAX 64

/* The inode of the socket that takes connections to 127.0.0.1:port. 0: nobody. -1: the kernel does not say. */
static long long listener_inode(uint16_t port) {
    cleanup_close int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0) {
        return -1;
    }
    struct {
        struct nlmsghdr header;
        struct inet_diag_req_v2 request;
    } message = {
        .header = {.nlmsg_len = sizeof message, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST},
        .request = {.sdiag_family = AF_INET,
                    .sdiag_protocol = IPPROTO_TCP,
                    .idiag_states = ~0U,
                    .id = {.idiag_sport = htons(port),
                           .idiag_src = {htonl(INADDR_LOOPBACK)},
                           .idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}}},
    };
    union {
        struct nlmsghdr header;
        char bytes[4096];
    } answer;
    if (send(fd, &message, sizeof message, 0) != (ssize_t)sizeof message) {
        return -1;
    }
    ssize_t length = recv(fd, &answer, sizeof answer, MSG_DONTWAIT); /* the kernel has answered within send() */
    if (length < (ssize_t)sizeof answer.header) {
        return -1;
    }
    if (answer.header.nlmsg_type == NLMSG_ERROR) {
        const struct nlmsgerr *problem = NLMSG_DATA(&answer.header);
        return (size_t)length >= NLMSG_LENGTH(sizeof *problem) && problem->error == -ENOENT ? 0 : -1;
    }
    if (answer.header.nlmsg_type != SOCK_DIAG_BY_FAMILY ||
        (size_t)length < NLMSG_LENGTH(sizeof(struct inet_diag_msg))) {
        return -1;
    }
    const struct inet_diag_msg *found = NLMSG_DATA(&answer.header);
    return found->idiag_state == TCP_LISTEN ? (long long)found->idiag_inode : 0;
}

static enum process_owner holds_socket(pid_t pid, long long inode) {
    char path[64];
    char wanted[64];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    snprintf(wanted, sizeof wanted, "socket:[%lld]", inode);
    DIR *folder = opendir(path);
    if (folder == NULL) {
        return errno == ENOENT ? OWNER_NO : OWNER_UNKNOWN;
    }
    enum process_owner owner = OWNER_NO;
    const struct dirent *entry;
    while (owner == OWNER_NO && (entry = readdir(folder)) != NULL) {
        char target[64];
        ssize_t length = readlinkat(dirfd(folder), entry->d_name, target, sizeof target - 1);
        if (length > 0) {
            target[length] = '\0';
            owner = strcmp(target, wanted) == 0 ? OWNER_YES : OWNER_NO;
        }
    }
    closedir(folder);
    return owner;
}

static enum process_owner family_holds_socket(pid_t pid, long long inode, int depth) {
    enum process_owner owner = holds_socket(pid, inode);
    pid_t children[CHILDREN_MAX];
    errno = 0;
    size_t count = depth == 0 || owner == OWNER_YES ? 0 : process_children(pid, children, CHILDREN_MAX);
    if (count == 0 && errno != 0) {
        return OWNER_UNKNOWN;
    }
    for (size_t i = 0; i < count && owner != OWNER_YES; i++) {
        enum process_owner child = family_holds_socket(children[i], inode, depth - 1);
        owner = child == OWNER_NO ? owner : child;
    }
    return owner;
}

enum process_owner process_owns_listener(pid_t pid, uint16_t port) {
    long long inode = listener_inode(port);
    if (inode <= 0) {
        return inode == 0 ? OWNER_NO : OWNER_UNKNOWN;
    }
    return family_holds_socket(pid, inode, DEPTH_MAX);
}
