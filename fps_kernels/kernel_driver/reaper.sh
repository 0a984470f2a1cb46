#!/bin/sh
# Ends the kernels of a server that was killed. It outlives the server, and reads from a pipe that only the server
# holds open, a line each time: "+ GROUP" adds a process group, "- GROUP" removes one. When the pipe is closed, the
# groups that are left get SIGTERM, and SIGKILL after GRACE_S seconds.
#
# usage: reaper.sh GRACE_S

trap '' HUP INT TERM
groups=' '
while read -r sign group; do
  case $sign in
    +) groups="$groups$group " ;;
    -) case $groups in *" $group "*) groups="${groups%% "$group" *} ${groups#* "$group" }" ;; esac ;;
  esac
done
for group in $groups; do kill -s TERM -- "-$group" 2>/dev/null; done
[ "$groups" = ' ' ] || sleep "$1"
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
