import pytest

from sigdca.report import validate_report, wording


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.0421, "0.042 s"),
        (12.34, "12.3 s"),
        (59.97, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7384, "2 h 03 min"),
    ],
)
def test_duration(seconds, text):
    assert wording.duration(seconds) == text


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("container_bytes", 21000, "21,000 bytes"),
        ("error", 1.5, "1.50 %"),
        ("accuracy_drop", -0.05, "-0.05 points"),
        ("sparsity", 0.9276, "92.8 %"),
        ("compression_ratio", 50.82, "50.8x"),
        ("latency_us@atom-x5-e3940", 1240.5, "1,240 µs"),
        ("fps@x86-64-v4", 12919.9, "12,920 fps"),
        ("energy_mj@atom-x5-e3940", 1.25, "1.25 mJ"),
        ("power_mw@atom-x5-e3940", 9500.0, "9,500 mW"),
        ("memory_bytes@atom-x5-e3940", 300000.0, "300,000 bytes"),
        ("images_per_s", 21767.4, "21,767 / s"),
        ("duration_s", 90, "1 min 30 s"),
        ("num_samples", 10000, "10,000"),
        ("loss", 0.01214, "0.01214"),
        ("lossless", True, "yes"),
        ("coder", "huffman", "huffman"),
        ("error", None, "\N{EN DASH}"),
    ],
)
def test_quantity(name, value, text):
    assert wording.quantity(name, value) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("container_bytes", "container"),
        ("num_samples", "samples"),
        ("images_per_s", "images"),
        ("accuracy_drop", "accuracy drop"),
        ("loss", "loss"),
        ("latency_us@my_board.toml", "latency@my_board.toml"),
    ],
)
def test_title(name, text):
    assert wording.title(name) == text


def test_verdict_carries_its_evidence(lenet_300_100, lenet_5):
    said = [wording.verdict(t) for t in validate_report(lenet_300_100).targets]
    assert said == ["tolerance (isa)", "device-required"]
    said = [wording.verdict(t) for t in validate_report(lenet_5).targets]
    assert said == ["device-required (isa)", "device-required", "exact (device)"]


def test_only_a_board_gives_a_device_time(lenet_5):
    emulated, missing, device = validate_report(lenet_5).targets
    assert wording.elapsed(device, 3.1) == "3.1 s"
    assert wording.elapsed(emulated, 187.3) == "emulation took 187 s (not a device time)"
    assert wording.elapsed(None, 3.1) == "emulation took 3.1 s (not a device time)"
    assert wording.elapsed(missing, 3.1) == "3.1 s (not a device time)"


def test_an_emulations_time_metrics_say_what_they_are(lenet_300_100):
    report = validate_report(lenet_300_100)
    figures = dict(wording.point_metrics(report, report.test_points[11]))
    assert figures["latency"] == "1,240 µs (emulated, not a device time)"
    assert figures["error"] == "1.52 %"


def test_a_boards_time_metrics_stand_alone(lenet_5):
    report = validate_report(lenet_5)
    assert dict(wording.point_metrics(report, report.test_points[-1]))["latency"] == "77.4 µs"


def test_headline(lenet_300_100, incomplete):
    assert wording.headline(validate_report(lenet_300_100)) == (
        "1,066,440 → 20,985 bytes, 50.8x; error 1.45 % → 1.52 %;"
        " atom-x5-e3940: tolerance (isa); jetson-tx2: device-required"
    )
    early = wording.headline(validate_report(incomplete))
    assert early == "1,066,440 bytes dense, no container yet; error 1.45 %"


def test_error_comes_from_accuracy_where_it_must(lenet_5):
    point = validate_report(lenet_5).test_points[0]
    changed = point.model_copy(update={"metrics": {"accuracy": 98.5}})
    assert wording.point_error(changed) == pytest.approx(1.5)
    assert wording.point_error(point.model_copy(update={"metrics": {"error": "?"}})) is None


def test_shorten_is_one_line_and_no_longer():
    assert wording.shorten("a\nb", 5) == "a b"
    assert wording.shorten("abcdefgh", 5) == "abcd…"


def test_a_target_of_the_users_own_is_known_by_its_name_not_its_file(lenet_5):
    report = validate_report(lenet_5)
    point = report.test_points[-1]
    named = {"label": "boards/mine.toml", "metrics": point.metrics | {"target": point.label}}
    assert wording.target_of(report, point.model_copy(update=named)) is not None
    assert (
        dict(wording.point_metrics(report, point.model_copy(update=named)))["latency"] == "77.4 µs"
    )
