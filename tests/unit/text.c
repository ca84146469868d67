/*
 * Bytes as text: what JSON can't hold is escaped, and nothing is lost by it.
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "text.h"

static void assert_there_and_back(const char *bytes)
{
	char *text = text_escape(bytes), *back;

	assert_non_null(text);
	back = text_unescape(text);
	assert_non_null(back);
	assert_string_equal(back, bytes);
	free(text);
	free(back);
}

static void text_stays_and_the_rest_is_escaped(void **state)
{
	static const struct {
		const char *bytes, *text;
	} cases[] = {
		{ "", "" }, { "plain", "plain" }, { "\n\t\x01\x7f", "\n\t\x01\x7f" },
		/* The first and last sequence of each length, and what is beyond. */
		{ "\xc2\x80\xdf\xbf", "\xc2\x80\xdf\xbf" },
		{ "\xe0\xa0\x80\xef\xbf\xbf", "\xe0\xa0\x80\xef\xbf\xbf" },
		{ "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf" },
		{ "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80" },
		{ "\xf5", "\\xf5" }, { "\x80", "\\x80" },
		/* Longer than need be, and halves of pairs. */
		{ "\xc0\xaf", "\\xc0\\xaf" }, { "\xe0\x9f\xbf", "\\xe0\\x9f\\xbf" },
		{ "\xf0\x8f\xbf\xbf", "\\xf0\\x8f\\xbf\\xbf" },
		{ "\xed\x9f\xbf", "\xed\x9f\xbf" },
		{ "\xed\xa0\x80", "\\xed\\xa0\\x80" },
		/* Cut short, by the end or by another. */
		{ "\xe2\x82", "\\xe2\\x82" }, { "\xe2", "\\xe2" },
		{ "\xe2\x82\xc3\xa9", "\\xe2\\x82\xc3\xa9" },
		{ "\xf0\x9f\x90x", "\\xf0\\x9f\\x90x" },
		{ "\\", "\\x5c" }, { "\\x41", "\\x5cx41" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *text = text_escape(cases[i].bytes);

		assert_non_null(text);
		assert_string_equal(text, cases[i].text);
		free(text);
		assert_there_and_back(cases[i].bytes);
	}
}

static void any_two_bytes_come_back(void **state)
{
	char bytes[4] = "";

	(void)state;
	for (int first = 1; first < 256; first++) {
		for (int second = 0; second < 256; second++) {
			bytes[0] = (char)first;
			bytes[1] = (char)second;
			assert_there_and_back(bytes);
		}
	}
}

static void what_is_no_escape_stays(void **state)
{
	static const char *const texts[] = {
		"\\", "\\x", "\\xg1", "\\x4", "\\x 4", "\\x+4", "\\n", "x41",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		char *bytes = text_unescape(texts[i]);

		assert_non_null(bytes);
		assert_string_equal(bytes, texts[i]);
		free(bytes);
	}
}

static void sizes_are_in_the_unit_that_people_use(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} rows[] = {
		{ 0, "0 B" }, { 1, "1 B" }, { 1023, "1023 B" }, { 1024, "1.0 KiB" },
		{ 1536, "1.5 KiB" }, { 1048575, "1.0 MiB" }, { 1 << 20, "1.0 MiB" },
		{ UINT64_C(5) << 30, "5.0 GiB" }, { UINT64_C(3) << 40, "3.0 TiB" },
		{ UINT64_C(5) << 50, "5120.0 TiB" },
	};
	char size[TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_string_equal(text_size(rows[i].bytes, size), rows[i].text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_stays_and_the_rest_is_escaped),
		cmocka_unit_test(any_two_bytes_come_back),
		cmocka_unit_test(what_is_no_escape_stays),
		cmocka_unit_test(sizes_are_in_the_unit_that_people_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
