#!/bin/sh
# Asks the server a question, from within its pod.
set -eu
for programs in /usr/lib/postgresql/*/bin; do PATH=$programs:$PATH; done
exec psql --host=/tmp --dbname=postgres --command="$1"
