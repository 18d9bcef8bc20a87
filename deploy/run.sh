#!/bin/sh
# A surrogate and one agent on this machine, joined, until Ctrl-C. State lies in .run, content in ./downloads.
set -eu
data=.run/surrogate
state=.run/agent
mkdir -p .run
pids=
trap 'kill $pids 2>/dev/null; wait' EXIT
trap 'exit 130' INT TERM

bin/rendezvous serve --data $data --public 127.0.0.1 >>.run/surrogate.log 2>&1 &
pids=$!
until [ -S $data/admin.sock ]; do
	kill -0 $pids 2>/dev/null || { tail -n 3 .run/surrogate.log >&2; exit 1; }
	sleep 0.1
done
if [ ! -f $state/surrogate.json ]; then
	bin/rendezvous invite --data $data | bin/edgeagent join --state $state --name local >/dev/null
fi
bin/edgeagent run --state $state --dir downloads 2>>.run/agent.log &
agent=$!
pids="$pids $agent"
cat <<EOF

An agent named local has joined; it saves to ./downloads. In another terminal:

  bin/simplebit login http://127.0.0.1:8080 --token-file $data/admin.token
  bin/simplebit add 'magnet:?xt=urn:btih:...' --to device:local --watch
  bin/simplebit ls

Logs: .run/surrogate.log, .run/agent.log. Ctrl-C stops both.
EOF
wait $agent || { tail -n 3 .run/agent.log >&2; exit 1; }
