# Made by tools/completions.py from the tables of settings and commands: run make completions.

# The command on the line, if there is one: a value of a flag is none.
function __vti_updown_command
    set -l is_value 0
    for word in (commandline -opc)[2..-1]
        if test $is_value = 1
            set is_value 0
        else if contains -- $word --route --name --kind --local --remote --device --mark --if-id --address --mtu --mss --metric --table --full-table --full-priority --ike-ports --ike-mark --vrf --netns --link-local --sysctl --when-down --expect --up --down --command-seconds --log --config --settings --event --charon-log --vici
            set is_value 1
        else if contains -- $word check-config explain flush history prepare release repair report status
            echo $word
            return
        end
    end
    echo ""
end

# Whether the command on the line is one of these. "" stands for none.
function __vti_updown_is
    contains -- (__vti_updown_command) $argv
end

function __vti_updown_names
    set -l file /etc/vti-updown.toml
    set -l words (commandline -opc)
    for number in (seq (count $words))
        switch $words[$number]
            case --config
                set -l next (math $number + 1)
                set -q words[$next]; and set file $words[$next]
            case '--config=*'
                set file (string replace -- --config= '' $words[$number])
        end
    end
    command -q python3; or return
    test -f "$file" -a -r "$file"; or set file /dev/null
    python3 -I -S -c '
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
' $argv[1] $file /run/vti-updown 2>/dev/null
end

