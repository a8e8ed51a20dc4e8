"""The module rdma_settings on a made-up host: check mode, the run and the second run tell one story, and every change can be undone."""

from __future__ import annotations

import base64
import json
import shlex

import pytest
import yaml
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _rdma_knobs, _rdma_program, _rdma_state
from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_tree import HostTree
from ansible_collections.flagos.kunlunxin.plugins.module_utils._login import Login
from ansible_collections.flagos.kunlunxin.plugins.module_utils._rdma_batch import UnfitError
from ansible_collections.flagos.kunlunxin.plugins.modules import rdma_settings

SYSCTL = "/proc/sys/net/ipv4/conf/eth1/rp_filter"
NOTHING = {
    "state": "present",
    "program": base64.b64encode(b"the program").decode(),
    "rollback_seconds": 60,
    "interfaces": [],
    "control_interface": "eth0",
    "macs": {},
    "persistent_names": False,
    "kernel_parameters": {},
    "kernel_globals": {},
    "manage_kernel_globals": False,
    "interface_parameters": {},
    "mtu": None,
    "rings": None,
    "policy_routing": False,
    "first_table": 101,
    "rule_priority": 32761,
    "gateways": {},
    "trust": None,
    "pfc_priorities": None,
    "ecn_priorities": None,
    "cnp_dscp": None,
    "traffic_class": None,
    "adaptive_routing": None,
    "ethernet_adapters": [],
    "acs_off": False,
    "pci_ids": [],
    "max_read_request": None,
    "irq_affinity": None,
    "overlay": None,
}
WISH = {
    "interfaces": ["eth1"],
    "mtu": 9000,
    "policy_routing": True,
    "gateways": {"eth1": "10.1.1.254"},
    "interface_parameters": {"rp_filter": 2},
    "kernel_parameters": {"net.ipv4.tcp_ecn": 1},
}


class Host(HostTree):
    """A host whose files lie below a folder, and whose ``ip`` and ``systemctl`` are modelled here. It is module and tree in one."""

    def __init__(self, folder):
        super().__init__(str(folder))
        self.folder = folder
        self.check_mode = False
        self.rules, self.tables = [], {}
        self.commands, self.refuses = [], None
        self.client = "10.9.0.1 50000"
        self.link_types = {}
        self.params = {}
        for name in ("eth0", "eth1"):
            self.put(f"/sys/class/net/{name}/mtu", "1500\n")
            self.put(f"/sys/class/net/{name}/carrier", "1\n")
            self.put(f"/sys/class/net/{name}/address", f"02:00:00:00:00:0{name[-1]}\n")
            self.put(f"/sys/class/net/{name}/addr_assign_type", "0\n")
            self.put(f"/sys/class/net/{name}/device/vendor", "0x15b3\n")
        self.put(SYSCTL, "0\n")
        self.put("/proc/sys/net/ipv4/tcp_ecn", "2\n")

    def put(self, path, text):
        place = self.folder / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def jsonify(self, data):
        return json.dumps(data)

    def command(self, *argv):
        if argv[:3] == ("ip", "-o", "address") or argv[:4] == ("ip", "-o", "-4", "address"):
            return "2: eth0    inet 10.0.0.5/24 scope global eth0\n3: eth1    inet 10.1.1.5/24 scope global eth1\n"
        if argv[-1:] == ("rule",) or argv[-2:] == ("rule", "show"):
            return "".join(f"{rule}\n" for rule in ["0: from all lookup local", *self.rules])
        if argv[:4] == ("ip", "-4", "route", "show"):
            return "".join(f"{route}\n" for route in self.tables.get(argv[-1], [])) or None
        if argv[0] == "mlxconfig":
            return "Configurations:          Next Boot\n" + "".join(f"  {name}   {value}\n" for name, value in self.link_types.items())
        if argv[-2:] == ("table", "all"):
            return "".join(f"{route} table {table}\n" for table, routes in self.tables.items() for route in routes)
        return None

    def take(self, step, tree):
        """What the host does at a step."""
        words = _rdma_knobs.described(step)
        self.commands.append(words)
        if self.refuses and words.startswith(self.refuses):
            raise _rdma_state.StepError(step, "not supported")
        if isinstance(step, _rdma_knobs.Write):
            self.put(step.path, step.value + "\n")
        elif step[0] == "mlxconfig":
            name, _sign, value = step[-1].partition("=")
            self.link_types[name] = {"1": "IB(1)", "2": "ETH(2)"}[value]
        elif step[:3] == ["ip", "link", "set"]:
            self.put(f"/sys/class/net/{step[4]}/mtu", step[6] + "\n")
        elif step[:3] == ["ip", "-4", "route"]:
            routes, route = self.tables.setdefault(step[-1], []), " ".join(step[4:-2])
            routes.append(route) if step[3] == "replace" else routes.remove(route)
        elif step[:3] == ["ip", "-4", "rule"]:
            selector = " ".join(step[4:6]) if step[4] == "from" else "from all " + " ".join(step[4:6])
            rule = f"{step[-1]}: {selector} lookup {step[-3]}"
            self.rules.append(rule) if step[3] == "add" else self.rules.remove(rule)

    def run(self, check=False, **params):
        self.params = {**NOTHING, "state_dir": str(self.folder / "state"), **params}
        self.check_mode = check
        if self.params["state"] == "confirmed":
            return rdma_settings.confirm(self)
        return rdma_settings.change(self)

    def confirmed(self, **params):
        """A change and its confirmation by a new login."""
        result = self.run(**params)
        if result["armed"]:
            self.client = f"10.9.0.1 {int(self.client.split()[1]) + 1}"
            self.run(state="confirmed")
        return result

    def restore(self):
        """What the dead-man timer does."""
        return _rdma_state.restore(_rdma_state.Folder(str(self.folder / "state" / "rdma")))

    def seen(self):
        files = {str(path.relative_to(self.folder)): path.read_text() for path in self.folder.rglob("*") if path.is_file()}
        links = {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_symlink()}
        tables = {table: sorted(routes) for table, routes in self.tables.items() if routes}
        return {path: text for path, text in files.items() if "undone" not in path}, links, sorted(self.rules), tables


