/*
 * A day's work with `pycachefs run`: a plain user runs the tests of a project over and
 * over, and some of the runs are killed at any moment.  What they say is what they say
 * without, and nothing is left of them.
 *
 * The environment's PYCACHEFS_STRESS_RUNS says how often.
 */
#include "run.h"

#include <dirent.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>

enum { RUNS = 12, MIN_KILLED = 3, ONE_IS_KILLED_OF = 10 };

/* Places for temporary files, which are the program's own here: see cover(). */
static const char *const places[] = { "/dev/shm", "/tmp", "/var/tmp" };
static const char program_copy[] = "/dev/shm/pycachefs";

/* A project as there are many: a package that reads a file of its own and can be run, a
 * suite with fixtures and parameters, and one test that fails, for which one must ask. */
static const char *const project[][2] = {
	{ "pyproject.toml",
	  "[tool.pytest.ini_options]\n"
	  "testpaths = ['tests']\n" },
	{ "shop/__init__.py",
	  "from shop.basket import Basket\n"
	  "from shop.prices import load\n" },
	{ "shop/__main__.py",
	  "import sys\n"
	  "from shop import Basket, load\n"
	  "basket = Basket(load())\n"
	  "for name in sys.argv[1:]:\n"
	  "    basket.add(name)\n"
	  /* Not by print(): with its reader killed, Python would end with 120, which
	   * looks like a daemon that ended badly. */
	  "import os\n"
	  "os.write(1, b'%d\\n' % basket.total())\n" },
	{ "shop/basket.py",
	  "class Basket:\n"
	  "    def __init__(self, prices):\n"
	  "        self.prices, self.items = prices, []\n"
	  "    def add(self, name, count=1):\n"
	  "        self.items += [self.prices[name]] * count\n"
	  "    def total(self):\n"
	  "        return sum(self.items)\n" },
	{ "shop/prices.py",
	  "import json, pathlib\n"
	  "def load():\n"
	  "    return json.loads(pathlib.Path(__file__).with_name('prices.json')\n"
	  "                      .read_text(encoding='utf-8'))\n" },
	{ "shop/prices.json", "{\"apple\": 3, \"pear\": 4}\n" },
	{ "tests/conftest.py",
	  "import pytest\n"
	  "from shop import Basket, load\n"
	  "@pytest.fixture\n"
	  "def basket():\n"
	  "    return Basket(load())\n" },
	{ "tests/test_basket.py",
	  "import pytest\n"
	  "@pytest.mark.parametrize('name, count, total',\n"
	  "                         [('apple', 1, 3), ('pear', 2, 8), ('apple', 0, 0)])\n"
	  "def test_total(basket, name, count, total):\n"
	  "    basket.add(name, count)\n"
	  "    assert basket.total() == total\n"
	  "def test_unknown(basket):\n"
	  "    with pytest.raises(KeyError):\n"
	  "        basket.add('melon')\n" },
	{ "tests/test_program.py",
	  "import os, subprocess, sys\n"
	  "import shop.basket\n"
	  "def test_program():\n"
	  "    done = subprocess.run([sys.executable, '-m', 'shop', 'apple', 'pear'],\n"
	  "                          capture_output=True, text=True, check=True)\n"
	  "    assert done.stdout == '7\\n'\n"
	  "def test_bytecode_is_kept():\n"
	  "    assert os.path.exists(shop.basket.__cached__)\n" },
	{ "failing/test_sum.py",
	  "def test_sum(request):\n"
	  "    assert 1 + 1 == 3\n" },
};

/* What is asked of pytest in turns; the second ends with 1. */
static const char *const suites[] = { "tests", "failing" };
enum { SUITES = 2 };

struct answer {
	int status;
	char *out, *err;	/* owned */
};

/* ------------------------------------------------------------------ one run */

/* What would change where files go or what pytest does is taken from all runs. */
static void set_environment(void)
{
	static const char *const unwanted[] = {
		"TMPDIR", "PYTEST_ADDOPTS", "PYTHONDONTWRITEBYTECODE",
		"PYTHONPYCACHEPREFIX",
	};

	for (size_t i = 0; i < sizeof(unwanted) / sizeof(*unwanted); i++)
		unsetenv(unwanted[i]);
	setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1", 1);
}

