# How bash completes pycachefs.  What there is to complete stands above, where the
# installed file has it.

_pycachefs_mounts() {
	local point type
	while read -r _ point type _; do
		# The kernel writes a blank as \040.
		if [[ $type == fuse.pycachefs ]]; then
			printf '%b\n' "$point"
		fi
	done </proc/self/mounts
}

# Offers the lines of standard input with $1 before each.  What readline replaces is
# the part behind the last character that breaks words, so the rest is left out.
_pycachefs_offer() {
	local line kept=
	if [[ $COMP_WORDBREAKS == *=* && $_cur == *[=:]* ]]; then
		kept=${_cur%"${_cur##*[=:]}"}
	fi
	while IFS= read -r line; do
		line=$1$line
		COMPREPLY+=("${line#"$kept"}")
	done
}

# compopt fails outside of a completion.
_pycachefs_shell_option() {
	compopt "$@" 2>/dev/null || true
}

# Directories that begin with $1, each with $2 before it.
_pycachefs_directories() {
	_pycachefs_shell_option -o filenames -o dirnames
	_pycachefs_offer "$2" < <(compgen -d -- "$1")
}

# The last of the words that commas separate in $1, each with $2 before it.
_pycachefs_options() {
	local last=${1##*,} name
	local before=$2${1%"$last"}
	if [[ $last != *=* ]]; then
		_pycachefs_offer "$before" < <(compgen -W "$_pycachefs_words" -- "$last")
		if [[ ${COMPREPLY[0]-} == *= ]]; then
			_pycachefs_shell_option -o nospace
		fi
		return
	fi
	name=${last%%=*}=
	_pycachefs_word "$name"
	if [[ $_value == directory ]]; then
		_pycachefs_directories "${last#*=}" "$before$name"
	elif [[ $_choices ]]; then
		_pycachefs_offer "$before$name" < <(compgen -W "$_choices" -- "${last#*=}")
	fi
}

# A value of kind $1 that begins with $2, with $3 before it.
_pycachefs_complete_value() {
	case $1 in
	directory) _pycachefs_directories "$2" "$3" ;;
	words) _pycachefs_options "$2" "$3" ;;
	esac
}

# A command whose first word is number $1 of all words, and number $2 of bash's.
_pycachefs_command() {
	if declare -F _comp_command_offset >/dev/null; then
		_comp_command_offset "$2"
	elif declare -F _command_offset >/dev/null; then
		_command_offset "$2"
	elif ((${#_words[@]} - 1 == $1)); then
		_pycachefs_offer '' < <(compgen -c -- "$_cur")
	else
		_pycachefs_shell_option -o filenames -o default
		_pycachefs_offer '' < <(compgen -f -- "$_cur")
	fi
}

# Sets _words, in which what bash cuts at = and : is whole again, and _starts: where
# each begins among bash's words.
_pycachefs_join() {
	local i word breaks=false
	_words=() _starts=()
	for ((i = 0; i <= COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		if [[ $word =~ ^[=:]+$ ]] && ((i > 1)); then
			_words[-1]+=$word
			breaks=true
			continue
		fi
		if $breaks && [[ $word ]]; then
			_words[-1]+=$word
		else
			_words+=("$word")
			_starts+=("$i")
		fi
		breaks=false
	done
	_cur=${_words[-1]}
}

_pycachefs() {
	local _words _starts _cur _argument _switches _value _choices
	local verb='' value='' rest=false at first=1 last

	COMPREPLY=()
	_pycachefs_join
	last=$((${#_words[@]} - 1))
	if ((last > 1)) && [[ " $_pycachefs_verbs" == *" ${_words[1]} "* ]]; then
		verb=${_words[1]} first=2
	fi
	for ((at = first; at < last; at++)); do
		_pycachefs_verb "$verb" "${_words[at]}"
		value=$_value
		if [[ ${_words[at]} == -- ]]; then
			rest=true at=$((at + 1))
			break
		elif [[ $value ]]; then
			at=$((at + 1))
		elif [[ ${_words[at]} != -* && $_argument == command ]]; then
			rest=true
			break
		fi
	done
	_pycachefs_verb "$verb" "${_cur%%=*}"
	# Of the last of them, unless it is the word before this one, the value is given.
	if [[ $value ]] && ((at > last)); then
		_pycachefs_complete_value "$value" "$_cur" ''
	elif ! $rest && [[ $_value && $_cur == --*=* ]]; then
		_pycachefs_complete_value "$_value" "${_cur#*=}" "${_cur%%=*}="
	elif ! $rest && [[ $_cur == -* ]]; then
		_pycachefs_offer '' < <(compgen -W "$_switches" -- "$_cur")
	else
		if ((last == 1)); then
			_pycachefs_offer '' < <(compgen -W "$_pycachefs_verbs" -- "$_cur")
		fi
		case $_argument in
		directory) _pycachefs_directories "$_cur" '' ;;
		command) _pycachefs_command "$at" "${_starts[at]}" ;;
		mount)
			_pycachefs_shell_option -o filenames
			_pycachefs_offer '' < <(_pycachefs_mounts | while IFS= read -r point; do
				[[ $point != "$_cur"* ]] || printf '%s\n' "$point"
			done)
			;;
		path)
			_pycachefs_shell_option -o filenames -o default
			_pycachefs_offer '' < <(compgen -f -- "$_cur")
			;;
		esac
	fi
}

complete -F _pycachefs pycachefs
