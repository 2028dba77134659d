#include "gate/head_reader.h"

#include <sys/socket.h>

#include "gate/http_head.h"

#define PEEK_BYTES (16 * 1024)

/* Appends what is there to `head`, takes from the socket only what belongs to it. A head without its end cannot have
 * been followed by anything, so its bytes can be taken whole: no byte is looked at twice. */
enum head_read head_read(struct endpoint *endpoint, struct buffer *head) {
    while (endpoint->readable) {
        char *room = buffer_reserve(head, PEEK_BYTES);
        if (room == NULL) {
            return HEAD_ENDED;
        }
        ssize_t seen = endpoint_receive(endpoint, room, PEEK_BYTES, MSG_PEEK);
        if (seen == ENDPOINT_NOTHING) {
            break;
        }
        if (seen < 0) {
            return HEAD_ENDED;
        }
        size_t before = head->length;
        size_t overlap = before < 3 ? before : 3; /* the end may straddle two reads */
        size_t end = http_head_find_end(head->data + before - overlap, (size_t)seen + overlap);
        size_t wanted = end == 0 ? (size_t)seen : end - overlap;
        if (endpoint_receive(endpoint, room, wanted, 0) != (ssize_t)wanted) {
            return HEAD_ENDED;
        }
        head->length += wanted;
        head->data[head->length] = '\0';
        if (head->length > HTTP_HEAD_MAX_BYTES) {
            return HEAD_TOO_LONG;
        }
        if (end != 0) {
            return HEAD_COMPLETE;
        }
    }
    return HEAD_MORE;
}