/* Gathers the words of a run, or of pytest alone. */
static void gather(const char *argv[12], bool with, const char *suite)
{
	static const char *const words[] = {
		"run", "-o", "also=.pytest_cache,also=pytest-cache-files-*", "--",
		"python3", "-m", "pytest", "-v",
	};
	size_t n = 0, count = sizeof(words) / sizeof(*words);

	if (with)
		argv[n++] = fixture_program();
	for (size_t i = with ? 0 : 4; i < count; i++)
		argv[n++] = words[i];
	argv[n++] = suite;
	argv[n] = NULL;
}

/* Takes out what differs from one run to the next: where it is, how long it took, and
 * how much room that leaves in a line. */
static void normalise(char *text, const char *top)
{
	char *to = text;

	for (const char *from = text; *from;) {
		int length = 0;

		if (strncmp(from, top, strlen(top)) == 0)
			from += strlen(top);
		else if (sscanf(from, " in %*[0-9.]s%n", &length) == 0 && length)
			from += length;
		else if (*from == '=')
			from++;
		else
			*to++ = *from++;
	}
	*to = '\0';
}

static struct answer ask(const char *top, bool with, const char *suite)
{
	const struct command_options options = {
		.directory = top, .uid = PLAIN, .gid = PLAIN,
	};
	const char *argv[12];
	struct command command;

	gather(argv, with, suite);
	command = command_run(&options, argv);
	normalise(command.out, top);
	normalise(command.err, top);
	return (struct answer){ command.status, command.out, command.err };
}

static void free_answer(struct answer *answer)
{
	free(answer->out);
	free(answer->err);
}

/* Starts a run and kills it after a while.  Returns false when it was done by then. */
static bool run_and_kill(const char *top, double after)
{
	const struct timespec pause = {
		.tv_sec = (time_t)after,
		.tv_nsec = (long)((after - (double)(time_t)after) * 1e9),
	};
	const char *argv[12];
	pid_t child;
	int status;

	gather(argv, true, suites[0]);
	fflush(NULL);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		cli_leave_leaks();
		for (int fd = 0; fd < 3; fd++)
			dup2(null, fd);
		if (chdir(top) == 0 && setresgid(PLAIN, PLAIN, PLAIN) == 0 &&
		    setresuid(PLAIN, PLAIN, PLAIN) == 0)
			execv(argv[0], (char **)(uintptr_t)argv);
		_exit(127);
	}
	nanosleep(&pause, NULL);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFEXITED(status))
		assert_int_equal(WEXITSTATUS(status), 0);
	else
		assert_int_equal(WTERMSIG(status), SIGKILL);
	return WIFSIGNALED(status);
}

/* ---------------------------------------------------------- the surroundings */

/* Covers the places for temporary files, in our own mount namespace: so whatever is
 * found there is a run's.  The program may lie in one of them. */
static int cover(void)
{
	const char *mode = "mode=1777,size=64M";

	if (mount("none", places[0], "tmpfs", 0, mode))
		return -errno;
	free(command_output(NULL, "cp", fixture_program(), program_copy, NULL));
	if (chmod(program_copy, 0755) || setenv("PYCACHEFS", program_copy, 1))
		return -errno;
	for (size_t i = 1; i < sizeof(places) / sizeof(*places); i++)
		if (mount("none", places[i], "tmpfs", 0, mode))
			return -errno;
	return 0;
}

static void uncover(void)
{
	for (size_t i = sizeof(places) / sizeof(*places); i-- > 0;)
		umount2(places[i], MNT_DETACH);
}

static char *list_places(void)
{
	char *all, *lists[3];

	for (size_t i = 0; i < 3; i++)
		lists[i] = tree_list(places[i]);
	assert_true(asprintf(&all, "%s; %s; %s", lists[0], lists[1], lists[2]) >= 0);
	for (size_t i = 0; i < 3; i++)
		free(lists[i]);
	return all;
}

