/*
 * Commands of a shell, for tests that hold sessions with git and the like.
 */
#ifndef TESTS_SHELL_H
#define TESTS_SHELL_H

/*
 * Runs the lines of @script in @dir by `sh -ec`, failing the test unless all
 * succeed; returns what they print, which the caller frees.  quietly() drops it,
 * assert_says() fails unless it is @expected.
 */
char *shell(const char *dir, const char *script);
void quietly(const char *dir, const char *script);
void assert_says(const char *dir, const char *script, const char *expected);

/* Fails unless what they print holds @words. */
void assert_mentions(const char *dir, const char *script, const char *words);

/*
 * Gives git a configuration of its own, a file in @top, with names and dates that
 * are fixed, so that equal commits have equal ids.
 */
void set_git_environment(const char *top);

/* Makes a repository of @dir and all in it, without its empty directories. */
void commit_all(const char *dir);

#endif
