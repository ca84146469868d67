/*
 * Seeding: bytecode that a source ships is copied into the store.
 *
 * Natively CPython would load it as it lies there.  Here it is taken only as far as
 * it can be told to be in order:
 *   - its name has a tag of CPython from 3.3 on, which says how its header is laid
 *     out, and the header holds mtime and size of its module, or a hash of it that
 *     is to be checked (PEP 552); bytecode whose hash nobody checks is not taken;
 *   - a whole code object follows, since a cut one would end the import;
 *   - it is a regular file, of D's owner, of root or of the daemon's user, and
 *     writable by nobody who may not write D.  Whoever may write D could change the
 *     module as well; but its `__pycache__` may be open to more.
 * It becomes D's owner's in the store, as if made there by them.
 *
 * All this holds for whoever looks at D, so those who have a `__pycache__` of their own
 * (sharing.h) get copies too.  Theirs are limited to what they could read natively, so
 * a copy tells nobody what the file does not.
 */
#include "seed.h"

#include <ctype.h>
#include <dirent.h>
#include <endian.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#include "bytecode.h"
#include "cred.h"
#include "log.h"
#include "marshal.h"
#include "names.h"
#include "pyhash.h"
#include "shadow.h"

enum {
	/* The header of CPython 3.3 to 3.6, and with the flags of 3.7. */
	HEADER_OLD = 12, HEADER = 16,
	/* Its flags: it goes by a hash, and that is to be checked. */
	CHECKED_HASH = 3,
	/* What one file may need: a note, a part, a stamp's part, a stamp, and itself. */
	INODES_OF_A_FILE = 5,
	BLOCK = 4096,
	/* Bytecode and modules are read whole, and none is that large. */
	MAX_READ = 64 << 20,
};

/* One directory that is seeded. */
struct seeding {
	struct fs *fs;
	struct inode *directory;
	int dirfd;		/* open for it */
	struct stat st;		/* its own */
	int from;		/* its `__pycache__` of the source */
	int part;		/* its part of the store; -1: not made yet */
	const struct caller *caller;	/* borrowed */
	uid_t user;		/* whose part it is; 0: shared */
};

/*
 * The minor version of the CPython 3 whose tag @name has: "X.cpython-36.pyc",
 * "X.cpython-313t.opt-1.pyc".  -1: another's.
 */
static int tagged_minor(const char *name)
{
	const char *tag = NULL, *at = name;
	char *end;
	long minor;

	/* The module's own name may look like one. */
	while ((at = strstr(at, ".cpython-3"))) {
		tag = at + strlen(".cpython-3");
		at++;
	}
	if (!tag || !isdigit((unsigned char)*tag))
		return -1;
	minor = strtol(tag, &end, 10);
	if (*end == 't')
		end++;
	if (starts_with(end, ".opt-") && isalnum((unsigned char)end[5])) {
		end += 5;
		while (isalnum((unsigned char)*end))
			end++;
	}
	return strcmp(end, ".pyc") == 0 && minor < 1000 ? (int)minor : -1;
}

static uint32_t number_at(const unsigned char *bytes)
{
	uint32_t number;

	memcpy(&number, bytes, sizeof(number));
	return le32toh(number);
}

/* A file of bytecode. */
struct shipped {
	const char *name;
	int minor;		/* of its CPython 3 */
	unsigned char *data;	/* owned */
	size_t size;
};

/* The first @size bytes of the file @fd, which the caller frees; NULL when they can't be
 * had, as of one that is shrinking, or are too many. */
static unsigned char *read_whole(int fd, size_t size)
{
	_cleanup_free_ unsigned char *data = size <= MAX_READ ? malloc(size + 1) : NULL;
	unsigned char *whole = NULL;

	if (data && pread(fd, data, size, 0) == (ssize_t)size) {
		whole = data;
		data = NULL;
	}
	return whole;
}

/* A module as Python sees it: through a symlink. */
struct module {
	int fd;			/* O_PATH; owned */
	struct stat st;
};

static bool goes_by_hash(const struct shipped *shipped)
{
	return shipped->minor >= 7 && number_at(shipped->data + 4) == CHECKED_HASH;
}

/* Whether @module is what the hash in the header was made of. */
static bool has_hash(const struct shipped *shipped, const struct module *module)
{
	_cleanup_close_ int fd = cred_reopen(module->fd, O_RDONLY | O_NONBLOCK);
	size_t size = (size_t)module->st.st_size;
	_cleanup_free_ unsigned char *source = fd < 0 ? NULL : read_whole(fd, size);
	uint64_t hash;

	memcpy(&hash, shipped->data + HEADER - 8, sizeof(hash));
	return source &&
		pyhash_source(number_at(shipped->data), source, size) == le64toh(hash);
}

