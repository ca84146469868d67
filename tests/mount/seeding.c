/*
 * Bytecode of the source that is copied into the store with existing=seed: whose it
 * becomes, who is shown it, and that nothing is evicted for it.
 */
#include "rules_common.h"

#define ALICE 1000
#define BOB 1001
#define GROUP 2000
#define TIME 1500000000

/* In the root of source: m0.py and on, each with bytecode of this size. */
enum { MODULES = 100, SIZE = 16384 };

/*
 * Bytecode that CPython 3.11 might have written: a header, and a code object whose
 * first object is a text that fills it up.  All else in it is None.
 */
static void ship(const char *dir, int number)
{
	static unsigned char data[SIZE];
	const struct timespec times[2] = { { .tv_sec = TIME }, { .tv_sec = TIME } };
	const uint32_t source_size = 6, time = TIME;
	uint32_t text_size = SIZE - 16 - 21 - 5 - 7 - 4 - 2;
	char name[64];

	snprintf(name, sizeof(name), "m%d.py", number);
	write_text(in(dir, name), "m = 1\n");
	assert_works(utimensat(AT_FDCWD, in(dir, name), times, 0));
	memset(data, 0, sizeof(data));
	memcpy(data + 8, &time, 4);
	memcpy(data + 12, &source_size, 4);
	data[16] = 'c';
	data[37] = 's';
	memcpy(data + 38, &text_size, 4);
	memset(data + 42 + text_size, 'N', 7);
	memset(data + SIZE - 2, 'N', 2);
	snprintf(name, sizeof(name), "__pycache__/m%d.cpython-311.pyc", number);
	tree_write(in(dir, name), (const char *)data, SIZE);
}

static int ship_many(const char *source, void *data)
{
	(void)data;
	for (int i = 0; i < MODULES; i++)
		ship(in(source, "many"), i);
	return 0;
}

static int ship_one(const char *source, void *data)
{
	(void)data;
	ship(in(source, "d"), 0);
	return 0;
}

static struct fixture_options one = {
	.prepare = ship_one, .options = "existing=seed",
};
static struct fixture_options many = {
	.prepare = ship_many, .options = "existing=seed,size=1M",
};

#define SEED "d/__pycache__/m0.cpython-311.pyc"

static void what_does_not_fit_is_left_out(void **state)
{
	struct fixture *f = *state;
	int taken = 0;

	for (int i = 0; i < 20; i++) {
		char name[64], content[SIZE] = "";

		snprintf(name, sizeof(name), "__pycache__/k%d.cpython-311.pyc", i);
		tree_write(on(f, name), content, SIZE);
	}
	for (int i = 0; i < MODULES; i++) {
		char name[64];

		snprintf(name, sizeof(name), "many/__pycache__/m%d.cpython-311.pyc", i);
		taken += exists(on(f, name));
	}
	/* Of 64 that fit, less what the store needs itself. */
	assert_in_range(taken, 30, 44);
	for (int i = 0; i < 20; i++) {
		char name[64];

		snprintf(name, sizeof(name), "__pycache__/k%d.cpython-311.pyc", i);
		assert_exists(on(f, name));
	}
}

static void it_is_whole_and_its_directorys_owners(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	size_t here, there;

	assert_works(chown(behind(f, "d"), ALICE, GROUP));
	assert_works(stat(on(f, SEED), &st));
	assert_int_equal(st.st_uid, ALICE);
	assert_int_equal(st.st_gid, GROUP);
	assert_int_equal(st.st_mode, S_IFREG | 0644);
	char *taken = tree_read(on(f, SEED), &here);
	char *shipped = tree_read(behind(f, SEED), &there);
	assert_int_equal(here, there);
	assert_memory_equal(taken, shipped, here);
	free(taken);
	free(shipped);
}

static void what_belongs_to_strangers_is_not_taken(void **state)
{
	struct fixture *f = *state;

	assert_works(chown(behind(f, SEED), ALICE, GROUP));
	assert_missing(on(f, SEED));
}

static void what_strangers_may_write_is_not_taken(void **state)
{
	struct fixture *f = *state;

	assert_works(chmod(behind(f, SEED), 0664));
	assert_missing(on(f, SEED));
}

static void nothing_is_taken_where_strangers_may_put_it(void **state)
{
	struct fixture *f = *state;

	assert_works(chmod(behind(f, "d/__pycache__"), 01777));
	assert_missing(on(f, SEED));
}

static void a_link_to_another_directory_is_not_followed(void **state)
{
	struct fixture *f = *state;

	assert_works(rename(behind(f, "d/__pycache__"), behind(f, "d/elsewhere")));
	assert_works(symlink("elsewhere", behind(f, "d/__pycache__")));
	assert_missing(on(f, SEED));
}

static int looks(void *path)
{
	return outcome(access_link(path));
}

static int removes(void *path)
{
	return outcome(unlink(path));
}

/* Whether it is all there and belongs to whoever looks. */
static int has_own(void *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC), error;

	if (fd < 0)
		return errno;
	error = fstat(fd, &st) == 0 && st.st_size == SIZE && st.st_uid == getuid() &&
		st.st_gid == getgid() && (st.st_mode & 07777) == 0644 ? 0 : EBADMSG;
	close(fd);
	return error;
}

