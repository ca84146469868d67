/*
 * The rules: which names of a source directory are cache entries.
 *
 * Sources of the table below: CPython's Lib/importlib/_bootstrap_external.py
 * (`__pycache__`, and the temporary `PATH.ID` of _write_atomic, ID in decimal),
 * CPython 2.7's Python/import.c (X.pyc, X.pyo with -O), Jython's imp.java
 * (X$py.class).
 */
#include "names.h"

#include <ctype.h>
#include <fnmatch.h>
#include <string.h>

static const char *const legacy_suffixes[NAMES_LEGACY] = {
	".pyc", ".pyo", "$py.class",
};

int names_add(struct names *names, const char *glob)
{
	if (!*glob || is_dot(glob) || strchr(glob, '/'))
		return -EINVAL;
	char **also = realloc(names->also,
			      (names->also_count + 1) * sizeof(*also));
	if (!also)
		return -ENOMEM;
	names->also = also;
	also[names->also_count] = strdup(glob);
	if (!also[names->also_count])
		return -ENOMEM;
	names->also_count++;
	return 0;
}

void names_clear(struct names *names)
{
	for (size_t i = 0; i < names->also_count; i++)
		free(names->also[i]);
	free(names->also);
	*names = (struct names){ 0 };
}

/* The length of "X.pyc" in "X.pyc.DIGITS", else that of all of @name. */
static size_t without_temporary(const char *name)
{
	size_t length = strlen(name), end = length;

	while (end > 0 && isdigit((unsigned char)name[end - 1]))
		end--;
	if (end == length || end < 6 || memcmp(name + end - 5, ".pyc.", 5) != 0)
		return length;
	return end - 1;
}

static bool is_bytecode(const char *name, char ret_module[NAME_SIZE])
{
	size_t length = without_temporary(name);

	for (size_t i = 0; i < ARRAY_SIZE(legacy_suffixes); i++) {
		size_t suffix = strlen(legacy_suffixes[i]);

		if (length <= suffix || length - suffix + sizeof(".py") > NAME_SIZE)
			continue;
		if (memcmp(name + length - suffix, legacy_suffixes[i], suffix) != 0)
			continue;
		memcpy(ret_module, name, length - suffix);
		memcpy(ret_module + length - suffix, ".py", sizeof(".py"));
		return true;
	}
	return false;
}

bool names_is_temporary(const char *name, char ret_module[NAME_SIZE])
{
	return without_temporary(name) != strlen(name) &&
		is_bytecode(name, ret_module);
}

enum name_class names_classify(const struct names *names, const char *name,
			       char ret_module[NAME_SIZE])
{
	if (strcmp(name, "__pycache__") == 0)
		return NAME_PYCACHE;
	for (size_t i = 0; i < names->also_count; i++)
		if (fnmatch(names->also[i], name, 0) == 0)
			return NAME_ALSO;
	return is_bytecode(name, ret_module) ? NAME_BYTECODE : NAME_PLAIN;
}

bool names_legacy(const char *module, int index, char ret[NAME_SIZE])
{
	size_t length = strlen(module);
	const char *suffix = legacy_suffixes[index];

	if (length <= 3 || strcmp(module + length - 3, ".py") != 0 ||
	    length - 3 + strlen(suffix) >= NAME_SIZE)
		return false;
	memcpy(ret, module, length - 3);
	strcpy(ret + length - 3, suffix);
	return true;
}