/* Whether the header is that of @module. */
static bool has_header(const struct shipped *shipped, const struct module *module)
{
	size_t head = shipped->minor < 7 ? HEADER_OLD : HEADER;
	const unsigned char *data = shipped->data;

	if (goes_by_hash(shipped))
		return has_hash(shipped, module);
	return (shipped->minor < 7 || number_at(data + 4) == 0) &&
		number_at(data + head - 8) == (uint32_t)module->st.st_mtim.tv_sec &&
		number_at(data + head - 4) == (uint32_t)module->st.st_size;
}

/* Whether it is whole. */
static bool is_whole(const struct shipped *shipped)
{
	size_t head = shipped->minor < 7 ? HEADER_OLD : HEADER;

	return shipped->size > head &&
		marshal_is_code(shipped->data + head, shipped->size - head,
				shipped->minor);
}

/* Whether nobody can have written @st who may not write the directory. */
static bool is_trusted(const struct seeding *seeding, const struct stat *st)
{
	mode_t others = st->st_mode & (S_IWGRP | S_IWOTH);

	if (st->st_uid != seeding->st.st_uid && st->st_uid != 0 &&
	    st->st_uid != geteuid())
		return false;
	if (others & S_IWGRP && st->st_gid != seeding->st.st_gid)
		return false;
	/* An ACL's mask shows as the group's bits. */
	return !(others & ~seeding->st.st_mode);
}

static bool fits(const struct fs *fs, off_t size)
{
	struct statvfs room;

	if (fstatvfs(fs->store.root, &room) < 0)
		return false;
	store_limit(&fs->store, &room);
	return room.f_ffree >= INODES_OF_A_FILE &&
		room.f_bfree * room.f_frsize > (uint64_t)size + BLOCK;
}

/* Fills the new file @to: its mode is what CPython would give it. */
static int fill(const struct seeding *seeding, const struct shipped *shipped, int to,
		const struct stat *module)
{
	ssize_t done = write(to, shipped->data, shipped->size);

	if (done < 0)
		return -errno;
	if ((size_t)done < shipped->size)
		return -ENOSPC;
	/* A plain user's daemon may not give it away. */
	(void)(seeding->user ? fchown(to, seeding->user, seeding->caller->gid)
			     : fchown(to, seeding->st.st_uid, seeding->st.st_gid));
	return fchmod(to, (module->st_mode | S_IWUSR) & 0666) < 0 ? -errno : 0;
}

/* Puts it into the store, where it gets its name when it is whole. */
static int put_file(const struct seeding *seeding, const struct shipped *shipped,
		    const struct stat *module)
{
	struct store *store = &seeding->fs->store;
	char making[STORE_SPARE_SIZE];
	int err = store_claim(store, (shipped->size + BLOCK - 1) / BLOCK * BLOCK, 1);

	if (err)
		return err;
	store_spare_name(store, making);
	_cleanup_close_ int to = openat(store->root, making, O_WRONLY | O_CREAT |
					O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		return -errno;
	err = fill(seeding, shipped, to, module);
	if (!err && renameat2(store->root, making, seeding->part, shipped->name,
			      RENAME_NOREPLACE) < 0)
		err = -errno;
	if (err)
		unlinkat(store->root, making, 0);
	return err == -EEXIST ? 0 : err;
}

/*
 * Whether @shipped was made from the module @name as it is now.  No other filesystem is
 * entered on the way to it: our own mount may be one.  A hash is compared with what the
 * directory's owner owns: else a link would tell of any file what is in it, to whoever
 * makes bytecode to fit.
 */
static bool is_made_from(const struct seeding *seeding, const struct shipped *shipped,
			 const char *name, struct stat *ret)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS,
	};
	_cleanup_close_ int fd = (int)syscall(SYS_openat2, seeding->dirfd, name,
					      &how, sizeof(how));
	struct module module = { .fd = fd };

	if (fd < 0 || fstat(fd, &module.st) < 0 || !S_ISREG(module.st.st_mode) ||
	    (goes_by_hash(shipped) && module.st.st_uid != seeding->st.st_uid) ||
	    !has_header(shipped, &module))
		return false;
	*ret = module.st;
	return true;
}

static int make_part(struct seeding *seeding)
{
	struct store *store = &seeding->fs->store;
	const struct file_id *id = inode_id(seeding->directory);

	if (seeding->user)
		return shadow_make_own(store, id, seeding->user, seeding->caller->gid,
				       seeding->dirfd, &seeding->part);
	return shadow_make(store, SHADOW_CACHE, id, seeding->dirfd, &seeding->part);
}

/*
 * The stamp comes before the module is compared, so that a module which changes
 * meanwhile is found out by the one or by the other.
 */
static int stamp_and_put(struct seeding *seeding, const struct shipped *shipped)
{
	struct bytecode bytecode;
	struct stat module;
	int err = seeding->part < 0 ? make_part(seeding) : 0;

	if (err)
		return err;
	bytecode_of(seeding->fs, seeding->directory, seeding->dirfd, seeding->part,
		    shipped->name, &bytecode);
	if (!*bytecode.module ||
	    !is_made_from(seeding, shipped, bytecode.module, &module))
		return 0;
	err = bytecode_stamp(seeding->fs, &bytecode, false);
	if (err || !is_made_from(seeding, shipped, bytecode.module, &module))
		return err;
	err = put_file(seeding, shipped, &module);
	/* What made the stamp go meanwhile has not seen the file. */
	bytecode_check(seeding->fs, &bytecode);
	return err;
}

