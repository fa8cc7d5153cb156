"""python -m export.kit: a bundle, our code and the packages it needs, for a box without network."""

from __future__ import annotations

import argparse
import hashlib
import io
import logging
import re
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from export.kit.wheelhouse import (
    ARCHES,
    GLIBC,
    GLIBC_WITH_CPU,
    OWN_WHEEL,
    PYTHONS,
    Target,
    check_checkout,
    fetch,
    own_wheel,
    requirements_of,
    targets_of,
)
from runtime.cli import command_line
from runtime.errors import EXIT_OK, ArtifactError, ConfigError
from runtime.files import check_target, printable, sha256_file, shown, written_whole
from runtime.model.manifest import MANIFEST_NAME, Manifest, check_files, read_manifest
from runtime.version import VERSION

SUFFIX = ".tar"
SUMS_NAME = "SHA256SUMS"
INSTALLER = "install.sh"
TEMPLATES = Path(__file__).parent / "files"
# The reference's answers, which the self-test on the box compares with.
SELFTEST_NAME = "selftest.npz"
PLAIN_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"

# The few words of the notes that depend on the bundle, by the note they stand in.
WORDS = {
    "README.md": {"none": "none", None: "not judged", True: "passed", False: "FAILED"},
    "README.zh-CN.md": {"none": "无", None: "未判定", True: "通过", False: "未通过"},
}
FILLED_IN = (*WORDS, INSTALLER)

logger = logging.getLogger("starmark")

Content = bytes | Path


def main(argv: list[str] | None = None) -> int:
    """Make one kit.

    Returns:
        0 with the kit in place, or as `runtime.errors` lists.
    """
    return command_line.run(lambda: _kit(_parse(argv)))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = command_line.parser(
        "export.kit",
        "Pack a bundle for a box without network: the bundle, this code as a wheel, the wheels it\n"
        "needs there, checksums, an installer and a note. Unpack it there, run install.sh.",
        "python -m export.kit build/starter68 --output kit.tar --python 3.11 --arch aarch64",
    )
    add = parser.add_argument
    add("bundle", type=Path, metavar="BUNDLE", help="bundle's folder, as python -m export wrote it")
    add("--output", type=Path, required=True, metavar="TAR", help="file to write")
    add(
        "--python",
        nargs="+",
        default=list(PYTHONS),
        metavar="X.Y",
        help=f"the box's Python, as python3 --version prints it (default: {', '.join(PYTHONS)}, all"
        " that there are wheels for)",
    )
    arch_help = "the box's processor, as uname -m prints it (default: both)"
    add("--arch", nargs="+", default=list(ARCHES), choices=ARCHES, help=arch_help)
    wheels_help = "take the packages' wheels from this folder alone, without network"
    add("--wheels", type=Path, metavar="DIR", help=wheels_help)
    cpu_help = f"add onnxruntime: the box tests itself without an NPU, too (glibc {GLIBC_WITH_CPU})"
    add("--with-cpu", action="store_true", help=cpu_help)
    add(
        "--dry-run",
        action="store_true",
        help="print what would go in and write nothing; with --wheels, check that all are there",
    )
    return parser.parse_args(argv)


def _kit(arguments: argparse.Namespace) -> int:
    command_line.log_to_stderr()
    glibc = GLIBC_WITH_CPU if arguments.with_cpu else GLIBC
    targets = targets_of(arguments.python, arguments.arch, glibc)
    check_checkout()
    manifest = read_manifest(arguments.bundle)
    bundle = bundle_files(arguments.bundle, manifest)
    check_files(arguments.bundle, manifest)
    _check_output(arguments.output, arguments.bundle, bundle.values())
    wanted = {
        target: requirements_of(manifest, target.python, with_cpu=arguments.with_cpu)
        for target in targets
    }
    for warning in warnings_of(manifest):
        logger.warning("WARNING: %s", warning)
    if arguments.dry_run:
        if arguments.wheels is not None:
            with tempfile.TemporaryDirectory(prefix="starmark-kit-") as folder:
                fetch(Path(folder), wanted, arguments.wheels)
        print(_plan(bundle, wanted, arguments.output))
        return EXIT_OK
    # opened first: that the place cannot be written to is found before anything is fetched
    with (
        written_whole(arguments.output) as temporary,
        tempfile.TemporaryDirectory(prefix="starmark-kit-") as folder,
    ):
        with command_line.step("wheels", turning=False):
            own = own_wheel(Path(folder))
            wheels = fetch(Path(folder), wanted, arguments.wheels)
        files: dict[str, Content] = {}
        for target, of_target in wheels.items():
            of_target.append(own)
            files |= {f"wheels/{path.name}": path for path in of_target}
            files[f"wheels/{target.python}-{target.arch}.txt"] = _requirements(of_target)
        files |= {f"bundle/{manifest.name}/{name}": path for name, path in bundle.items()}
        files |= _templates(manifest, targets)
        write_kit(temporary, f"{manifest.name}-kit", files)
    print(_summary(arguments.output, manifest, targets))
    return EXIT_OK