function __vti_updown_namespaces
    for file in /run/netns/*
        string replace /run/netns/ '' $file
    end
end

complete -c vti-updown -f
complete -c vti-updown -f -n '__vti_updown_is ""' -a check-config -d 'Check the file of settings.'
complete -c vti-updown -f -n '__vti_updown_is ""' -a explain -d 'Say what an event would do, and why.'
complete -c vti-updown -f -n '__vti_updown_is ""' -a flush -d 'Take away all that the hook has set up.'
complete -c vti-updown -f -n '__vti_updown_is ""' -a history -d 'Show what happened to each tunnel.'
complete -c vti-updown -f -n '__vti_updown_is ""' -a prepare -d 'Set up what stays while a tunnel is down.'
complete -c vti-updown -f -n '__vti_updown_is ""' -a release -d 'Take away what stays while a tunnel is down.'
complete -c vti-updown -f -n '__vti_updown_is ""' -a repair -d 'Put back what somebody took away or changed.'
complete -c vti-updown -f -n '__vti_updown_is ""' -a report -d 'Write a file about this host to send to somebody else.'
complete -c vti-updown -f -n '__vti_updown_is ""' -a status -d 'Show every tunnel of this host, the worst first.'
complete -c vti-updown -f -n '__vti_updown_is explain' -a '(__vti_updown_names connections)'
complete -c vti-updown -f -n '__vti_updown_is history' -a '(__vti_updown_names connections)'
complete -c vti-updown -f -n '__vti_updown_is prepare' -a '(__vti_updown_names prepared)'
complete -c vti-updown -f -n '__vti_updown_is release' -a '(__vti_updown_names standing)'
complete -c vti-updown -F -n '__vti_updown_is report'
complete -c vti-updown -f -n '__vti_updown_is status' -a '(__vti_updown_names connections)'
complete -c vti-updown -n '__vti_updown_is "" explain' -l route -x -a 'auto none' -d 'Network to route through the tunnel: NET[,metric=N][,table=N][,src=IP], auto or none.'
complete -c vti-updown -n '__vti_updown_is "" explain' -l no-routes -f -d 'Make no route, as --route none.'
complete -c vti-updown -n '__vti_updown_is "" explain' -l name -x -d 'Name of the link, with any of {connection}, {uniqueid}, {mark}, {if_id}, {if_id:08x} and {peer} in it.'
complete -c vti-updown -n '__vti_updown_is "" explain' -l kind -x -a 'auto vti vti6 xfrm' -d 'Kind of the link: auto, vti, vti6 or xfrm.'
complete -c vti-updown -n '__vti_updown_is "" explain' -l local -x -a 'any' -d 'This host\'s endpoint of the link, or any.'
complete -c vti-updown -n '__vti_updown_is "" explain' -l remote -x -a 'any' -d 'The peer\'s endpoint of the link, or any.'
complete -c vti-updown -n '__vti_updown_is "" explain' -l device -x -a '(__fish_print_interfaces)' -d 'The underlying link that the tunnel is bound to.'
complete -c vti-updown -n '__vti_updown_is "" explain' -l mark -x -d 'Mark of a link that is there before any CHILD_SA: a number, or inbound and outbound.'
complete -c vti-updown -n '__vti_updown_is "" explain' -l if-id -x -d 'Interface ID of a link that is there before any CHILD_SA: a number, or inbound and outbound.'
complete -c vti-updown -n '__vti_updown_is "" explain' -l address -x -d 'Address of the link, such as 169.254.21.2/30, 10.3.0.1 or 10.3.0.1 peer 10.3.0.2.'
complete -c vti-updown -n '__vti_updown_is "" explain' -l mtu -x -d 'MTU of the link.'
complete -c vti-updown -n '__vti_updown_is "" explain' -l mss -x -a 'path none' -d 'Longest TCP segment to allow: a number, path (what the MTU leaves) or none.'
complete -c vti-updown -n '__vti_updown_is "" explain' -l metric -x -d 'Metric of the routes that have none of their own.'
complete -c vti-updown -n '__vti_updown_is "" explain' -l table -x -a 'main default' -d 'Table of the routes that have none of their own: a number, main or default.'
complete -c vti-updown -n '__vti_updown_is "" explain' -l full-table -x -d 'First of the two tables of full tunnels, the same for all connections.'
complete -c vti-updown -n '__vti_updown_is "" explain' -l full-priority -x -d 'First of the five priorities of rules of full tunnels, the same for all connections.'
complete -c vti-updown -n '__vti_updown_is "" explain' -l ike-ports -x -d 'UDP ports that charon sends from: charon.port and charon.port_nat_t.'
complete -c vti-updown -n '__vti_updown_is "" explain' -l ike-mark -x -d 'Mark of charon\'s own packets, as charon.plugins.socket-default.fwmark says.'
complete -c vti-updown -n '__vti_updown_is "" explain' -l vrf -x -a '(__fish_print_interfaces)' -d 'The VRF that the link belongs to.'
complete -c vti-updown -n '__vti_updown_is "" explain' -l netns -x -a '(__vti_updown_namespaces)' -d 'The network namespace, as ip netns names it, that the link is moved to.'
complete -c vti-updown -n '__vti_updown_is "" explain' -l multicast -f -a 'yes no' -d 'Multicast on the link, for OSPF, Babel and their like.'
complete -c vti-updown -n '__vti_updown_is "" explain' -l link-local -x -a 'auto' -d 'IPv6 link-local address of the link, or auto.'
complete -c vti-updown -n '__vti_updown_is "" explain' -l sysctl -x -d 'Sysctl of the link, ipv4.NAME or ipv6.NAME.'
complete -c vti-updown -n '__vti_updown_is "" explain' -l when-down -x -a 'remove block keep' -d 'What stays while the tunnel is down: nothing (remove), unreachable routes (block), or the link (keep).'
complete -c vti-updown -n '__vti_updown_is "" explain' -l expect -x -d 'What vti-updown status expects of the tunnel: up, or anything.'
complete -c vti-updown -n '__vti_updown_is "" explain' -l up -x -d 'Command of your own for /bin/sh, after each up.'
complete -c vti-updown -n '__vti_updown_is "" explain' -l down -x -d 'Command of your own for /bin/sh, after each down.'
complete -c vti-updown -n '__vti_updown_is "" explain' -l command-seconds -x -d 'How long an up or down command may take. Then it is killed.'
complete -c vti-updown -n '__vti_updown_is "" explain' -l command-detach -f -a 'yes no' -d 'Do not wait for an up or down command. charon goes on, and syslog gets what fails.'
complete -c vti-updown -n '__vti_updown_is "" explain' -l log -x -d 'What charon\'s log has of an event: lines, or commands, which it stood for, as well.'
complete -c vti-updown -n '__vti_updown_is "" check-config explain prepare report status' -l config -r -F -d 'The file of settings.'
complete -c vti-updown -n '__vti_updown_is "" explain' -l settings -x -a '(__vti_updown_names tables)' -d 'Take [connection.NAME] of the file of settings, whatever it matches.'
complete -c vti-updown -n '__vti_updown_is "" check-config explain flush prepare release repair report status' -l dry-run -f -d 'Print the ip and sysctl commands that the call stands for, and change nothing.'
complete -c vti-updown -n '__vti_updown_is "" check-config explain flush history prepare release repair report status' -l version -f -d 'Print the version.'
complete -c vti-updown -n '__vti_updown_is "" check-config explain flush history prepare release repair report status' -l help -f -d 'Print this help.'
complete -c vti-updown -n '__vti_updown_is flush' -l stale -f -d 'Only what belongs to a charon that is gone, as after a crash.'
complete -c vti-updown -n '__vti_updown_is flush' -l force -f -d 'Even while charon is running: its tunnels go.'
complete -c vti-updown -n '__vti_updown_is explain' -l event -x -d 'A saved environment, one NAME=VALUE a line as env prints it; - is standard input.'
complete -c vti-updown -n '__vti_updown_is explain history status' -l json -f -d 'Print JSON for programs.'
complete -c vti-updown -n '__vti_updown_is history' -l charon-log -x -d 'Where charon logs to, if that is not the journal: a file of its own or of syslog.'
complete -c vti-updown -n '__vti_updown_is status' -l metrics -f -d 'For Prometheus, in its text format.'
complete -c vti-updown -n '__vti_updown_is report status' -l vici -x -d 'Ask the charon that listens there, and no other.'