/* Opens @name of the source's `__pycache__` for reading, if those may whose copy it is
 * to be: -1 if not. */
static int open_as_reader(const struct seeding *seeding, const char *name)
{
	int fd;

	if (seeding->user && cred_become(seeding->caller, CRED_STRICT) < 0)
		return -1;
	fd = openat(seeding->from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY |
		    O_CLOEXEC);
	if (seeding->user)
		cred_restore();
	return fd;
}

/* The same if it is to be trusted as well. */
static int open_trusted(const struct seeding *seeding, const char *name,
			struct stat *ret)
{
	_cleanup_close_ int fd = -1;

	/* Looked at first: opening a device may do things. */
	if (fstatat(seeding->from, name, ret, AT_SYMLINK_NOFOLLOW) < 0 ||
	    !S_ISREG(ret->st_mode))
		return -1;
	fd = open_as_reader(seeding, name);
	if (fd < 0 || fstat(fd, ret) < 0 || !S_ISREG(ret->st_mode) ||
	    !is_trusted(seeding, ret))
		return -1;
	return steal_fd(&fd);
}

/* Takes @name of the source's `__pycache__` if it is in order.  Returns 0 or
 * negative errno, upon which nothing more is to be taken. */
static int seed_file(struct seeding *seeding, const char *name)
{
	struct shipped shipped = { .name = name, .minor = tagged_minor(name) };
	_cleanup_close_ int fd = -1;
	struct stat st;
	int err = 0;

	/* CPython 3.2 notes no size. */
	fd = shipped.minor < 3 ? -1 : open_trusted(seeding, name, &st);
	if (fd < 0)
		return 0;
	if (!fits(seeding->fs, st.st_size))
		return -ENOSPC;
	shipped.size = (size_t)st.st_size;
	shipped.data = read_whole(fd, shipped.size);
	if (shipped.data && is_whole(&shipped))
		err = stamp_and_put(seeding, &shipped);
	free(shipped.data);
	return err;
}

static void seed_all(struct seeding *seeding, DIR *dir)
{
	struct dirent *entry;
	int err = 0;

	while (!err && (entry = readdir(dir)))
		err = seed_file(seeding, entry->d_name);
	if (err && err != -ENOSPC)
		log_warning("bytecode of the source can't be taken: %s",
			    strerror(-err));
}

static void seed_locked(struct fs *fs, struct inode *directory,
			const struct caller *caller, uid_t user)
{
	struct seeding seeding = {
		.fs = fs, .directory = directory, .part = -1,
		.caller = caller, .user = user,
	};
	_cleanup_handle_ struct handle *handle = NULL;
	_cleanup_dir_ DIR *dir = NULL;
	struct stat st;

	if (inode_open(fs->inodes, directory, HANDLE_PATH, &handle) < 0)
		return;
	seeding.dirfd = handle_fd(handle);
	if (fstat(seeding.dirfd, &seeding.st) < 0 ||
	    open_dir_at(seeding.dirfd, NAMES_PYCACHE, &dir) < 0)
		return;
	seeding.from = dirfd(dir);
	if (fstat(seeding.from, &st) < 0 || !is_trusted(&seeding, &st))
		return;
	/* Another daemon on the same store may have been here, or an earlier one. */
	if (shadow_set_seeded(&fs->store, inode_id(directory), user) < 0)
		return;
	seed_all(&seeding, dir);
	cleanup_close(&seeding.part);
}

/* Whose flag tells whether it was done: a reference, or NULL when the kernel does not
 * know the user's own yet. */
static struct inode *flag_holder(struct fs *fs, struct inode *directory, uid_t user)
{
	return user ? inode_find_shadow(fs->inodes, inode_id(directory), user)
		    : inode_ref(directory);
}

bool seed_is_due(struct fs *fs, struct inode *directory, uid_t user)
{
	struct inode *holder;
	bool due;

	/* What a daemon's own user may read says nothing about others. */
	if (!fs->opts->seed || (user && !cred_can_switch() && user != geteuid()))
		return false;
	holder = flag_holder(fs, directory, user);
	due = !holder || !inode_is_seeded(holder);
	inode_put(fs->inodes, holder);
	return due;
}

void seed_directory(struct fs *fs, struct inode *directory,
		    const struct caller *caller, uid_t user)
{
	struct inode *holder;

	/* Whoever comes meanwhile waits, and finds all there. */
	pthread_mutex_lock(&fs->seed_lock);
	if (seed_is_due(fs, directory, user)) {
		seed_locked(fs, directory, caller, user);
		holder = flag_holder(fs, directory, user);
		if (holder)
			inode_set_seeded(holder);
		inode_put(fs->inodes, holder);
	}
	pthread_mutex_unlock(&fs->seed_lock);
}
