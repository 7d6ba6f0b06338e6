#!/bin/sh
# Starts a server with a configuration that it may write to: at the first start it is made from the kit's.
# start.sh CONFIGURATION LOGINS
set -eu
umask 077
kit=${KIT:-/kit} data=${DATA:-/data}
if ! test -f "$data/$1"; then
    cat "$kit/$1" "$kit/secrets/$2" > "$data/$1.new"
    mv "$data/$1.new" "$data/$1"
fi
exec redis-server "$data/$1"
