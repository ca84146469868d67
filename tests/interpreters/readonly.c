/*
 * Sources that can't be written: a read-only bind mount, a squashfs image, and a
 * writable one mounted with `ro`.  Bytecode is cached all the same, and every
 * change outside the store is EROFS.
 *
 * The kind is the program's only argument: bind, squashfs or option.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "command.h"
#include "project.h"
#include "tree.h"

static int make_bind(const char *source, void *data)
{
	(void)data;
	if (mount(source, source, NULL, MS_BIND, NULL))
		return -1;
	return mount(NULL, source, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL);
}

static int make_squashfs(const char *source, void *data)
{
	char *image;

	(void)data;
	if (asprintf(&image, "%s/../image", source) < 0)
		abort();
	free(command_output("/", "mksquashfs", source, image, "-quiet",
			    "-no-progress", NULL));
	free(command_output("/", "mount", "-t", "squashfs", "-o", "loop,ro",
			    image, source, NULL));
	free(image);
	return 0;
}

static struct fixture_options options;

static void import_twice(struct project *project, bool in_place,
			 const char *flag)
{
	struct fixture_options mine = options;

	mine.in_place = in_place;
	project_mount(project, &mine);
	project_import_cold(project, project_root(project), flag);
	project_import_warm(project, project_root(project), flag);
	project_assert_names(project);
	project_assert_untouched(project);
}

static void imports_are_cached_in_place(void **state)
{
	import_twice(*state, true, NULL);
}

static void imports_are_cached_elsewhere(void **state)
{
	import_twice(*state, false, "-O");
}

static void compileall_works(void **state)
{
	struct project *project = *state;
	struct fixture_options mine = options;

	mine.in_place = true;
	project_mount(project, &mine);
	free(command_output("/", project->python->path, "-m", "compileall",
			    "-q", project_root(project), NULL));
	project_import_warm(project, project_root(project), NULL);
	if (project->python->major >= 3)
		free(command_output("/", project->python->path, "-m",
				    "compileall", "-q", "-b",
				    project_root(project), NULL));
	project_assert_names(project);
	project_assert_untouched(project);
}

/* ----------------------------------------------------------------- refusals */

#define EXISTING "app/core/m3.py"

