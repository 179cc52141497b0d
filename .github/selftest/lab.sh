#!/bin/sh
# Start a virtual lab in a folder and wait until it is there: lab.sh FOLDER [OPTION…]; FOLDER.pid ends it
set -eu
folder=$1
shift
setsid "$HUT_CI" virtual-lab --folder "$folder" "$@" > "$folder.log" 2>&1 < /dev/null &
echo $! > "$folder.pid"
waited=0
until grep -q "Ctrl-C ends the lab" "$folder.log"; do
    if [ "$waited" -ge 600 ]; then
        cat "$folder.log"
        exit 1
    fi
    waited=$((waited + 1))
    sleep 0.1
done
