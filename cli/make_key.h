/* make_key.h - `terminals make-key`: keys and passwords in files, for those who start our processes one by one
 * (compose). */
#ifndef TERMINALS_CLI_MAKE_KEY_H
#define TERMINALS_CLI_MAKE_KEY_H

/* `make-key FILE UID [FILE UID]...`: keeps a new key in each FILE unless there is one, and makes the file and its
 * folder that user's alone. Prints where it is, never the key. Returns the exit status: 0, 1 with a sentence, 2 for
 * wrong arguments. */
int make_key(int argc, char **argv);

#endif
