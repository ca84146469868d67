/*
 * Directories are watched on every filesystem that hears of all its changes, for root
 * and for a plain user: changes are seen, and what is warm costs no request.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "command.h"
#include "fixture.h"
#include "tree.h"

enum { USER = 1, PATIENCE = 20, DIRECTORIES = 10 };

static int fill(const char *source)
{
	char name[32];

	for (int i = 0; i < DIRECTORIES; i++) {
		snprintf(name, sizeof(name), "d%d/file", i);
		tree_write(in(source, name), "old", -1);
	}
	return 0;
}

static int on_scratch(const char *source, void *data)
{
	(void)data;
	return fill(source);
}

static int on_tmpfs(const char *source, void *data)
{
	(void)data;
	return mount("x", source, "tmpfs", 0, "mode=0755") ? -1 : fill(source);
}

static int on_overlay(const char *source, void *data)
{
	char words[1024];

	if (on_tmpfs(source, data) || mkdir(in(source, "upper"), 0755) ||
	    mkdir(in(source, "work"), 0755) || mkdir(in(source, "lower"), 0755) ||
	    fill(in(source, "lower")))
		return -1;
	snprintf(words, sizeof(words), "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work",
		 source, source, source);
	return mount("x", source, "overlay", 0, words);
}

/* What an image is mounted from; the loop device is gone when it is unmounted. */
static void mount_image(const char *image, const char *type, const char *source)
{
	free(command_output("/", "mount", "-t", type, "-o", "loop", image, source, NULL));
}

static int on_ext4(const char *source, void *data)
{
	const char *image = in(source, "../image");

	(void)data;
	free(command_output("/", "truncate", "-s", "32M", image, NULL));
	free(command_output("/", "mkfs.ext4", "-q", image, NULL));
	mount_image(image, "ext4", source);
	return fill(source);
}

static int on_squashfs(const char *source, void *data)
{
	const char *image = in(source, "../image");

	(void)data;
	fill(source);
	free(command_output("/", "mksquashfs", source, image, "-quiet", "-no-progress",
			    NULL));
	mount_image(image, "squashfs", source);
	return 0;
}

/* All requests but those for the status; -1 unless all that is known is watched. */
static json_int_t count_requests(const struct fixture *f)
{
	json_t *all = fixture_status(f->mountpoint), *value;
	json_t *coherence = json_object_get(all, "coherence");
	const char *kind = json_string_value(json_object_get(coherence, "kind")), *key;
	json_int_t count = 0;

	if (!kind || strcmp(kind, "watch") ||
	    json_integer_value(json_object_get(coherence, "unwatched")) != 0)
		count = -1;
	json_object_foreach(json_object_get(all, "requests"), key, value)
		if (count >= 0 && strcmp(key, "getxattr"))
			count += json_integer_value(value);
	json_decref(all);
	return count;
}

static void look_at_all(const struct fixture *f)
{
	char name[32], byte;
	struct stat st;

	for (int i = 0; i < DIRECTORIES; i++) {
		int fd;

		snprintf(name, sizeof(name), "d%d", i);
		free(tree_list(in(f->mountpoint, name)));
		snprintf(name, sizeof(name), "d%d/missing", i);
		lstat(in(f->mountpoint, name), &st);
		snprintf(name, sizeof(name), "d%d/file", i);
		lstat(in(f->mountpoint, name), &st);
		fd = open(in(f->mountpoint, name), O_RDONLY | O_CLOEXEC);
		if (read(fd, &byte, 1) < 0)
			perror(name);
		close(fd);
	}
}

/* As whoever may look into the mount: returns 0, or what was wrong. */
static int is_free_when_warm(void *data)
{
	const struct fixture *f = data;
	json_int_t before;

	/* The second look asks for the time that the first one's read changed. */
	look_at_all(f);
	look_at_all(f);
	before = count_requests(f);
	if (before < 0)
		return 1;
	for (int i = 0; i < 20; i++)
		look_at_all(f);
	return count_requests(f) == before ? 0 : 2;
}

struct sight {
	char path[320];
	const char *content;
};