def bundle_files(folder: Path, manifest: Manifest) -> dict[str, Path]:
    """A bundle's files by name, its manifest included.

    Raises:
        ArtifactError: a name that would leave the kit's folder when it is unpacked.
    """
    names = (*manifest.files, MANIFEST_NAME)
    for name in (manifest.name, *names):
        if not re.fullmatch(PLAIN_NAME, name):
            raise ArtifactError(
                shown(folder / MANIFEST_NAME),
                expected="plain names: letters, digits, _ . -",
                got=repr(name),
                action="Make the bundle again with python -m export",
            )
    return {name: folder / name for name in sorted(names)}


def warnings_of(manifest: Manifest) -> list[str]:
    """What the one who carries the kit must know before the walk, not after."""
    found = []
    if not manifest.om:
        found.append(
            "the bundle holds no .om: an NPU cannot run it. Convert it for the box's chip first."
        )
    if manifest.parity.passed is False:
        found.append("the bundle was judged and FAILED. See its parity.html.")
    elif manifest.parity.passed is None:
        found.append("the bundle was never judged: its landmarks may be wrong.")
    if SELFTEST_NAME not in manifest.files:
        found.append(
            f"the bundle holds no {SELFTEST_NAME}: the box cannot test itself. Make it again with"
            " python -m export."
        )
    return found


def write_kit(path: Path, top: str, files: Mapping[str, Content]) -> None:
    """Write files and their checksums into one top folder; equal files give equal bytes."""
    sums = "".join(f"{_sha256(files[name])}  {name}\n" for name in sorted(files))
    everything = {**files, SUMS_NAME: sums.encode()}
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(everything):
            content = everything[name]
            # a bare entry has no time, owner or path of this machine
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.mode = 0o755 if name == INSTALLER else 0o644
            entry.size = content.stat().st_size if isinstance(content, Path) else len(content)
            opened = content.open("rb") if isinstance(content, Path) else io.BytesIO(content)
            with opened as file:
                archive.addfile(entry, file)


def _requirements(wheels: Iterable[Path]) -> bytes:
    """What pip installs on one kind of box: these files alone, and only with these hashes."""
    lines = [f"./wheels/{path.name} --hash=sha256:{sha256_file(path)}\n" for path in wheels]
    return "".join(lines).encode()


def _sha256(content: Content) -> str:
    if isinstance(content, Path):
        return sha256_file(content)
    return hashlib.sha256(content).hexdigest()


def _templates(manifest: Manifest, targets: Sequence[Target]) -> dict[str, bytes]:
    """The notes and the installer, filled in."""
    pythons = sorted({target.python for target in targets}, key=PYTHONS.index)
    arches = sorted({target.arch for target in targets})
    filled = {}
    for name in FILLED_IN:
        separator = " " if name == INSTALLER else ", "
        words = WORDS.get(name, WORDS["README.md"])
        facts = {
            "NAME": manifest.name,
            "VERSION": VERSION,
            "CREATED": manifest.created_utc,
            "DIGEST": manifest.digest[:12],
            "PYTHONS": separator.join(pythons),
            "ARCHES": separator.join(arches),
            "GLIBC": targets[0].glibc,
            "WHEEL": OWN_WHEEL,
            "JUDGED": words[manifest.parity.passed],
            "MODELS": ", ".join(f"`{om.file}` ({om.soc_version})" for om in manifest.om)
            or words["none"],
        }
        text = (TEMPLATES / name).read_text(encoding="utf-8")
        for key, value in facts.items():
            text = text.replace(f"@{key}@", value)
        filled[name] = text.encode()
    return filled


def _check_output(output: Path, folder: Path, inputs: Iterable[Path]) -> None:
    check_target(output, "--output", inputs)
    got = ""
    if output.suffix != SUFFIX:
        got = f"suffix {output.suffix!r}"
    elif output.resolve().is_relative_to(folder.resolve()):
        got = "a file inside the bundle"
    if got:
        raise ConfigError(
            f"--output {shown(output)}",
            expected=f"a name that ends in {SUFFIX}, outside the bundle (wheels do not compress)",
            got=got,
            action="Name another file",
        )


def _plan(bundle: Mapping[str, Path], wanted: Mapping[Target, Iterable[str]], output: Path) -> str:
    return "\n".join(
        (
            *(f"bundle: {name} ({path.stat().st_size} bytes)" for name, path in bundle.items()),
            f"wheel: {OWN_WHEEL}",
            *(f"wheels: {' '.join(needs)} for {target}" for target, needs in wanted.items()),
            f"files: {', '.join(FILLED_IN)}, {SUMS_NAME}",
            f"kit: {printable(shown(output))} (nothing was written)",
        )
    )


def _summary(output: Path, manifest: Manifest, targets: Iterable[Target]) -> str:
    size_mb = output.stat().st_size / 1e6
    name = printable(shown(output.name))
    return "\n".join(
        (
            f"kit: {printable(shown(output))} ({size_mb:.1f} MB, SHA-256 {sha256_file(output)})",
            f"for: {', '.join(map(str, targets))}",
            f"on the box: tar -xf {name} && bash {manifest.name}-kit/{INSTALLER}",
        )
    )


if __name__ == "__main__":
    sys.exit(main())
