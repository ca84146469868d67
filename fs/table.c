/*
 * A table for people.  See table.h.
 */
#include "table.h"

#include <locale.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "util.h"

enum { COLUMNS = 80, INDENT = 2, LABEL = 12 };

void table_begin(struct table *ret, FILE *out)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	*ret = (struct table){ .out = out };
	ret->terminal = isatty(fileno(out));
	ret->colours = ret->terminal && !(no_color && *no_color) &&
		term && *term && strcmp(term, "dumb") != 0;
	/* For the width of characters; without it each byte counts as one column,
	 * which only cuts too early. */
	setlocale(LC_CTYPE, "C.UTF-8");
}

static void paint(const struct table *table, enum table_tone tone, bool on)
{
	static const char *const codes[] = {
		[TABLE_PLAIN] = "", [TABLE_TITLE] = "\033[1m", [TABLE_LABEL] = "\033[36m",
		[TABLE_CAUTION] = "\033[33m", [TABLE_ERROR] = "\033[31m",
	};

	if (table->colours && tone != TABLE_PLAIN)
		fputs(on ? codes[tone] : "\033[0m", table->out);
}

/* How many bytes the character at @text has, and how many columns it takes.  What shows
 * nothing, or is none, has one byte and -1 columns. */
static size_t measure(const char *text, int *ret_columns)
{
	mbstate_t state = { 0 };
	wchar_t wide;
	size_t length = mbrtowc(&wide, text, strlen(text), &state);

	*ret_columns = -1;
	if (length == (size_t)-1 || length == (size_t)-2 || length == 0)
		return 1;
	*ret_columns = wcwidth(wide);
	return *ret_columns < 0 ? 1 : length;
}

/* @text without what a terminal would take for a command.  The caller frees it; NULL
 * when memory is short. */
static char *printable(const char *text)
{
	/* At worst four characters for a byte. */
	char *result = malloc(strlen(text) * 4 + 1), *to = result;

	while (result && *text) {
		int columns;
		size_t length = measure(text, &columns);

		if (columns < 0)
			to += sprintf(to, "\\x%02x", (unsigned char)*text);
		else
			to = mempcpy(to, text, length);
		text += length;
	}
	if (result)
		*to = '\0';
	return result;
}

/* How many bytes of @text make the next line of @room columns. */
static size_t cut(const char *text, int room, const char *breaks)
{
	size_t at = 0, good = 0;

	while (text[at]) {
		int columns;
		size_t length = measure(text + at, &columns);

		if (columns < 0)
			columns = 1;
		if (columns > room)
			return good ? good : at;
		room -= columns;
		at += length;
		if (length == 1 && strchr(breaks, text[at - 1]))
			good = at;
	}
	return at;
}

/* Prints @text in lines of @room columns, those behind the first after @indent. */
static void print_wrapped(const struct table *table, enum table_tone tone, int indent,
			  const char *breaks, const char *bytes)
{
	_cleanup_free_ char *safe = table->terminal ? printable(bytes) : NULL;
	const char *text = !table->terminal ? bytes : safe ? safe : "?";

	for (bool first = true; first || *text; first = false) {
		size_t length = cut(text, COLUMNS - indent, breaks), shown = length;

		if (!first)
			fprintf(table->out, "%*s", indent, "");
		/* Blanks at the end of a line show nothing. */
		while (text[length] && shown > 0 && text[shown - 1] == ' ' &&
		       strchr(breaks, ' '))
			shown--;
		paint(table, tone, true);
		fwrite(text, 1, shown, table->out);
		paint(table, tone, false);
		putc('\n', table->out);
		text += length;
	}
}

void table_title(struct table *table, const char *text)
{
	if (table->begun)
		putc('\n', table->out);
	table->begun = true;
	print_wrapped(table, TABLE_TITLE, 0, "/", text);
}

void table_row(struct table *table, enum table_tone tone, const char *label,
	       const char *breaks, const char *value)
{
	fprintf(table->out, "%*s", INDENT, "");
	paint(table, TABLE_LABEL, true);
	fprintf(table->out, "%-*s", LABEL, label);
	paint(table, TABLE_LABEL, false);
	print_wrapped(table, tone, INDENT + LABEL, breaks, value);
}

void table_words(struct table *table, enum table_tone tone, const char *label,
		 const char *format, ...)
{
	_cleanup_free_ char *value = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&value, format, args) < 0)
		value = NULL;
	va_end(args);
	table_row(table, tone, label, " ", value ? value : "?");
}
