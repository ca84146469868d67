/*
 * Routing: what belongs to the source, what to the store, for every rule and for
 * everything that can be done with a name.
 */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "route.h"
#include "shadow.h"

enum where { IN_SOURCE, IN_STORE, IN_EMPTY };

static const char *const where_words[] = { "source", "store", "empty" };

/* A source with a module, a program shipped as bytecode, and bytecode from the time
 * before it was mounted. */
static void fill(struct world *world)
{
	static const char *const files[] = {
		"x.py", "x.pyc", "old.pyc", "__pycache__/old.pyc", "d.py/file",
		".pytest_cache/old", "link.pyo",
	};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		tree_write(world_path(world, files[i]), "from the source", -1);
	assert_int_equal(symlink("nowhere", world_path(world, "link.py")), 0);
}

static int set_up(void **state)
{
	*state = world_create(&(struct world_options){ .also = ".pytest_*" });
	fill(*state);
	return 0;
}

static int set_up_read_only(void **state)
{
	*state = world_create(&(struct world_options){
		.also = ".pytest_*", .read_only = true });
	fill(*state);
	return 0;
}

static int tear_down(void **state)
{
	world_destroy(*state);
	return 0;
}

static enum where where_is(struct world *world, int dirfd)
{
	struct stat st, empty;

	assert_int_equal(fstat(dirfd, &st), 0);
	assert_int_equal(fstat(world->fs.store.empty, &empty), 0);
	if (st.st_dev != world->fs.store.dev)
		return IN_SOURCE;
	return st.st_ino == empty.st_ino ? IN_EMPTY : IN_STORE;
}

/* What is answered for a name: with @err, the rest does not matter. */
struct answer {
	int err;
	enum inode_kind kind;
	enum where where;
};

static const struct answer source = { 0, INODE_SOURCE, IN_SOURCE };
static const struct answer shadow = { 0, INODE_SHADOW, IN_SOURCE };
static const struct answer store = { 0, INODE_STORE, IN_STORE };
static const struct answer nowhere = { 0, INODE_STORE, IN_EMPTY };
static const struct answer no_entry = { .err = -ENOENT };
static const struct answer exists = { .err = -EEXIST };
static const struct answer read_only = { .err = -EROFS };

static void check(struct world *world, struct inode *parent, const char *name,
		  enum route_intent intent, const struct answer *expected)
{
	_cleanup_place_ struct place place = { 0 };
	int err = route(&world->fs, parent, name, intent, &place);
	enum where where = err ? IN_SOURCE : where_is(world, place.dirfd);

	if (err != expected->err ||
	    (!err && (place.kind != expected->kind || where != expected->where))) {
		print_error("'%s', intent %d: %d, kind %d in the %s\n", name, intent,
			    err, err ? -1 : (int)place.kind, where_words[where]);
		fail();
	}
	if (!err) {
		assert_string_equal(place.name, name);
		assert_int_equal(place.dirfd, handle_fd(place.dir));
		assert_false(place.orphan);
	}
}

/* For one rule: the answers before anything was made in the store, by intent, and
 * to looking and removing after that. */
struct rule {
	const char *name;
	const struct answer *find, *remove, *replace, *make, *found, *removed;
};

static void check_rules(struct world *world, const struct rule *rules, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct rule *rule = &rules[i];
		struct inode *root = world->root;

		/* As nothing before has made anything: each has a new world. */
		shadow_drop(&world->fs.store, inode_id(root));
		check(world, root, rule->name, ROUTE_FIND, rule->find);
		check(world, root, rule->name, ROUTE_REMOVE, rule->remove);
		check(world, root, rule->name, ROUTE_REPLACE, rule->replace);
		shadow_drop(&world->fs.store, inode_id(root));
		check(world, root, rule->name, ROUTE_MAKE, rule->make);
		check(world, root, rule->name, ROUTE_FIND, rule->found);
		check(world, root, rule->name, ROUTE_REMOVE, rule->removed);
	}
}

#define SOURCES(name) { name, &source, &source, &source, &source, &source, &source }
#define STORES(name) { name, &nowhere, &no_entry, &store, &store, &store, &store }

