"""The completion scripts of bash, zsh and fish, made from the words of `web.cli.completion_words`.

Each walks over what stands on the line already: which command it is, whether the last option waits for its value, how
many arguments were given. Names are asked for with the options that choose site and person (`--as`, …), as typed.
Nothing that the daemon answers is ever evaluated by the shell.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from web.cli.completion_words import Words

_ABOUT: Final = "# Completion of strongroom's command line; written by `strongroom completion {shell}`.\n"

#: `case` tables read the same in bash and zsh.
_TABLES: Final = """
_strongroom_commands() {
  case "$1" in
{commands}
  esac
}
_strongroom_options() {
  case "$1" in
{options}
  esac
}
_strongroom_value() {
  case "$1 $2" in
{values}
  esac
}
_strongroom_argument() {
  case "$1 $2" in
{arguments}
  esac
}
# Finds out what is wanted after the words given: a kind of name, file, free, =WORDS, or next (a command).
# Options that choose site and person are left in _strongroom_chosen.
_strongroom_wanted() {
  local at="" waits="" chosen="" kind count=0 word
  _strongroom_chosen=()
  for word in "$@"; do
    if [[ -n "$waits" ]]; then
      [[ "$word" == "=" ]] && continue
      [[ -n "$chosen" ]] && _strongroom_chosen+=("$chosen" "$word")
      waits="" chosen=""
    elif [[ "$word" == -* ]]; then
      kind="$(_strongroom_value "$at" "${word%%=*}")"
      [[ -z "$kind" ]] && kind="$(_strongroom_value "" "${word%%=*}")"
      if [[ -n "$kind" && "$word" != *=* ]]; then
        waits="$kind"
        case "$word" in {chosen}) chosen="$word" ;; esac
      fi
    elif [[ -n "$(_strongroom_options "${at:+$at }$word")" ]]; then
      at="${at:+$at }$word" count=0
    else
      count=$((count + 1))
    fi
  done
  if [[ -n "$waits" ]]; then
    _strongroom_kind="$waits"
  elif [[ -n "$(_strongroom_commands "$at")" ]]; then
    _strongroom_kind="next"
  else
    _strongroom_kind="$(_strongroom_argument "$at" "$count")"
  fi
  _strongroom_at="$at" _strongroom_waits="$waits"
}
"""

_BASH: Final = r"""
_strongroom() {
  local cur="${COMP_WORDS[COMP_CWORD]}" name words=""
  local _strongroom_kind _strongroom_at _strongroom_waits _strongroom_chosen
  _strongroom_wanted "${COMP_WORDS[@]:1:COMP_CWORD-1}"
  COMPREPLY=()
  [[ "$cur" == "=" ]] && cur=""
  if [[ -z "$_strongroom_waits" && "$cur" == -* ]]; then
    words="$(_strongroom_options "$_strongroom_at") $(_strongroom_options "")"
  else
    case "$_strongroom_kind" in
      next) words="$(_strongroom_commands "$_strongroom_at")" ;;
      "="*) words="${_strongroom_kind#=}" ;;
      file)
        compopt -o filenames 2>/dev/null
        while IFS= read -r name; do COMPREPLY+=("$name"); done < <(compgen -f -- "$cur")
        return ;;
      free | "") return ;;
      *)
        while IFS= read -r name; do
          [[ "$name" == "$cur"* ]] && COMPREPLY+=("$name")
        done < <(command strongroom "${_strongroom_chosen[@]}" completion names "$_strongroom_kind" 2>/dev/null)
        return ;;
    esac
  fi
  for name in $words; do [[ "$name" == "$cur"* ]] && COMPREPLY+=("$name"); done
}
complete -F _strongroom strongroom
"""

_ZSH: Final = r"""
_strongroom() {
  local -a found
  local _strongroom_kind _strongroom_at _strongroom_waits
  local -a _strongroom_chosen
  _strongroom_wanted "${(@)words[2,CURRENT-1]}"
  if [[ -z "$_strongroom_waits" && "${words[CURRENT]}" == -* ]]; then
    found=(${=$(_strongroom_options "$_strongroom_at")} ${=$(_strongroom_options "")})
  else
    case "$_strongroom_kind" in
      next) found=(${=$(_strongroom_commands "$_strongroom_at")}) ;;
      "="*) found=(${=_strongroom_kind#=}) ;;
      file) _files; return ;;
      free | "") return 1 ;;
      *)
        found=("${(@f)$(command strongroom "${_strongroom_chosen[@]}" \
          completion names "$_strongroom_kind" 2>/dev/null)}")
        ;;
    esac
  fi
  compadd -a found
}
if [[ "${funcstack[1]}" == "_strongroom" ]]; then
  _strongroom "$@"