@pytest.fixture
def host(tmp_path, monkeypatch):
    made = Host(tmp_path / "host")
    for name in ("UNIT_FILE", "LINK_FILES", "LOCK", "UNDONE"):
        monkeypatch.setattr(_rdma_state, name, str(made.folder / getattr(_rdma_state, name).lstrip("/")))
    (made.folder / "run").mkdir()
    for module in (rdma_settings, _rdma_state, _rdma_program):
        monkeypatch.setattr(module, "HostTree", lambda *_arguments: made)
    monkeypatch.setattr(rdma_settings, "SYSTEMD_RUNS", str(made.folder))
    monkeypatch.setattr(rdma_settings, "login", lambda *_arguments: Login(made.client, "10.0.0.5", frozenset(["eth0"])))
    monkeypatch.setattr(_rdma_state, "take", made.take)
    return made


def test_the_module_declares_what_these_tests_prove():
    attributes = yaml.safe_load(rdma_settings.DOCUMENTATION)["attributes"]
    assert {attributes[name]["support"] for name in ("check_mode", "diff_mode", "idempotent")} == {"full"}


def test_check_mode_predicts_the_run_and_changes_nothing(host):
    before = host.seen()
    predicted = host.run(check=True, **WISH)
    assert (host.seen(), host.commands, predicted["armed"]) == (before, [], False)
    made = host.run(**WISH)
    assert {**made, "armed": False} == predicted
    assert made["changed"]
    assert made["armed"]


def test_the_actions_are_the_commands_that_are_run_in_their_order(host):
    made = host.run(**WISH)
    knobs = [action for action in made["actions"] if action.startswith(("ip ", "write 2", "write 1 "))]
    assert knobs == [
        "write 1 to /proc/sys/net/ipv4/tcp_ecn",
        "ip link set dev eth1 mtu 9000",
        f"write 2 to {SYSCTL}",
        "ip -4 route replace 10.1.1.0/24 dev eth1 src 10.1.1.5 table 101",
        "ip -4 route replace default via 10.1.1.254 dev eth1 src 10.1.1.5 table 101",
        "ip -4 rule add from 10.1.1.5 lookup 101 priority 32761",
        "ip -4 rule add oif eth1 lookup 101 priority 32761",
    ]
    assert [command for command in host.commands if command in knobs] == knobs
    timer = next(action for action in made["actions"] if action.startswith("systemd-run"))
    assert host.commands.index(timer) < host.commands.index(knobs[0])
    assert shlex.split(timer)[-2] == "restore"


