/*
 * A table for people: a title, and rows of a label and a value, at most 80 columns
 * wide, in colours where a terminal shows them.
 */
#ifndef PYCACHEFS_TABLE_H
#define PYCACHEFS_TABLE_H

#include <stdbool.h>
#include <stdio.h>

struct table {
	FILE *out;		/* borrowed */
	bool terminal, colours;
	bool begun;		/* something was printed */
};

enum table_tone { TABLE_PLAIN, TABLE_TITLE, TABLE_LABEL, TABLE_CAUTION, TABLE_ERROR };

/*
 * Colours are used when @out is a terminal, TERM says neither nothing nor "dumb", and
 * NO_COLOR is not set or empty.  A terminal gets no control characters from texts, nor
 * bytes that are none: they are shown as "\xNN".  Takes UTF-8 for what is printed, in this
 * process.
 */
void table_begin(struct table *ret, FILE *out);

/* Begins a part, behind an empty line unless it is the first. */
void table_title(struct table *table, const char *text);

/*
 * What is too wide goes on in further lines, where it is cut behind one of the
 * characters @breaks, or anywhere when there is none in a line.  No byte is left out
 * or added but for blanks at a cut.
 */
void table_row(struct table *table, enum table_tone tone, const char *label,
	       const char *breaks, const char *value);

/* The same for words, which are put together first and cut at blanks. */
void table_words(struct table *table, enum table_tone tone, const char *label,
		 const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
