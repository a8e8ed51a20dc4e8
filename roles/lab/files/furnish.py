"""Furnishes the lab's folder: programs, certificates, passwords, keys, device nodes, host identities.

    furnish.py < SPECIFICATION

SPECIFICATION is JSON: root, prefix, rails, devices, hosts ([{name, number}]), supervisor (labd's configuration), sources (text of apt's).
Makes only what is missing or differs, and prints one line for each thing. Identities live here and not in the
hosts, so that a host that is made anew answers with the key that known_hosts has.
"""

from __future__ import annotations

import json
import os
import pathlib
import secrets
import stat
import subprocess
import sys

DAYS = "3650"
REGISTRY_USERS = ("puller", "pusher")
# Python alone, without the machine's own packages or its caller's variables; the sources are modules to tests.
INTERPRETER = "#!/usr/bin/python3 -IS\n"
PROGRAMS = {"labd.py": "labd", "runc_capbnd.py": "runc-capbnd"}
FOLDERS = {
    "": 0o755,
    "bin": 0o755,
    "dev": 0o755,
    "etc": 0o700,
    "hosts": 0o700,
    "log": 0o755,
    "models": 0o755,
    "pki": 0o755,
    "registry": 0o700,
    "secrets": 0o700,
    "ssh": 0o700,
}


def write(path: pathlib.Path, text: str, mode: int = 0o644) -> bool:
    """Writes a file, whole or not at all, unless it has this text; says whether it wrote."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    part = path.with_name(path.name + ".part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as stream:
        stream.write(text)
    part.replace(path)
    print(f"wrote {path}")
    return True


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, stderr=subprocess.DEVNULL)


def make_certificates(folder: pathlib.Path, address: str) -> None:
    authority, authority_key = folder / "ca.crt", folder / "ca.key"
    certificate, key, request = folder / "registry.crt", folder / "registry.key", folder / "registry.csr"
    if not authority.exists():
        openssl(
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            DAYS,
            "-subj",
            "/CN=flagos.kunlunxin lab CA",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
            "-keyout",
            str(authority_key),
            "-out",
            str(authority),
        )
        print(f"made {authority}")
    names = folder / "registry.ext"
    renamed = write(names, f"subjectAltName=DNS:registry.lab,IP:{address}\nextendedKeyUsage=serverAuth\n")
    if renamed or not certificate.exists():
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=registry.lab", "-keyout", str(key), "-out", str(request))
        openssl(
            "x509",
            "-req",
            "-in",
            str(request),
            "-CA",
            str(authority),
            "-CAkey",
            str(authority_key),
            "-set_serial",
            str(secrets.randbits(63)),
            "-days",
            DAYS,
            "-extfile",
            str(names),
            "-out",
            str(certificate),
        )
        request.unlink()
        print(f"made {certificate}")


def make_passwords(folder: pathlib.Path, table: pathlib.Path) -> None:
    made = [
        write(folder / f"registry_{user}", secrets.token_urlsafe(24), 0o600)
        for user in REGISTRY_USERS
        if not (folder / f"registry_{user}").exists()
    ]
    if made or not table.exists():
        lines = []
        for user in REGISTRY_USERS:
            password = (folder / f"registry_{user}").read_text(encoding="utf-8")
            lines.append(
                subprocess.run(["htpasswd", "-niB", user], input=password, check=True, capture_output=True, text=True).stdout.strip()
            )
        write(table, "\n".join(lines) + "\n", 0o600)


def make_key(path: pathlib.Path, comment: str) -> str:
    """Makes a key pair if there is none. Returns the public half: type and key."""
    if not path.exists():
        part = path.with_suffix(".part")
        for left in (part, part.with_suffix(".part.pub")):
            left.unlink(missing_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(part)], check=True)
        # The private half last: it is there only when both are whole.
        part.with_suffix(".part.pub").rename(path.with_suffix(".pub"))
        part.rename(path)
        print(f"made {path}")
    return path.with_suffix(".pub").read_text(encoding="utf-8")


def make_devices(folder: pathlib.Path, count: int) -> None:
    """Device nodes of the accelerator's names that behave as /dev/null: they prove that a node is passed on, nothing more."""
    for name in [f"xpu{index}" for index in range(count)] + ["xpuctrl"]:
        node = folder / name
        if not node.exists():
            os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(1, 3))
            node.chmod(0o666)
            print(f"made {node}")


def furnish_host(folder: pathlib.Path, name: str, number: int, prefix: str, rails: int, authorized: str) -> None:
    folder.mkdir(exist_ok=True)
    make_key(folder / "ssh_host_ed25519_key", name)
    write(folder / "authorized_keys", authorized)
    interfaces = " ".join(f"eth{network}={prefix}.{network}.{number}" for network in range(rails + 1))
    write(folder / "guest.conf", f"INTERFACES='{interfaces}'\nGATEWAY={prefix}.0.1\nNAMESERVER={prefix}.255.3\n")
    write(folder / "address", f"{prefix}.0.{number}")


def known_hosts(hosts: pathlib.Path) -> str:
    lines = []
    for folder in sorted(hosts.iterdir()):
        address = (folder / "address").read_text(encoding="utf-8")
        key = (folder / "ssh_host_ed25519_key.pub").read_text(encoding="utf-8").split()
        lines.append(f"{address},{folder.name} {key[0]} {key[1]}\n")
    return "".join(lines)


def main(specification: dict) -> None:
    root, prefix, rails = pathlib.Path(specification["root"]), specification["prefix"], specification["rails"]
    os.umask(0o022)
    for name, mode in FOLDERS.items():
        folder = root / name
        if not folder.is_dir():
            folder.mkdir(parents=True, mode=mode)
            print(f"made {folder}")
    beside = pathlib.Path(__file__).parent
    for source, name in PROGRAMS.items():
        write(root / "bin" / name, INTERPRETER + (beside / source).read_text(encoding="utf-8"), 0o755)
    write(root / "etc" / "labd.json", json.dumps(specification["supervisor"], indent=2) + "\n")
    write(root / "etc" / "apt.sources", specification["sources"])
    make_certificates(root / "pki", f"{prefix}.0.1")
    make_passwords(root / "secrets", root / "etc" / "registry.htpasswd")
    authorized = make_key(root / "ssh" / "id_ed25519", "flagos.kunlunxin lab")
    make_devices(root / "dev", specification["devices"])
    for host in specification["hosts"]:
        furnish_host(root / "hosts" / host["name"], host["name"], host["number"], prefix, rails, authorized)
    write(root / "ssh" / "known_hosts", known_hosts(root / "hosts"))


if __name__ == "__main__":
    main(json.load(sys.stdin))