def test_the_diff_shows_knobs_and_files_as_they_are_then(host):
    shown = {entry["after_header"]: (entry["before"], entry["after"]) for entry in host.run(**WISH)["diff"]}
    assert shown["mtu eth1"] == ("1500\n", "9000\n")
    assert shown["rule 32761 10.1.1.5 101"] == ("absent\n", "present\n")
    assert shown[_rdma_state.UNIT_FILE] == ("", _rdma_state.read_text(_rdma_state.UNIT_FILE))


def test_a_second_run_changes_nothing_and_arms_no_timer(host):
    host.confirmed(**WISH)
    host.commands.clear()
    again = host.run(**WISH)
    assert (again["changed"], again["actions"], again["armed"], host.commands) == (False, [], False, [])


@pytest.mark.parametrize("damage", [SYSCTL, "/sys/class/net/eth1/mtu", "/state/rdma/batch.json", "/state/rdma/rdma.pyz", "unit"])
def test_each_damage_is_repaired(host, damage):
    host.confirmed(**WISH)
    sound = host.seen()
    host.put(
        _rdma_state.UNIT_FILE.replace(str(host.folder), "") if damage == "unit" else damage,
        '{"settings": []}' if "json" in damage else "7\n",
    )
    assert host.confirmed(**WISH)["changed"]
    assert host.seen() == sound


def test_a_route_and_a_rule_that_went_come_back(host):
    host.confirmed(**WISH)
    sound = host.seen()
    host.rules.pop()
    host.tables["101"].pop()
    assert host.confirmed(**WISH)["changed"]
    assert host.seen() == sound


def test_what_cannot_cut_the_host_off_needs_no_confirmation(host):
    made = host.run(interfaces=["eth1"], kernel_parameters={"net.ipv4.tcp_ecn": 1})
    assert made["changed"]
    assert not made["armed"]
    assert not any("systemd-run" in command for command in host.commands)


def test_a_host_without_interfaces_gets_what_belongs_to_none(host):
    before = host.seen()
    assert host.run(mtu=9000, interface_parameters={"rp_filter": 2}, policy_routing=True)["actions"] == []
    assert host.seen() == before
    made = host.run(kernel_parameters={"net.ipv4.tcp_ecn": 1})
    assert (made["settings"], made["armed"]) == ({"file /proc/sys/net/ipv4/tcp_ecn": "1"}, False)
    assert host.line("/proc/sys/net/ipv4/tcp_ecn") == "1"
    host.run(state="absent")
    assert host.seen() == before


@pytest.mark.parametrize("undo", ["restore", "absent"])
def test_no_folder_is_left_but_that_of_others(host, undo):
    def undone():
        host.run(**WISH)
        if undo == "restore":
            host.restore()
        else:
            host.client = "10.9.0.1 50001"
            host.run(state="confirmed")
            host.confirmed(state="absent")

    undone()
    assert not (host.folder / "state").exists()
    (host.folder / "state" / "receipts").mkdir(parents=True)
    undone()
    assert [path.name for path in (host.folder / "state").iterdir()] == ["receipts"]


def test_the_timer_brings_everything_back(host):
    before = host.seen()
    host.run(**WISH)
    assert host.restore() == []
    assert host.seen() == before
    with pytest.raises(UnfitError, match="undone, for no login confirmed them in time"):
        host.run(state="confirmed")


def test_the_timer_brings_back_the_batch_of_before(host):
    host.confirmed(**WISH)
    sound = host.seen()
    host.run(**{**WISH, "mtu": 1400, "policy_routing": False, "gateways": {}})
    assert host.seen() != sound
    assert host.restore() == []
    assert host.seen() == sound


def test_a_boot_gives_up_what_nobody_confirmed_and_replays_the_rest(host):
    host.confirmed(**WISH)
    batch = host.seen()[0]["state/rdma/batch.json"]
    host.run(**{**WISH, "mtu": 1400})
    host.put("/sys/class/net/eth1/mtu", "1500\n")  # a boot makes all anew
    host.put(SYSCTL, "0\n")
    host.rules.clear()
    host.tables.clear()
    assert _rdma_program.boot(_rdma_state.Folder(str(host.folder / "state" / "rdma"))) == []
    assert host.line("/sys/class/net/eth1/mtu") == "9000"
    assert (len(host.rules), len(host.tables["101"])) == (2, 2)
    assert host.seen()[0]["state/rdma/batch.json"] == batch
    assert host.run(**WISH)["actions"] == []


