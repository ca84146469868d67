/*
 * Python's marshal format (Python/marshal.c, r_object()), gone through without
 * building anything: an interpreter that meets a cut file raises EOFError where it
 * would otherwise compile.
 */
#include "marshal.h"

#include <stdint.h>

enum {
	/* An interpreter stops at 2,000 or earlier. */
	MAX_DEPTH = 1000,
	FLAG_REF = 0x80,
};

/* How CPython 3.x lays out a code object: numbers, objects, a number, objects. */
struct layout {
	int since;		/* minor version */
	unsigned numbers, objects, more_objects;
};

static const struct layout layouts[] = {
	{ 11, 5, 8, 2 },	/* localsplusnames, qualname, exceptiontable */
	{ 8, 6, 8, 1 },		/* posonlyargcount */
	{ 0, 5, 8, 1 },
};

struct reader {
	const unsigned char *at, *end;
	const struct layout *layout;
};

static bool skip(struct reader *reader, uint64_t size)
{
	if ((uint64_t)(reader->end - reader->at) < size)
		return false;
	reader->at += size;
	return true;
}

/* A number of @size bytes, 1 or 4; those of 4 have a sign. */
static bool read_number(struct reader *reader, int size, int64_t *ret)
{
	const unsigned char *at = reader->at;

	if (!skip(reader, (uint64_t)size))
		return false;
	if (size == 1)
		*ret = at[0];
	else
		*ret = (int32_t)((uint32_t)at[0] | (uint32_t)at[1] << 8 |
				 (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24);
	return true;
}

static bool skip_object(struct reader *reader, int depth);

static bool skip_objects(struct reader *reader, int64_t count, int depth)
{
	for (int64_t i = 0; i < count; i++)
		if (!skip_object(reader, depth))
			return false;
	return count >= 0;
}

/* Text that follows its length. */
static bool skip_text(struct reader *reader, int length_size)
{
	int64_t length;

	return read_number(reader, length_size, &length) && length >= 0 &&
		skip(reader, (uint64_t)length);
}

static bool skip_tuple(struct reader *reader, int count_size, int depth)
{
	int64_t count;

	return read_number(reader, count_size, &count) &&
		skip_objects(reader, count, depth);
}

/* Digits of 15 bits, 2 bytes each; the count has the number's sign. */
static bool skip_long(struct reader *reader)
{
	int64_t digits;

	if (!read_number(reader, 4, &digits))
		return false;
	return skip(reader, 2 * (uint64_t)(digits < 0 ? -digits : digits));
}

static bool skip_code(struct reader *reader, int depth)
{
	const struct layout *layout = reader->layout;

	return skip(reader, 4 * (uint64_t)layout->numbers) &&
		skip_objects(reader, layout->objects, depth) && skip(reader, 4) &&
		skip_objects(reader, layout->more_objects, depth);
}

static bool skip_object(struct reader *reader, int depth)
{
	int64_t type;

	if (depth > MAX_DEPTH || !read_number(reader, 1, &type))
		return false;
	switch (type & ~FLAG_REF) {
	case 'N': case 'F': case 'T': case 'S': case '.':
		return true;
	case 'i': case 'r':
		return skip(reader, 4);
	case 'g':
		return skip(reader, 8);
	case 'y':
		return skip(reader, 16);
	case 'l':
		return skip_long(reader);
	case 's': case 't': case 'u': case 'a': case 'A':
		return skip_text(reader, 4);
	case 'z': case 'Z':
		return skip_text(reader, 1);
	case '(': case '<': case '>':
		return skip_tuple(reader, 4, depth + 1);
	case ')':
		return skip_tuple(reader, 1, depth + 1);
	case ':':
		/* A slice, since 3.14. */
		return skip_objects(reader, 3, depth + 1);
	case 'c':
		return skip_code(reader, depth + 1);
	default:
		/* Lists, dictionaries and old numbers are in no code. */
		return false;
	}
}

bool marshal_is_code(const unsigned char *data, size_t size, int minor)
{
	struct reader reader = { .at = data, .end = data + size, .layout = layouts };

	while (minor < reader.layout->since)
		reader.layout++;
	return size > 0 && (*data & ~FLAG_REF) == 'c' && skip_object(&reader, 0) &&
		reader.at == reader.end;
}
