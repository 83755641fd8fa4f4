# Made by tools/completions.py from the tables of settings and commands: run make completions.

# The command on the line, if there is one: a value of a flag is none.
function __vti_updown_command
    set -l is_value 0
    for word in (commandline -opc)[2..-1]
        if test $is_value = 1
            set is_value 0
        else if contains -- $word --route --name --kind --local --remote --device --mark --if-id --address --mtu --mss --metric --table --full-table --full-priority --ike-ports --ike-mark --vrf --netns --link-local --sysctl --when-down --up --down --command-seconds --config --settings
            set is_value 1
        else if contains -- $word check-config flush prepare release repair
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
complete -c vti-updown -f -n '__vti_updown_is ""' -a flush -d 'Take away all that the hook has set up.'
complete -c vti-updown -f -n '__vti_updown_is ""' -a prepare -d 'Set up what stays while a tunnel is down.'
complete -c vti-updown -f -n '__vti_updown_is ""' -a release -d 'Take away what stays while a tunnel is down.'
complete -c vti-updown -f -n '__vti_updown_is ""' -a repair -d 'Put back what somebody took away or changed.'
complete -c vti-updown -f -n '__vti_updown_is prepare' -a '(__vti_updown_names prepared)'
complete -c vti-updown -f -n '__vti_updown_is release' -a '(__vti_updown_names standing)'
complete -c vti-updown -n '__vti_updown_is ""' -l route -x -a 'auto none' -d 'Network to route through the tunnel: NET[,metric=N][,table=N][,src=IP], auto or none.'
complete -c vti-updown -n '__vti_updown_is ""' -l no-routes -f -d 'Make no route, as --route none.'
complete -c vti-updown -n '__vti_updown_is ""' -l name -x -d 'Name of the link, with any of {connection}, {uniqueid}, {mark}, {if_id}, {if_id:08x} and {peer} in it.'
complete -c vti-updown -n '__vti_updown_is ""' -l kind -x -a 'auto vti vti6 xfrm' -d 'Kind of the link: auto, vti, vti6 or xfrm.'
complete -c vti-updown -n '__vti_updown_is ""' -l local -x -a 'any' -d 'This host\'s endpoint of the link, or any.'
complete -c vti-updown -n '__vti_updown_is ""' -l remote -x -a 'any' -d 'The peer\'s endpoint of the link, or any.'
complete -c vti-updown -n '__vti_updown_is ""' -l device -x -a '(__fish_print_interfaces)' -d 'The underlying link that the tunnel is bound to.'
complete -c vti-updown -n '__vti_updown_is ""' -l mark -x -d 'Mark of a link that is there before any CHILD_SA: a number, or inbound and outbound.'
complete -c vti-updown -n '__vti_updown_is ""' -l if-id -x -d 'Interface ID of a link that is there before any CHILD_SA: a number, or inbound and outbound.'
complete -c vti-updown -n '__vti_updown_is ""' -l address -x -d 'Address of the link, such as 169.254.21.2/30, 10.3.0.1 or 10.3.0.1 peer 10.3.0.2.'
complete -c vti-updown -n '__vti_updown_is ""' -l mtu -x -d 'MTU of the link.'
complete -c vti-updown -n '__vti_updown_is ""' -l mss -x -a 'path none' -d 'Longest TCP segment to allow: a number, path (what the MTU leaves) or none.'
complete -c vti-updown -n '__vti_updown_is ""' -l metric -x -d 'Metric of the routes that have none of their own.'
complete -c vti-updown -n '__vti_updown_is ""' -l table -x -a 'main default' -d 'Table of the routes that have none of their own: a number, main or default.'
complete -c vti-updown -n '__vti_updown_is ""' -l full-table -x -d 'First of the two tables of full tunnels, the same for all connections.'
complete -c vti-updown -n '__vti_updown_is ""' -l full-priority -x -d 'First of the five priorities of rules of full tunnels, the same for all connections.'
complete -c vti-updown -n '__vti_updown_is ""' -l ike-ports -x -d 'UDP ports that charon sends from: charon.port and charon.port_nat_t.'
complete -c vti-updown -n '__vti_updown_is ""' -l ike-mark -x -d 'Mark of charon\'s own packets, as charon.plugins.socket-default.fwmark says.'
complete -c vti-updown -n '__vti_updown_is ""' -l vrf -x -a '(__fish_print_interfaces)' -d 'The VRF that the link belongs to.'
complete -c vti-updown -n '__vti_updown_is ""' -l netns -x -a '(__vti_updown_namespaces)' -d 'The network namespace, as ip netns names it, that the link is moved to.'
complete -c vti-updown -n '__vti_updown_is ""' -l multicast -f -a 'yes no' -d 'Multicast on the link, for OSPF, Babel and their like.'
complete -c vti-updown -n '__vti_updown_is ""' -l link-local -x -a 'auto' -d 'IPv6 link-local address of the link, or auto.'
complete -c vti-updown -n '__vti_updown_is ""' -l sysctl -x -d 'Sysctl of the link, ipv4.NAME or ipv6.NAME.'
complete -c vti-updown -n '__vti_updown_is ""' -l when-down -x -a 'remove block keep' -d 'What stays while the tunnel is down: nothing (remove), unreachable routes (block), or the link (keep).'
complete -c vti-updown -n '__vti_updown_is ""' -l up -x -d 'Command of your own for /bin/sh, after each up.'
complete -c vti-updown -n '__vti_updown_is ""' -l down -x -d 'Command of your own for /bin/sh, after each down.'
complete -c vti-updown -n '__vti_updown_is ""' -l command-seconds -x -d 'How long an up or down command may take. Then it is killed.'
complete -c vti-updown -n '__vti_updown_is ""' -l command-detach -f -a 'yes no' -d 'Do not wait for an up or down command. charon goes on, and syslog gets what fails.'
complete -c vti-updown -n '__vti_updown_is "" check-config prepare' -l config -r -F -d 'The file of settings.'
complete -c vti-updown -n '__vti_updown_is ""' -l settings -x -a '(__vti_updown_names tables)' -d 'Take [connection.NAME] of the file of settings, whatever it matches.'
complete -c vti-updown -n '__vti_updown_is "" check-config flush prepare release repair' -l dry-run -f -d 'Print the ip and sysctl commands that the call stands for, and change nothing.'
complete -c vti-updown -n '__vti_updown_is "" check-config flush prepare release repair' -l version -f -d 'Print the version.'
complete -c vti-updown -n '__vti_updown_is "" check-config flush prepare release repair' -l help -f -d 'Print this help.'
complete -c vti-updown -n '__vti_updown_is flush' -l stale -f -d 'Only what belongs to a charon that is gone, as after a crash.'
complete -c vti-updown -n '__vti_updown_is flush' -l force -f -d 'Even while charon is running: its tunnels go.'
