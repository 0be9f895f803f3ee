"""The verbs that sign: `keygen`, `sign`, `verify`, `publish`."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sigdca.cli.containers import read_file
from sigdca.cli.output import errors, print_json, results
from sigdca.errors import StorageError, TargetError
from sigdca.storage import Ledger, Releases, open_store, write_file

if TYPE_CHECKING:
    from sigdca.edge.bundle import Manifest

Json = Annotated[bool, typer.Option("--json", help="print one JSON object")]
PublicKeys = Annotated[list[str], typer.Option("--key", help="a public key; may be repeated")]


def add_to(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.command()(keygen)
    app.command()(sign)
    app.command()(verify)
    app.command()(publish)


def keygen(
    name: Annotated[str, typer.Argument(metavar="NAME", help="writes NAME.key and NAME.pub")],
) -> int:
    """Make a pair of Ed25519 keys to sign updates with.

    NAME.key is private: only you can read it, and it belongs on no board. NAME.pub is what boards
    are set up with.

    Example: sigdca keygen release
    """
    from sigdca.edge.keys import make_keys

    make_keys(Path(f"{name}.key"), Path(f"{name}.pub"))
    errors.print(f"wrote {name}.key (private) and {name}.pub")
    return 0


def sign(
    file: Annotated[str, typer.Argument(metavar="FILE", help="a .dca")],
    key: Annotated[str, typer.Option(help="the private key's file")],
    version: Annotated[int, typer.Option(min=1, help="higher than all before")],
    target: Annotated[list[str], typer.Option(help="whom it is for; may be repeated")],
    output: Annotated[str, typer.Option("-o", "--output", metavar="OUT.dcu")],
    channel: Annotated[str, typer.Option(help="stable or canary")] = "stable",
    model: Annotated[str | None, typer.Option(help="its name; default: the file's")] = None,
    run: Annotated[
        str | None, typer.Option(help="only if this run's EDGE TEST allows it on each target")
    ] = None,
    as_json: Json = False,
) -> int:
    """Sign a container as an update for targets.

    Its logits on a few built-in images are computed here; a device takes the update only if they
    come out the same there, bit for bit.

    Example: sigdca sign model.dca --key release.key --version 7 --target atom-x5-e3940 -o 7.dcu
    """
    from sigdca.edge.keys import load_private_key
    from sigdca.edge.signing import sign_container
    from sigdca.targets import load_target

    names = [load_target(name).name for name in target]
    container = read_file(file)
    if run is not None:
        check_verdicts(run, container, names)
    content = sign_container(
        container,
        key=load_private_key(Path(key)),
        version=version,
        channel=channel,
        targets=names,
        model=model or Path(file).stem,
    )
    write_file(output, content)
    told = {"file": output, "bundle_bytes": len(content), "version": version, "channel": channel}
    if as_json:
        print_json(told | {"targets": names})
    else:
        errors.print(f"wrote {output}: version {version} for {', '.join(names)} ({channel})")
    return 0


def verify(
    file: Annotated[str, typer.Argument(metavar="FILE", help="a .dcu")],
    key: PublicKeys,
    as_json: Json = False,
) -> int:
    """Verify an update's signature, and repeat its self-test here.

    Example: sigdca verify 7.dcu --key release.pub
    """
    from sigdca.edge.self_test import self_test
    from sigdca.edge.update import SelfTestError

    manifest, container = _verified(read_file(file), key)
    got = self_test(container)
    if got != manifest.logits_sha256:
        raise SelfTestError(
            f"{file}: its logits' sha256 is {got} here, {manifest.logits_sha256} where it was "
            "signed"
        )
    told: dict[str, Any] = asdict(manifest) | {"file": file}
    if as_json:
        print_json(told)
    else:
        results.print(
            f"{file}: version {manifest.version} of {manifest.model} for "
            f"{', '.join(manifest.targets)} ({manifest.channel}); signature and self-test hold"
        )
    return 0


def publish(
    file: Annotated[str, typer.Argument(metavar="FILE", help="a .dcu")],
    to: Annotated[str, typer.Option(help="a folder or address (s3://...) that boards can read")],
    key: PublicKeys,
) -> int:
    """Publish an update in its channel, for boards to fetch.

    Example: sigdca publish 7.dcu --to s3://lab/releases --key release.pub
    """
    content = read_file(file)
    manifest, _ = _verified(content, key)
    Releases(open_store(to)).publish(
        content,
        channel=manifest.channel,
        version=manifest.version,
        targets=manifest.targets,
    )
    errors.print(f"{to}: channel {manifest.channel} is at version {manifest.version}")
    return 0


def check_verdicts(run: str, container: bytes, targets: list[str]) -> None:
    """Makes sure that a run has tested the container on each target, and found it right there.

    Raises:
        TargetError: it has not, or only the device can tell.
        StorageError: there is no such run.
    """
    store = open_store(run)
    if not store.is_folder:
        raise StorageError(f"{run}: there is no such run")
    digest = hashlib.sha256(container).hexdigest()
    records = Ledger(store).of("edge-test")
    for target in targets:
        found = [
            record.metrics
            for record in records
            if record.metrics.get("target") == target and record.metrics.get("container") == digest
        ]
        if not found:
            raise TargetError(
                f"{run}: has no EDGE TEST of this container on '{target}'; not signed"
            )
        if found[-1].get("verdict") not in ("exact", "tolerance"):
            raise TargetError(
                f"{run}: its verdict on '{target}' is {found[-1].get('verdict')}: "
                f"{found[-1].get('reason')}; not signed"
            )


def newest(address: str, channel: str, target: str, newer_than: int) -> bytes | None:
    """The newest published update of a channel for a target; None if it is no newer.

    Raises:
        StorageError: there is none at all, or it cannot be read.
    """
    releases = Releases(open_store(address))
    release = releases.latest(channel, target)
    if release is None:
        raise StorageError(f"{address}: channel '{channel}' has nothing for {target}")
    return releases.fetch(release) if release.version > newer_than else None


def _verified(content: bytes, keys: list[str]) -> tuple[Manifest, bytes]:
    from sigdca.edge.bundle import get_bundle
    from sigdca.edge.keys import load_public_key

    found = get_bundle(content, [load_public_key(Path(key)) for key in keys])
    return found.manifest, found.container
