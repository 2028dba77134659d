/* process_table.h - all commands that /execute started and that somebody may still ask about.
 *
 * Bounded: PROCESS_TABLE_MAX; a new one makes the oldest that has ended be forgotten, its log with it. Logs of earlier
 * runs are deleted when they are options.log_retention seconds old. */
#ifndef TERMINALS_INSTANCE_PROCESS_TABLE_H
#define TERMINALS_INSTANCE_PROCESS_TABLE_H

#include "instance/instance.h"
#include "instance/process.h"

#define PROCESS_TABLE_MAX 128

struct process_table;

/* NULL: no memory. */
struct process_table *process_table_new(struct instance *instance);

/* Forgets all. Who waits for one must have stopped before. */
void process_table_free(struct process_table *table);

/* Starts a command with /bin/sh in the open directory `folder`. Borrowed from the table; NULL with *err. */
struct process *process_table_start(struct process_table *table, const char *command, int folder,
                                    char *const *environment, struct error *err);

/* Borrowed; NULL if there is none of that id. */
struct process *process_table_find(struct process_table *table, const char *id);

/* The oldest one; the others follow by process->next. */
struct process *process_table_first(struct process_table *table);

/* Takes a process off the table, whatever it does further. */
void process_table_remove(struct process_table *table, struct process *process);

#endif