else
  compdef _strongroom strongroom
fi
"""

_FISH: Final = r"""
function __strongroom_options
    switch "$argv[1]"
{options}
    end
end
function __strongroom_commands
    switch "$argv[1]"
{commands}
    end
end
function __strongroom_value
    switch "$argv[1] $argv[2]"
{values}
    end
end
function __strongroom_argument
    switch "$argv[1] $argv[2]"
{arguments}
    end
end
function __strongroom_complete
    set -l cur (commandline -ct)
    set -l before (commandline -opc)
    set -e before[1]
    set -l at ""
    set -l waits ""
    set -l chosen
    set -l count 0
    set -l chooses ""
    for word in $before
        set -l further (string trim "$at $word")
        if test -n "$waits"
            test -n "$chooses"; and set -a chosen $chooses $word
            set waits ""
            set chooses ""
        else if string match -q -- '-*' "$word"
            set -l option (string split -m1 = -- "$word")[1]
            set -l kind (__strongroom_value "$at" "$option")
            test -z "$kind"; and set kind (__strongroom_value "" "$option")
            if test -n "$kind"; and not string match -q -- '*=*' "$word"
                set waits $kind
                contains -- "$option" {chosen}; and set chooses $option
            end
        else if test -n "$(__strongroom_options "$further")"
            set at $further
            set count 0
        else
            set count (math $count + 1)
        end
    end
    set -l kind $waits
    if test -z "$kind"
        if string match -q -- '-*' "$cur"
            __strongroom_options "$at"
            __strongroom_options ""
            return
        end
        if test -n "$(__strongroom_commands "$at")"
            __strongroom_commands "$at"
            return
        end
        set kind (__strongroom_argument "$at" "$count")
    end
    switch "$kind"
        case file
            __fish_complete_path "$cur"
        case free ''
            return
        case '=*'
            string split ' ' -- (string sub -s 2 -- "$kind")
        case '*'
            command strongroom $chosen completion names $kind 2>/dev/null
    end
end
complete -c strongroom -f -a '(__strongroom_complete)'
"""

#: Options whose value a question for names needs as well.
_CHOOSING: Final = ("--url", "--data", "--ca-file", "--config", "--as")


def script(shell: str, words: Iterable[Words]) -> str:
    """The script for `bash`, `zsh` or `fish`."""
    known = list(words)
    about = _ABOUT.format(shell=shell)
    if shell == "fish":
        filled = _fill(_FISH, known, _fish_case, " ".join(_CHOOSING))
        return about + filled
    main = _BASH if shell == "bash" else _ZSH
    head = "#compdef strongroom\n" if shell == "zsh" else ""
    return head + about + _fill(_TABLES, known, _posix_case, " | ".join(_CHOOSING)) + main


def _fill(text: str, words: Sequence[Words], case: Callable[[str, str], str], chosen: str) -> str:
    values = {f"{one.path} {option}": kind for one in words for option, kind in one.values.items()}
    arguments = {f"{one.path} {nth}": kind for one in words for nth, kind in enumerate(one.arguments)}
    # The last kind goes on where an argument may be repeated (`policy check FILE…`, `guest exec … COMMAND…`).
    arguments |= {
        f"{one.path} {nth}": one.arguments[-1]
        for one in words if one.path == "policy check"
        for nth in range(len(one.arguments), 10)
    }  # fmt: skip
    tables: Mapping[str, Mapping[str, str]] = {
        "commands": {one.path: " ".join(one.commands) for one in words if one.commands},
        "options": {one.path: " ".join(one.options) for one in words},
        "values": values,
        "arguments": arguments,
    }
    for name, table in tables.items():
        text = text.replace(f"{{{name}}}", "\n".join(case(key, value) for key, value in table.items()))
    return text.replace("{chosen}", chosen)


def _posix_case(key: str, value: str) -> str:
    return f'    "{key}") echo "{value}" ;;'


def _fish_case(key: str, value: str) -> str:
    # A kind is one word; a list is one word a line.
    printed = f'echo "{value}"' if value.startswith("=") or " " not in value else f"printf '%s\\n' {value}"
    return f'        case "{key}"\n            {printed}'
