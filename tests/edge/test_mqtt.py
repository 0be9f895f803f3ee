"""Results over MQTT, to a real broker on this machine's loopback."""

import os
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from sigdca.edge.mqtt import MAX_OUTSTANDING, Mqtt
from sigdca.errors import JobError
from tests.conftest import ROOT, lacks

mqtt = pytest.importorskip("paho.mqtt.client")
PLACES = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
MOSQUITTO = os.environ.get("SIGDCA_MOSQUITTO") or shutil.which("mosquitto", path=PLACES)


class Broker:
    """Mosquitto, on a port of its own."""

    def __init__(self, folder: Path) -> None:
        if MOSQUITTO is None:
            lacks("mosquitto is not installed: make broker")
        self.program = MOSQUITTO
        with socket.create_server(("127.0.0.1", 0)) as one:
            self.port = one.getsockname()[1]
        self.config = folder / "mosquitto.conf"
        self.config.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\n")
        self.process = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [self.program, "-c", self.config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(self._answers)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait()


class Subscriber:
    """All that is published below a topic."""

    def __init__(self, port: int) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        self.client.on_message = lambda _c, _d, one: self.messages.append((one.topic, one.payload))
        subscribed = threading.Event()
        self.client.on_subscribe = lambda *_: subscribed.set()
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self.client.subscribe("line/#", qos=1)
        assert subscribed.wait(10)

    def of(self, topic: str) -> list[bytes]:
        return [payload for name, payload in self.messages if name == topic]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path)
    broker.start()
    yield broker
    broker.stop()


def until(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_each_line_is_a_message(broker):
    subscriber = Subscriber(broker.port)
    output = Mqtt(f"mqtt://127.0.0.1:{broker.port}/line/7")
    until(lambda: subscriber.of("line/7/status") == [b"online"])
    for number in range(500):
        output.put(b'{"frame":%d}\n' % number)
    until(lambda: len(subscriber.of("line/7")) == 500)
    assert subscriber.of("line/7")[-1] == b'{"frame":499}'
    assert output.lost == 0
    output.close()
    until(lambda: subscriber.of("line/7/status") == [b"online", b"offline"])
    subscriber.close()


def test_a_broker_that_comes_later_and_goes_away(tmp_path):
    broker = Broker(tmp_path)
    output = Mqtt(f"mqtt://127.0.0.1:{broker.port}/line/7")
    output.put(b"x\n")
    assert output.lost == 1
    until(lambda: output._told == "Connection refused")
    broker.start()
    subscriber = Subscriber(broker.port)

    def arrives() -> bool:
        output.put(b"y\n")
        return bool(subscriber.of("line/7"))

    until(arrives)
    subscriber.close()
    broker.stop()
    lost = output.lost

    def is_lost() -> bool:
        output.put(b"z\n")
        return output.lost > lost

    until(is_lost)
    output.close()


@pytest.fixture
def guarded(tmp_path, monkeypatch):
    """A broker with TLS, whose authority this process trusts, and a user with a password."""
    broker = Broker(tmp_path)
    for words in (["ca", tmp_path], ["node", tmp_path, "127.0.0.1"]):
        subprocess.run([ROOT / "cluster/tls.sh", *words], check=True)
    users = tmp_path / "users"
    program = str(Path(broker.program).parent).replace("sbin", "bin") + "/mosquitto_passwd"
    subprocess.run([program, "-b", "-c", users, "line", "right"], check=True)
    with broker.config.open("a") as config:
        config.write(f"user root\nallow_anonymous false\npassword_file {users}\n")
        config.write(f"certfile {tmp_path}/127.0.0.1.crt\nkeyfile {tmp_path}/127.0.0.1.key\n")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.crt"))
    broker.start()
    yield broker
    broker.stop()


def test_tls_and_a_password(guarded, monkeypatch, capfd):
    monkeypatch.setenv("SIGDCA_MQTT_PASSWORD", "right")
    output = Mqtt(f"mqtts://line@127.0.0.1:{guarded.port}/line/7")
    until(output._client.is_connected)
    output.put(b"x\n")
    assert output.lost == 0
    output.close()
    monkeypatch.setenv("SIGDCA_MQTT_PASSWORD", "wrong")
    refused = Mqtt(f"mqtts://line@127.0.0.1:{guarded.port}/line/7")
    said = []

    def is_said() -> bool:
        said.append(capfd.readouterr().err)
        return "refused by the broker" in "".join(said)

    until(is_said)
    assert not refused._client.is_connected()
    assert "wrong" not in "".join(said), "a password is never shown"
    refused.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho's socket
def test_a_broker_whose_authority_is_not_trusted(guarded, monkeypatch, capfd):
    monkeypatch.delenv("SSL_CERT_FILE")
    output = Mqtt(f"mqtts://line@127.0.0.1:{guarded.port}/line/7")
    until(lambda: output._told)
    output.put(b"x\n")
    assert (output._client.is_connected(), output.lost) == (False, 1)
    output.close()
    where = f"mqtt: 127.0.0.1:{guarded.port}: "
    assert f"{where}its certificate is not accepted: " in capfd.readouterr().err


def test_a_broker_that_takes_nothing():
    """It accepts the connection, says yes, and never reads again."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        output = Mqtt(f"mqtt://127.0.0.1:{server.getsockname()[1]}/t")
        connection, _ = server.accept()
        connection.recv(1000)
        connection.sendall(b"\x20\x02\x00\x00")  # CONNACK
        until(lambda: output._client.is_connected())
        line = b"x" * 20_000 + b"\n"
        for _ in range(3000):
            output.put(line)
        assert output.lost >= 3000 - MAX_OUTSTANDING - 500
        connection.close()
        output._client.disconnect()
        output._client.loop_stop()


@pytest.mark.parametrize(
    "address",
    [
        "mqtt://",
        "mqtt:///t",
        "mqtt://h",
        "mqtt://h/a/#",
        "mqtt://h/+",
        "http://h/t",
        "mqtt://h:x/t",
    ],
)
def test_what_is_no_address(address):
    with pytest.raises(JobError, match="output must be mqtt://"):
        Mqtt(address)


def test_no_password_in_an_address():
    with pytest.raises(JobError, match="set SIGDCA_MQTT_PASSWORD") as caught:
        Mqtt("mqtt://user:secret@h/t")
    assert "secret" not in str(caught.value)
