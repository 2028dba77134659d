/* text_reader.h - the text of documents and of foreign encodings, as UTF-8.
 *
 * All of this runs in a process of its own (text_child.h), which is `open-terminal` called with `text` as its first
 * argument: what a hostile document does to it ends with it, and its libraries and its memory are gone when it is. The
 * document is the descriptor STDIN_FILENO, a regular file. */
#ifndef TERMINALS_INSTANCE_TEXT_READER_H
#define TERMINALS_INSTANCE_TEXT_READER_H

#include "instance/text_sink.h"

enum text_result {
    TEXT_READ,
    TEXT_BINARY,  /* it is no text */
    TEXT_DAMAGED, /* not what it says it is, or too large unpacked, or broken off */
    TEXT_NO_TOOL, /* what could read it is not installed */
};

/* The program's main(): reads the document as argv[2] says, to standard output, and writes one word about it to
 * standard error. Returns the exit status. */
int text_main(int argc, char **argv);

enum text_result text_read_encoded(struct text_sink *sink);       /* text_encoding.c: any text, by its bytes */
enum text_result text_read_pdf(struct text_sink *sink);           /* text_pdf.c */
enum text_result text_read_rtf(struct text_sink *sink);           /* text_rtf.c */
enum text_result text_read_docx(struct text_sink *sink);          /* text_office.c */
enum text_result text_read_pptx(struct text_sink *sink);          /* text_office.c */
enum text_result text_read_open_document(struct text_sink *sink); /* text_open_document.c: odt, ods, odp */
enum text_result text_read_xlsx(struct text_sink *sink);          /* text_xlsx.c */
enum text_result text_read_epub(struct text_sink *sink);          /* text_epub.c */

#endif
