"""`circuitwatch completion`: what a shell needs to complete commands, options and names.

The shell's part is a short script (`SCRIPTS`). At each press of the tab key it starts
`circuitwatch completion words` with the words of the line on standard input, one a line, the last
being the one that is completed; what that prints are the candidates (`candidates`), each with a
space behind it where the word is done. No torch is imported, nor Hydra unless an option's name or
value is asked for.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from circuitwatch.cli.command import COMMANDS, Command, load
from circuitwatch.errors import UserError, meant
from circuitwatch.limits import shown

ASK = "words"
"""What the scripts call this command with instead of a shell's name."""
BASH = """\
# circuitwatch for bash. Put into ~/.bashrc:  eval "$(circuitwatch completion bash)"
_circuitwatch() {
    local line="${COMP_LINE:0:COMP_POINT}" word cut="" begin mark one
    local -a words
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    word="${words[${#words[@]}-1]}"
    # Bash takes what follows the last = or : for the word.
    for mark in = :; do
        if [[ $COMP_WORDBREAKS == *"$mark"* && $word == *"$mark"* ]]; then
            begin="${word%"${word##*"$mark"}"}"
            [[ ${#begin} -gt ${#cut} ]] && cut="$begin"
        fi
    done
    COMPREPLY=()
    while IFS= read -r one; do
        COMPREPLY+=("${one#"$cut"}")
    done < <(printf '%s\\n' "${words[@]:1}" | "${words[0]/#\\~/$HOME}" completion words 2>/dev/null)
}
complete -o nospace -F _circuitwatch circuitwatch
"""
ZSH = """\
# circuitwatch for zsh. Put into ~/.zshrc:  eval "$(circuitwatch completion zsh)"
_circuitwatch() {
    local -a candidates
    candidates=("${(@f)$(print -rl -- "${(@)words[2,CURRENT-1]}" "$PREFIX" \\
        | "${words[1]/#\\~/$HOME}" completion words 2>/dev/null)}")
    candidates=("${(@)candidates:#}")
    (( $#candidates )) && compadd -Q -S '' -- "${(@)candidates}"
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _circuitwatch circuitwatch
"""
FISH = """\
# circuitwatch for fish. Put into ~/.config/fish/config.fish:  circuitwatch completion fish | source
function __circuitwatch_candidates
    set -l words (commandline -opc) (commandline -ct)
    set -l program (string replace -r '^~' $HOME -- $words[1])
    printf '%s\\n' $words[2..-1] | $program completion words 2>/dev/null | string trim --right
end
complete -c circuitwatch -f -a '(__circuitwatch_candidates)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
FLAGS = ("-m", "--multirun", "--cfg", "--config-dir", "--help", "--version")
COMPOSED = ("watch", "train", "doctor", "prompts")
"""The commands that take the options of the configuration."""
MORE = {"prompts": ("show",)}
"""What these take besides."""
OFTEN = ("sweep", "seed", "device", "out", "follow", "hydra/launcher")
"""What is offered of the other options before a letter is written."""
FOLDERS = ("out", "to", "cell", "cache", "model.path", "checkpoints.folder")
FILES = ("from", "task.path", "task.counterfactual", "heads.text")
"""Options whose values are paths, to folders and to files."""
VALUES = {
    "json": ("true", "false"),
    "dry_run": ("true", "false"),
    "stages": ("join",),
}
"""Values of the other commands' options."""
MANY = ("from", "model", "task", "schedule", "circuit", "tracking", "seed")
"""Options that may have several values with commas between, whose last one is completed."""


def completion(arguments: list[str]) -> None:
    """Print a shell's script, or, for such a script, the candidates for the words of a line."""
    if arguments == [ASK]:
        words = sys.stdin.read().splitlines() or [""]
        with suppress(BrokenPipeError):  # the shell has gone on
            print("\n".join(candidates(words)), flush=True)
        return
    hint = f"give one of {', '.join(SCRIPTS)}"
    if len(arguments) != 1:
        raise UserError(f"{shown(' '.join(['completion', *arguments]))}: {hint}")
    (shell,) = arguments
    if shell not in SCRIPTS:
        raise UserError(f"completion {shown(shell)}: {meant(shell, SCRIPTS)}{hint}")
    print(SCRIPTS[shell], end="")


def candidates(words: Sequence[str]) -> list[str]:
    """What the last of some words may become: whole words, with a space behind those after which
    the next word comes. words: those after `circuitwatch`, the last as far as it is written.
    """
    *before, word = words
    name = before[0] if before and before[0] in COMMANDS else COMMANDS[0]
    if before and before[-1] in ("--config-dir", "-cd"):
        return _paths(word, only_folders=True)
    if before and before[-1] in ("--cfg", "-c"):
        return _matching(word, [f"{value} " for value in ("job", "hydra", "all")])
    if name == "completion":
        return _matching(word, [f"{shell} " for shell in SCRIPTS])
    if name == "models":
        return _matching(word, [f"{suite} " for suite in _suites(before)])
    if word.startswith("-") and name in COMPOSED:
        return _matching(word, [f"{flag} " for flag in FLAGS])
    key, equals, value = word.partition("=")
    if equals:
        return [f"{key}={one}" for one in _values(name, key, value, before)]
    found = [] if before else [f"{command} " for command in COMMANDS]
    given = {one.partition("=")[0] for one in before}
    return _matching(word, [*found, *(f"{one}=" for one in _keys(name, word) if one not in given)])


