/*
 * The rules: which names are cache entries, and of which module.
 */
#include "unit.h"

#include <stdio.h>

#include "names.h"

static const struct {
	const char *name;
	enum name_class class;
	const char *module;	/* of NAME_BYTECODE */
} plain_rules[] = {
	{ "__pycache__", NAME_PYCACHE, NULL },
	{ "__pycache__x", NAME_PLAIN, NULL },
	{ "x__pycache__", NAME_PLAIN, NULL },
	{ "__PYCACHE__", NAME_PLAIN, NULL },
	{ "__pycache_", NAME_PLAIN, NULL },
	{ "__pycache__ ", NAME_PLAIN, NULL },
	{ "__pycache__.pyc", NAME_BYTECODE, "__pycache__.py" },

	{ "x.py", NAME_PLAIN, NULL },
	{ "x", NAME_PLAIN, NULL },
	{ "x.pyi", NAME_PLAIN, NULL },
	{ "x.pyw", NAME_PLAIN, NULL },
	{ "x.so", NAME_PLAIN, NULL },
	{ ".", NAME_PLAIN, NULL },
	{ "..", NAME_PLAIN, NULL },

	{ "x.pyc", NAME_BYTECODE, "x.py" },
	{ "x.pyo", NAME_BYTECODE, "x.py" },
	{ "x$py.class", NAME_BYTECODE, "x.py" },
	{ "__init__.pyc", NAME_BYTECODE, "__init__.py" },
	{ "12.pyc", NAME_BYTECODE, "12.py" },
	{ "a b.pyc", NAME_BYTECODE, "a b.py" },
	{ "\303\251.pyo", NAME_BYTECODE, "\303\251.py" },
	{ "x.py.pyc", NAME_BYTECODE, "x.py.py" },
	{ "x.pyc.pyc", NAME_BYTECODE, "x.pyc.py" },
	{ "x.cpython-311.pyc", NAME_BYTECODE, "x.cpython-311.py" },
	{ ".x.pyc", NAME_BYTECODE, ".x.py" },
	{ "$$py.class", NAME_BYTECODE, "$.py" },

	/* Without a module's name there is no module. */
	{ ".pyc", NAME_PLAIN, NULL },
	{ ".pyo", NAME_PLAIN, NULL },
	{ "$py.class", NAME_PLAIN, NULL },
	{ "pyc", NAME_PLAIN, NULL },
	{ "x.class", NAME_PLAIN, NULL },
	{ "xpy.class", NAME_PLAIN, NULL },
	{ "x.PYC", NAME_PLAIN, NULL },
	{ "x.pyc~", NAME_PLAIN, NULL },
	{ "x.pyc ", NAME_PLAIN, NULL },

	/* A writer's temporary. */
	{ "x.pyc.1", NAME_BYTECODE, "x.py" },
	{ "x.pyc.0", NAME_BYTECODE, "x.py" },
	{ "x.pyc.139852347819024", NAME_BYTECODE, "x.py" },
	{ "x.pyc.1.pyc", NAME_BYTECODE, "x.pyc.1.py" },
	{ "x.1.pyc.1", NAME_BYTECODE, "x.1.py" },
	{ ".pyc.1", NAME_PLAIN, NULL },
	{ "pyc.1", NAME_PLAIN, NULL },
	{ "x.pyc.", NAME_PLAIN, NULL },
	{ "x.pyc1", NAME_PLAIN, NULL },
	{ "x.pyc.1a", NAME_PLAIN, NULL },
	{ "x.pyc.a1", NAME_PLAIN, NULL },
	{ "x.pyc.-1", NAME_PLAIN, NULL },
	{ "x.pyc.1.2", NAME_PLAIN, NULL },
	{ "x.pyc.1 ", NAME_PLAIN, NULL },
	{ "x.pyo.1", NAME_PLAIN, NULL },
	{ "x$py.class.1", NAME_PLAIN, NULL },
	{ "x.py.1", NAME_PLAIN, NULL },
	{ "1", NAME_PLAIN, NULL },
	{ "12345678", NAME_PLAIN, NULL },
};

/* Asserts a class, and that the module is written for bytecode only. */
static void check(const struct names *names, const char *name,
		  enum name_class class, const char *module)
{
	char said[NAME_SIZE], untouched[NAME_SIZE];

	memset(said, '?', sizeof(said));
	memset(untouched, '?', sizeof(untouched));
	if (names_classify(names, name, said) != class) {
		print_error("'%s' is of another class\n", name);
		fail();
	}
	if (class == NAME_BYTECODE)
		assert_string_equal(said, module);
	else
		assert_memory_equal(said, untouched, sizeof(said));
}

static void a_name_has_its_class(void **state)
{
	const struct names none = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(plain_rules); i++)
		check(&none, plain_rules[i].name, plain_rules[i].class,
		      plain_rules[i].module);
}

/* @length times 'a', and @suffix. */
static const char *long_name(int length, const char *suffix)
{
	static char names[4][512];
	static unsigned next;
	char *name = names[next++ % 4];

	memset(name, 'a', (size_t)length);
	strcpy(name + length, suffix);
	return name;
}

static void the_longest_names_have_their_class(void **state)
{
	const struct names none = { 0 };

	(void)state;
	check(&none, long_name(255, ""), NAME_PLAIN, NULL);
	check(&none, long_name(252, ".py"), NAME_PLAIN, NULL);
	check(&none, long_name(251, ".pyc"), NAME_BYTECODE, long_name(251, ".py"));
	check(&none, long_name(251, ".pyo"), NAME_BYTECODE, long_name(251, ".py"));
	check(&none, long_name(246, "$py.class"), NAME_BYTECODE,
	      long_name(246, ".py"));
	check(&none, long_name(249, ".pyc.1"), NAME_BYTECODE,
	      long_name(249, ".py"));
	check(&none, long_name(236, ".pyc.12345678901234"), NAME_BYTECODE,
	      long_name(236, ".py"));
	/* One whose module could not be written down is none of ours. */
	check(&none, long_name(253, ".pyc"), NAME_PLAIN, NULL);
	check(&none, long_name(500, ".pyc"), NAME_PLAIN, NULL);
}