static bool shows(void *data)
{
	const struct sight *sight = data;
	char text[64];
	ssize_t length;
	int fd = open(sight->path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	length = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[length > 0 ? length : 0] = '\0';
	return strcmp(text, sight->content) == 0;
}

static int sees_change(void *data)
{
	return eventually(PATIENCE, shows, data) ? 0 : 1;
}

/* A store through a mapping, of which the kernel tells when that has ended. */
static void write_mapped(const char *path, const char *text)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	char *memory = mmap(NULL, strlen(text), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	assert_true(memory != MAP_FAILED);
	close(fd);
	memcpy(memory, text, strlen(text));
	assert_int_equal(munmap(memory, strlen(text)), 0);
}

static int call(const struct fixture *f, int (*check)(void *data), void *data)
{
	return f->options.uid ? as_user(f->options.uid, f->options.gid, NULL, 0, check, data)
			      : check(data);
}

static void check(int (*prepare)(const char *source, void *data), uid_t uid, bool changes)
{
	struct fixture *f = fixture_create(&(struct fixture_options){
		.prepare = prepare, .uid = uid, .gid = uid,
	});
	struct sight sight = { 0 };

	snprintf(sight.path, sizeof(sight.path), "%s/d3/file", f->mountpoint);
	assert_int_equal(call(f, is_free_when_warm, f), 0);
	if (changes) {
		tree_write(in(f->source, "d3/file"), "written", -1);
		sight.content = "written";
		assert_int_equal(call(f, sees_change, &sight), 0);
		write_mapped(in(f->source, "d3/file"), "MAPPED");
		sight.content = "MAPPEDn";
		assert_int_equal(call(f, sees_change, &sight), 0);
		tree_write(in(f->source, "d3/other"), "replaced", -1);
		assert_int_equal(rename(in(f->source, "d3/other"),
					in(f->source, "d3/file")), 0);
		sight.content = "replaced";
		assert_int_equal(call(f, sees_change, &sight), 0);
	}
	fixture_destroy(f);
}

static void directories_are_watched(void **state)
{
	(void)state;
	check(on_scratch, 0, true);
}

static void directories_are_watched_by_a_plain_user(void **state)
{
	(void)state;
	check(on_scratch, USER, true);
}

static void directories_are_watched_on_tmpfs(void **state)
{
	(void)state;
	check(on_tmpfs, 0, true);
}

static void directories_are_watched_on_overlayfs(void **state)
{
	(void)state;
	check(on_overlay, 0, true);
}

static void directories_are_watched_on_ext4(void **state)
{
	(void)state;
	check(on_ext4, 0, true);
}

static void directories_are_watched_on_squashfs(void **state)
{
	(void)state;
	check(on_squashfs, 0, false);
}

static bool shows_mode(void *data)
{
	const struct sight *sight = data;
	struct stat st;

	return lstat(sight->path, &st) == 0 && (st.st_mode & 07777) == 0700;
}

static bool lists_new(void *data)
{
	const struct sight *sight = data;
	char *list = tree_list(sight->path);
	bool found = strcmp(list, sight->content) == 0;

	free(list);
	return found;
}

static void the_roots_own_changes_are_seen(void **state)
{
	struct fixture *f = fixture_create(NULL);
	struct sight sight = { .content = "new" };

	(void)state;
	snprintf(sight.path, sizeof(sight.path), "%s", f->mountpoint);
	free(tree_list(sight.path));
	assert_false(shows_mode(&sight));
	assert_int_equal(chmod(f->source, 0700), 0);
	assert_true(eventually(PATIENCE, shows_mode, &sight));
	tree_write(in(f->source, "new"), "", -1);
	assert_true(eventually(PATIENCE, lists_new, &sight));
	fixture_destroy(f);
}

/* Bytecode beside the source is a real file as long as it has no module. */
static void bytecode_follows_its_module_that_comes_and_goes(void **state)
{
	struct fixture *f = fixture_create(NULL);
	struct sight sight = { .content = "x.pyc" }, with = { .content = "x.py" },
		none = { .content = "" };
	struct stat st;

	(void)state;
	tree_write(in(f->source, "d/x.pyc"), "source", -1);
	snprintf(sight.path, sizeof(sight.path), "%s/d", f->mountpoint);
	strcpy(with.path, sight.path);
	strcpy(none.path, sight.path);
	assert_true(lists_new(&sight));
	/* A listing with attributes tells the kernel of it too. */
	free(tree_describe(sight.path, false));
	assert_int_equal(lstat(in(sight.path, "x.pyc"), &st), 0);
	for (int i = 0; i < 3; i++) {
		tree_write(in(f->source, "d/x.py"), "", -1);
		assert_true(eventually(PATIENCE, lists_new, &with));
		assert_int_equal(lstat(in(sight.path, "x.pyc"), &st), -1);
		assert_int_equal(unlink(in(f->source, "d/x.py")), 0);
		/* Put there anew it is another file, before or after we hear. */
		if (i > 0)
			assert_true(eventually(PATIENCE, lists_new, &none));
		tree_write(in(f->source, "d/x.pyc"), "source", -1);
		assert_true(eventually(PATIENCE, lists_new, &sight));
	}
	fixture_destroy(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(directories_are_watched),
		cmocka_unit_test(directories_are_watched_by_a_plain_user),
		cmocka_unit_test(directories_are_watched_on_tmpfs),
		cmocka_unit_test(directories_are_watched_on_overlayfs),
		cmocka_unit_test(directories_are_watched_on_ext4),
		cmocka_unit_test(directories_are_watched_on_squashfs),
		cmocka_unit_test(the_roots_own_changes_are_seen),
		cmocka_unit_test(bytecode_follows_its_module_that_comes_and_goes),
	};
	int status = fixture_possible();

	if (!status && geteuid() != 0) {
		fprintf(stderr, "needs root to mount filesystems\n");
		status = getenv("PYCACHEFS_MUST_RUN") ? 1 : 77;
	}
	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