def _keys(name: str, word: str) -> list[str]:
    """The options of a command; of the configuration's many the first of all, and the others once
    a letter is written.
    """
    if name not in COMPOSED:
        return list(dict.fromkeys(_own_options(load(name))))
    from circuitwatch.cli.choices import GROUPS

    first = [*GROUPS, *MORE.get(name, ()), *OFTEN]
    if not word:
        return first
    from circuitwatch.config import Config
    from circuitwatch.options import as_written, options_of

    every = [as_written(key, spec) for key, spec in options_of(Config)]
    return list(dict.fromkeys([*first, *every]))


def _own_options(command: Command) -> Iterable[str]:
    """The options of a command as its usage names them, `sweep=<name>` and `[out=multirun]`."""
    for call, words in command.usage.items():
        yield from re.findall(r"\b([a-z_]+)=<", call)
        yield from re.findall(r"\[([a-z_]+)=", words)


def _values(name: str, key: str, value: str, before: Sequence[str]) -> list[str]:
    """What the value of an option may become; of a list its last part."""
    done, comma, last = value.rpartition(",") if key in MANY else ("", "", value)
    if key in FOLDERS or key in FILES:
        return [f"{done}{comma}{one}" for one in _paths(last, only_folders=key in FOLDERS)]
    there = set(done.split(","))
    choices = [one for one in _choices(name, key, before) if one not in there]
    sweeps = key in MANY and ("-m" in before or "--multirun" in before)
    end = "" if sweeps else " "  # a comma may follow
    return _matching(value, [f"{done}{comma}{one}{end}" for one in choices])


def _choices(name: str, key: str, before: Sequence[str]) -> Sequence[str]:
    """The values that an option may have, where they can be told."""
    if key == "sweep":
        return _sweeps(before)
    if name not in COMPOSED:
        return VALUES.get(key, ())
    if key == "model":
        return [*_offered(key, before), *_models(before)]
    if key == "hydra/launcher":
        from circuitwatch.launching import ENGINES

        return ["basic", *(choice for choice, *_ in ENGINES.values())]
    from circuitwatch.cli.choices import GROUPS

    if key in GROUPS:
        return _offered(key, before)
    from circuitwatch.config import Config
    from circuitwatch.options import as_written, options_of

    for own, spec in options_of(Config):
        if as_written(own, spec) == key:
            known = ("true", "false") if isinstance(spec.default, bool) else spec.choices
            return [str(one) for one in known]
    return ()


def _offered(group: str, before: Sequence[str]) -> list[str]:
    from circuitwatch.cli.choices import offered_in

    return offered_in(group, before)


def _models(before: Sequence[str]) -> list[str]:
    from circuitwatch.cli.choices import suites

    return [model for suite in suites(before) for model in suite.models]


def _suites(before: Sequence[str]) -> list[str]:
    from circuitwatch.cli.choices import suites

    return [suite.name for suite in suites(before)]


def _sweeps(before: Sequence[str]) -> list[str]:
    """The folders of sweeps that there are."""
    given = [one.partition("=")[2] for one in before if one.startswith("out=")]
    out = Path(given[-1] if given else "multirun").expanduser()
    try:
        return sorted(f.name for f in out.iterdir() if f.is_dir() and not f.name.startswith("."))
    except OSError:
        return []


def _paths(word: str, *, only_folders: bool) -> list[str]:
    """The files and folders that a path may become; folders end with a slash."""
    head, slash, tail = word.rpartition("/")
    try:
        there = sorted(Path(f"{head}{slash}" or ".").expanduser().iterdir())
    except (OSError, ValueError):
        return []
    found = []
    for path in there:
        if not path.name.startswith(tail) or (path.name.startswith(".") and not tail):
            continue
        if path.is_dir():
            found.append(f"{head}{slash}{path.name}/")
        elif not only_folders:
            found.append(f"{head}{slash}{path.name} ")
    return found


def _matching(word: str, words: Iterable[str]) -> list[str]:
    return [one for one in dict.fromkeys(words) if one.startswith(word)]


COMMAND = Command(
    completion,
    {
        "completion bash|zsh|fish": "what the shell needs to complete commands, options, models, "
        'tasks and sweeps. bash: put eval "$(circuitwatch completion bash)" into ~/.bashrc; zsh: '
        'eval "$(circuitwatch completion zsh)" into ~/.zshrc; fish: circuitwatch completion fish '
        "| source into ~/.config/fish/config.fish",
    },
    when_interrupted="nothing was changed",
)