static int try_create(const char *root)
{
	return open(in(root, "new"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
}

static int try_create_deep(const char *root)
{
	return open(in(root, "app/core/new.py"), O_RDWR | O_CREAT | O_EXCL |
		    O_CLOEXEC, 0644);
}

static int try_sourceless(const char *root)
{
	return open(in(root, "app/core/new.pyc"), O_RDWR | O_CREAT | O_EXCL |
		    O_CLOEXEC, 0644);
}

static int try_empty(const char *root)
{
	return open(in(root, EXISTING), O_WRONLY | O_TRUNC | O_CLOEXEC);
}

static int try_write(const char *root)
{
	int fd = open(in(root, EXISTING), O_WRONLY | O_CLOEXEC), result, error;

	if (fd < 0)
		return -1;
	result = (int)write(fd, "x", 1);
	error = errno;
	close(fd);
	errno = error;
	return result;
}

static int try_truncate(const char *root)
{
	return truncate(in(root, EXISTING), 3);
}

static int try_mkdir(const char *root)
{
	return mkdir(in(root, "app/new"), 0755);
}

static int try_mknod(const char *root)
{
	return mknod(in(root, "app/new"), S_IFIFO | 0644, 0);
}

static int try_symlink(const char *root)
{
	return symlink("README", in(root, "new"));
}

static int try_link(const char *root)
{
	return link(in(root, "README"), in(root, "new"));
}

static int try_unlink(const char *root)
{
	return unlink(in(root, EXISTING));
}

static int try_rmdir(const char *root)
{
	return rmdir(in(root, "app/data/empty"));
}

static int try_rename(const char *root)
{
	return rename(in(root, EXISTING), in(root, "app/core/new.py"));
}

static int try_rename_directory(const char *root)
{
	return rename(in(root, "shop/stock"), in(root, "stock"));
}

static int try_chmod(const char *root)
{
	return chmod(in(root, EXISTING), 0600);
}

static int try_chmod_root(const char *root)
{
	return chmod(root, 0700);
}

static int try_chown(const char *root)
{
	return lchown(in(root, EXISTING), 1, 1);
}

static int try_times(const char *root)
{
	return utimensat(AT_FDCWD, in(root, EXISTING), NULL, 0);
}

static int try_setxattr(const char *root)
{
	return setxattr(in(root, EXISTING), "user.test", "x", 1, 0);
}

static const struct refusal {
	const char *name;
	int (*try)(const char *root);
} refusals[] = {
	{ "creating", try_create },
	{ "creating a module", try_create_deep },
	{ "creating a sourceless module", try_sourceless },
	{ "opening with O_TRUNC", try_empty },
	{ "writing", try_write },
	{ "truncating", try_truncate },
	{ "mkdir", try_mkdir },
	{ "mknod", try_mknod },
	{ "symlink", try_symlink },
	{ "link", try_link },
	{ "unlink", try_unlink },
	{ "rmdir", try_rmdir },
	{ "rename", try_rename },
	{ "renaming a directory", try_rename_directory },
	{ "chmod", try_chmod },
	{ "chmod of the root", try_chmod_root },
	{ "chown", try_chown },
	{ "setting times", try_times },
	{ "setxattr", try_setxattr },
};

static void changes_are_refused(void **state)
{
	struct project *project = *state;
	struct fixture_options mine = options;
	int wrong = 0;

	mine.in_place = true;
	project_mount(project, &mine);
	project_import_cold(project, project_root(project), NULL);
	for (size_t i = 0; i < sizeof(refusals) / sizeof(*refusals); i++) {
		int result = refusals[i].try(project_root(project));

		if (result >= 0 || errno != EROFS) {
			print_error("%s: %s\n", refusals[i].name,
				    result < 0 ? strerror(errno) : "done");
			wrong++;
		}
	}
	assert_int_equal(wrong, 0);
	project_assert_names(project);
	project_assert_untouched(project);
	project_import_warm(project, project_root(project), NULL);
}

static bool is_newest(const struct python *python)
{
	return python->newest;
}

/* Whether an image can be made and mounted here. */
static bool has_squashfs(void)
{
	static const char script[] =
		"top=$(mktemp -d) || exit 1\n"
		"mkdir $top/a $top/b\n"
		"mksquashfs $top/a $top/i -quiet -no-progress &&\n"
		"mount -t squashfs -o loop,ro $top/i $top/b && umount $top/b\n"
		"status=$?\n"
		"rm -rf $top\n"
		"exit $status\n";
	const char *const argv[] = { "sh", "-c", script, NULL };
	struct command command = command_run(NULL, argv);
	bool has = command.status == 0;

	if (!has)
		print_message("%s%s", command.out, command.err);
	command_free(&command);
	return has;
}

int main(int argc, char **argv)
{
	static const struct promise promises[] = {
		{ "imports in place are cached and change nothing",
		  imports_are_cached_in_place, NULL },
		{ "imports elsewhere with -O are cached and change nothing",
		  imports_are_cached_elsewhere, NULL },
		{ "compileall works and changes nothing", compileall_works,
		  NULL },
		{ "every change outside the store is EROFS",
		  changes_are_refused, is_newest },
	};
	const char *kind = argc == 2 ? argv[1] : "";
	int skip = fixture_possible();
	char group[64];

	if (skip)
		return skip;
	if (!strcmp(kind, "option")) {
		options.options = "ro";
	} else if (strcmp(kind, "bind") && strcmp(kind, "squashfs")) {
		fprintf(stderr, "usage: readonly bind|squashfs|option\n");
		return 2;
	} else if (geteuid() != 0) {
		return cannot_run("only root can mount the source");
	} else if (!strcmp(kind, "bind")) {
		options.prepare = make_bind;
	} else if (has_squashfs()) {
		options.prepare = make_squashfs;
	} else {
		return cannot_run("no squashfs can be made and mounted here");
	}
	snprintf(group, sizeof(group), "readonly-%s", kind);
	return pythons_run(group, promises,
			   sizeof(promises) / sizeof(*promises));
}
