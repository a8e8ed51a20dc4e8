# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Checks of one host's operating system: what host_info read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_parsers import format_size, parse_version
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_settings import SHM, UNLIMITED, parse_limit
from ansible_collections.flagos.kunlunxin.plugins.module_utils._pair_listener import PROGRAM as PAIRS
from ansible_collections.flagos.kunlunxin.plugins.module_utils._weights import revision_name

from ._judgement import OLDEST_PYTHON, Check, Data, Fault, Said, Severity, Unread, View, listed

PREPARE = "run prepare.yml"
OWNERLESS = "a process that is not visible"


def _account(view: View) -> Iterator[Said]:
    user_id = view.facts["system"]["user_id"]
    if user_id != 0:
        yield Fault(f"user id {user_id}", "root", "let ansible_user become root without a password")


def _python(view: View) -> Iterator[Said]:
    version = view.facts["system"]["python"]["version"]
    if parse_version(version) < parse_version(OLDEST_PYTHON):
        yield Fault(version, f"{OLDEST_PYTHON} or newer", "set ansible_python_interpreter to a newer one")


def _init(view: View) -> Iterator[Said]:
    init = view.facts["system"]["init"]
    if init != "systemd":
        yield Fault(
            f"process 1 is {init or 'unknown'}",
            "systemd",
            "install a system that systemd runs (ps -p 1 -o comm= then says systemd), or take the host out of the inventory",
        )


def _kernel(view: View) -> Iterator[Said]:
    """A newer kernel that waits for the next boot has no accelerator driver yet: after it, the host would not serve."""
    kernel = view.facts["kernel"]
    if not kernel["installed"]:
        yield Unread("no kernel is installed below /lib/modules")
        return
    newest = max(kernel["installed"], key=parse_release)
    if parse_release(newest) > parse_release(kernel["release"]):
        remedy = "run systemctl reboot and then driver.yml, which builds the driver for it, or remove it and hold the kernel's package by apt-mark hold"
        yield Fault(f"{kernel['release']} runs, {newest} is installed", "the newest kernel to run", remedy, severity=Severity.WARNING)


def parse_release(release: str) -> tuple[int, ...]:
    """All numbers of a kernel's release, so that releases compare: ``6.8.0-87-generic`` gives ``(6, 8, 0, 87)``."""
    return tuple(int("".join(digits)) for digits in _runs_of_digits(release))


def _runs_of_digits(text: str) -> Iterator[str]:
    run = ""
    for character in text + " ":
        if character in "0123456789":
            run += character
        elif run:
            yield run
            run = ""


def _memory(view: View) -> Iterator[Said]:
    """What lies in /dev/shm is main memory."""
    total = view.facts["memory"]["total_bytes"]
    if total and total < view.needs.shm_bytes:
        observed, expected = f"{format_size(total)} in all", f"more than the {format_size(view.needs.shm_bytes)} of {SHM}"
        yield Fault(observed, expected, "set host_shm_size and serve_shm_size to less, or use a host with more memory")


def _swap(view: View) -> Iterator[Said]:
    """A worker whose pages are swapped out keeps all the others waiting in their next collective."""
    swaps = view.facts["swaps"]
    if swaps is None:
        yield Unread("the kernel does not tell of swap")
    elif swaps:
        used = [f"{one['path']} ({format_size(one['bytes'])}, {format_size(one['used_bytes'])} in use)" for one in swaps]
        remedy = "run swapoff -a on the host, and take the swap areas out of /etc/fstab"
        yield Fault(listed(used, 3), "no swap", remedy, severity=Severity.WARNING)


def _shm(view: View) -> Iterator[Said]:
    size = view.facts["shm"]["size_bytes"]
    if size < view.needs.shm_bytes:
        yield Fault(format_size(size), format_size(view.needs.shm_bytes), PREPARE, "host")


def _shm_in_use(view: View) -> Iterator[Said]:
    """Ray and vLLM refuse to start without room there. While this cluster serves, what lies there is its own."""
    shm = view.facts["shm"]
    free, wanted = shm["available_bytes"], view.needs.shm_bytes // 2
    if not view.serves and shm["size_bytes"] >= view.needs.shm_bytes and free < wanted:
        names = [f"{one['name']} ({format_size(one['bytes'])}, user {one['owner']})" for one in view.facts["shm_files"]]
        observed = f"{format_size(free)} of {format_size(shm['size_bytes'])} free" + (f": {listed(names)}" if names else "")
        yield Fault(observed, f"{format_size(wanted)} or more free", f"find users by fuser -v {SHM}/*, and remove by rm what nobody uses")


