/*
 * Bytes as text for JSON.  See text.h.
 */
#include "text.h"

#include <ctype.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

/*
 * The length of the UTF-8 sequence that begins here, 0 when none does.  The bounds of
 * its second byte are those of RFC 3629, section 4: no surrogates, nothing overlong,
 * nothing above U+10FFFF.
 */
static size_t sequence_length(const unsigned char *at)
{
	static const struct {
		unsigned char first, last, low, high;
		size_t length;
	} kinds[] = {
		{ 0x01, 0x7f, 0, 0, 1 },
		{ 0xc2, 0xdf, 0x80, 0xbf, 2 },
		{ 0xe0, 0xe0, 0xa0, 0xbf, 3 },
		{ 0xe1, 0xec, 0x80, 0xbf, 3 },
		{ 0xed, 0xed, 0x80, 0x9f, 3 },
		{ 0xee, 0xef, 0x80, 0xbf, 3 },
		{ 0xf0, 0xf0, 0x90, 0xbf, 4 },
		{ 0xf1, 0xf3, 0x80, 0xbf, 4 },
		{ 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		size_t length = kinds[i].length;

		if (*at < kinds[i].first || *at > kinds[i].last)
			continue;
		if (length > 1 && (at[1] < kinds[i].low || at[1] > kinds[i].high))
			return 0;
		/* The NUL at the end is no such byte, so nothing past it is read. */
		for (size_t j = 2; j < length; j++)
			if ((at[j] & 0xc0) != 0x80)
				return 0;
		return length;
	}
	return 0;
}

char *text_escape(const char *bytes)
{
	const unsigned char *from = (const unsigned char *)bytes;
	/* At worst four characters for a byte. */
	char *result = malloc(strlen(bytes) * 4 + 1), *to = result;

	if (!result)
		return NULL;
	while (*from) {
		size_t length = *from == '\\' ? 0 : sequence_length(from);

		if (!length)
			to += sprintf(to, "\\x%02x", *from);
		to = mempcpy(to, from, length);
		from += length ? length : 1;
	}
	*to = '\0';
	return result;
}

char *text_unescape(const char *text)
{
	char *result = malloc(strlen(text) + 1), *to = result;

	if (!result)
		return NULL;
	while (*text) {
		if (text[0] == '\\' && text[1] == 'x' &&
		    isxdigit((unsigned char)text[2]) &&
		    isxdigit((unsigned char)text[3])) {
			char digits[] = { text[2], text[3], '\0' };

			*to++ = (char)strtoul(digits, NULL, 16);
			text += 4;
		} else {
			*to++ = *text++;
		}
	}
	*to = '\0';
	return result;
}

const char *text_size(uint64_t bytes, char ret[TEXT_SIZE])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double value = (double)bytes;
	size_t unit = 0;

	/* What would be rounded to 1024.0 has a better unit. */
	while (value >= (unit ? 1023.95 : 1024) && unit + 1 < ARRAY_SIZE(units)) {
		value /= 1024;
		unit++;
	}
	snprintf(ret, TEXT_SIZE, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
	return ret;
}
