/* files.h - what the handlers of /files/… share, and the handlers themselves, one file each or a few that belong
 * together; files.c has their routes. */
#ifndef TERMINALS_INSTANCE_FILES_H
#define TERMINALS_INSTANCE_FILES_H

#include "common/error.h"
#include "instance/http.h"

/* The status of an error: for calls that read (403, 404, …), and for calls that change something, which the original
 * answers with 400 for whatever the system refused. */
enum files_call { FILES_CALL_READS, FILES_CALL_CHANGES };
void files_respond_error(struct http_request *request, enum files_call call, const struct error *err);

/* A path made absolute against the session's working folder (path_resolve()); the caller frees it. */
char *files_resolve(struct http_request *request, const char *text, size_t length, struct error *err);

/* The same for a query parameter; `fallback` is used when it is absent, and NULL makes it required: the 422 is then
 * answered here, and err->code stays ERROR_NONE. */
char *files_resolve_query(struct http_request *request, const char *name, const char *fallback, struct error *err);

/* The same for a member of the JSON body, always required. Call it only after http_refused_as_invalid(). */
char *files_resolve_json(struct http_request *request, const char *name, struct error *err);

/* Adds a path as text (utf8.h). False: no memory. */
bool files_add_path(struct json_object *object, const char *key, const char *path);

/* Answers 200 with {key: path, "size": size}. */
void files_respond_written(struct http_request *request, const char *path, int64_t size);

/* Opens a regular file for reading without ever waiting (a pipe, a device). -1: ERROR_NOT_FOUND "File not found" when
 * there is none, ERROR_FORBIDDEN… as error_set_path(). */
struct stat;
int files_open(const char *path, struct stat *status, struct error *err);

void files_list(struct http_request *request);            /* files_list.c */
void files_read(struct http_request *request);            /* files_read.c */
void files_view(struct http_request *request);            /* files_view.c */
void files_serve(struct http_request *request);           /* files_view.c */
void files_write(struct http_request *request);           /* files_write.c */
void files_replace(struct http_request *request);         /* files_replace.c */
void files_archive(struct http_request *request);         /* files_archive.c */
void files_grep(struct http_request *request);            /* files_grep.c */
void files_glob(struct http_request *request);            /* files_glob.c */
extern const struct http_body_reader files_upload_reader; /* files_upload.c */
void files_upload(struct http_request *request);

#endif
