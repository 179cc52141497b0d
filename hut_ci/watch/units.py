"""The files that make both processes services under two users: pure text, written by cli/watch_install.py."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hut_ci.model import Lab
from hut_ci.watch import spool
from hut_ci.watch.away import AWAY

GROUP = "hut-lab"
BENCH_USER, PUBLISHER_USER = "hut-ci", "hut-ci-publisher"
SERVICES = ("hut-ci-watch-bench.service", "hut-ci-watch-publisher.service")
SHARED_LOCKS = (Path("/var/lock"), Path("/run/lock"))
"""Everybody's: their mode is not ours to set."""

HARDENED = """\
UMask=0027
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
CapabilityBoundingSet=
"""

USERS = f"""\
# The two users of `hut-ci watch`, and the group that shares a lab.
g {GROUP} -
u {PUBLISHER_USER} - "hut-ci asks forges and answers"
m {PUBLISHER_USER} {GROUP}
u {BENCH_USER} - "hut-ci boards and relays"
m {BENCH_USER} {GROUP}
m {BENCH_USER} dialout
"""

PUBLISHER = """\
# The process of `hut-ci watch` that holds the forge's token: no board, no relay, no lock.
[Unit]
Description=Ask forges what there is to test on this lab's boards, and answer
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
ExecStart={program} watch publisher --lab {lab}
{environment}User={user}
SupplementaryGroups={group}
StateDirectory={user}
StateDirectoryMode=0700
ReadWritePaths={jobs}
InaccessiblePaths={hidden}
PrivateDevices=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
Restart=always
RestartSec=10
WatchdogSec=900
{hardened}
[Install]
WantedBy=multi-user.target
"""

BENCH = """\
# The process of `hut-ci watch` that holds boards and relays: no token of a forge, no way to the internet.
[Unit]
Description=Run what the publisher hands over on this lab's boards
After=network.target

[Service]
Type=notify
ExecStart={program} watch bench --lab {lab}
User={user}
SupplementaryGroups={group} dialout
ReadWritePaths={reports} {state} {locks}
InaccessiblePaths=-{tokens}
DevicePolicy=closed
DeviceAllow=char-ttyUSB rw
DeviceAllow=char-ttyACM rw
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
IPAddressDeny=any
IPAddressAllow=localhost link-local 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7
Restart=always
RestartSec=5
WatchdogSec=120
KillMode=mixed
TimeoutStopSec=60
{hardened}
[Install]
WantedBy=multi-user.target
"""


def files(lab: Lab, program: Path, tokens: Path, environment: Mapping[str, str]) -> dict[Path, str]:
    """Where each file goes, and what it says. `tokens` is the publisher's folder, `environment` its variables."""
    words = {
        "program": program,
        "lab": lab.path,
        "group": GROUP,
        "jobs": lab.spool / spool.JOBS,
        "reports": lab.spool / spool.REPORTS,
        "locks": lab.lock_dir,
        "state": lab.state_dir,
        "tokens": tokens,
        "hidden": " ".join(f"-{path}" for path in (lab.lock_dir, lab.state_dir) if not lab.spool.is_relative_to(path)),
        "hardened": HARDENED,
        "environment": "".join(f"Environment={name}={value}\n" for name, value in environment.items()),
    }
    units = Path("/etc/systemd/system")
    return {
        Path("/etc/sysusers.d/hut-ci-watch.conf"): USERS,
        Path("/etc/tmpfiles.d/hut-ci-watch.conf"): _folders(lab, tokens),
        units / SERVICES[0]: BENCH.format(user=BENCH_USER, **words),
        units / SERVICES[1]: PUBLISHER.format(user=PUBLISHER_USER, **words),
    }


def _folders(lab: Lab, tokens: Path) -> str:
    """The spool is sticky: who shares the lab may send it away, and not put another folder in place of one of these."""
    lines = [
        "# What both processes of `hut-ci watch` hand over, and what the lab's users share.",
        f"d {lab.spool} 3770 root {GROUP} -",
        f"d {lab.spool / spool.JOBS} 2750 {PUBLISHER_USER} {GROUP} -",
        f"d {lab.spool / spool.REPORTS} 2750 {BENCH_USER} {GROUP} -",
        f"d {lab.spool / AWAY} 2770 root {GROUP} -",
        f"d {lab.state_dir} 2770 root {GROUP} -",
        f"d {tokens} 0700 {PUBLISHER_USER} {PUBLISHER_USER} -",
    ]
    if lab.lock_dir not in SHARED_LOCKS:
        lines.append(f"d {lab.lock_dir} 2770 root {GROUP} -")
    return "\n".join([*lines, ""])