static void every_name_goes_where_the_rules_say(void **state)
{
	static const struct rule rules[] = {
		SOURCES("x.py"), SOURCES("missing"), SOURCES("__pycache__x"),
		SOURCES(".pytest"), SOURCES("x.pyc~"),
		{ "__pycache__", &shadow, &shadow, &shadow, &exists, &shadow,
		  &shadow },
		STORES("x.pyc"), STORES("x.pyo"), STORES("x$py.class"),
		STORES("x.pyc.123"),
		/* A dangling symlink is a module as good as any. */
		STORES("link.pyc"), STORES("link.pyo"),
		STORES(".pytest_cache"), STORES(".pytest_other"),
		/* Without a module beside it, it is a file like any other. */
		SOURCES("old.pyc"), SOURCES("old.pyo"), SOURCES("missing.pyc.1"),
		/* A directory is no module. */
		SOURCES("d.py"), SOURCES("d.pyc"), SOURCES("d$py.class"),
	};

	check_rules(*state, rules, ARRAY_SIZE(rules));
}

#define READ_ONLY(name) { name, &source, &read_only, &read_only, &read_only, \
			  &source, &read_only }

static void read_only_binds_the_source_alone(void **state)
{
	static const struct rule rules[] = {
		READ_ONLY("x.py"), READ_ONLY("missing"), READ_ONLY("old.pyc"),
		READ_ONLY("d.pyc"),
		{ "__pycache__", &shadow, &shadow, &shadow, &exists, &shadow,
		  &shadow },
		STORES("x.pyc"), STORES("x.pyc.123"), STORES(".pytest_cache"),
	};

	check_rules(*state, rules, ARRAY_SIZE(rules));
}

static void inside_a_cache_all_is_the_stores(void **state)
{
	static const char *const names[] = {
		"x.cpython-311.pyc", "__pycache__", "x.py", "x.pyc", "d.py", "old.pyc",
		".pytest_cache", "build", "f.nbi",
	};
	struct world *world = *state;
	struct inode *cache = world_find(world, world->root, "__pycache__"), *build;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		shadow_drop(&world->fs.store, inode_id(world->root));
		check(world, cache, names[i], ROUTE_FIND, &nowhere);
		check(world, cache, names[i], ROUTE_REMOVE, &nowhere);
		check(world, cache, names[i], ROUTE_MAKE, &store);
		check(world, cache, names[i], ROUTE_FIND, &store);
		check(world, cache, names[i], ROUTE_REPLACE, &store);
	}
	/* And below that. */
	_cleanup_place_ struct place place = { 0 };
	assert_int_equal(route(&world->fs, cache, "build", ROUTE_MAKE, &place), 0);
	assert_int_equal(mkdirat(place.dirfd, "build", 0755), 0);
	build = world_find(world, cache, "build");
	assert_int_equal(inode_kind(build), INODE_STORE);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		for (int intent = ROUTE_FIND; intent <= ROUTE_REMOVE; intent++)
			check(world, build, names[i], (enum route_intent)intent,
			      &store);
}

/* The answer may change without the directory's changing: a module came or went. */
static void only_bytecode_beside_a_module_depends_on_it(void **state)
{
	static const struct {
		const char *name;
		bool depends;
	} cases[] = {
		{ "x.py", false }, { "missing", false }, { "__pycache__", false },
		{ ".pytest_cache", false }, { "x.pyc", true }, { "old.pyc", true },
		{ "missing.pyo", true }, { "d.pyc", true }, { "x.pyc.1", true },
	};
	struct world *world = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_place_ struct place place = { 0 };

		assert_int_equal(route(&world->fs, world->root, cases[i].name,
				       ROUTE_FIND, &place), 0);
		assert_int_equal(place.depends, cases[i].depends);
	}
}

static void a_module_that_comes_or_goes_changes_the_answer(void **state)
{
	struct world *world = *state;

	check(world, world->root, "old.pyc", ROUTE_FIND, &source);
	tree_write(world_path(world, "old.py"), "", -1);
	check(world, world->root, "old.pyc", ROUTE_FIND, &nowhere);
	check(world, world->root, "old.pyc", ROUTE_MAKE, &store);
	tree_remove(world_path(world, "old.py"));
	check(world, world->root, "old.pyc", ROUTE_FIND, &source);
}

