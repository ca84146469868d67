/*
 * What the tests of the commands share.  See cli.h.
 */
#include "cli.h"

#include <dirent.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#define WORDS_MAX 24

/* ------------------------------------------------------------------- mounts */

/* Calls @each(point, type, data) for every mount, the oldest first. */
static void each_mount(void (*each)(const char *point, const char *type,
				    void *data), void *data)
{
	char *table = tree_read("/proc/self/mountinfo", NULL), *rest = table;
	char *line;

	while ((line = strsep(&rest, "\n")) && *line) {
		char point[4096], type[128];
		const char *separator = strstr(line, " - ");

		if (separator &&
		    sscanf(line, "%*s %*s %*s %*s %4095s", point) == 1 &&
		    sscanf(separator, " - %127s", type) == 1)
			each(point, type, data);
	}
	free(table);
}

struct count {
	const char *path;
	int found;
};

static void count_mount(const char *point, const char *type, void *data)
{
	struct count *count = data;

	(void)type;
	count->found += strcmp(point, count->path) == 0;
}

int cli_mounts_at(const char *path)
{
	struct count count = { .path = path };

	each_mount(count_mount, &count);
	return count.found;
}

char *cli_mount_table(void)
{
	return tree_read("/proc/self/mountinfo", NULL);
}

/* Whether the line is one of the table. */
static bool has_line(const char *table, const char *line)
{
	size_t length = strlen(line);

	for (const char *at = table; (at = strstr(at, line)); at++)
		if ((at == table || at[-1] == '\n') && at[length] == '\n')
			return true;
	return false;
}

static bool has_no_place(const char *line)
{
	char point[4096];

	return sscanf(line, "%*s %*s %*s %*s %4095s", point) == 1 &&
		access(point, F_OK) < 0 && errno == ENOENT;
}

/* Whether each line of one table is in the other, or may be missing. */
static bool are_in(const char *lines, const char *table, bool may_be_missing)
{
	char *copy = strdup(lines), *rest = copy, *line;
	bool all = true;

	assert_non_null(copy);
	while (all && (line = strsep(&rest, "\n")) && *line)
		all = has_line(table, line) || (may_be_missing && has_no_place(line));
	free(copy);
	return all;
}

bool cli_mounts_are(const char *before)
{
	char *now = cli_mount_table();
	bool same = are_in(now, before, false) && are_in(before, now, true);

	free(now);
	return same;
}

static void report_below(const char *point, const char *type, void *top)
{
	if (strncmp(point, top, strlen(top)) == 0)
		print_error("%s %s\n", type, point);
}

static void detach_below(const char *point, const char *type, void *top)
{
	size_t length = strlen(top);

	(void)type;
	if (strncmp(point, top, length) == 0 && point[length] == '/')
		umount2(point, MNT_DETACH);
}

/* Mounts of tests that run beside us: held here, they would never end. */
static void detach_foreign(const char *point, const char *type, void *data)
{
	(void)data;
	if (strcmp(type, "fuse.pycachefs") == 0)
		umount2(point, MNT_DETACH);
}

int cli_possible(void)
{
	int skip = fixture_possible();

	if (skip)
		return skip;
	if (unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    prctl(PR_SET_CHILD_SUBREAPER, 1)) {
		print_error("no mount namespace: ");
		return cannot_run(strerror(errno));
	}
	each_mount(detach_foreign, NULL);
	return 0;
}

/* ---------------------------------------------------------------- processes */

/* Calls @each(pid, data) for every living process whose parent we are. */
static void each_process(void (*each)(pid_t pid, void *data), void *data)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	assert_non_null(proc);
	while ((entry = readdir(proc))) {
		pid_t pid = atoi(entry->d_name);
		char path[300], text[512] = "", state;
		const char *end;
		int fd, parent;

		if (pid <= 0)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/stat", pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (read(fd, text, sizeof(text) - 1) < 0)
			text[0] = '\0';
		close(fd);
		end = strrchr(text, ')');
		if (end && sscanf(end, ") %c %d", &state, &parent) == 2 &&
		    parent == getpid() && state != 'Z' && state != 'X')
			each(pid, data);
	}
	closedir(proc);
}

struct processes {
	pid_t last;
	int count;
};

static void count_process(pid_t pid, void *data)
{
	struct processes *processes = data;

	processes->last = pid;
	processes->count++;
}

int cli_processes(pid_t *ret_last)
{
	struct processes processes = { .last = -1 };

	each_process(count_process, &processes);
	if (ret_last)
		*ret_last = processes.last;
	return processes.count;
}

struct pair {
	pid_t known, other;
};

static void find_other(pid_t pid, void *data)
{
	struct pair *pair = data;

	if (pid != pair->known)
		pair->other = pid;
}

pid_t cli_process_beside(pid_t pid)
{
	struct pair pair = { pid, -1 };

	each_process(find_other, &pair);
	return pair.other;
}

