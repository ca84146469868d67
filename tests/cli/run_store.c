/*
 * `pycachefs run` keeps bytecode for the next run in the directory that it is given.
 */
#include "run.h"

#include <sys/mount.h>

/* Of a name that separates options, and seen from the source. */
#define STORE "../shm/a,b"

static int begin(void **state)
{
	struct cli *cli;
	void *begun;

	if (cli_begin(&begun))
		return -1;
	cli = begun;
	*state = cli;
	return mkdir(in(cli->top, "shm"), 0755) < 0 ||
		mount("shm", in(cli->top, "shm"), "tmpfs", 0, "size=4M") < 0 ||
		mkdir(in(cli->source, STORE), 0700) < 0;
}

static int end(void **state)
{
	struct cli *cli = *state;
	bool ended = cli_ends();

	umount2(in(cli->top, "shm"), MNT_DETACH);
	return cli_end(state) || !ended;
}

#define STORED(test) { #test, test, begin, end, NULL }

static void give_store(const struct cli *cli, int uid)
{
	free(command_output(NULL, "rm", "-r", in(cli->source, STORE), NULL));
	assert_int_equal(mkdir(in(cli->source, STORE), 0700), 0);
	assert_int_equal(chown(in(cli->source, STORE), (uid_t)uid, (gid_t)uid), 0);
}

static void a_run_finds_the_bytecode_of_the_one_before(void **state)
{
	struct cli *cli = *state;

	EACH_USER(cli, uid) {
		give_store(cli, uid);
		run_assert(run_as(cli, uid, "--store", STORE, "sh", "-c",
				  "echo code >pkg/__pycache__/mod.x.pyc", NULL), 0, "", "");
		run_assert(run_as(cli, uid, "--store=" STORE, "cat",
				  "pkg/__pycache__/mod.x.pyc", NULL), 0, "code\n", "");
		run_assert(run_as(cli, uid, "-o", "store=../shm/a\\,b", "cat",
				  "pkg/__pycache__/mod.x.pyc", NULL), 0, "code\n", "");
		/* Without it, it is empty as ever. */
		run_assert(run_as(cli, uid, "ls", "pkg/__pycache__", NULL), 0, "", "");
		cli_wait_left(0);
	}
}

static void several_sources_share_it(void **state)
{
	static const char each[] =
		"for d in pkg more; do echo $d >$d/__pycache__/mod.x.pyc; done";
	struct cli *cli = *state;

	tree_write(in(cli->source, "more/mod.py"), "", -1);
	EACH_USER(cli, uid) {
		give_store(cli, uid);
		run_assert(run_as(cli, uid, "--source", "pkg", "--source", "more",
				  "--store", STORE, "sh", "-c", each, NULL), 0, "", "");
		run_assert(run_as(cli, uid, "--store", STORE, "cat",
				  "pkg/__pycache__/mod.x.pyc",
				  "more/__pycache__/mod.x.pyc", NULL),
			   0, "pkg\nmore\n", "");
		cli_wait_left(0);
	}
}

static void one_that_is_not_fit_is_told(void **state)
{
	struct cli *cli = *state;

	run_assert_complaint(run_as(cli, 0, "--store", "../none", "true", NULL), 1,
			     "does not exist");
	run_assert_complaint(run_as(cli, 0, "--store", "../none/none", "true", NULL), 1,
			     "No such file");
	run_assert_complaint(run_as(cli, 0, "--store", "/proc", "true", NULL), 1,
			     "not on a tmpfs");
	run_assert_complaint(run_as(cli, 0, "--store", "", "true", NULL), 2, "store");
	run_assert_complaint(run_as(cli, 0, "--store", NULL), 2, "needs a value");
	run_give(cli, PLAIN);
	run_assert_complaint(run_as(cli, PLAIN, "--store", STORE, "true", NULL), 1,
			     "another user");
}

int main(void)
{
	int skip = cli_possible();
	const struct CMUnitTest tests[] = {
		STORED(a_run_finds_the_bytecode_of_the_one_before),
		STORED(several_sources_share_it),
		STORED(one_that_is_not_fit_is_told),
	};

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, run_setup, run_teardown);
}
