/*
 * Whole trees: make them, describe them, compare them.
 */
#ifndef TESTS_TREE_H
#define TESTS_TREE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Writes @size bytes (or all of the string @text when it is -1) into a new or
 * truncated file; missing directories above it are made.  Fails the test on error.
 */
void tree_write(const char *path, const char *text, long size);

/* Reads a whole file; the caller frees the result, NUL-terminated. */
char *tree_read(const char *path, size_t *ret_size);

/*
 * Describes everything below @path, sorted by name, a line each: type, mode,
 * owner, link count, size, mtime and ctime in nanoseconds, link target, a digest
 * of the content, xattrs.  Two descriptions are equal when nothing was changed
 * there in between.  The caller frees the result.  @times: also mtime and ctime.
 */
char *tree_describe(const char *path, bool times);

/* The sorted names in a directory without "." and "..", joined by spaces. */
char *tree_list(const char *path);

/* Removes a tree; missing is no error. */
void tree_remove(const char *path);

#endif