void cli_leave_leaks(void)
{
	setenv("LSAN_OPTIONS", "detect_leaks=0", 1);
}

/* A daemon whose standard error is gone has its exit status alone to tell that a
 * sanitizer has found something, or that it crashed. */
static int bad_status;		/* as of waitpid(); 0: none has ended badly */

bool cli_are_left(int count)
{
	/* Counted first: who ends after that is buried by this test all the same. */
	int status, living = cli_processes(NULL);

	while (waitpid(-1, &status, WNOHANG) > 0)
		if (WIFSIGNALED(status) ? WTERMSIG(status) != SIGKILL
					: WEXITSTATUS(status) > 1)
			bad_status = status;
	return living == count;
}

static bool are_left(void *count)
{
	return cli_are_left(*(int *)count);
}

void cli_wait_left(int count)
{
	assert_true(eventually(DEADLINE, are_left, &count));
}

bool cli_ends(void)
{
	int none = 0;

	return eventually(DEADLINE, are_left, &none);
}

static void kill_process(pid_t pid, void *data)
{
	(void)data;
	kill(pid, SIGKILL);
}

/* -------------------------------------------------------------- one test */

int cli_begin(void **state)
{
	struct cli *cli = calloc(1, sizeof(*cli));

	assert_non_null(cli);
	umask(022);
	strcpy(cli->top, "/tmp/pycachefs-cli-XXXXXX");
	assert_non_null(mkdtemp(cli->top));
	assert_int_equal(chmod(cli->top, 0755), 0);
	snprintf(cli->source, sizeof(cli->source), "%s/source", cli->top);
	snprintf(cli->mnt, sizeof(cli->mnt), "%s/mnt", cli->top);
	snprintf(cli->missing, sizeof(cli->missing), "%s/missing", cli->top);
	snprintf(cli->file, sizeof(cli->file), "%s/file", cli->top);
	snprintf(cli->log, sizeof(cli->log), "%s/log", cli->top);
	assert_int_equal(mkdir(cli->source, 0755), 0);
	assert_int_equal(mkdir(cli->mnt, 0755), 0);
	tree_write(cli->file, "", -1);
	tree_write(in(cli->source, "pkg/mod.py"), "mod = 1\n", -1);
	cli->mounts = cli_mount_table();
	bad_status = 0;
	*state = cli;
	return 0;
}

int cli_end(void **state)
{
	struct cli *cli = *state;
	bool left = false;

	umask(022);
	if (!cli_ends()) {
		print_error("a process is left\n");
		left = true;
		each_process(kill_process, NULL);
		cli_ends();
	}
	if (bad_status) {
		print_error("a process ended badly: %s %d\n",
			    WIFSIGNALED(bad_status) ? "by signal" : "with status",
			    WIFSIGNALED(bad_status) ? WTERMSIG(bad_status)
						    : WEXITSTATUS(bad_status));
		left = true;
	}
	if (!cli_mounts_are(cli->mounts)) {
		print_error("the table of mounts changed; left are:\n");
		each_mount(report_below, cli->top);
		left = true;
		each_mount(detach_below, cli->top);
	}
	unsetenv("LSAN_OPTIONS");
	free(cli->mounts);
	tree_remove(cli->top);
	free(cli);
	return left ? -1 : 0;
}

int cli_dev_begin(void **state)
{
	cli_begin(state);
	assert_int_equal(mount("none", "/dev", "tmpfs", MS_NOSUID,
			       "mode=755,size=64k"), 0);
	return 0;
}

int cli_dev_end(void **state)
{
	assert_int_equal(umount2("/dev", MNT_DETACH), 0);
	return cli_end(state);
}

void cli_device(const char *path, mode_t mode, unsigned major, unsigned minor)
{
	assert_int_equal(mknod(path, S_IFCHR | mode, makedev(major, minor)), 0);
	assert_int_equal(chmod(path, mode), 0);
}

void cli_devices_for_all(void)
{
	cli_device("/dev/null", 0666, 1, 3);
	cli_device("/dev/fuse", 0666, 10, 229);
}

const char *cli_program_for_all(const struct cli *cli)
{
	static char copy[128];

	snprintf(copy, sizeof(copy), "%s/pycachefs", cli->top);
	free(command_output(NULL, "cp", fixture_program(), copy, NULL));
	assert_int_equal(chmod(copy, 0755), 0);
	return copy;
}

/* --------------------------------------------------------------- commands */

static void gather(const char **argv, const char *word, va_list words)
{
	int n = 0;

	argv[n++] = fixture_program();
	for (; word; word = va_arg(words, const char *)) {
		assert_true(n < WORDS_MAX);
		argv[n++] = word;
	}
	argv[n] = NULL;
}

static struct command run(const char *const *argv)
{
	struct command_options options = { .seconds = DEADLINE };

	return command_run(&options, argv);
}

struct command cli_run(const char *word, ...)
{
	const char *argv[WORDS_MAX + 1];
	va_list words;

