# SPDX-License-Identifier: MIT
"""SIMULATOR of a P800 host (p800-simulator). It shows a host without Kunlunxin hardware as one with XPUs. For tests only.

Its overlay, for the operators' variable cluster_facts_overlay, is /var/lib/p800-simulator/overlay; how its programs were called is
written to /var/lib/p800-simulator/commands.log, one line of JSON for each call.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any, Callable, Dict, List, Optional

from . import faults, host, live, render, show, watch, wiring, xre
from .machine import DRIVER, PEER, XDR
from .places import Places, of_this_host
from .state import PART_NUMBER, VENDORS, Runtime, State, StateError, load, locked, save

DRIVER_VERSION, OFED_VERSION, XDR_VERSION = "5.0.21.26", "24.01-0.3.3.1", "1.1.0.6"


class CommandError(RuntimeError):
    """What was asked for is not possible; the text says why."""


def main(argv: Optional[List[str]] = None) -> int:
    arguments = _parser().parse_args(argv)
    places = of_this_host()
    try:
        arguments.run(places, arguments)
    except (CommandError, StateError, faults.FaultError, wiring.WiringError, host.HostError) as error:
        print("p800-simulator: %s" % error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="p800-simulator", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    one = _command(commands, "init", "a host with XPUs and no driver", _init)
    one.add_argument("--wiring", default="pairs", help="%s, or a file of JSON in the same form" % ", ".join(wiring.NAMED))
    one.add_argument("--devices", type=int, help="how many of the wiring's XPUs there are")
    one.add_argument("--vendor", choices=VENDORS, default=VENDORS[0], help="PCI vendor of the XPUs")
    one.add_argument("--part-number", default=PART_NUMBER)
    one.add_argument("--rate", type=int, choices=(100, 200, 400), default=400, help="of the RDMA ports, in Gb/s")
    one.add_argument("--layout", choices=("legend", "devices"), default="legend", help="of xpu-smi topo -m")
    one.add_argument("--access-control", action="store_true", help="bridges have ACS on at each boot, until somebody switches it off")
    one.add_argument("--boot-parameters", default="iommu=pt", help="that the host's owner has in /etc/default/grub")

    one = _command(commands, "ready", "OFED, driver and XDR are installed and loaded, as the roles leave a host", _ready)
    one.add_argument("--driver", default=DRIVER_VERSION)
    one.add_argument("--ofed", default=OFED_VERSION)
    one.add_argument("--xdr", default=XDR_VERSION)

    driver = commands.add_parser("driver", help="the driver's files").add_subparsers(required=True, metavar="COMMAND")
    one = _command(driver, "install", "put modules and tool there; depmod and modprobe come after", _driver_install)
    one.add_argument("--version", required=True)
    one.add_argument("--kernel", help="that the modules are built for; the running one")
    one.add_argument("--into", help="kernel whose folder of modules they go to; the same")
    one.add_argument("--part-number", help="the XPUs get this part number")
    _command(driver, "remove", "take them away", _driver_remove)

    xdr = commands.add_parser("xdr", help="XPU direct RDMA").add_subparsers(required=True, metavar="COMMAND")
    one = _command(xdr, "install", "put its module there", _xdr_install)
    one.add_argument("--version", required=True)
    one.add_argument("--kernel")
    _command(xdr, "remove", "take it away", _xdr_remove)

    ofed = commands.add_parser("ofed", help="MLNX_OFED").add_subparsers(required=True, metavar="COMMAND")
    one = _command(ofed, "install", "put its programs there", _ofed_install)
    one.add_argument("--version", default=OFED_VERSION)
    _command(ofed, "remove", "take them away", _ofed_remove)

    one = _command(commands, "firmware", "new firmware; the XPUs have it after a power cycle", _firmware)
    one.add_argument("--pcie", required=True)
    one.add_argument("--sbl", required=True)
    _command(commands, "power-cycle", "pending firmware takes effect, and everything that a boot forgets is forgotten", _power_cycle)

    fault = commands.add_parser("fault", help="what is wrong with the host").add_subparsers(required=True, metavar="COMMAND")
    one = _command(fault, "set", "switch one on", _fault_set)
    one.add_argument("name")
    one.add_argument("parameters", nargs="*", metavar="KEY=VALUE")
    one = _command(fault, "clear", "switch one off, or all", _fault_clear)
    one.add_argument("name", nargs="?")
    one = _command(fault, "list", "all there are", _fault_list)
    one.add_argument("--json", action="store_true")

    one = _command(commands, "set", "figures of the simulated host", _set)
    one.add_argument("--bandwidth", type=float, help="Gb/s that ib_write_bw tells")
    one.add_argument("--layout", choices=("legend", "devices"))
    _command(commands, "show", "the state, as JSON", _show)
    _command(commands, "render", "write the overlay anew, with the addresses that the host has now", _render)
    one = _command(commands, "called", "write down how a stand-in of the vendor's files was called", _called)
    one.add_argument("words", nargs=argparse.REMAINDER, metavar="PROGRAM [ARGUMENT ...]")
    _command(commands, "watch", "serve the overlay: what is written to it, new addresses, time", _watch)
    _command(commands, "reset", "the host as init left it: no driver, no faults", _reset)
    _command(commands, "host-install", "the simulator's programs come before the host's own", _host_install)
    _command(commands, "host-remove", "nothing of the simulator is left", _host_remove)
    return parser


def _command(commands: Any, name: str, about: str, run: Callable[[Places, argparse.Namespace], None]) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=about, description="SIMULATOR: %s." % about)
    parser.set_defaults(run=run)
    return parser


def _changing(places: Places, change: Callable[[State, live.Live], None]) -> None:
    with locked(places):
        now = live.read(places)
        state = show.current(places, now)
        change(state, now)
        show.everything(places, state, now)


# ---- the host


def _init(places: Places, arguments: argparse.Namespace) -> None:
    data = wiring.NAMED.get(arguments.wiring)
    if data is None:
        try:
            with open(arguments.wiring, encoding="utf-8") as stream:
                data = json.load(stream)
        except (OSError, ValueError) as error:
            raise CommandError("wiring %s: %s" % (arguments.wiring, error))
    count = len(wiring.parse(data).devices)
    devices = count if arguments.devices is None else arguments.devices
    if not 0 <= devices <= count:
        raise CommandError("--devices %d: the wiring has %d" % (devices, count))
    with locked(places):
        now = live.read(places)
        state = State(
            data, devices, arguments.vendor, arguments.part_number, nic_gbps=arguments.rate, layout=arguments.layout, boot_id=now.boot_id,
            boot_parameters=arguments.boot_parameters, access_control=arguments.access_control,
        )  # fmt: skip
        xre.remove(places)
        show.everything(places, state, now)


def _called(places: Places, arguments: argparse.Namespace) -> None:
    show.log(places, arguments.words[0], arguments.words[1:])


def _reset(places: Places, _arguments: argparse.Namespace) -> None:
    with locked(places):
        now = live.read(places)
        old = load(places)
        state = State(
            old.wiring, old.devices, old.vendor, old.part_number, nic_gbps=old.nic_gbps, layout=old.layout, boot_id=now.boot_id,
            boot_parameters=old.boot_parameters, access_control=old.access_control,
        )  # fmt: skip
        xre.remove(places)
        show.everything(places, state, now)


def _ready(places: Places, arguments: argparse.Namespace) -> None:
    def change(state: State, now: live.Live) -> None:
        state.ofed = arguments.ofed
        _put_driver(places, state, arguments.driver, now.kernel, now.kernel)
        _put_module(state, XDR, arguments.xdr, now.kernel, now.kernel)
        state.indexed = sorted(state.modules)
        for name in (XDR, PEER, DRIVER):
            state.unload(name)
        for name in (DRIVER, PEER, XDR):
            state.load(name)

    _changing(places, change)


def _put_module(state: State, name: str, version: str, kernel: str, into: str) -> None:
    state.modules[name] = {"version": version, "kernel": kernel, "file": "/lib/modules/%s/extra/%s.ko" % (into, name)}


def _put_driver(places: Places, state: State, version: str, kernel: str, into: str) -> None:
    state.driver = version
    _put_module(state, DRIVER, version, kernel, into)
    if state.ofed:  # it is built against OFED's symbols
        _put_module(state, PEER, version, kernel, into)
    xre.install(places, version)


def _driver_install(places: Places, arguments: argparse.Namespace) -> None:
    def change(state: State, now: live.Live) -> None:
        machine = render.machine_of(state, now)
        if machine.driver_runs and machine.holders:
            users = ", ".join("%s by process %d (%s)" % (holder.path, holder.pid, holder.name) for holder in machine.holders)
            raise CommandError("device busy: %s" % users)
        kernel = arguments.kernel or now.kernel
        _put_driver(places, state, arguments.version, kernel, arguments.into or kernel)
        state.part_number = arguments.part_number or state.part_number

    _changing(places, change)


def _driver_remove(places: Places, _arguments: argparse.Namespace) -> None:
    def change(state: State, now: live.Live) -> None:
        if DRIVER in state.runtime.loaded:
            raise CommandError("the driver is loaded: rmmod %s %s first" % (PEER, DRIVER))
        for name in (DRIVER, PEER):
            state.modules.pop(name, None)
        state.indexed = [name for name in state.indexed if name in state.modules]
        state.driver = None
        xre.remove(places)

    _changing(places, change)
    with locked(places):
        xre.remove(places)


def _xdr_install(places: Places, arguments: argparse.Namespace) -> None:
    def change(state: State, now: live.Live) -> None:
        _put_module(state, XDR, arguments.version, arguments.kernel or now.kernel, now.kernel)

    _changing(places, change)


def _xdr_remove(places: Places, _arguments: argparse.Namespace) -> None:
    def change(state: State, now: live.Live) -> None:
        if XDR in state.runtime.loaded:
            raise CommandError("xdr is loaded: rmmod xdr first")
        state.modules.pop(XDR, None)

    _changing(places, change)


def _ofed_install(places: Places, arguments: argparse.Namespace) -> None:
    def change(state: State, now: live.Live) -> None:
        state.ofed = arguments.version

    _changing(places, change)


def _ofed_remove(places: Places, _arguments: argparse.Namespace) -> None:
    def change(state: State, now: live.Live) -> None:
        state.ofed = None

    _changing(places, change)


def _firmware(places: Places, arguments: argparse.Namespace) -> None:
    def change(state: State, now: live.Live) -> None:
        state.pending_firmware = {"PCIE": arguments.pcie, "SBL": arguments.sbl}

    _changing(places, change)


def _power_cycle(places: Places, _arguments: argparse.Namespace) -> None:
    """The next reading finds another boot than that of the state."""
    with locked(places):
        now = live.read(places)
        state = show.current(places, now)
        state.boot_id, state.runtime = "", Runtime()
        save(places, state)
        show.everything(places, show.current(places, now), now)


# ---- faults


def _fault_set(places: Places, arguments: argparse.Namespace) -> None:
    wrong = [word for word in arguments.parameters if "=" not in word]
    if wrong:
        raise CommandError("%s: expected KEY=VALUE" % wrong[0])
    given = faults.checked(arguments.name, dict(word.split("=", 1) for word in arguments.parameters))

    def change(state: State, now: live.Live) -> None:
        state.faults[arguments.name] = given
        render.machine_of(state, now)

    _changing(places, change)


def _fault_clear(places: Places, arguments: argparse.Namespace) -> None:
    def change(state: State, now: live.Live) -> None:
        if arguments.name is None:
            state.faults = {}
        elif state.faults.pop(arguments.name, None) is None:
            raise CommandError("the fault %s is not set" % arguments.name)

    _changing(places, change)


def _fault_list(places: Places, arguments: argparse.Namespace) -> None:
    if arguments.json:
        rows: List[Dict[str, Any]] = [
            {"name": fault.name, "does": fault.does, "modes": list(fault.modes), "parameters": dict(fault.parameters)}
            for fault in faults.FAULTS
        ]
        print(json.dumps(rows, indent=1))
        return
    for fault in faults.FAULTS:
        parameters = " ".join("%s=%s" % item for item in fault.parameters.items())
        print(
            "%-24s %-8s %s%s" % (fault.name, ",".join(map(str, fault.modes)) or "-", fault.does, " [%s]" % parameters if parameters else "")
        )


# ---- the rest


def _set(places: Places, arguments: argparse.Namespace) -> None:
    def change(state: State, now: live.Live) -> None:
        if arguments.bandwidth is not None:
            state.bandwidth = arguments.bandwidth
        state.layout = arguments.layout or state.layout

    _changing(places, change)


def _show(places: Places, _arguments: argparse.Namespace) -> None:
    load(places)
    with open(places.state, encoding="utf-8") as stream:
        sys.stdout.write(stream.read())


def _render(places: Places, _arguments: argparse.Namespace) -> None:
    _changing(places, lambda state, now: None)


def _watch(places: Places, _arguments: argparse.Namespace) -> None:
    watch.serve(places)


def _host_install(places: Places, _arguments: argparse.Namespace) -> None:
    host.install(places, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def _host_remove(places: Places, _arguments: argparse.Namespace) -> None:
    host.remove(places)
