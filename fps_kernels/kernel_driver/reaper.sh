#!/bin/sh
# Ends the kernels of a server that was killed. It outlives the server, and reads from a pipe that only the server
# holds open, a line each time: "+ GROUP:START" adds a process group, "- GROUP:START" removes one. START is when the
# group's leader was started, as in /proc/GROUP/stat; empty where there is no /proc. When the pipe is closed, the
# groups that are left get SIGTERM, and SIGKILL after GRACE_S seconds. A number that was given to another process since
# has another START, and is left alone.
#
# usage: reaper.sh GRACE_S

set -f
trap '' HUP INT TERM

# Whether a group is still the one that was added. If its leader is gone, what is left of it has kept the number.
is_ours() {
  start=${1#*:} stat=
  [ -n "$start" ] && [ -e "/proc/${1%:*}/stat" ] || return 0
  while read -r line; do stat="$stat$line "; done 2>/dev/null <"/proc/${1%:*}/stat"
  # shellcheck disable=SC2086 # it is several words, none of which is a pattern
  set -- ${stat##*) }  # the process's name, in parentheses, may have any characters
  [ $# -lt 20 ] || [ "${20}" = "$start" ]
}

end_all() {
  for group in $groups; do
    is_ours "$group" && kill -s "$1" -- "-${group%:*}" 2>/dev/null
  done
}

grace_s=$1
groups=' '
while read -r sign group; do
  case $sign in
    +) groups="$groups$group " ;;
    -) case $groups in *" $group "*) groups="${groups%% "$group" *} ${groups#* "$group" }" ;; esac ;;
  esac
done
end_all TERM
[ "$groups" = ' ' ] || sleep "$grace_s"
end_all KILL
