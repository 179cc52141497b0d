#!/bin/sh
# Wait until somebody holds a slot, and send him SIGINT: cancel.sh LAB SLOT
set -eu
lab=$1/lab.yml
slot=$2
tries=0
while [ "$tries" -lt 600 ]; do
    holder=$("$HUT_CI" slots status "$slot" --lab "$lab" --json | python3 -c '
import json, sys
[slot] = json.load(sys.stdin)["slots"]
print(slot["holder"]["pid"] if slot["holder"] else "")')
    if [ -n "$holder" ]; then
        kill -INT "$holder"
        echo "sent SIGINT to $holder"
        exit
    fi
    tries=$((tries + 1))
    sleep 0.1
done
echo "nobody has taken $slot"
exit 1
