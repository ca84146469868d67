/*
 * Names inside `__pycache__`: whose bytecode they are, and what they are good for.
 */
#include "unit.h"

#include "names.h"

static const struct {
	const char *name;
	const char *modules[4];		/* shortest first */
} candidates[] = {
	{ "x.cpython-311.pyc", { "x.py", "x.cpython-311.py" } },
	{ "x.pyc", { "x.py" } },
	{ "a.b.pyc", { "a.py", "a.b.py" } },
	{ "m.C.f-12.py311.nbi", { "m.py", "m.C.py", "m.C.f-12.py", } },
	{ ".x.pyc", { ".x.py" } },
	{ "build", { NULL } },
	{ ".hidden", { NULL } },
	{ "", { NULL } },
	{ ".", { NULL } },
};

static void a_name_knows_the_modules_it_may_belong_to(void **state)
{
	char module[NAME_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(candidates); i++) {
		for (unsigned j = 0; j < 3; j++) {
			const char *wanted = candidates[i].modules[j];

			if (!wanted) {
				assert_false(names_module(candidates[i].name, j,
							  module));
				break;
			}
			assert_true(names_module(candidates[i].name, j, module));
			assert_string_equal(module, wanted);
			assert_true(names_belongs(candidates[i].name, wanted));
		}
	}
}

static void a_module_too_long_to_be_named_is_none(void **state)
{
	char name[300], module[NAME_SIZE];

	(void)state;
	memset(name, 'a', 253);
	strcpy(name + 253, ".x");
	assert_false(names_module(name, 0, module));
	strcpy(name + 252, ".x");
	assert_true(names_module(name, 0, module));
	assert_int_equal(strlen(module), NAME_SIZE - 1);
}

static const struct {
	const char *name, *module;
	bool belongs;
} belonging[] = {
	{ "x.cpython-311.pyc", "x.py", true },
	{ "x.cpython-311.opt-1.pyc", "x.py", true },
	{ "x.cpython-311-pytest-7.2.1.pyc", "x.py", true },
	{ "x.cpython-311.pyc.140215", "x.py", true },
	{ "x.f-3.py311.1.nbc", "x.py", true },
	{ "xy.cpython-311.pyc", "x.py", false },
	{ "x", "x.py", false },
	{ "x.", "x.py", true },
	{ "x.pyc", "y.py", false },
	{ "x.pyc", "x.pyw", false },
	{ "x.pyc", ".py", false },
	{ "x.pyc", "x", false },
};

static void bytecode_belongs_to_the_module_it_is_named_after(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(belonging); i++)
		assert_int_equal(names_belongs(belonging[i].name,
					       belonging[i].module),
				 belonging[i].belongs);
}

static const struct {
	const char *name;
	enum name_use use;
} uses[] = {
	{ "x.cpython-311.pyc", NAME_CACHED },
	{ "x.pyc", NAME_CACHED },
	{ "x.pyo", NAME_CACHED },
	{ "x$py.class", NAME_CACHED },
	{ "x.f-3.py311.nbi", NAME_CACHED },
	{ "x.f-3.py311.1.nbc", NAME_CACHED },
	{ "x.cpython-311.pyc.140215", NAME_UNFINISHED },
	{ "x.f-3.py311.nbi.tmp.0123456789abcdef", NAME_UNFINISHED },
	{ "x.f-3.py311.1.nbc.tmp.0", NAME_UNFINISHED },
	{ "x.nbi.tmp.", NAME_OTHER },
	{ "x.nbi.tmp.xyz", NAME_OTHER },
	{ "x.tmp.0123", NAME_OTHER },
	{ "_cffi__x1.c", NAME_OTHER },
	{ "_cffi__x1.so", NAME_OTHER },
	{ "build", NAME_OTHER },
	{ ".pyc", NAME_OTHER },
	{ "", NAME_OTHER },
};

static void a_name_tells_what_can_be_made_anew(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(uses); i++)
		assert_int_equal(names_use(uses[i].name), uses[i].use);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_knows_the_modules_it_may_belong_to),
		cmocka_unit_test(a_module_too_long_to_be_named_is_none),
		cmocka_unit_test(bytecode_belongs_to_the_module_it_is_named_after),
		cmocka_unit_test(a_name_tells_what_can_be_made_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