def _limit(name: str) -> Check:
    """The check of one resource limit: that of a login, and that of the container engine, which its containers begin with.

    A limit that the container is given by name can be above the engine's own only where the engine may raise limits.
    """
    title, source = {"memlock": ("locked memory", "Max locked memory"), "nofile": ("open files", "Max open files")}[name]

    def look(view: View) -> Iterator[Said]:
        wanted, limits = view.needs.limits.get(name, 0), view.facts["limits"]
        login, engine = limits["login"].get(name), (limits["engine"] or {}).get(name)
        if login is not None and _less(login, wanted):
            yield Fault(f"a login may have {_amount(name, login)}", _amount(name, wanted), PREPARE, "host")
        given = view.plan["container"]["ulimits"].get(name)
        asked = wanted if given is None else parse_limit(given)
        if engine is not None and _less(engine, asked) and not (given is not None and limits["engine_may_raise"]):
            remedy = "run systemctl restart docker when no container runs, so that it gets the host's limits"
            if not limits["engine_may_raise"]:
                remedy = "raise the limit outside of this host (docker run --ulimit, or LimitMEMLOCK of the unit that starts it): it may not raise its own"
            yield Fault(f"containers may have {_amount(name, engine)}", _amount(name, asked), remedy, "container_engine")

    where = f"'{source}' of /proc/PID/limits, of this login and of the container engine"
    return Check(title, where, look, ("host", "container_engine"))


def _less(limit: int | str, wanted: int | str) -> bool:
    if limit == UNLIMITED:
        return False
    return wanted == UNLIMITED or int(limit) < int(wanted)


def _amount(name: str, limit: int | str) -> str:
    if limit == UNLIMITED:
        return "no limit"
    return format_size(limit) if name == "memlock" else str(limit)


def _tasks(view: View) -> Iterator[Said]:
    """The plan gives containers no limit of processes; the group above them may still have one."""
    for path, most in view.facts["limits"]["tasks"].items():
        remedy = "run systemctl set-property system.slice TasksMax=infinity, or so for the slice that the path names"
        yield Fault(f"{most} processes", "max, no limit", remedy, severity=Severity.WARNING, evidence=path)


def _names(view: View) -> Iterator[Said]:
    wrong = [one["name"] for one in view.plan["hosts"] if view.facts["resolved"].get(one["name"]) != one["address"]]
    if wrong:
        yield Fault(f"{listed(wrong)} not at their address", "each at its cluster_address", PREPARE, "host")


def _own_name(view: View) -> Iterator[Said]:
    """Ray and gloo take the address that the host's own name resolves to where nobody tells them another."""
    system, address = view.facts["system"], view.host["address"]
    if system["hostname_address"] != address:
        observed = f"{system['hostname']} is {system['hostname_address'] or 'unknown'}"
        yield Fault(observed, f"{address}, the host's own address", PREPARE, "host")


def _time_service(view: View) -> Iterator[Said]:
    if view.plan["manage_kernel_globals"] and view.facts["clock"]["synchronised"] is False:
        yield Fault("not synchronised", "steered by a time service", PREPARE, "host")


def _clock(view: View) -> Iterator[Said]:
    if clock_is_off(view):
        behind, ahead = _clock_errors(view)
        observed = f"at least {max(behind, ahead):.0f} s {'behind' if behind > ahead else 'ahead of'} the controller"
        remedy = "run prepare.yml with cluster_manage_kernel_globals, or timedatectl set-ntp true on the host"
        yield Fault(observed, f"within {view.needs.clock_tolerance_seconds:g} s", remedy)


def clock_is_off(view: View) -> bool:
    """Whether the host's clock and the controller's differ by more than they may."""
    return max(_clock_errors(view)) > view.needs.clock_tolerance_seconds


def _clock_errors(view: View) -> tuple[float, float]:
    """By how much the clock is behind and ahead, for certain: it was read somewhere between the controller's two readings."""
    clock = view.facts["clock"]
    return clock["asked_at"] - clock["time"], clock["time"] - view.asked_until