static void whoever_has_their_own_gets_a_copy_of_their_own(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	KEEP(seed, on(f, SEED));
	assert_int_equal(as_user(ALICE, ALICE, NULL, 0, has_own, seed), 0);
	assert_int_equal(as_user(BOB, BOB, NULL, 0, has_own, seed), 0);
	assert_works(stat(seed, &st));
	assert_int_equal(st.st_uid, 0);
	/* What one has removed stays with the others, and does not come back. */
	assert_int_equal(as_user(ALICE, ALICE, NULL, 0, removes, seed), 0);
	tree_write("/proc/sys/vm/drop_caches", "2", -1);
	assert_int_equal(as_user(ALICE, ALICE, NULL, 0, looks, seed), ENOENT);
	assert_int_equal(as_user(BOB, BOB, NULL, 0, has_own, seed), 0);
	assert_exists(seed);
}

static void nobody_gets_a_copy_of_what_they_could_not_read(void **state)
{
	static const gid_t group = GROUP;
	struct fixture *f = *state;

	KEEP(seed, on(f, SEED));
	assert_works(chown(behind(f, SEED), 0, GROUP));
	assert_works(chmod(behind(f, SEED), 0640));
	assert_int_equal(as_user(ALICE, ALICE, NULL, 0, looks, seed), ENOENT);
	assert_int_equal(as_user(BOB, BOB, &group, 1, has_own, seed), 0);
	assert_exists(seed);
}

static void nobody_gets_a_copy_out_of_what_they_could_not_enter(void **state)
{
	struct fixture *f = *state;

	KEEP(seed, on(f, SEED));
	assert_works(chmod(behind(f, "d/__pycache__"), 0700));
	assert_int_equal(as_user(ALICE, ALICE, NULL, 0, looks, seed), ENOENT);
	assert_exists(seed);
}

static void nobody_gets_a_copy_of_what_belongs_to_strangers(void **state)
{
	struct fixture *f = *state;

	KEEP(seed, on(f, SEED));
	assert_works(chown(behind(f, SEED), BOB, BOB));
	assert_int_equal(as_user(ALICE, ALICE, NULL, 0, looks, seed), ENOENT);
	/* Not even the stranger, who runs it natively: it is not told from planted. */
	assert_int_equal(as_user(BOB, BOB, NULL, 0, looks, seed), ENOENT);
}

/* A plain user mounts what is root's, as an image is run without root. */
static struct fixture_options as_named = {
	.prepare = ship_one, .options = "existing=seed",
	.uid = NAMED_USER, .gid = NAMED_USER,
};

static void a_plain_users_daemon_seeds_for_its_user(void **state)
{
	struct fixture *f = *state;

	KEEP(seed, on(f, SEED));
	assert_int_equal(as_user(NAMED_USER, NAMED_USER, NULL, 0, has_own, seed), 0);
}

/* A store in a directory, whose limits no kernel keeps. */
static char kept_store[64], kept_options[128];
static struct fixture_options kept = { .prepare = ship_many, .options = kept_options };

static int kept_begin(void **state)
{
	snprintf(kept_store, sizeof(kept_store), "/dev/shm/pycachefs-seed-XXXXXX");
	assert_non_null(mkdtemp(kept_store));
	snprintf(kept_options, sizeof(kept_options), "existing=seed,size=1M,store=%s",
		 kept_store);
	return fixture_begin(state);
}

static int kept_end(void **state)
{
	fixture_end(state);
	tree_remove(kept_store);
	return 0;
}

static void a_store_in_a_directory_takes_what_its_limit_allows(void **state)
{
	struct fixture *f = *state;
	int taken = 0;

	for (int i = 0; i < MODULES; i++) {
		char name[64];

		snprintf(name, sizeof(name), "many/__pycache__/m%d.cpython-311.pyc", i);
		taken += exists(on(f, name));
	}
	assert_in_range(taken, 50, 64);
}

#define USERS(test) { #test, test, users_begin, fixture_end, &one }

int main(void)
{
	int skip = users_possible();
	const struct CMUnitTest tests[] = {
		WITH(what_does_not_fit_is_left_out, &many),
		WITH(it_is_whole_and_its_directorys_owners, &one),
		WITH(what_belongs_to_strangers_is_not_taken, &one),
		WITH(what_strangers_may_write_is_not_taken, &one),
		WITH(nothing_is_taken_where_strangers_may_put_it, &one),
		WITH(a_link_to_another_directory_is_not_followed, &one),
		USERS(whoever_has_their_own_gets_a_copy_of_their_own),
		USERS(nobody_gets_a_copy_of_what_they_could_not_read),
		USERS(nobody_gets_a_copy_out_of_what_they_could_not_enter),
		USERS(nobody_gets_a_copy_of_what_belongs_to_strangers),
		WITH(a_plain_users_daemon_seeds_for_its_user, &as_named),
		{ "a_store_in_a_directory_takes_what_its_limit_allows",
		  a_store_in_a_directory_takes_what_its_limit_allows, kept_begin,
		  kept_end, &kept },
	};

	return skip ? skip : cmocka_run_group_tests(tests, NULL, NULL);
}
