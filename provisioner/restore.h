/* restore.h - putting a backup in the place of what is there, so that a kill at any moment leaves the old state or the
 * new one.
 *
 * `terminals restore` has unpacked the backup into `<data folder>/.restore/`: `database.jsonl` (database_dump.h),
 * `homes/`, perhaps `keys/encryption.key`, which is put where a new key waits for the database that it belongs to
 * (vault.h); all of it is on the disk when it writes `journal`, which names this restore. The database's commit, which
 * brings the same name into it, is the moment at which the new state counts: from then on the folders are moved into
 * their places by whoever comes, one rename after the other, this program or the next start of the provisioner. A
 * journal whose name the database does not have is of a restore that came to nothing. What was there before is kept in
 * `<data folder>/.replaced-<time>/`. */
#ifndef TERMINALS_PROVISIONER_RESTORE_H
#define TERMINALS_PROVISIONER_RESTORE_H

#include <stdbool.h>

#include "common/error.h"
#include "common/settings.h"
#include "provisioner/database.h"
#include "provisioner/store.h"

/* `--backup FOLDER [keys]`: writes `database.jsonl` into the folder, and `keys/encryption.key` if asked to and if the
 * key is in a file. A provisioner may be running. */
bool backup_run(const struct settings *settings, const char *folder, bool with_keys, struct error *err);

/* `--may-restore [force]`: whether restore_run() would do it. Who calls these holds the run folder's lock. */
bool restore_check(const struct settings *settings, bool force, struct error *err);

/* `--restore [force]`: loads what `terminals restore` has unpacked, and moves it into its places. */
bool restore_run(const struct settings *settings, bool force, struct error *err);

/* At the start of the provisioner, before it looks at the folders: finishes what a restore that was killed had begun.
 */
bool restore_recover(struct store *store, const struct settings *settings, struct error *err);

#endif