static void a_name_that_is_too_long_is_nowhere(void **state)
{
	struct world *world = *state;
	struct inode *cache = world_find(world, world->root, "__pycache__");
	static const struct answer too_long = { .err = -ENAMETOOLONG };
	char name[300];

	memset(name, 'a', sizeof(name));
	name[256] = '\0';
	check(world, world->root, name, ROUTE_FIND, &too_long);
	check(world, world->root, name, ROUTE_MAKE, &too_long);
	check(world, cache, name, ROUTE_MAKE, &too_long);
	name[255] = '\0';
	check(world, world->root, name, ROUTE_FIND, &source);
	memcpy(name + 251, ".pyc", 4);
	check(world, world->root, name, ROUTE_FIND, &source);
}

static void a_full_store_keeps_nobody_from_looking(void **state)
{
	static const struct answer full = { .err = -ENOSPC };
	struct world *world;
	struct inode *cache;

	(void)state;
	/* A shadow, its part with a file in the making, which may not go, and the state
	 * of the module in a part of its own. */
	world = world_create(&(struct world_options){ .inodes = 5 });
	fill(world);
	assert_int_equal(world_make(world, world->root, "x.pyc.1", ""), 0);
	cache = world_find(world, world->root, "__pycache__");
	check(world, cache, "x.pyc", ROUTE_FIND, &nowhere);
	check(world, cache, "x.pyc", ROUTE_REMOVE, &nowhere);
	check(world, cache, "x.pyc", ROUTE_MAKE, &full);
	/* The source is none the worse for it. */
	check(world, world->root, "new", ROUTE_MAKE, &source);
	world_destroy(world);
}

static void listings_show_no_cache_entry(void **state)
{
	static const struct {
		const char *name;
		bool hidden;
	} cases[] = {
		{ "x.py", false }, { "x", false }, { "d.py", false },
		{ "__pycache__", true }, { ".pytest_cache", true },
		{ ".pytest", false }, { "x.pyc", true }, { "x.pyo", true },
		{ "x$py.class", true }, { "x.pyc.123", true },
		{ "link.pyo", true }, { "old.pyc", false }, { "d.pyc", false },
		{ "missing.pyc", false }, { ".", false }, { "..", false },
	};
	struct world *world = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bool hidden = route_hides(&world->fs, inode_id(world->root),
					  world->fs.source.fd, cases[i].name);

		if (hidden != cases[i].hidden)
			print_error("'%s' is hidden: %d\n", cases[i].name, hidden);
		assert_int_equal(hidden, cases[i].hidden);
	}
}

static void asking_changes_nothing(void **state)
{
	static const char *const names[] = {
		"x.py", "x.pyc", "__pycache__", ".pytest_cache", "old.pyc", "missing",
	};
	struct world *world = *state;
	char *before = tree_describe(world->source, true), *after;
	struct store_usage usage;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		for (int intent = ROUTE_FIND; intent <= ROUTE_REMOVE; intent++) {
			struct place place = { 0 };

			route(&world->fs, world->root, names[i],
			      (enum route_intent)intent, &place);
			route_release(&place);
			route_release(&place);
		}
	}
	after = tree_describe(world->source, true);
	assert_string_equal(after, before);
	free(before);
	free(after);
	/* But that a shadow and its part were made for what was said to be made, and the
	 * state of its module noted in a part of its own. */
	assert_int_equal(store_usage(&world->fs.store, &usage), 0);
	assert_int_equal(usage.inodes_used, 4);
	assert_int_equal(usage.files, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define R(name) cmocka_unit_test_setup_teardown(name, set_up_read_only, tear_down)
	const struct CMUnitTest tests[] = {
		T(every_name_goes_where_the_rules_say),
		R(read_only_binds_the_source_alone),
		T(inside_a_cache_all_is_the_stores),
		R(inside_a_cache_all_is_the_stores),
		T(only_bytecode_beside_a_module_depends_on_it),
		T(a_module_that_comes_or_goes_changes_the_answer),
		T(a_name_that_is_too_long_is_nowhere),
		cmocka_unit_test(a_full_store_keeps_nobody_from_looking),
		T(listings_show_no_cache_entry),
		T(asking_changes_nothing),
	};
	int status = unit_needs_store();

	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
