/*
 * The rules: which names of a source directory are cache entries.
 *
 * Pure policy.  A name is classified by itself alone; for bytecode beside its
 * source the class comes with the name of that source, and whoever knows the
 * directory asks whether it exists there.
 */
#ifndef PYCACHEFS_NAMES_H
#define PYCACHEFS_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "util.h"

enum name_class {
	NAME_PLAIN,	/* the source's own */
	NAME_PYCACHE,	/* `__pycache__` itself */
	NAME_ALSO,	/* named by the option also= */
	NAME_BYTECODE,	/* a cache entry while its module exists beside it */
};

/* What also= named.  Zeroed is empty. */
struct names {
	char **also;	/* globs, each owned */
	size_t also_count;
};

/* The name that every source directory has. */
#define NAMES_PYCACHE "__pycache__"

/* How many names of legacy bytecode a module has: see names_legacy(). */
#define NAMES_LEGACY 3

/*
 * Adds a name or glob to the rules, which copy it.  Returns 0, -EINVAL when it
 * is empty, ".", ".." or holds a slash, or -ENOMEM.
 */
int names_add(struct names *names, const char *glob);
void names_clear(struct names *names);

/*
 * Classifies @name.  For NAME_BYTECODE the name of its module, such as "x.py",
 * is written to @ret_module; otherwise it is left alone.  Any thread.
 */
enum name_class names_classify(const struct names *names, const char *name,
			       char ret_module[NAME_SIZE]);

/* Whether @name is a temporary of a writer, "X.pyc.123"; then writes "X.py". */
bool names_is_temporary(const char *name, char ret_module[NAME_SIZE]);

/*
 * The @index-th (below NAMES_LEGACY) name under which legacy writers keep the
 * bytecode of the module "X.py": "X.pyc", "X.pyo", "X$py.class".  Returns false
 * when @module is no module or the name would be too long.
 */
bool names_legacy(const char *module, int index, char ret[NAME_SIZE]);

/*
 * Inside `__pycache__` the name of bytecode begins with that of its module: all of
 * "X.cpython-311.opt-1.pyc", "X.cpython-311-pytest-7.2.1.pyc" and
 * "X.f-12.py311.nbi" are made from "X.py".
 *
 * Writes the @index-th module that @name may belong to, the shortest first: for
 * "a.b.pyc" these are "a.py" and "a.b.py".  Returns false when there are no more.
 */
bool names_module(const char *name, unsigned index, char ret_module[NAME_SIZE]);

/* Whether @name belongs to @module, such as "X.py", in that way. */
bool names_belongs(const char *name, const char *module);

/* Whether @name is that of a module, "X.py". */
bool names_is_module(const char *name);

enum name_use {
	NAME_OTHER,	/* whatever else programs keep beside bytecode */
	NAME_CACHED,	/* bytecode, which can be made anew */
	NAME_UNFINISHED,	/* bytecode that is being written, or was */
};

/* What a file of the store is good for, by its name. */
enum name_use names_use(const char *name);

#endif
