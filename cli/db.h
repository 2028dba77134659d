/* db.h - `terminals db …`: what is done to the database by hand. */
#ifndef TERMINALS_CLI_DB_H
#define TERMINALS_CLI_DB_H

/* The command, whose name is argv[0]; returns its exit status. */
int db(int argc, char **argv);

#endif
