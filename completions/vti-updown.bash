# Made by tools/completions.py from the tables of settings and commands: run make completions.
# shellcheck shell=bash

# The words of the line up to the cursor. bash also parts them at "=" and ":", unless told not to.
_vti_updown_split() {
    local line=${COMP_LINE:0:COMP_POINT} number word rest
    words=()
    for ((number = 0; number <= COMP_CWORD; number++)); do
        word=${COMP_WORDS[number]}
        rest=${line#"${line%%[![:space:]]*}"}
        ((number < COMP_CWORD)) || word=$rest
        if ((number)) && [[ $rest == "$line" ]]; then
            words[-1]+=$word
        else
            words+=("$word")
        fi
        line=${rest:${#word}}
        last=$word
    done
    # What bash replaces is what stands behind the last such character.
    [[ $last != [=:] ]] || last=
    keep=${words[-1]:0:${#words[-1]}-${#last}}
}

# Offers those of these words that begin as the value does. None is evaluated, now or by Enter.
_vti_updown_found() {
    local word whole
    for word in "$@"; do
        [[ $word == "$begun"* ]] || continue
        whole=$before$word
        whole=${whole:${#keep}}
        case $value in
            \'*) [[ $word == *\'* ]] || COMPREPLY+=("$word") ;;
            \"*) [[ $word == *[\"\$\`\\!]* ]] || COMPREPLY+=("$word") ;;
            *) COMPREPLY+=("$(printf %q "$whole")") ;;
        esac
    done
}

_vti_updown_names() {
    local file=/etc/vti-updown.toml number found
    for ((number = 1; number < ${#words[@]} - 1; number++)); do
        case ${words[number]} in
            --config) file=${words[number + 1]} ;;
            --config=*) file=${words[number]#*=} ;;
        esac
    done
    type -P python3 >/dev/null || return
    [[ -f $file && -r $file ]] || file=/dev/null
    mapfile -t found < <(python3 -I -S -c '
import glob, sqlite3, sys, tomllib
which, file, folder = sys.argv[1:]
names = []
if which != "standing":
    try:
        with open(file, "rb") as opened:
            tables = tomllib.load(opened).get("connection")
        names += tables if isinstance(tables, dict) else []
    except (OSError, ValueError, RecursionError):
        pass
if which in ("prepared", "connections"):
    names = [name for name in names if not set(name) & set("*?[")]
if which in ("standing", "connections"):
    only = " WHERE number < 0" if which == "standing" else ""
    for records in glob.glob(f"{folder}/*.sqlite"):
        try:
            opened = sqlite3.connect(f"file:{records}?mode=ro", uri=True, timeout=0.2)
            rows = opened.execute(f"SELECT DISTINCT connection FROM reference{only}").fetchall()
            opened.close()
            names += [name for (name,) in rows]
        except sqlite3.Error:
            pass
for name in sorted(set(names)):
    if name and name.isprintable():
        print(name)
' "$1" "$file" /run/vti-updown 2>/dev/null)
    _vti_updown_found "${found[@]}"
}

_vti_updown_tables() {
    _vti_updown_names tables
}

_vti_updown_files() {
    local file whole
    compopt -o filenames 2>/dev/null
    while read -r file; do
        whole=$before$file
        COMPREPLY+=("${whole:${#keep}}")
    done < <(compgen -f -- "$begun")
}

_vti_updown_links() {
    _vti_updown_in /sys/class/net
}

_vti_updown_namespaces() {
    _vti_updown_in /run/netns
}

_vti_updown_in() {
    local file
    for file in "$1"/*; do
        [[ ! -e $file ]] || _vti_updown_found "${file##*/}"
    done
}

_vti_updown_value() {
    begun=${value#[\"\']}
    case $1 in
        --route) _vti_updown_found auto none ;;
        --kind) _vti_updown_found auto vti vti6 xfrm ;;
        --local) _vti_updown_found any ;;
        --remote) _vti_updown_found any ;;
        --device) _vti_updown_links ;;
        --mss) _vti_updown_found path none ;;
        --table) _vti_updown_found main default ;;
        --vrf) _vti_updown_links ;;
        --netns) _vti_updown_namespaces ;;
        --multicast) _vti_updown_found yes no ;;
        --link-local) _vti_updown_found auto ;;
        --when-down) _vti_updown_found remove block keep ;;
        --command-detach) _vti_updown_found yes no ;;
        --config) _vti_updown_files ;;
        --settings) _vti_updown_tables ;;
    esac
}

_vti_updown() {
    local words last keep value begun before="" flag="" command="" number flags="--route --no-routes --name --kind --local --remote --device --mark --if-id --address --mtu --mss --metric --table --full-table --full-priority --ike-ports --ike-mark --vrf --netns --multicast --link-local --sysctl --when-down --expect --up --down --command-seconds --command-detach --log --config --settings --dry-run --version --help"
    COMPREPLY=()
    _vti_updown_split
    for ((number = 1; number < ${#words[@]} - 1; number++)); do
        if [[ $flag ]]; then
            flag=
            continue
        fi
        case ${words[number]} in
            --route|--name|--kind|--local|--remote|--device|--mark|--if-id|--address|--mtu|--mss|--metric|--table|--full-table|--full-priority|--ike-ports|--ike-mark|--vrf|--netns|--link-local|--sysctl|--when-down|--expect|--up|--down|--command-seconds|--log|--config|--settings|--event|--charon-log|--vici) flag=${words[number]} ;;
            check-config|explain|flush|history|prepare|release|repair|report|status) [[ $command ]] || command=${words[number]} ;;
        esac
    done
    value=${words[-1]}
    begun=${value#[\"\']}
    if [[ $flag ]]; then
        _vti_updown_value "$flag"
        return
    fi
    if [[ $value == --*=* ]]; then
        flag=${value%%=*}
        before=$flag=
        value=${value#*=}
        _vti_updown_value "$flag"
        return
    fi
    case $command in
        check-config) flags="--config --dry-run --version --help" ;;
        explain) flags="--route --no-routes --name --kind --local --remote --device --mark --if-id --address --mtu --mss --metric --table --full-table --full-priority --ike-ports --ike-mark --vrf --netns --multicast --link-local --sysctl --when-down --expect --up --down --command-seconds --command-detach --log --config --settings --dry-run --version --help --event --json" ;;
        flush) flags="--dry-run --version --help --stale --force" ;;
        history) flags="--version --help --json --charon-log" ;;
        prepare) flags="--config --dry-run --version --help" ;;
        release) flags="--dry-run --version --help" ;;
        repair) flags="--dry-run --version --help" ;;
        report) flags="--config --dry-run --version --help --vici" ;;
        status) flags="--config --dry-run --version --help --json --metrics --vici" ;;
    esac
    if [[ $value == -* ]]; then
        # shellcheck disable=SC2086
        _vti_updown_found $flags
        return
    fi
    case $command in
        "") _vti_updown_found check-config explain flush history prepare release repair report status ;;
        explain) _vti_updown_names connections ;;
        history) _vti_updown_names connections ;;
        prepare) _vti_updown_names prepared ;;
        release) _vti_updown_names standing ;;
        report) _vti_updown_files ;;
        status) _vti_updown_names connections ;;
    esac
}

complete -F _vti_updown vti-updown
