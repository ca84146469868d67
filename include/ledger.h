/*
 * The ledger: how much a store holds that lies in a directory of somebody's tmpfs, so
 * that no kernel keeps it to its limits.
 *
 * It is a page of memory that all daemons share which use the store, as a file in its
 * directory.  Room is claimed in it before anything is written, so the limits hold for
 * all of them together.  It only grows: what goes is found out by counting when it
 * seems full, which is what making room does anyway.  So it may say too much, never
 * too little, but for what one write takes beyond its claim (huge pages), and for what
 * has lost its names while it is open.  (Its owner, who truncates it, ends the daemons.)
 *
 * Any thread and process; no locks but the one below.
 */
#ifndef PYCACHEFS_LEDGER_H
#define PYCACHEFS_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

struct ledger;

struct ledger_sums {
	uint64_t bytes;
	uint64_t inodes;	/* names, rather: a further link is one more */
};

/*
 * Opens the ledger of the store @root, making it if it is missing; @ret_new tells.
 * Returns 0 or negative errno.  ledger_close() takes NULL.
 */
int ledger_open(struct ledger **ret, int root, bool *ret_new);
void ledger_close(struct ledger *ledger);

/* Removes it; only for a daemon that is alone. */
void ledger_remove(int root);

struct ledger_sums ledger_read(const struct ledger *ledger);

/* Adds @claim, unless more than @limit would come of it, and tells whether it did. */
bool ledger_claim(struct ledger *ledger, const struct ledger_sums *claim,
		  const struct ledger_sums *limit);

/* Adds what may be negative: a claim that was too large or too small. */
void ledger_correct(struct ledger *ledger, int64_t bytes, int64_t inodes);

/* Grows with each claim of any daemon. */
uint64_t ledger_claims(const struct ledger *ledger);

/*
 * Whoever counts what the store holds, and corrects by that, holds the lock: two who
 * do so at once would correct twice.  Never waits: -EWOULDBLOCK when another daemon
 * has it.  Threads of one daemon have to see to themselves.
 */
int ledger_lock(struct ledger *ledger);
void ledger_unlock(struct ledger *ledger);

#endif
