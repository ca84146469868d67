/*
 * Bytecode and its module: what was made from X.py is never served once X.py has
 * changed.
 *
 * Two ways lead there.  Whoever hears that a module has changed says so here, and
 * its bytecode goes at once, from every part of its directory's shadow, and the
 * kernel is told.  And whenever the kernel asks for bytecode, the state in which
 * its module is now is compared with a stamp: the state that it had when the first
 * bytecode of it was written.  So what was changed unheard is found out too, by the
 * time limit that such names then have.
 *
 * A state is the module's identity, size, mtime and ctime in nanoseconds; the
 * content is not read.  A stamp without bytecode is harmless, bytecode without a stamp
 * counts as stale.  Whoever makes a file looks for the stamp before it and after it, and
 * whoever takes a stamp away looks for files after it: so either finds the other, and no
 * file is left without a stamp, which a later state's would make look fresh.
 *
 * A module may change after its compiler has read it and before that creates the file for
 * the bytecode.  So the state counts that the module had when the compiler looked for the
 * bytecode in vain, which importlib, compileall and pytest all do before they read the
 * module, and by the same thread.  For that the kernel remembers no miss of bytecode in a
 * `__pycache__`; who finds it pays nothing.  Writers that do not look before, and those
 * beside the source (Python 2, whose second look the kernel can't tell from the first),
 * have only what they themselves write into the bytecode (mtime and size), as they do
 * without us.  So have threads of other process namespaces, which all look like one, when
 * two of them compile one module at once.  No other order of events makes stale bytecode
 * look fresh.
 *
 * A clock that ticks may give two changes one time.  So where the filesystem's does
 * (see device_has_fine_times()), the stamp of a module that changed a moment ago says
 * so, and news of a further change count without a look at the state.  Unheard, such a
 * change within the same tick of at most 10 ms that leaves the size as it was is missed.
 *
 * A module that is a symlink counts as it is: its target may lie anywhere, even in
 * our own mount.
 *
 * Any thread, without locks.
 */
#ifndef PYCACHEFS_BYTECODE_H
#define PYCACHEFS_BYTECODE_H

#include <stdbool.h>
#include <sys/types.h>

#include "fs.h"
#include "util.h"

/* Bytecode called @name, in a part of the shadow of @directory. */
struct bytecode {
	struct inode *directory;	/* of the source; borrowed */
	int dirfd;		/* open for it */
	int part;		/* open for the part */
	const char *name;
	/* "X.py", which lies in @directory, or did when there was bytecode of it; ""
	 * when it is no module's */
	char module[NAME_SIZE];
};

/* Finds out what @name in the `__pycache__` of @directory is made from. */
void bytecode_of(struct fs *fs, struct inode *directory, int dirfd, int part,
		 const char *name, struct bytecode *ret);

/* It is asked for: drops it, and all that is made from its module, if stale. */
void bytecode_check(struct fs *fs, const struct bytecode *bytecode);

/*
 * It is about to be made: notes the state of its module.  @renamed: a finished file,
 * which was written earlier, gets its name, so that an older stamp stays.  Returns 0
 * or negative errno (-ENOSPC: full), upon which it must not be made.
 */
int bytecode_stamp(struct fs *fs, const struct bytecode *bytecode, bool renamed);

/* The thread @pid did not find @name in the `__pycache__` @shadow, and may compile its
 * module now. */
void bytecode_missed(struct fs *fs, struct inode *shadow, const char *name, pid_t pid);

/* It has created @name, which was stamped before.  If the module has changed since it was
 * missed, that is what the stamp says from now on, and the file is stale. */
void bytecode_created(struct fs *fs, struct inode *shadow, const char *name, pid_t pid);

/*
 * Drops all bytecode of @module, such as "X.py", from the shadow of @directory, and
 * the kernel hears of it soon.  Returns how many files that were.
 */
unsigned bytecode_drop(struct fs *fs, const struct file_id *directory,
		       const char *module);

enum bytecode_change {
	BYTECODE_CAME = 1,	/* it was not there before */
	/* The news may be late: bytecode that was written since stays. */
	BYTECODE_HEARD = 2,
};

/*
 * What is called @name in the source directory @directory has changed, come or
 * gone; other names than a module's are passed over.  @change: the flags above.
 * Returns whether bytecode was dropped, of which the kernel hears soon.
 */
bool bytecode_module_changed(struct fs *fs, struct inode *directory,
			     const char *name, unsigned change);

#endif
