/*
 * Programs where every user can start them.  See everybody.h.
 */
#include "everybody.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "tree.h"

static char scratch[PATH_MAX];		/* of the copies; "" before the first */
static pid_t maker;

/* A child of a test that calls exit() leaves them to the process that made them. */
static void remove_scratch(void)
{
	if (getpid() == maker)
		tree_remove(scratch);
}

static bool make_scratch(void)
{
	const char *top = getenv("TMPDIR");

	if (*scratch)
		return true;
	snprintf(scratch, sizeof(scratch), "%s/pycachefs-programs-XXXXXX",
		 top && *top ? top : "/tmp");
	if (!mkdtemp(scratch) || chmod(scratch, 0755)) {
		perror(scratch);
		return false;
	}
	maker = getpid();
	return atexit(remove_scratch) == 0;
}

static bool others_may(const char *path, mode_t what)
{
	struct stat st;

	return stat(path, &st) == 0 && (st.st_mode & what) == what;
}

static bool others_can_start(const char *program)
{
	char path[PATH_MAX], *slash;

	if (!realpath(program, path) || !others_may(path, S_IROTH | S_IXOTH))
		return false;
	while ((slash = strrchr(path, '/'))) {
		*slash = '\0';
		if (!others_may(*path ? path : "/", S_IXOTH))
			return false;
	}
	return true;
}

bool for_everybody(const char *program, char ret[PATH_MAX])
{
	const char *argv[] = { "install", "-m", "0755", program, scratch, NULL };
	const struct command_options options = { 0 };
	struct command command;
	bool copied;

	if (geteuid() != 0 || others_can_start(program))
		return snprintf(ret, PATH_MAX, "%s", program) < PATH_MAX;
	if (!make_scratch())
		return false;
	command = command_run(&options, argv);
	copied = command.status == 0;
	if (!copied)
		fputs(command.err, stderr);
	command_free(&command);
	return copied &&
		snprintf(ret, PATH_MAX, "%s/%s", scratch, basename(program)) < PATH_MAX;
}
