/*
 * A mount of the host that several containers have in common: they share its warm
 * bytecode, see what the host changes, and leave the source as it was.
 */
#include "container.h"

#include <jansson.h>
#include <sys/mount.h>

/* Of `status --json`: what bytecode was written, if any. */
struct written {
	json_int_t files, creates, writes;
};

static struct written written(const struct cli *cli)
{
	char *text = command_output("/", fixture_program(), "status", "--json", cli->mnt,
				    NULL);
	json_t *mounts = json_loads(text, 0, NULL), *mount = json_array_get(mounts, 0);
	json_t *requests = json_object_get(mount, "requests");
	struct written result = {
		json_integer_value(json_object_get(json_object_get(mount, "redirected"),
						   "files")),
		json_integer_value(json_object_get(requests, "create")),
		json_integer_value(json_object_get(requests, "write")),
	};

	assert_non_null(requests);
	json_decref(mounts);
	free(text);
	return result;
}

static void assert_nothing_written_since(const struct cli *cli, struct written before)
{
	struct written now = written(cli);

	assert_int_equal(now.files, before.files);
	assert_int_equal(now.creates, before.creates);
	assert_int_equal(now.writes, before.writes);
}

/* A bundle that imports, of this user, with the mount bound with these words. */
static void importer(const struct cli *cli, const char *name, int uid, bool shifted,
		     const char *words)
{
	const char *const argv[] = { "python3", "-S", "-c", container_import, NULL };
	const char *const binds[] = { cli->mnt, "/project", words, NULL };

	container_bundle(cli, &(struct bundle){
		.name = name, .argv = argv, .binds = binds, .uid = uid,
		.shifted = shifted, .readonly = uid != 0,
	});
}

static char *begin_project(struct cli *cli, const char *options)
{
	char *before;

	container_project(cli->source);
	before = tree_describe(cli->source, true);
	cli_mount(cli, options);
	return before;
}

static void end_project(struct cli *cli, char *before)
{
	char *after = tree_describe(cli->source, true);

	assert_string_equal(after, before);
	free(after);
	free(before);
	cli_quietly("unmount", cli->mnt, NULL);
	cli_wait_left(0);
}

static void what_one_has_compiled_all_find(void **state)
{
	struct cli *cli = *state;
	char *before = begin_project(cli, NULL), *cached, *again;
	struct written then;

	importer(cli, "one", 0, false, "bind");
	importer(cli, "two", 0, false, "bind");
	run_assert(container_host(cli, "box one"), 0, "cold\n", "");
	then = written(cli);
	assert_true(then.files > 10);
	cached = tree_describe(in(cli->mnt, "email/__pycache__"), true);
	run_assert(container_host(cli,
		"box two & box one; wait $!\n"
		"bare --bind $MNT /project python3 -S -c \"$IMPORT\""),
		0, "warm\nwarm\nwarm\n", "");
	assert_nothing_written_since(cli, then);
	again = tree_describe(in(cli->mnt, "email/__pycache__"), true);
	assert_string_equal(again, cached);
	free(cached);
	free(again);
	end_project(cli, before);
}

/* Who may not write the source has bytecode of their own, the same in all containers
 * where they are the same user of the host. */
static void users_share_with_themselves(void **state)
{
	struct cli *cli = *state;
	char *before = begin_project(cli, NULL);
	struct written then;

	importer(cli, "root", 0, false, "bind");
	importer(cli, "guest", GUEST, false, "bind");
	importer(cli, "other", GUEST, false, "bind");
	importer(cli, "shifted", 0, true, "bind");
	run_assert(container_host(cli, "box guest; box shifted; box root"), 0,
		   "cold\ncold\ncold\n", "");
	then = written(cli);
	run_assert(container_host(cli, "box other; box shifted; box root\n"
		"bare --unshare-user --uid 1000 --gid 1000 --bind $MNT /project "
		"python3 -S -c \"$IMPORT\""), 0, "warm\nwarm\nwarm\nwarm\n", "");
	assert_nothing_written_since(cli, then);
	end_project(cli, before);
}

static void one_bound_read_only_finds_and_writes_nothing(void **state)
{
	struct cli *cli = *state;
	char *before = begin_project(cli, NULL);
	struct written then;

	importer(cli, "writer", 0, false, "bind");
	importer(cli, "reader", 0, false, "bind,ro");
	run_assert(container_host(cli, "box reader; box writer"), 0,
		   "lost\ncold\n", "");
	then = written(cli);
	run_assert(container_host(cli, "box reader\n"
		"bare --ro-bind $MNT /project python3 -S -c \"$IMPORT\""), 0,
		"warm\nwarm\n", "");
	assert_nothing_written_since(cli, then);
	end_project(cli, before);
}

/* That is the way to have a source that containers can't change, and a cache. */
static void a_mount_of_option_ro_caches_all_the_same(void **state)
{
	struct cli *cli = *state;
	char *before = begin_project(cli, "ro");
	const char *const argv[] = {
		"sh", "-c", "echo x 2>/dev/null >/project/new || echo refused", NULL,
	};
	const char *const binds[] = { cli->mnt, "/project", "bind", NULL };

	importer(cli, "importer", 0, false, "bind");
	container_bundle(cli, &(struct bundle){
		.name = "changer", .argv = argv, .binds = binds,
	});
	run_assert(container_host(cli, "box importer; box importer; box changer"),
		   0, "cold\nwarm\nrefused\n", "");
	end_project(cli, before);
}

