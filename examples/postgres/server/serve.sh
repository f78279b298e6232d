#!/bin/sh
# Starts PostgreSQL on an empty volume, or on one that it has filled before. The password is PGPASSWORD's.
set -eu
for programs in /usr/lib/postgresql/*/bin; do PATH=$programs:$PATH; done

if [ ! -e "$PGDATA/PG_VERSION" ]; then
    printf '%s\n' "$PGPASSWORD" > /tmp/password
    initdb --username="$PGUSER" --pwfile=/tmp/password --auth=scram-sha-256 --locale=C --encoding=UTF8
    rm /tmp/password
    echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
fi
exec postgres -c listen_addresses='*' -c unix_socket_directories=/tmp
