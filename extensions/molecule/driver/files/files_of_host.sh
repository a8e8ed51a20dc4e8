#!/bin/sh
# Every file of a host where a driver could put one, with kind, mode, target and content.
cd / || exit 1
places="etc/depmod.d etc/ld.so.conf.d etc/modprobe.d etc/modules-load.d etc/profile.d etc/systemd/system etc/udev usr/bin usr/sbin
    usr/local usr/src usr/lib/modprobe.d usr/lib/modules usr/lib/modules-load.d usr/lib/systemd/system usr/lib/udev usr/share/doc/xpu-container-toolkit"
find $places -name __pycache__ -prune -o -printf '%p %y %m %l\n' 2>/dev/null | LC_ALL=C sort
find usr/local usr/src usr/lib/modules etc/modprobe.d etc/modules-load.d -name __pycache__ -prune -o -type f -exec sha256sum {} + | LC_ALL=C sort