def test_a_boot_says_what_is_missing_and_does_the_rest(host):
    host.confirmed(**WISH)
    host.put("/proc/sys/net/ipv4/tcp_ecn", "2\n")
    (host.folder / "sys/class/net/eth1").rename(host.folder / "sys/class/net/other")
    host.refuses = "ip link set dev eth1"
    refused = _rdma_program.boot(_rdma_state.Folder(str(host.folder / "state" / "rdma")), wait_seconds=0)
    assert refused == ["eth1 is not there after 0 s", "ip link set dev eth1 mtu 9000: not supported"]
    assert host.line("/proc/sys/net/ipv4/tcp_ecn") == "1"


def test_the_login_that_made_a_change_cannot_confirm_it(host):
    host.run(**WISH)
    with pytest.raises(UnfitError, match="confirmed by the login that made them; expected a new login"):
        host.run(state="confirmed")
    host.client = "10.9.0.1 50001"
    assert host.run(check=True, state="confirmed")["changed"]
    assert host.run(state="confirmed")["actions"] == ["systemctl stop flagos-kunlunxin-rdma-deadman.timer"]
    assert not host.run(state="confirmed")["changed"]


def test_a_run_before_the_confirmation_keeps_the_way_back(host):
    before = host.seen()
    host.run(**WISH)
    again = host.run(**{**WISH, "mtu": 1400})
    assert again["armed"]
    undone = json.loads(host.seen()[0]["state/rdma/unconfirmed.json"])["settings"]
    assert [entry["value"] for entry in undone if entry["knob"]["kind"] == "mtu"] == [1500]
    assert host.restore() == []
    assert host.seen() == before


def test_a_change_that_still_waits_is_confirmed_by_the_next_run(host):
    host.run(**WISH)
    again = host.run(**WISH)
    assert again["armed"]
    host.client = "10.9.0.1 50001"
    host.run(state="confirmed")
    assert host.restore() == []
    assert host.run(**WISH)["actions"] == []


def test_a_step_that_the_host_refuses_undoes_those_before(host):
    before = host.seen()
    host.refuses = "ip -4 rule add oif"
    with pytest.raises(UnfitError, match=r"ip -4 rule add oif eth1 .*: not supported; .*what was there is back"):
        host.run(**WISH)
    assert host.seen() == before


def test_absent_brings_back_what_was_before_the_first_change(host):
    before = host.seen()
    host.confirmed(**WISH)
    host.confirmed(**{**WISH, "mtu": 1400})
    predicted = host.run(check=True, state="absent")
    made = host.confirmed(state="absent")
    assert predicted["actions"] == made["actions"]
    assert "ip link set dev eth1 mtu 1500" in made["actions"]
    assert host.seen() == before
    assert host.run(state="absent")["actions"] == []


def test_an_absent_that_nobody_confirms_is_undone_too(host):
    host.confirmed(**WISH)
    sound = host.seen()
    host.run(state="absent")
    assert host.restore() == []
    assert host.seen() == sound


def test_absent_of_what_cannot_cut_needs_no_timer(host):
    before = host.seen()
    host.run(interfaces=["eth1"], kernel_parameters={"net.ipv4.tcp_ecn": 1})
    assert host.run(state="absent")["changed"]
    assert host.seen() == before


def test_an_option_that_is_no_longer_given_gets_its_old_value_back(host):
    host.confirmed(**WISH)
    made = host.confirmed(**{**WISH, "mtu": None})
    assert host.line("/sys/class/net/eth1/mtu") == "1500"
    assert "ip link set dev eth1 mtu 1500" in made["actions"]
    assert "mtu eth1" not in made["settings"]


def test_a_device_that_has_gone_hinders_nothing(host):
    host.confirmed(**WISH)
    (host.folder / "sys/class/net/eth1").rename(host.folder / "sys/class/net/other")
    (host.folder / SYSCTL.lstrip("/")).unlink()
    host.confirmed(state="absent")
    assert host.rules == []


def test_a_kernel_parameter_that_the_host_lacks_is_refused_before_anything_is_changed(host):
    before = host.seen()
    with pytest.raises(UnfitError, match="no /proc/sys/net/core/rmem_max; expected 212992000; leave it out"):
        host.run(**WISH, kernel_globals={"net.core.rmem_max": 212992000}, manage_kernel_globals=True)
    assert host.seen() == before


