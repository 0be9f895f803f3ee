"""Whether a cluster's head answers, and why not: in seconds. Ray itself tries for a minute."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import ssl
from pathlib import Path
from typing import Any

from sigdca.errors import SigdcaError

ANSWER_TIMEOUT_S = 5.0
TLS_FILES = ("RAY_TLS_CA_CERT", "RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY")
REFUSED = "refused the token; RAY_AUTH_TOKEN_PATH must name a copy of the head's"
_ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"  # takes an empty message
_NO_PROXY = (("grpc.enable_http_proxy", 0),)  # Ray's own connections take none either


def check_head(address: str) -> None:
    """Looks whether the head at `host:port` answers, and by TLS where RAY_USE_TLS says so.

    Raises:
        SigdcaError: nothing answers, or one side's certificate is not accepted by the other.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "://" in address:
        return  # `auto`, or a form that Ray itself explains
    where = f"cluster {address}"
    host = host.strip("[]")
    check_answers(host, int(port), where)
    if _uses_tls():
        _check_tls(host, int(port), where)


def check_answers(host: str, port: int, where: str) -> None:
    """Looks whether something listens there.

    Args:
        host: its name or address.
        port: its port.
        where: how to call it in the error.

    Raises:
        SigdcaError: nothing does.
    """
    try:
        socket.create_connection((host, port), ANSWER_TIMEOUT_S).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise SigdcaError(f"{where}: no head answers: {reason}") from error


def check_token(address: str) -> None:
    """Looks whether the head at `host:port` takes this machine's token, without importing Ray.

    A head that does not answer in time, or that is none, is left for Ray to explain.

    Raises:
        SigdcaError: it does not.
    """
    if importlib.util.find_spec("grpc") is None:  # it comes with ray[default]
        return
    import grpc

    token = os.environ.get("RAY_AUTH_TOKEN")
    if not token:
        token = Path(os.environ["RAY_AUTH_TOKEN_PATH"]).read_text(errors="replace").strip()
    if not (token.isascii() and token.isprintable()):  # no header can hold it
        raise SigdcaError(f"cluster {address}: {REFUSED}")
    with (
        grpc.secure_channel(address, _credentials(), _NO_PROXY)
        if _uses_tls()
        else grpc.insecure_channel(address, _NO_PROXY)
    ) as channel:
        ask = channel.unary_unary(_ALIVE)
        try:
            ask(b"", ANSWER_TIMEOUT_S, (("authorization", f"Bearer {token}"),))
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                raise SigdcaError(f"cluster {address}: {REFUSED}") from error


def _credentials() -> Any:
    import grpc

    authority, certificate, key = (Path(os.environ[name]).read_bytes() for name in TLS_FILES)
    return grpc.ssl_channel_credentials(authority, key, certificate)


def _uses_tls() -> bool:
    return os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true")


def _check_tls(host: str, port: int, where: str) -> None:
    files = [os.environ.get(name) for name in TLS_FILES]
    for name, file in zip(TLS_FILES, files, strict=True):
        if not file:
            raise SigdcaError(f"{where}: RAY_USE_TLS is on and {name} is not set")
    authority, certificate, key = files
    try:
        context = ssl.create_default_context(cafile=authority)
        context.load_cert_chain(str(certificate), key)
        _check_ours(context, str(certificate), key)
    except ssl.SSLCertVerificationError as error:
        raise SigdcaError(f"{where}: {certificate}: {error.verify_message}") from error
    except (OSError, ssl.SSLError) as error:
        raise SigdcaError(f"{where}: {', '.join(map(str, files))}: {_reason(error)}") from error
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection((host, port), ANSWER_TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as connection,
        ):
            # The head speaks first; a certificate of ours that it refuses is told of only here.
            if not connection.recv(1):
                raise SigdcaError(f"{where}: refused this machine's certificate ({certificate})")
    except ssl.SSLCertVerificationError as error:
        raise SigdcaError(
            f"{where}: its certificate is not accepted: {error.verify_message}"
        ) from error
    except ssl.SSLError as error:
        raise SigdcaError(
            f"{where}: TLS failed: {_reason(error)} (this machine's certificate: {certificate})"
        ) from error
    except OSError as error:
        raise SigdcaError(f"{where}: TLS failed: {_reason(error)}") from error


def _check_ours(context: ssl.SSLContext, certificate: str, key: str | None) -> None:
    """Whether our own authority accepts our certificate: the head would not say why it does not.

    Raises:
        ssl.SSLCertVerificationError: it does not, with the reason.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    client = ssl.create_default_context()
    client.check_hostname = False
    client.load_verify_locations(cadata=b"".join(context.get_ca_certs(binary_form=True)))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):  # hello, hello and certificate, finished, tickets
        for side in (ours, theirs):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()


def _reason(error: OSError) -> str:
    reason = getattr(error, "reason", None) or error.strerror or str(error)
    return str(reason).replace("_", " ").lower()
