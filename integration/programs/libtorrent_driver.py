"""One torrent in libtorrent, for integration/programs: writes a line to the file `events` whenever something has happened, with the
time in nanoseconds since 1970, and stays until a signal ends it."""

import argparse
import time

import libtorrent as lt

parser = argparse.ArgumentParser()
parser.add_argument("--listen", required=True, help="IP:PORT")
parser.add_argument("--transport", choices=["both", "tcp", "utp"], required=True)
parser.add_argument("--encryption", choices=["enabled", "forced", "disabled"], required=True)
parser.add_argument("--dir", required=True)
parser.add_argument("torrent")
args = parser.parse_args()


def event(word):
    with open("events", "a") as f:
        print(word, time.time_ns(), file=f)


tcp, utp = args.transport != "utp", args.transport != "tcp"
policy = {"forced": 0, "enabled": 1, "disabled": 2}[args.encryption]
session = lt.session({
    "listen_interfaces": args.listen,
    "alert_mask": lt.alert.category_t.status_notification | lt.alert.category_t.error_notification,
    "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
    "enable_incoming_tcp": tcp, "enable_outgoing_tcp": tcp, "enable_incoming_utp": utp, "enable_outgoing_utp": utp,
    "allow_multiple_connections_per_ip": True,  # an agent and its surrogate may share an address
    "in_enc_policy": policy, "out_enc_policy": policy,
})
session.add_torrent({"ti": lt.torrent_info(args.torrent), "save_path": args.dir})
event("ready")
while True:
    session.wait_for_alert(60_000)
    for alert in session.pop_alerts():
        print(alert, flush=True)
        if isinstance(alert, lt.torrent_finished_alert):
            event("complete")
