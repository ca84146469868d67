# How zsh completes pycachefs.  What there is to complete stands above, where the
# installed file has it.

_pycachefs_mounts() {
	local -a points
	local name point type rest
	while read -r name point type rest; do
		# The kernel writes a blank as \040.
		[[ $type == fuse.pycachefs ]] && points+=("${(g:o:)point}")
	done </proc/self/mounts
	_wanted mounts expl mount compadd -a points
}

_pycachefs_options() {
	_values -s , option $_pycachefs_words
}

_pycachefs() {
	local -a specs
	if (( CURRENT > 2 )) && [[ -n ${(M)_pycachefs_verbs:#$words[2]:*} ]]; then
		_pycachefs_specs $words[2]
		shift words
		(( CURRENT-- ))
	else
		_pycachefs_specs ''
		(( CURRENT == 2 )) && _describe -t verbs verb _pycachefs_verbs
	fi
	_arguments -S -s $specs
}

_pycachefs "$@"
