/*
 * Shadows: what the store keeps for one directory of the source.
 *
 * A shadow is a directory of the store that is named by the identity of the
 * source's directory, so it follows a rename and is never inherited by a successor
 * with the same inode number.  It and its parts are made when something is first
 * written to them.
 *
 * All functions may be called by any thread.  They hold no lock: each is one
 * system call that counts, and the kernel orders those.
 */
#ifndef PYCACHEFS_SHADOW_H
#define PYCACHEFS_SHADOW_H

#include <stdbool.h>
#include <sys/types.h>

#include "origin.h"
#include "store.h"
#include "util.h"

enum shadow_part {
	SHADOW_CACHE,	/* what `__pycache__` shows to all who share it */
	SHADOW_BESIDE,	/* entries that show beside the source */
	SHADOW_ORPHANS,	/* marks: see shadow_mark() */
	SHADOW_STAMPS,	/* states of modules: see shadow_stamp() */
	SHADOW_PARTS
};

/*
 * Opens a part of @id's shadow as O_PATH; the caller owns it.  Returns 0 or
 * negative errno, -ENOENT when nothing was ever written to it.
 */
int shadow_open(const struct store *store, enum shadow_part part,
		const struct file_id *id, int *ret_fd);

/*
 * The same, but makes the part when it is missing.  It takes group, setgid bit
 * and default ACL from @model, the source's directory, so that what is created
 * inside inherits as it would there.  Returns 0 or negative errno (-ENOSPC: full;
 * -ENOENT: the source's directory was removed).
 */
int shadow_make(struct store *store, enum shadow_part part,
		const struct file_id *id, int model, int *ret_fd);

/*
 * What `__pycache__` shows to @user alone, who may not write the source's directory
 * (see sharing.h); 0: the part SHADOW_CACHE.  Opens it as shadow_open() does.
 */
int shadow_open_cache(const struct store *store, const struct file_id *id,
		      uid_t user, int *ret_fd);

/*
 * The same for a user other than 0, but makes it when it is missing: theirs, of
 * @group and closed to others.  Nothing is inherited from the source's directory,
 * @model, which has nothing to give to them.  Returns what shadow_make() does.
 */
int shadow_make_own(struct store *store, const struct file_id *id, uid_t user,
		    gid_t group, int model, int *ret_fd);

/* Calls @each for every user who has a part of their own in @id's shadow. */
void shadow_each_user(const struct store *store, const struct file_id *id,
		      void (*each)(void *data, uid_t user), void *data);

/*
 * Removes what shadow_open_cache() opens, if it is empty.  Returns 0, also when it
 * does not exist; else negative errno, -ENOTEMPTY among them.
 */
int shadow_remove_cache(const struct store *store, const struct file_id *id,
			uid_t user);

/*
 * Removes the parts of @id's shadow that are empty, users' own among them, and it when
 * it has none left.  With @keep_modes a SHADOW_CACHE with a mode of its own stays.
 * Returns how many inodes came free.
 */
uint64_t shadow_tidy(const struct store *store, const struct file_id *id,
		     bool keep_modes);

/* Whether @name, in the root of the store, is a shadow; then whose. */
bool shadow_parse(const char *name, struct file_id *ret);

/*
 * Takes back what a shadow without any file costs: stamps, and then as shadow_tidy(),
 * keeping modes.  Marks stay, and so does one in which a stamp was set a moment ago: its
 * writer is on the way.  Returns how many inodes came free.
 */
uint64_t shadow_reclaim(const struct store *store, const struct file_id *id);

/* What has become of the directory @id, as far as was noted in its shadow: see
 * origin.h.  In a private store nothing is noted: whoever is mounted hears of it. */
enum origin_fate shadow_fate(const struct store *store, const struct file_id *id);

/* What @id's shadow takes, itself included. */
struct store_usage shadow_usage(const struct store *store, const struct file_id *id);

/* Removes @id's shadow with all that it holds: see store_remove().  Call after the
 * directory itself is removed. */
void shadow_drop(struct store *store, const struct file_id *id);

/* Notes that bytecode of the source was copied into @id's shadow for @user alone, or
 * with 0 for all who share.  Returns 0, -EEXIST when that was noted before, or another
 * negative errno. */
int shadow_set_seeded(struct store *store, const struct file_id *id, uid_t user);

/*
 * Notes, each a text about a name in the source's directory.  It is kept as the target of
 * a symlink, which takes an inode of the store and no memory beyond that (up to
 * SHORT_SYMLINK_LEN of mm/shmem.c, 128).
 *
 * Marks: on bytecode of the source that stays hidden without its module, see orphan.h.
 * They live as long as the store.
 */
enum { NOTE_SIZE = 128 };
int shadow_mark(struct store *store, const struct file_id *id, int model,
		const char *name, const char *mark);
/* Returns 0, or negative errno: -ENOENT when there is none. */
int shadow_get_mark(const struct store *store, const struct file_id *id,
		    const char *name, char ret[NOTE_SIZE]);
void shadow_unmark(const struct store *store, const struct file_id *id,
		   const char *name);

/* Stamps: in which state a module was when bytecode of it was written. */
int shadow_stamp(struct store *store, const struct file_id *id, int model,
		 const char *module, const char *stamp);
/* Returns what shadow_get_mark() does. */
int shadow_get_stamp(const struct store *store, const struct file_id *id,
		     const char *module, char ret[NOTE_SIZE]);
void shadow_unstamp(const struct store *store, const struct file_id *id,
		    const char *module);

/*
 * A SHADOW_CACHE shows its source directory's owner and mode until chmod, chown or
 * an ACL gives it its own.  Until then its own @mode has the setuid bit, which
 * whoever changes or shows a mode must mask.
 */
bool shadow_follows_source(unsigned mode);

#endif
