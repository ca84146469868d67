/*
 * Writes the completions of a shell: a build-time program, which is not installed.
 *
 *     complete bash|zsh|fish FILE
 *
 * What can be completed comes from the tables that parse it (usage.h, opts.h), as data in
 * the shell's own syntax.  How it is completed is FILE, which is copied behind them.
 */
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "log.h"
#include "opts.h"
#include "usage.h"
#include "util.h"

/* The names by which FILE knows what stands behind a switch, or behind all of them. */
static const char *const values[] = {
	[USAGE_NOTHING] = "", [USAGE_DIRECTORY] = "directory", [USAGE_WORDS] = "words",
};
static const char *const arguments[] = {
	[USAGE_SOURCE] = "directory", [USAGE_COMMAND] = "command",
	[USAGE_MOUNTS] = "mount", [USAGE_PATHS] = "path",
};

/* Prints @text, with a backslash before each letter of @special and with @quote for
 * each single quote. */
static void put(const char *text, const char *special, const char *quote)
{
	for (; *text; text++) {
		if (*text == '\'') {
			fputs(quote, stdout);
			continue;
		}
		if (strchr(special, *text))
			putchar('\\');
		putchar(*text);
	}
}

/* Whether the metavar lists all values, as "hide|seed" does. */
static bool has_choices(const struct opts_word *word)
{
	return word->metavar && strchr(word->metavar, '|');
}

static void put_choices(const struct opts_word *word)
{
	for (const char *at = word->metavar; *at; at++)
		putchar(*at == '|' ? ' ' : *at);
}

/* ---------------------------------------------------------------------- bash */

static void bash_verb(const struct usage_verb *verb)
{
	printf("'%s')\n\t_argument='%s'\n\t_switches='", verb->name,
	       arguments[verb->argument]);
	for (const struct usage_switch *one = verb->switches; one->key; one++)
		if (one->help)
			printf("%s%s%s ", one->brief ? one->brief : "",
			       one->brief && one->word ? " " : "",
			       one->word ? one->word : "");
	printf("'\n\tcase $2 in\n");
	for (const struct usage_switch *one = verb->switches; one->key; one++)
		if (one->metavar)
			printf("\t%s%s%s) _value=%s ;;\n", one->brief ? one->brief : "",
			       one->brief && one->word ? "|" : "",
			       one->word ? one->word : "", values[one->value]);
	printf("\tesac\n\t;;\n");
}

static void bash(void)
{
	struct opts_word word;

	printf("_pycachefs_verbs='");
	for (size_t i = 1; usage_verbs[i]; i++)
		printf("%s ", usage_verbs[i]->name);
	printf("'\n\n_pycachefs_words='");
	for (size_t i = 0; opts_word(i, &word); i++)
		printf("%s ", word.word);
	printf("'\n\n"
	       "# Of verb $1 and its switch $2: sets _argument, _switches and _value.\n"
	       "_pycachefs_verb() {\n_value=\ncase $1 in\n");
	for (size_t i = 0; usage_verbs[i]; i++)
		bash_verb(usage_verbs[i]);
	printf("esac\n}\n\n"
	       "# Of word $1 of -o: sets _value and _choices.\n"
	       "_pycachefs_word() {\n_value=\n_choices=\ncase $1 in\n");
	for (size_t i = 0; opts_word(i, &word); i++) {
		if (word.directory)
			printf("%s) _value=directory ;;\n", word.word);
		if (!has_choices(&word))
			continue;
		printf("%s) _choices='", word.word);
		put_choices(&word);
		printf("' ;;\n");
	}
	printf("esac\n}\n");
}

/* ----------------------------------------------------------------------- zsh */

static void zsh_switch(const char *spelling, const struct usage_switch *one)
{
	static const char *const actions[] = {
		[USAGE_NOTHING] = "", [USAGE_DIRECTORY] = "_directories",
		[USAGE_WORDS] = "_pycachefs_options",
	};

	if (!spelling || !one->help)
		return;
	printf("\t'*%s[", spelling);
	put(one->help, ":[]\\", "'\\''");
	putchar(']');
	if (one->metavar)
		printf(":%s:%s", one->metavar, actions[one->value]);
	printf("'\n");
}

static void zsh_value(const struct opts_word *word)
{
	printf(":%s:", word->metavar ? word->metavar : "VALUE");
	if (has_choices(word)) {
		putchar('(');
		put_choices(word);
		putchar(')');
	} else {
		/* A blank: the value is the user's to find. */
		fputs(word->directory ? "_directories" : " ", stdout);
	}
}

