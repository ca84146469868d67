/*
 * Commands of a shell, and the surroundings that git is given.
 */
#include "shell.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "command.h"
#include "fixture.h"
#include "tree.h"

char *shell(const char *dir, const char *script)
{
	return command_output(dir, "sh", "-ec", script, NULL);
}

void quietly(const char *dir, const char *script)
{
	free(shell(dir, script));
}

void assert_says(const char *dir, const char *script, const char *expected)
{
	char *said = shell(dir, script);

	assert_string_equal(said, expected);
	free(said);
}

void assert_mentions(const char *dir, const char *script, const char *words)
{
	char *said = shell(dir, script);

	if (!strstr(said, words))
		fail_msg("'%s' says nothing of '%s', but:\n%s", script, words,
			 said);
	free(said);
}

void set_git_environment(const char *top)
{
	static const char config[] =
		"[user]\nname = Somebody\nemail = some@body.example\n"
		"[init]\ndefaultBranch = main\n"
		"[gc]\nautoDetach = false\n"
		"[maintenance]\nautoDetach = false\n"
		"[advice]\ndetachedHead = false\n";
	const char *path = in(top, "gitconfig");

	tree_write(path, config, -1);
	setenv("GIT_CONFIG_GLOBAL", path, 1);
	setenv("GIT_CONFIG_NOSYSTEM", "1", 1);
	setenv("GIT_AUTHOR_DATE", "1500000000 +0000", 1);
	setenv("GIT_COMMITTER_DATE", "1500000000 +0000", 1);
	setenv("GIT_EDITOR", "true", 1);
	setenv("LC_ALL", "C", 1);
}

void commit_all(const char *dir)
{
	quietly(dir, "find . -type d -empty -delete\n"
		"git init -q; git add --all; git commit -q -m One");
}
