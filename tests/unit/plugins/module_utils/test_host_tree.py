"""Where a fact is read from."""

from __future__ import annotations

from ansible_collections.flagos.kunlunxin.plugins.module_utils._host_tree import HostTree


def test_an_overlay_comes_before_the_host_and_hides_nothing_else(tmp_path):
    for path, content in {
        "host/sys/class/net/eth0/mtu": "1500\n",
        "host/sys/class/net/eth1/mtu": "1500\n",
        "overlay/sys/class/net/eth1/numa_node": "1\n",
        "overlay/sys/class/net/eth1/mtu": "9000\n",
        "overlay/proc/kunlun/version": "5.0\n",
    }.items():
        place = tmp_path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)
    (tmp_path / "overlay/sys/class/infiniband").symlink_to("nowhere")
    tree = HostTree(str(tmp_path / "host"), str(tmp_path / "overlay"))
    assert tree.line("/sys/class/net/eth0/mtu") == "1500"
    assert tree.line("/sys/class/net/eth1/mtu") == "9000"
    assert tree.line("/proc/kunlun/version") == "5.0"
    assert tree.names("/sys/class/net") == ["eth0", "eth1"]
    assert tree.names("/sys/class/net/eth1") == ["mtu", "numa_node"]
    assert tree.link("/sys/class/infiniband") == "nowhere"
    assert tree.line("/missing") is None
    assert not HostTree(str(tmp_path / "host")).exists("/proc/kunlun/version")


def test_what_no_file_can_be_called_is_not_there(tmp_path):
    tree = HostTree(str(tmp_path))
    assert (tree.text("/sys/a\0b"), tree.names("/sys/a\0b"), tree.exists("/sys/a\0b")) == (None, [], False)