static void zsh(void)
{
	static const char *const actions[] = {
		[USAGE_SOURCE] = "'1:source:_directories' '2:mountpoint:_directories'",
		[USAGE_COMMAND] = ("'(-)1:command:_command_names -e' "
				   "'*::arguments:_normal'"),
		[USAGE_MOUNTS] = "'*:mount:_pycachefs_mounts'",
		[USAGE_PATHS] = "'*:path:_files'",
	};
	struct opts_word word;

	printf("#compdef pycachefs\n\n_pycachefs_verbs=(\n");
	for (size_t i = 1; usage_verbs[i]; i++) {
		printf("\t'%s:", usage_verbs[i]->name);
		put(usage_verbs[i]->summary, "\\", "'\\''");
		printf("'\n");
	}
	printf(")\n\n# What _values takes.\n_pycachefs_words=(\n");
	for (size_t i = 0; opts_word(i, &word); i++) {
		int length = (int)strcspn(word.word, "=");

		printf("\t'*%.*s[", length, word.word);
		put(word.help ? word.help : "see mount(8)", ":[]\\", "'\\''");
		putchar(']');
		if (word.word[length])
			zsh_value(&word);
		printf("'\n");
	}
	printf(")\n\n# Sets specs of verb $1, as _arguments takes them.\n"
	       "_pycachefs_specs() {\ncase $1 in\n");
	for (size_t i = 0; usage_verbs[i]; i++) {
		printf("'%s') specs=(\n", usage_verbs[i]->name);
		for (const struct usage_switch *one = usage_verbs[i]->switches;
		     one->key; one++) {
			zsh_switch(one->brief, one);
			zsh_switch(one->word, one);
		}
		printf("\t%s\n) ;;\n", actions[usage_verbs[i]->argument]);
	}
	printf("esac\n}\n");
}

/* ---------------------------------------------------------------------- fish */

static void fish_verb(const struct usage_verb *verb)
{
	for (const struct usage_switch *one = verb->switches; one->key; one++) {
		if (!one->help)
			continue;
		printf("complete -c pycachefs -n '__pycachefs_takes \"%s\"'", verb->name);
		if (one->brief)
			printf(" -s %s", one->brief + 1);
		if (one->word)
			printf(" -l %s", one->word + 2);
		if (one->metavar)
			printf(" -x -a '(__pycachefs_%s)'", values[one->value]);
		printf(" -d '");
		put(one->help, "\\", "\\'");
		printf("'\n");
	}
	printf("complete -c pycachefs -n '__pycachefs_is \"%s\"' -k -a '(__pycachefs_%s)'\n",
	       verb->name, arguments[verb->argument]);
}

static void fish_word(const struct opts_word *word)
{
	int length = (int)strcspn(word->word, "=");

	printf(" '%s\\t", word->word);
	put(word->help ? word->help : "see mount(8)", "\\", "\\'");
	putchar('\'');
	/* Each value is a word of its own. */
	if (!has_choices(word))
		return;
	for (const char *at = word->metavar; *at; at += *at == '|') {
		size_t value = strcspn(at, "|");

		printf(" '%.*s=", length, word->word);
		fwrite(at, 1, value, stdout);
		putchar('\'');
		at += value;
	}
}

/* The switches whose value is the next word. */
static void fish_valued(const struct usage_verb *verb)
{
	for (const struct usage_switch *one = verb->switches; one->key; one++)
		if (one->metavar)
			printf("%s%s%s%s", one->brief ? " " : "",
			       one->brief ? one->brief : "", one->word ? " " : "",
			       one->word ? one->word : "");
}

static void fish(void)
{
	struct opts_word word;

	printf("set -g __pycachefs_verbs");
	for (size_t i = 1; usage_verbs[i]; i++)
		printf(" %s", usage_verbs[i]->name);
	printf("\nset -g __pycachefs_valued");
	for (size_t i = 0; usage_verbs[i]; i++)
		fish_valued(usage_verbs[i]);
	printf("\nset -g __pycachefs_options");
	for (size_t i = 0; opts_word(i, &word); i++)
		fish_word(&word);
	printf("\nset -g __pycachefs_paths");
	for (size_t i = 0; opts_word(i, &word); i++)
		if (word.directory)
			printf(" %s", word.word);
	printf("\n\ncomplete -c pycachefs -f\n");
	for (size_t i = 1; usage_verbs[i]; i++) {
		printf("complete -c pycachefs -n __pycachefs_is_first -a %s -d '",
		       usage_verbs[i]->name);
		put(usage_verbs[i]->summary, "\\", "\\'");
		printf("'\n");
	}
	for (size_t i = 0; usage_verbs[i]; i++)
		fish_verb(usage_verbs[i]);
}

/* -------------------------------------------------------------- the program */

static int copy(const char *path)
{
	FILE *file = fopen(path, "re");
	int letter;

	if (!file) {
		complain("'%s': %s", path, strerror(errno));
		return EXIT_NOT_DONE;
	}
	putchar('\n');
	while ((letter = getc(file)) != EOF)
		putchar(letter);
	fclose(file);
	return fflush(stdout) || ferror(stdout) ? EXIT_NOT_DONE : EXIT_DONE;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*write)(void);
	} shells[] = {
		{ "bash", bash }, { "zsh", zsh }, { "fish", fish },
	};

	for (size_t i = 0; argc == 3 && i < ARRAY_SIZE(shells); i++) {
		if (strcmp(argv[1], shells[i].name) != 0)
			continue;
		shells[i].write();
		return copy(argv[2]);
	}
	complain("usage: complete bash|zsh|fish FILE");
	return EXIT_USAGE;
}