def _disk(view: View) -> Iterator[Said]:
    """What goes to a host may share a disk: what is still to come is added up for each."""
    facts, needs = view.facts, view.needs
    weights = facts["filesystems"][view.plan["model"]["path"]]
    weights_to_come = max(0, needs.weights_bytes - _kept_weights(weights, needs.weights_root)) if needs.still_to_come("weights") else 0
    image_to_come = _image_bytes_to_come(view) if needs.still_to_come("image") else 0
    to_come = [("weights", weights, weights_to_come), ("image", facts["filesystems"][facts["engine"]["data_root"]], image_to_come)]
    if needs.archive_copy and needs.still_to_come("image") and not holds_image(facts, needs.image_source):
        copy = facts["filesystems"][needs.archive_copy]
        to_come.append(("the image's archive", copy, max(0, needs.archive_bytes - (copy["holds_bytes"] or 0))))
    short = []
    for disk in {one["device"]: one for _kind, one, _amount in to_come}.values():
        here = [(kind, amount) for kind, one, amount in to_come if one["device"] == disk["device"]]
        needed = sum(amount for _kind, amount in here) + needs.disk_margin_bytes
        if disk["available_bytes"] < needed:
            kinds = " and ".join(kind for kind, _amount in here)
            short.append((f"{format_size(disk['available_bytes'])} free on {disk['mount']}", f"{format_size(needed)} for {kinds}"))
    if short:
        observed, expected = (", ".join(part) for part in zip(*short, strict=True))
        remedy = "make room, or put weights_path or the engine's data root on a larger disk"
        if not needs.weights_root and weights["served_revision"] and (weights["holds_bytes"] or 0) >= needs.weights_bytes > 0:
            remedy += "; if what is served are these weights, run weights.yml, which reads the source and finds out"
        yield Fault(observed, expected, remedy)


def _kept_weights(place: Data, root: str) -> int:
    """The bytes of the weights to come that a host has, or that a broken transfer left on it.

    They gather in a revision of their own, which is served only when it is whole. Before the root is known nobody can say which one
    that is; the one that is served is then taken for another, for too little room would be found only after hours.
    """
    if place["revisions"] is None:
        return place["holds_bytes"] or 0
    if root:
        return int(place["revisions"].get(revision_name(root), 0))
    return max((held for name, held in place["revisions"].items() if name != place["served_revision"]), default=0)


def _image_bytes_to_come(view: View) -> int:
    if holds_image(view.facts, view.needs.image_source):
        return 0
    in_registry = (view.facts["registry"] or {}).get("image_bytes") or 0
    return view.needs.image_bytes or int(in_registry * view.needs.image_unpack_factor)


def holds_image(facts: Data, source: str) -> bool:
    """Whether the image that came from ``source`` (reference or archive) is still in the host's engine."""
    receipt = facts["image_receipt"]
    return source in (receipt.get("reference"), receipt.get("archive")) and receipt.get("image_id") in facts["engine"]["images"]


def ports_of(plan: Data, host: Data) -> dict[int, str]:
    """The ports that this host's part of the service listens on: ``{port: purpose}``. All but the containers' sshd are the head's."""
    on_head = host["name"] == plan["head"]["name"]
    return {port: purpose for purpose, port in plan["ports"].items() if purpose == "container_ssh" or on_head}


def _ports(view: View) -> Iterator[Said]:
    """Our own service holds its ports, and for a moment what asked whether they can be reached."""
    ports = ports_of(view.plan, view.host)
    held: dict[int, Data] = {}
    for listener in view.facts["listeners"]:
        if listener["port"] in ports and listener["process"] != PAIRS.decode() and not view.is_ours(listener["container"]):
            held.setdefault(listener["port"], listener)
    for port, listener in held.items():
        yield Fault(
            f"{port} ({ports[port]}) by {holder(listener)}",
            "free",
            "stop it, or choose another serve_port, cluster_ssh_port or cluster_master_port",
        )


def holder(process: Data) -> str:
    """A process in words: its name, pid, and the unit or container that it belongs to."""
    if process["pid"] is None:
        return OWNERLESS
    place = f"container {process['container']['name']}" if process["container"] else process["unit"]
    return f"{process['process']} (pid {process['pid']}{f', {place}' if place else ''})"


def _left_over(view: View) -> Iterator[Said]:
    """Ray and the engine detach from whoever started them and outlive a run. What runs in another's container is another's service."""
    others = [one for one in view.facts["processes"] if not view.is_ours(one["container"])]
    for in_container, severity in ((False, Severity.ERROR), (True, Severity.WARNING)):
        found = [f"{one['part']}: {holder(one)}" for one in others if bool(one["container"]) is in_container]
        if found:
            remedy = "find out whose they are (ps -fp PID); what a run left behind, end by kill PID, and the unit that starts it by systemctl disable --now"
            yield Fault(listed(found, 4), "no process of Ray or vLLM outside of this cluster's containers", remedy, severity=severity)