def test_a_host_without_systemd_has_no_timer(host, monkeypatch):
    monkeypatch.setattr(rdma_settings, "SYSTEMD_RUNS", str(host.folder / "nowhere"))
    with pytest.raises(UnfitError, match="systemd does not run"):
        host.run(**WISH)
    assert host.commands == []


def test_names_are_made_persistent_before_anything_else_and_taken_back(host):
    before = host.seen()
    names = {"persistent_names": True, "macs": {"rail1": "02:00:00:00:00:01"}}
    first = host.run(**{**WISH, "interfaces": ["rail1"], "gateways": {}}, **names)
    assert (first["reboot_required"], first["armed"]) == (True, False)
    assert [action.rsplit("/", 1)[1] for action in first["actions"]] == ["10-flagos-kunlunxin-rail1.link"]
    host.confirmed(**WISH, persistent_names=True)
    assert [path for path in host.seen()[0] if path.endswith(".link")] == ["etc/systemd/network/10-flagos-kunlunxin-eth1.link"]
    host.confirmed(state="absent")
    assert host.seen() == before


def test_an_adapter_in_infiniband_mode_is_all_that_is_settled(host):
    """It has no interface yet, so that of the rest nothing could be settled."""
    host.link_types = {"LINK_TYPE_P1": "IB(1)", "LINK_TYPE_P2": "IB(1)"}
    host.put("/usr/bin/mlxconfig", "")
    infiniband = "/sys/class/infiniband/mlx5_0"
    host.put(f"{infiniband}/ports/1/link_layer", "InfiniBand\n")
    (host.folder / infiniband.lstrip("/") / "device").symlink_to("../../../devices/pci0000:15/0000:15:00.1")
    before = host.seen()
    wish = {**WISH, "interfaces": ["rail1"], "gateways": {}, "ethernet_adapters": ["0000:15:00.0"]}
    made = host.run(**wish)
    assert made["settings"] == {"link_type 0000:15:00.0 P1": "2", "link_type 0000:15:00.0 P2": "2"}
    assert (made["power_cycle_required"], made["armed"]) == (["0000:15:00.0"], False)
    assert host.link_types == {"LINK_TYPE_P1": "ETH(2)", "LINK_TYPE_P2": "ETH(2)"}
    again = host.run(**wish)
    assert (again["changed"], again["power_cycle_required"]) == (False, ["0000:15:00.0"])
    host.put(f"{infiniband}/ports/1/link_layer", "Ethernet\n")  # after the reset
    made = host.confirmed(**WISH, ethernet_adapters=["0000:15:00.0"])
    assert (made["power_cycle_required"], made["settings"]["mtu eth1"]) == ([], "9000")
    host.confirmed(state="absent")
    host.put(f"{infiniband}/ports/1/link_layer", "InfiniBand\n")
    assert (host.link_types, host.seen()) == ({"LINK_TYPE_P1": "IB(1)", "LINK_TYPE_P2": "IB(1)"}, before)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"settings": 1}'])
def test_values_from_before_that_cannot_be_read_are_never_guessed(host, text):
    host.confirmed(**WISH)
    host.put("/state/rdma/originals.json", text)
    with pytest.raises(_rdma_state.UnreadableError):
        host.run(**WISH)
    host.put("/state/rdma/batch.json", text)
    assert _rdma_program.main(["boot", str(host.folder / "state" / "rdma")]) == 1


def test_the_program_takes_two_commands(host):
    host.run(**WISH)
    folder = str(host.folder / "state" / "rdma")
    assert _rdma_program.main(["restore", folder]) == 0
    assert host.line("/sys/class/net/eth1/mtu") == "1500"
    assert _rdma_program.main(["boot", folder]) == 0
    assert _rdma_program.main(["undo", folder]) == 2


def test_steps_are_taken_for_real(tmp_path):
    tree = HostTree(str(tmp_path))
    (tmp_path / "knob").write_text("0\n")
    _rdma_state.take(_rdma_knobs.Write("/knob", "2"), tree)
    assert (tmp_path / "knob").read_text() == "2"
    _rdma_state.take(["true"], tree)
    with pytest.raises(_rdma_state.StepError, match=r"ls /does/not/exist: .*No such file"):
        _rdma_state.take(["ls", "/does/not/exist"], tree)
    with pytest.raises(_rdma_state.StepError, match="write 2 to /nowhere/knob: No such file"):
        _rdma_state.take(_rdma_knobs.Write("/nowhere/knob", "2"), tree)
