#!/bin/sh
# customize.sh TREE: what makes a tree of packages a lab host. Run by mmdebstrap; the files beside it are its material.
set -eu
tree=$1
material=$(dirname "$(readlink -f "$0")")

# certificate authorities of the network that this machine is in, if it has any of its own
if [ -n "${LAB_EXTRA_CA_DIR:-}" ]; then
    install -m 644 "$LAB_EXTRA_CA_DIR"/*.crt "$tree/usr/local/share/ca-certificates/"
    chroot "$tree" update-ca-certificates >/dev/null
fi

# a machine without some capability cannot hand it on: every runc in a host, whoever installs it, goes through the wrapper
chroot "$tree" dpkg-divert --quiet --local --rename --divert /usr/sbin/runc.distrib --add /usr/sbin/runc
{ echo '#!/usr/bin/python3 -IS'; cat "$material/../runc_capbnd.py"; } > "$tree/usr/sbin/runc"
chmod 755 "$tree/usr/sbin/runc"

install -m 755 "$material/lab-guest" "$tree/usr/local/sbin/lab-guest"
install -m 644 "$material/lab-guest.service" "$tree/etc/systemd/system/lab-guest.service"
install -m 644 "$material/sshd.conf" "$tree/etc/ssh/sshd_config.d/lab.conf"
rm -f "$tree"/etc/ssh/ssh_host_*
: >"$tree/etc/machine-id"
rm -f "$tree/etc/hosts" "$tree/etc/hostname" "$tree/etc/resolv.conf"

systemctl --root="$tree" --quiet enable ssh.service lab-guest.service
# devices, modules, consoles and kernel file systems are the machine's; updates by themselves would make hosts drift
systemctl --root="$tree" --quiet mask \
    systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket systemd-modules-load.service \
    getty.target console-getty.service dev-hugepages.mount \
    sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
    apt-daily.timer apt-daily-upgrade.timer