static void write_project(const char *top)
{
	for (size_t i = 0; i < sizeof(project) / sizeof(*project); i++)
		tree_write(in(top, project[i][0]), project[i][1], -1);
}

/* ------------------------------------------------------------------ the promise */

/* What is said without pycachefs, in a tree of its own; and how long it takes. */
static double answer_natively(const struct cli *cli, struct answer ret[SUITES])
{
	const char *owner = "65534:65534";
	char top[128];
	double begin, seconds;

	snprintf(top, sizeof(top), "%s/native", cli->top);
	write_project(top);
	free(command_output(NULL, "chown", "-R", owner, top, NULL));
	begin = seconds_now();
	ret[0] = ask(top, false, suites[0]);
	seconds = seconds_now() - begin;
	ret[1] = ask(top, false, suites[1]);
	assert_int_equal(ret[0].status, 0);
	assert_non_null(strstr(ret[0].out, " 6 passed"));
	assert_int_equal(ret[1].status, 1);
	assert_non_null(strstr(ret[1].out, " 1 failed"));
	return seconds;
}

static void assert_nothing_is_left(const struct cli *cli, const char *tree,
				   const char *places_before)
{
	char *tree_now, *places_now;

	assert_true(cli_ends());
	assert_true(cli_mounts_are(cli->mounts));
	tree_now = tree_describe(cli->source, true);
	assert_string_equal(tree_now, tree);
	places_now = list_places();
	assert_string_equal(places_now, places_before);
	free(tree_now);
	free(places_now);
}

static void runs_say_what_they_say_without_and_leave_nothing(void **state)
{
	const char *wanted = getenv("PYCACHEFS_STRESS_RUNS");
	int count = wanted ? atoi(wanted) : RUNS, killed = 0;
	int kills = count / ONE_IS_KILLED_OF > MIN_KILLED ?
		count / ONE_IS_KILLED_OF : MIN_KILLED;
	unsigned seed = (unsigned)time(NULL);
	struct cli *cli = *state;
	struct answer native[SUITES];
	double length = answer_natively(cli, native);
	char *tree, *places_before;

	print_message("seed %u\n", seed);
	srandom(seed);
	write_project(cli->source);
	run_give(cli, PLAIN);
	tree = tree_describe(cli->source, true);
	places_before = list_places();
	for (int i = 0; i < count; i++) {
		/* So that as many as are due have been killed, and the last one is. */
		if ((i + 1) * kills / count > killed) {
			while (!run_and_kill(cli->source,
					     length * ((double)random() / RAND_MAX)))
				assert_true(cli_ends());
			killed++;
		} else {
			const struct answer *said = &native[i % SUITES];
			struct answer answer = ask(cli->source, true, suites[i % SUITES]);

			assert_string_equal(answer.err, said->err);
			assert_string_equal(answer.out, said->out);
			assert_int_equal(answer.status, said->status);
			free_answer(&answer);
		}
		assert_nothing_is_left(cli, tree, places_before);
	}
	print_message("%d runs, %d of them ended by SIGKILL\n", count, killed);
	for (int i = 0; i < SUITES; i++)
		free_answer(&native[i]);
	free(tree);
	free(places_before);
}

static bool has_pytest(void)
{
	static const char *const argv[] = { "python3", "-m", "pytest", "--version", NULL };
	const struct command_options options = {
		.directory = "/", .uid = PLAIN, .gid = PLAIN,
	};
	struct command command = command_run(&options, argv);
	bool has = command.status == 0;

	command_free(&command);
	return has;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLI(runs_say_what_they_say_without_and_leave_nothing),
	};
	int result = cli_possible();

	if (result)
		return result;
	set_environment();
	if (!has_pytest())
		return cannot_run("python3 has no pytest here");
	/* What is noted of the device lies where all tests find it. */
	fixture_open_device();
	if (cover())
		result = cannot_run("the places for temporary files can't be covered");
	else
		result = cmocka_run_group_tests_name("endurance", tests, NULL, NULL);
	uncover();
	fixture_restore_device();
	return result;
}
