"""Why a head cannot be joined, before Ray tries."""

import contextlib
import socket
import ssl
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from sigdca.distributed.preflight import check_head, check_token
from sigdca.errors import SigdcaError
from tests.conftest import ROOT


def make(folder, *days):
    for words in (["ca", folder], ["node", folder, "127.0.0.1", *days]):
        script = str(ROOT / "cluster/tls.sh")
        subprocess.run([script, *map(str, words)], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    return make(tmp_path_factory.mktemp("ours"))


@pytest.fixture
def tls(monkeypatch):
    def use(authority, node):
        monkeypatch.setenv("RAY_USE_TLS", "1")
        monkeypatch.setenv("RAY_TLS_CA_CERT", str(authority / "ca.crt"))
        monkeypatch.setenv("RAY_TLS_SERVER_CERT", str(node / "127.0.0.1.crt"))
        monkeypatch.setenv("RAY_TLS_SERVER_KEY", str(node / "127.0.0.1.key"))

    return use


@pytest.fixture
def head(ours):
    """As gRPC does: wants a certificate of its authority, and speaks first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ours / "127.0.0.1.crt", ours / "127.0.0.1.key")
    context.load_verify_locations(ours / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError):
            while True:
                plain, _ = listener.accept()
                with (
                    contextlib.suppress(OSError),
                    plain,
                    context.wrap_socket(plain, server_side=True) as secure,
                ):
                    secure.sendall(b"settings")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def test_a_head_with_our_certificate_is_right(head, ours, tls):
    tls(ours, ours)
    check_head(head)


def test_nothing_answers(monkeypatch):
    monkeypatch.delenv("RAY_USE_TLS", raising=False)
    with pytest.raises(SigdcaError, match=r"cluster 127.0.0.1:9: no head answers: .*refused"):
        check_head("127.0.0.1:9")


def test_what_is_no_host_and_port_is_left_to_ray():
    check_head("auto")
    check_head("ray://127.0.0.1:9")


def test_another_authority(head, ours, tls, tmp_path):
    other = make(tmp_path)
    tls(other, other)
    with pytest.raises(SigdcaError, match="its certificate is not accepted: "):
        check_head(head)
    tls(ours, other)
    with pytest.raises(SigdcaError, match=r"127\.0\.0\.1\.crt: unable to get local issuer"):
        check_head(head)


def test_an_expired_certificate(head, ours, tls, tmp_path):
    for name in ("ca.crt", "ca.key"):
        (tmp_path / name).write_bytes((ours / name).read_bytes())
    script = str(ROOT / "cluster/tls.sh")
    words = ["node", str(tmp_path), "127.0.0.1", "-1"]
    subprocess.run([script, *words], check=True, capture_output=True)
    tls(ours, tmp_path)
    with pytest.raises(SigdcaError, match="has expired"):
        check_head(head)


@pytest.mark.parametrize("name", ["RAY_TLS_CA_CERT", "RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY"])
def test_a_missing_file_is_named(head, ours, tls, monkeypatch, name):
    tls(ours, ours)
    monkeypatch.setenv(name, "")
    with pytest.raises(SigdcaError, match=f"{name} is not set"):
        check_head(head)
    monkeypatch.setenv(name, "/none")
    with pytest.raises(SigdcaError, match=r"/none.*: no such file or directory"):
        check_head(head)


class Guarded(grpc.GenericRpcHandler):
    """Answers whoever has the token, as the head does."""

    def service(self, details):
        if details.method != "/ray.rpc.NodeInfoGcsService/CheckAlive":
            return None
        given = dict(details.invocation_metadata).get("authorization")

        def answer(_request, context):
            if given != "Bearer right":
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture(params=["plain", "tls"])
def guarded(request, ours, tls, monkeypatch):
    server = grpc.server(ThreadPoolExecutor(1), handlers=[Guarded()])
    if request.param == "tls":
        tls(ours, ours)
        names = ("ca.crt", "127.0.0.1.key", "127.0.0.1.crt")
        authority, key, certificate = ((ours / name).read_bytes() for name in names)
        keys = [(key, certificate)]
        secure = grpc.ssl_server_credentials(keys, authority, require_client_auth=True)
        port = server.add_secure_port("127.0.0.1:0", secure)
    else:
        monkeypatch.delenv("RAY_USE_TLS", raising=False)
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_a_token_is_taken_or_refused(guarded, monkeypatch, tmp_path):
    file = tmp_path / "token"
    file.write_text("right\n")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(file))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    check_token(guarded)
    for wrong in ("wrong", "", "br\noken"):
        file.write_text(wrong)
        with pytest.raises(SigdcaError, match="refused the token; RAY_AUTH_TOKEN_PATH must"):
            check_token(guarded)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "right")  # which Ray looks at first
    check_token(guarded)


def test_what_is_no_head_has_no_word_on_tokens(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "any")
    monkeypatch.delenv("RAY_USE_TLS", raising=False)
    check_token("127.0.0.1:9")