static const struct {
	const char *glob, *name;
	bool matches;
} globs[] = {
	{ ".pytest_cache", ".pytest_cache", true },
	{ ".pytest_cache", ".pytest_cache2", false },
	{ ".pytest_cache", "x.pytest_cache", false },
	{ "*_cache", ".mypy_cache", true },
	{ "*_cache", "_cache", true },
	{ "*_cache", "_cache2", false },
	{ "*.egg-info", "a.egg-info", true },
	{ "?", "a", true },
	{ "?", "ab", false },
	{ "?", "", false },
	{ "[ab]x", "bx", true },
	{ "[ab]x", "cx", false },
	{ "[!ab]x", "cx", true },
	{ "\\*", "*", true },
	{ "\\*", "a", false },
	{ "...", "...", true },
	{ "X", "x", false },
	{ "*.nbi", "f.nbi", true },
};

static void also_takes_names_and_globs(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(globs); i++) {
		struct names names = { 0 };

		assert_int_equal(names_add(&names, globs[i].glob), 0);
		check(&names, globs[i].name,
		      globs[i].matches ? NAME_ALSO : NAME_PLAIN, NULL);
		names_clear(&names);
	}
}

static void any_number_of_also_counts(void **state)
{
	struct names names = { 0 };
	char glob[32];

	(void)state;
	for (int i = 0; i < 100; i++) {
		snprintf(glob, sizeof(glob), "cache-%d", i);
		/* What is added is a copy: the next round overwrites it. */
		assert_int_equal(names_add(&names, glob), 0);
	}
	for (int i = 0; i < 100; i++) {
		snprintf(glob, sizeof(glob), "cache-%d", i);
		check(&names, glob, NAME_ALSO, NULL);
	}
	check(&names, "cache-100", NAME_PLAIN, NULL);
	names_clear(&names);
	/* Clear is empty, and may be used again. */
	check(&names, "cache-1", NAME_PLAIN, NULL);
	assert_int_equal(names_add(&names, "x"), 0);
	check(&names, "x", NAME_ALSO, NULL);
	names_clear(&names);
}

static void the_rules_have_an_order(void **state)
{
	struct names names = { 0 };

	(void)state;
	assert_int_equal(names_add(&names, "*"), 0);
	check(&names, "__pycache__", NAME_PYCACHE, NULL);
	check(&names, "x.pyc", NAME_ALSO, NULL);
	check(&names, "x", NAME_ALSO, NULL);
	names_clear(&names);
}

static void also_refuses_what_is_no_name(void **state)
{
	static const char *const bad[] = {
		"", ".", "..", "/", "a/b", "/a", "a/", "*/x",
	};
	struct names names = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(names_add(&names, bad[i]), -EINVAL);
		assert_int_equal(names.also_count, 0);
	}
	names_clear(&names);
}

static const struct {
	const char *module;
	const char *names[NAMES_LEGACY];	/* NULL: none */
} legacy[] = {
	{ "x.py", { "x.pyc", "x.pyo", "x$py.class" } },
	{ "__init__.py", { "__init__.pyc", "__init__.pyo", "__init__$py.class" } },
	{ "a.b.py", { "a.b.pyc", "a.b.pyo", "a.b$py.class" } },
	{ ".py", { NULL, NULL, NULL } },
	{ "py", { NULL, NULL, NULL } },
	{ "", { NULL, NULL, NULL } },
	{ "x", { NULL, NULL, NULL } },
	{ "x.pyc", { NULL, NULL, NULL } },
	{ "x.pyw", { NULL, NULL, NULL } },
	{ "x.PY", { NULL, NULL, NULL } },
	{ "x.py ", { NULL, NULL, NULL } },
};

static void a_module_knows_its_bytecode(void **state)
{
	const struct names none = { 0 };
	char name[NAME_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(legacy); i++) {
		for (int j = 0; j < NAMES_LEGACY; j++) {
			const char *expected = legacy[i].names[j];
			bool is = names_legacy(legacy[i].module, j, name);

			assert_int_equal(is, expected != NULL);
			if (!is)
				continue;
			assert_string_equal(name, expected);
			/* And the way back. */
			check(&none, name, NAME_BYTECODE, legacy[i].module);
		}
	}
}

static void a_module_with_a_long_name_has_what_fits(void **state)
{
	static const struct {
		int length;
		bool fits[NAMES_LEGACY];
	} cases[] = {
		{ 246, { true, true, true } },
		{ 247, { true, true, false } },
		{ 251, { true, true, false } },
		{ 252, { false, false, false } },
	};
	char name[NAME_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (int j = 0; j < NAMES_LEGACY; j++)
			assert_int_equal(names_legacy(long_name(cases[i].length,
								".py"), j, name),
					 cases[i].fits[j]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_has_its_class),
		cmocka_unit_test(the_longest_names_have_their_class),
		cmocka_unit_test(also_takes_names_and_globs),
		cmocka_unit_test(any_number_of_also_counts),
		cmocka_unit_test(the_rules_have_an_order),
		cmocka_unit_test(also_refuses_what_is_no_name),
		cmocka_unit_test(a_module_knows_its_bytecode),
		cmocka_unit_test(a_module_with_a_long_name_has_what_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