	va_start(words, word);
	gather(argv, word, words);
	va_end(words);
	return run(argv);
}

void cli_quietly(const char *word, ...)
{
	const char *argv[WORDS_MAX + 1];
	struct command command;
	va_list words;

	va_start(words, word);
	gather(argv, word, words);
	va_end(words);
	command = run(argv);
	assert_string_equal(command.err, "");
	assert_string_equal(command.out, "");
	assert_int_equal(command.status, 0);
	command_free(&command);
}

pid_t cli_mount(const struct cli *cli, const char *options)
{
	pid_t daemon;

	if (options)
		cli_quietly("-o", options, cli->source, cli->mnt, NULL);
	else
		cli_quietly(cli->source, cli->mnt, NULL);
	assert_int_equal(cli_processes(&daemon), 1);
	return daemon;
}

pid_t cli_mount_and_rename(const struct cli *cli, const char *options,
			   char ret[160])
{
	char before[128], after[128];
	pid_t daemon;

	snprintf(before, sizeof(before), "%s/before", cli->top);
	snprintf(after, sizeof(after), "%s/after", cli->top);
	snprintf(ret, 160, "%s/mnt", after);
	assert_int_equal(mkdir(before, 0755), 0);
	assert_int_equal(mkdir(in(before, "mnt"), 0755), 0);
	cli_quietly("-o", options, cli->source, in(before, "mnt"), NULL);
	assert_int_equal(cli_processes(&daemon), 1);
	assert_int_equal(rename(before, after), 0);
	assert_int_equal(cli_mounts_at(ret), 1);
	assert_int_equal(mkdir(before, 0755), 0);
	assert_int_equal(mkdir(in(before, "mnt"), 0755), 0);
	return daemon;
}

/* In the table a mount stands before its daemon answers: that is when it works,
 * and when a signal ends it well. */
static bool is_mounted(void *path)
{
	struct stat st;

	return cli_mounts_at(path) == 1 && stat(path, &st) == 0;
}

pid_t cli_foreground(const struct cli *cli, const char *mountpoint,
		     const char *const *words)
{
	const char *argv[WORDS_MAX] = { fixture_program(), "-f" };
	char point[256];
	pid_t child;

	for (int i = 0; words[i]; i++) {
		assert_true(i + 3 < WORDS_MAX);
		argv[i + 2] = words[i];
	}
	fflush(NULL);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		int log = open(cli->log, O_WRONLY | O_CREAT | O_APPEND, 0644);

		prctl(PR_SET_PDEATHSIG, SIGTERM);
		dup2(log, STDOUT_FILENO);
		dup2(log, STDERR_FILENO);
		execv(argv[0], (char **)(uintptr_t)argv);
		_exit(127);
	}
	snprintf(point, sizeof(point), "%s", mountpoint);
	assert_true(eventually(DEADLINE, is_mounted, point));
	return child;
}

/* ----------------------------------------------------------------- checks */

void cli_assert_usable(const char *path)
{
	struct stat root, above;
	char *text;

	assert_int_equal(stat(path, &root), 0);
	assert_int_equal(stat(in(path, ".."), &above), 0);
	assert_int_not_equal(root.st_dev, above.st_dev);
	text = tree_read(in(path, "pkg/mod.py"), NULL);
	assert_string_equal(text, "mod = 1\n");
	free(text);
	tree_write(in(path, "pkg/__pycache__/probe.pyc"), "code", -1);
	assert_int_equal(unlink(in(path, "pkg/__pycache__/probe.pyc")), 0);
}

struct end {
	pid_t pid;
	int status;
};

static bool is_over(void *data)
{
	struct end *end = data;

	return waitpid(end->pid, &end->status, WNOHANG) == end->pid;
}

int cli_wait(pid_t pid)
{
	struct end end = { .pid = pid };

	assert_true(eventually(DEADLINE, is_over, &end));
	return WIFEXITED(end.status) ? WEXITSTATUS(end.status) :
		128 + WTERMSIG(end.status);
}

void cli_assert_ended(pid_t pid, const char *mountpoint)
{
	assert_int_equal(cli_wait(pid), 0);
	assert_int_equal(cli_mounts_at(mountpoint), 0);
}

void cli_assert_complaint(const char *text, const char *mention)
{
	static const char prefix[] = "pycachefs: ";
	const char *what, *why, *end = strchr(text, '\n');

	if (!end || end[1])
		fail_msg("not one line: \"%s\"", text);
	if (strncmp(text, prefix, sizeof(prefix) - 1) != 0)
		fail_msg("does not begin with \"%s\": \"%s\"", prefix, text);
	what = text + sizeof(prefix) - 1;
	why = strstr(what, ": ");
	if (!why || why == what || why + 2 >= end)
		fail_msg("not \"WHAT: WHY\": \"%s\"", text);
	if (mention && !strstr(what, mention))
		fail_msg("does not mention \"%s\": \"%s\"", mention, text);
}
