/*
 * Python finds its bytecode again where store=DIR keeps it: after a mount that
 * ended well, and whole and fresh after a daemon that was killed while it was written.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "command.h"
#include "project.h"
#include "tree.h"

enum { ROUNDS = 20, STEP_NANOSECONDS = 17000000 };

/* A mount that is not the fixture's, since its daemon is to be killed. */
static struct {
	char top[64], source[80], mnt[80];
	char store[64];		/* on a tmpfs */
} place;

static int begin(void)
{
	strcpy(place.top, "/tmp/pycachefs-kept-XXXXXX");
	strcpy(place.store, "/dev/shm/pycachefs-kept-XXXXXX");
	if (!mkdtemp(place.top) || !mkdtemp(place.store))
		return -1;
	snprintf(place.source, sizeof(place.source), "%s/source", place.top);
	snprintf(place.mnt, sizeof(place.mnt), "%s/mnt", place.top);
	return mkdir(place.source, 0755) || mkdir(place.mnt, 0755) ? -1 : 0;
}

/* Its pid, or -1 when nothing is mounted. */
static pid_t daemon_of(const char *mountpoint)
{
	json_t *status = fixture_status(mountpoint);
	pid_t pid = status ? (pid_t)json_integer_value(json_object_get(status, "pid")) : -1;

	json_decref(status);
	return pid;
}

/* Daemons are adopted: see main(). */
static bool is_gone(void *pid)
{
	return waitpid(*(pid_t *)pid, NULL, WNOHANG) == *(pid_t *)pid ||
		(kill(*(pid_t *)pid, 0) < 0 && errno == ESRCH);
}

static void end(void)
{
	pid_t daemon = daemon_of(place.mnt);

	umount2(place.mnt, MNT_DETACH);
	if (daemon > 0 && !eventually(20, is_gone, &daemon))
		kill(daemon, SIGKILL);
	tree_remove(place.top);
	tree_remove(place.store);
	*place.top = '\0';
}

static void mount_here(void)
{
	char options[128];

	snprintf(options, sizeof(options), "store=%s", place.store);
	free(command_output("/", fixture_program(), "-o", options, place.source,
			    place.mnt, NULL));
}

static void unmount_here(void)
{
	pid_t daemon = daemon_of(place.mnt);

	free(command_output("/", fixture_program(), "unmount", place.mnt, NULL));
	assert_true(eventually(20, is_gone, &daemon));
}

static void bytecode_is_found_again(struct project *project)
{
	project_write(place.source, project->python);
	mount_here();
	project_import_cold(project, place.mnt, NULL);
	unmount_here();
	mount_here();
	project_import_warm(project, place.mnt, NULL);
	free(command_output("/", fixture_program(), "purge", place.mnt, NULL));
	project_import_cold(project, place.mnt, NULL);
	unmount_here();
}

/* Three import at once, and in their midst the daemon goes.  How they fare is theirs. */
static void import_and_kill(const struct project *project, long nanoseconds)
{
	static const char script[] =
		"for i in 1 2 3; do\n"
		"	\"$1\" -c 'import sys; sys.path.insert(0, sys.argv[1]); "
		"import everything' \"$2\" & done; wait";
	const char *const argv[] = {
		"sh", "-c", script, "sh", project->python->path, place.mnt, NULL,
	};
	const struct timespec moment = {
		nanoseconds / 1000000000, nanoseconds % 1000000000,
	};
	struct command_options options = { .directory = "/" };
	pid_t daemon = daemon_of(place.mnt), killer;
	struct command command;

	assert_true(daemon > 0);
	killer = fork();
	if (killer == 0) {
		nanosleep(&moment, NULL);
		_exit(kill(daemon, SIGKILL) < 0);
	}
	assert_true(killer > 0);
	command = command_run(&options, argv);
	command_free(&command);
	assert_int_equal(waitpid(killer, NULL, 0), killer);
	assert_true(eventually(20, is_gone, &daemon));
	assert_int_equal(umount2(place.mnt, MNT_DETACH), 0);
}

static void a_killed_daemon_leaves_nothing_half_done(struct project *project)
{
	project_write(place.source, project->python);
	for (int i = 0; i < ROUNDS; i++) {
		struct imports found;

		mount_here();
		import_and_kill(project, (i + 1) * STEP_NANOSECONDS);
		mount_here();
		found = project_import(project, place.mnt, NULL);
		assert_int_equal(found.total, project_sources(project) +
				 project_sourceless(project));
		project_import_warm(project, place.mnt, NULL);
		/* The next round writes all of it anew. */
		free(command_output("/", fixture_program(), "purge", place.mnt, NULL));
		unmount_here();
	}
}

static void run(struct project *project, void (*test)(struct project *project))
{
	/* What a failed test has left, which an assertion ended by a jump. */
	if (*place.top)
		end();
	assert_int_equal(begin(), 0);
	test(project);
	end();
}

static void found_again(void **state)
{
	run(*state, bytecode_is_found_again);
}

static void killed(void **state)
{
	run(*state, a_killed_daemon_leaves_nothing_half_done);
}

/* Those that write bytecode in different ways. */
static bool is_old_or_newest(const struct python *python)
{
	return python->newest || python->major == 2;
}

int main(void)
{
	static const struct promise promises[] = {
		{ "bytecode that is kept is found by the next mount, and purged",
		  found_again, is_old_or_newest },
		{ "20 daemons are killed while three import, and nothing is half done",
		  killed, is_old_or_newest },
	};
	int skip = fixture_possible(), result;

	if (skip)
		return skip;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	result = pythons_run("kept", promises, sizeof(promises) / sizeof(*promises));
	if (*place.top)
		end();
	return result;
}
