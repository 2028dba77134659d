#include "fcgi-api/haproxy_exporter.h"

#include <curl/curl.h>

#define TIMEOUT_MS     5000L
#define TEXT_MAX_BYTES (16UL * 1024 * 1024)

static size_t take_bytes(char *bytes, size_t size, size_t count, void *argument) {
    struct buffer *text = argument;
    size_t length = size * count;
    bool fits = text->length + length <= TEXT_MAX_BYTES;
    return fits && buffer_append(text, bytes, length) ? length : 0;
}

static CURLcode perform(CURL *curl, const char *socket_path, struct buffer *text) {
    bool ok = curl_easy_setopt(curl, CURLOPT_URL, "http://haproxy/metrics") == CURLE_OK &&
              curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket_path) == CURLE_OK &&
              curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http") == CURLE_OK &&
              curl_easy_setopt(curl, CURLOPT_PROXY, "") == CURLE_OK &&
              curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L) == CURLE_OK &&
              curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
              curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, TIMEOUT_MS) == CURLE_OK &&
              curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes) == CURLE_OK &&
              curl_easy_setopt(curl, CURLOPT_WRITEDATA, text) == CURLE_OK;
    return ok ? curl_easy_perform(curl) : CURLE_OUT_OF_MEMORY;
}

bool haproxy_exporter_read(const char *run_dir, struct buffer *out, struct error *err) {
    cleanup_buffer struct buffer path = {0};
    cleanup_buffer struct buffer text = {0};
    buffer_append_format(&path, "%s/haproxy-metrics.sock", run_dir);
    CURL *curl = path.failed ? NULL : curl_easy_init();
    if (curl == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    CURLcode code = perform(curl, path.data, &text);
    curl_easy_cleanup(curl);
    if (code != CURLE_OK) {
        return error_set(err, ERROR_BACKEND, "ask HAProxy's exporter: %s", curl_easy_strerror(code));
    }
    return buffer_append(out, text.data, text.length) || error_set(err, ERROR_INTERNAL, "out of memory");
}
