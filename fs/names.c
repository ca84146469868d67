/*
 * The rules: which names of a source directory are cache entries.
 *
 * Sources of the table below: CPython's Lib/importlib/_bootstrap_external.py
 * (`__pycache__`, and the temporary `PATH.ID` of _write_atomic, ID in decimal),
 * CPython 2.7's Python/import.c (X.pyc, X.pyo with -O), Jython's imp.java
 * (X$py.class), numba's core/caching.py (index X.F-LINE.pyNN.nbi, data .nbc, and
 * the temporary PATH.tmp.HEX).
 */
#include "names.h"

#include <ctype.h>
#include <fnmatch.h>
#include <string.h>

/* The first NAMES_LEGACY of them lie beside their source, too. */
static const char *const suffixes[] = {
	".pyc", ".pyo", "$py.class", ".nbi", ".nbc",
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

	for (size_t i = 0; i < NAMES_LEGACY; i++) {
		size_t suffix = strlen(suffixes[i]);

		if (length <= suffix || length - suffix + sizeof(".py") > NAME_SIZE)
			continue;
		if (memcmp(name + length - suffix, suffixes[i], suffix) != 0)
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
	if (strcmp(name, NAMES_PYCACHE) == 0)
		return NAME_PYCACHE;
	for (size_t i = 0; i < names->also_count; i++)
		if (fnmatch(names->also[i], name, 0) == 0)
			return NAME_ALSO;
	return is_bytecode(name, ret_module) ? NAME_BYTECODE : NAME_PLAIN;
}

bool names_legacy(const char *module, int index, char ret[NAME_SIZE])
{
	size_t length = strlen(module);
	const char *suffix = suffixes[index];

	if (length <= 3 || strcmp(module + length - 3, ".py") != 0 ||
	    length - 3 + strlen(suffix) >= NAME_SIZE)
		return false;
	memcpy(ret, module, length - 3);
	strcpy(ret + length - 3, suffix);
	return true;
}

bool names_is_module(const char *name)
{
	return strlen(name) > 3 && ends_with(name, ".py");
}

bool names_module(const char *name, unsigned index, char ret_module[NAME_SIZE])
{
	const char *dot = strchr(name + (*name == '.'), '.');

	while (dot && index-- > 0)
		dot = strchr(dot + 1, '.');
	if (!dot || (size_t)(dot - name) + sizeof(".py") > NAME_SIZE)
		return false;
	memcpy(ret_module, name, (size_t)(dot - name));
	memcpy(ret_module + (dot - name), ".py", sizeof(".py"));
	return true;
}

bool names_belongs(const char *name, const char *module)
{
	/* "X." of "X.py". */
	return names_is_module(module) &&
		strncmp(name, module, strlen(module) - 2) == 0;
}

/* The length of "PATH" in "PATH.tmp.HEX", else that of all of @name. */
static size_t without_numba_temporary(const char *name)
{
	const char *tail = strstr(name, ".tmp.");

	if (!tail || !tail[5] || tail[5 + strspn(tail + 5, "0123456789abcdef")])
		return strlen(name);
	return (size_t)(tail - name);
}

static bool ends_in_bytecode(const char *name, size_t length)
{
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		size_t suffix = strlen(suffixes[i]);

		if (length > suffix &&
		    memcmp(name + length - suffix, suffixes[i], suffix) == 0)
			return true;
	}
	return false;
}

enum name_use names_use(const char *name)
{
	size_t length = strlen(name), whole = without_temporary(name);

	if (whole == length)
		whole = without_numba_temporary(name);
	if (!ends_in_bytecode(name, whole))
		return NAME_OTHER;
	return whole == length ? NAME_CACHED : NAME_UNFINISHED;
}