/* Two that run at the same time, and a change of the same length, made at once. */
static const char edits[] =
	"seen() { until [ \"$(cat $TOP/$1.log 2>/dev/null)\" = \"$2\" ]; do "
	"sleep 0.02; done; }\n"
	"box one >$TOP/one.log &\n"
	"bare --bind $MNT /project sh -c \"$WATCH\" >$TOP/two.log &\n"
	"seen one 1; seen two 1\n"
	"echo 'mod = 2' >$TOP/new; mv $TOP/new $SOURCE/pkg/mod.py\n"
	"wait\n"
	"cat $TOP/one.log $TOP/two.log\n";

static void all_see_what_the_host_changes(void **state)
{
	/* A new process each time: one alone would keep the module. */
	static const char watch[] =
		"cd /project; import() { python3 -c 'import pkg.mod; print(pkg.mod.mod)'; }; "
		"import; while [ $(import) = 1 ]; do sleep 0.02; done; import";
	struct cli *cli = *state;
	const char *const argv[] = { "sh", "-c", watch, NULL };
	const char *const binds[] = { cli->mnt, "/project", "bind", NULL };

	cli_mount(cli, NULL);
	container_bundle(cli, &(struct bundle){
		.name = "one", .argv = argv, .binds = binds,
	});
	assert_int_equal(setenv("WATCH", watch, 1), 0);
	run_assert(container_host(cli, edits), 0, "1\n2\n1\n2\n", "");
	assert_int_equal(unsetenv("WATCH"), 0);
	assert_int_equal(access(in(cli->source, "pkg/__pycache__"), F_OK), -1);
	cli_quietly("unmount", cli->mnt, NULL);
	cli_wait_left(0);
}

/* The directory above is bound, as a slave: what is mounted in it later shows. */
static const char late[] =
	"ready() { until [ -e $SHARE/$1.ready ]; do sleep 0.02; done; }\n"
	"mount --bind $SHARE $SHARE; mount --make-shared $SHARE\n"
	"box one >$TOP/one.log & one=$!\n"
	"bare --bind $SHARE /project sh -c \"$WATCH\" sh two >$TOP/two.log & two=$!\n"
	"ready one; ready two\n"
	"$PYCACHEFS $SOURCE $SHARE/mnt\n"
	"wait $one; wait $two\n"
	"cat $TOP/one.log $TOP/two.log\n"
	"$PYCACHEFS unmount $SHARE/mnt; umount $SHARE\n";

static void a_mount_that_is_made_later_arrives(void **state)
{
	static const char watch[] =
		"echo >/project/$1.ready; until [ -e /project/mnt/pkg ]; do sleep 0.02; done; "
		"cd /project/mnt; python3 -c 'import pkg.mod; print(pkg.mod.mod)'; "
		"ls pkg pkg/__pycache__ | grep -c pyc$";
	struct cli *cli = *state;
	char share[96];
	const char *const argv[] = { "sh", "-c", watch, "sh", "one", NULL };
	const char *const binds[] = { share, "/project", "rbind,rslave", NULL };

	snprintf(share, sizeof(share), "%s/share", cli->top);
	assert_int_equal(mkdir(share, 0755), 0);
	assert_int_equal(mkdir(in(share, "mnt"), 0755), 0);
	container_bundle(cli, &(struct bundle){
		.name = "one", .argv = argv, .binds = binds, .propagation = "rslave",
	});
	assert_int_equal(setenv("WATCH", watch, 1), 0);
	assert_int_equal(setenv("SHARE", share, 1), 0);
	run_assert(container_host(cli, late), 0, "1\n1\n1\n1\n", "");
	assert_int_equal(unsetenv("SHARE"), 0);
	assert_int_equal(unsetenv("WATCH"), 0);
}

/* The host's mount goes; the container goes on with it, and the daemon till then. */
static const char unmounted[] =
	"$PYCACHEFS $SOURCE $MNT\n"
	"box one & one=$!\n"
	"until [ -e $SOURCE/ready ]; do sleep 0.02; done\n"
	"$PYCACHEFS unmount $MNT\n"
	"$PYCACHEFS status $MNT 2>/dev/null || echo unmounted\n"
	"echo go >$SOURCE/go\n"
	"wait $one\n";

static void a_container_keeps_what_the_host_unmounts(void **state)
{
	static const char script[] =
		"echo >ready; until [ -e go ]; do sleep 0.02; done; "
		"python3 -c 'import pkg.mod; print(pkg.mod.mod)'; "
		"ls pkg/__pycache__ | grep -c pyc$";
	struct cli *cli = *state;
	const char *const argv[] = { "sh", "-c", script, NULL };
	const char *const binds[] = { cli->mnt, "/project", "bind", NULL };

	container_bundle(cli, &(struct bundle){
		.name = "one", .argv = argv, .binds = binds,
	});
	run_assert(container_host(cli, unmounted), 0, "unmounted\n1\n1\n", "");
}

int main(void)
{
	int skip = container_possible();
	const struct CMUnitTest tests[] = {
		CLI(what_one_has_compiled_all_find),
		CLI(users_share_with_themselves),
		CLI(one_bound_read_only_finds_and_writes_nothing),
		CLI(a_mount_of_option_ro_caches_all_the_same),
		CLI(all_see_what_the_host_changes),
		CLI(a_mount_that_is_made_later_arrives),
		CLI(a_container_keeps_what_the_host_unmounts),
	};

	return skip ? skip : cmocka_run_group_tests(tests, NULL, NULL);
}