def _segments(view: View) -> Iterator[Said]:
    stale = [one for one in view.facts["segments"] if one["attached"] == 0 and not one["creator_alive"]]
    if stale:
        size = format_size(sum(one["bytes"] for one in stale))
        observed = f"{len(stale)} of {size} that nobody is attached to: {_segment_names(stale)}"
        remedy = "remove them by ipcrm -m, once their owners have confirmed it"
        yield Fault(observed, "none left behind", remedy, severity=Severity.WARNING)


def _segment_names(segments: Sequence[Data]) -> str:
    return listed([f"{one['id']} (user {one['owner']})" for one in segments], 4)


def _proxies(view: View) -> Iterator[Said]:
    """A proxy that catches the cluster's own addresses hangs every request between hosts. What an image sets is in every container."""
    own = view.host["environment"]
    places = dict(view.facts["proxies"])
    container = {**places.pop("image", {}), **{name.lower(): value for name, value in own.items() if name.lower().endswith("_proxy")}}
    peers = ["localhost", "127.0.0.1", *(one["address"] for one in view.plan["hosts"])]
    remedy = "add the hosts' addresses and localhost to the variable no_proxy there, or unset the proxy"
    if caught := _caught(container, peers):
        yield Fault(
            f"in the containers, {caught}", "no proxy for the cluster's own addresses", remedy.replace("there", "in cluster_environment")
        )
    for place, variables in places.items():
        if caught := _caught(variables, peers):
            yield Fault(
                f"in {place}, {caught}", "no proxy for the cluster's own addresses", remedy, severity=Severity.WARNING, evidence=place
            )


def _caught(variables: Data, peers: Sequence[str]) -> str:
    """Which proxy catches which of the addresses, in words; empty where none does."""
    proxies = {name: value for name, value in variables.items() if name != "no_proxy" and value}
    exceptions = [one.strip() for one in str(variables.get("no_proxy", "")).split(",")]
    caught = [peer for peer in peers if "*" not in exceptions and peer not in exceptions]
    if not proxies or not caught:
        return ""
    return f"{', '.join(f'{name}={value}' for name, value in sorted(proxies.items()))} without {listed(caught, 4)} in no_proxy"


def _firewall(view: View) -> Iterator[Said]:
    """Whether a rule meets the cluster's packets is for a probe between the hosts to tell; that one may is worth a word."""
    rules = view.facts["firewall"]
    if rules is None:
        yield Unread("neither iptables nor nft answered")
    elif rules["policy"] in ("DROP", "REJECT") or rules["drops"]:
        observed = f"policy {rules['policy'] or 'none'}, {len(rules['drops'])} rules that drop" + (
            f": {rules['drops'][0]}" if rules["drops"] else ""
        )
        remedy = "let the hosts in on every port, for Ray takes some at random, as by iptables -I INPUT -s ADDRESS -j ACCEPT for each; pairs.yml asks"
        yield Fault(observed, "packets from the cluster's hosts to be let in", remedy, severity=Severity.WARNING, evidence=rules["source"])


CHECKS = (
    Check("account", "the module's user id", _account, ()),
    Check("python", "the interpreter that runs the modules", _python, ()),
    Check("init", "/proc/1/comm", _init, ()),
    Check("kernel", "/proc/sys/kernel/osrelease, /lib/modules", _kernel, (), Severity.WARNING),
    Check("main memory", "/proc/meminfo", _memory, ()),
    Check("swap", "/proc/swaps", _swap, (), Severity.WARNING),
    Check(SHM, "statvfs of /dev/shm", _shm, ("host",)),
    Check("shared memory in use", "statvfs of /dev/shm, and the files in it", _shm_in_use, ()),
    _limit("memlock"),
    _limit("nofile"),
    Check("process limit", "pids.max of the control groups of containers", _tasks, (), Severity.WARNING),
    Check("clock", "the host's clock between two readings of the controller's", _clock, ()),
    Check("time service", "adjtimex", _time_service, ("host",)),
    Check("disk", "statvfs of the paths that weights and image go to", _disk, ()),
    Check("port in use", "/proc/net/tcp, /proc/net/tcp6", _ports, ()),
    Check("left-over processes", "/proc/PID/comm, /proc/PID/cmdline, /proc/PID/cgroup", _left_over, ()),
    Check("shared memory segments", "/proc/sysvipc/shm", _segments, (), Severity.WARNING),
    Check("host names", "getaddrinfo on the host", _names, ("host",)),
    Check("own name", "getaddrinfo of the host's own name", _own_name, ("host",)),
    Check("proxy", "the environment of logins, of the container engine and of the image", _proxies, ()),
    Check("firewall", "iptables -S, nft list ruleset", _firewall, (), Severity.WARNING),
)
