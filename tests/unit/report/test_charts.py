import pytest

from sigdca.report import charts, validate_report


def test_error_rows_follow_the_ledger(lenet_300_100):
    chart = charts.error_chart(validate_report(lenet_300_100))
    assert chart is not None
    assert [(dot.label, dot.value) for dot in chart.dots] == [
        ("test", "1.45 %"),
        ("retest prune", "1.49 %"),
        ("compress share", "1.83 %"),
        ("retest share", "1.52 %"),
        ("retest encode", "1.52 %"),
        ("atom-x5-e3940", "1.52 %"),
    ]
    assert not chart.log
    assert len(chart.links) == 5
    places = {dot.value: dot.x for dot in chart.dots}
    assert 0 <= places["1.45 %"] < places["1.49 %"] < places["1.52 %"] < places["1.83 %"] <= 100
    assert chart.bound is not None
    assert chart.bound.text == "budget 1.64 %"
    assert places["1.52 %"] < chart.bound.at < places["1.83 %"]


def test_several_iterations_get_headings(lenet_5):
    chart = charts.error_chart(validate_report(lenet_5))
    assert chart is not None
    headings = [dot.label for dot in chart.dots if dot.x is None]
    assert headings == ["train round 1", "train round 2", "iteration 1", "iteration 2"]
    assert chart.bound is not None
    assert chart.bound.text == "budget 0.79 %"  # accuracy_drop 0.0 against the baseline


def test_bytes_start_with_the_dense_network(lenet_300_100):
    chart = charts.bytes_chart(validate_report(lenet_300_100))
    assert chart is not None
    assert chart.log
    assert [dot.value for dot in chart.dots][:2] == ["1,066,440 bytes", "20,985 bytes"]


def test_a_layer_of_version_2_is_one_stream(lenet_300_100):
    lenet_300_100["layers"][0]["parts"] = {}
    chart = charts.layer_bytes_chart(validate_report(lenet_300_100))
    assert chart is not None
    assert [segment.tone for segment in chart.bars[0].segments] == ["stream"]
    assert chart.legend[0][0] == "stream"


def test_nothing_to_draw_is_no_chart(incomplete):
    incomplete["test_points"] = []
    report = validate_report(incomplete)
    assert charts.error_chart(report) is None
    assert charts.bytes_chart(report) is None
    assert charts.layer_bytes_chart(report) is None
    assert charts.sparsity_chart(report) is None
    assert charts.training_curves(report) == []


def test_layer_rows_add_up_to_the_file(lenet_300_100):
    report = validate_report(lenet_300_100)
    chart = charts.layer_bytes_chart(report)
    assert chart is not None
    assert report.best is not None
    rows = [int(bar.value.removesuffix(" B").replace(",", "")) for bar in chart.bars]
    assert sum(rows) == report.best.container_bytes
    assert chart.bars[-1].label == "rest of file"
    widest = max(rows)
    for bar, size in zip(chart.bars, rows, strict=True):
        assert sum(piece.width for piece in bar.segments) == pytest.approx(100 * size / widest)


def test_sparsity_bars_are_percentages(lenet_5):
    chart = charts.sparsity_chart(validate_report(lenet_5))
    assert chart is not None
    assert [bar.segments[0].width for bar in chart.bars] == pytest.approx([34, 88, 95, 81])
    assert [bar.segments[1].width for bar in chart.bars] == pytest.approx([100, 100, 62.5, 62.5])


def test_curves_run_over_all_stages(lenet_300_100):
    curves = charts.training_curves(validate_report(lenet_300_100))
    names = ["loss", "accuracy", "sparsity", "images_per_s"]
    assert [curve.name for curve in curves] == names
    assert curves[1].last == "98.47 %"
    assert all(tick.text.endswith(" %") for tick in curves[1].ticks)
    assert [band.label for band in curves[0].bands] == ["train", "prune", "share"]
    assert len(curves[0].lines) == 3
    assert len(curves[2].lines) == 1
    assert curves[0].num_epochs == 24
    heights = [y for _, y in curves[0].marks]
    assert all(0 <= y <= charts.CURVE for y in heights)
    assert heights[0] < heights[11]  # a larger loss stands higher


def test_epochs_of_an_older_version_have_no_accuracy(lenet_300_100):
    for point in lenet_300_100["test_points"]:
        for epoch in point["epochs"]:
            del epoch["accuracy"]
    curves = charts.training_curves(validate_report(lenet_300_100))
    assert [curve.name for curve in curves] == ["loss", "sparsity", "images_per_s"]


def test_the_time_of_each_stage_is_split(lenet_300_100):
    assert charts.time_chart(validate_report(lenet_300_100)) is None  # of an older version
    trained = [point for point in lenet_300_100["test_points"] if point["epochs"]]
    for epoch in trained[1]["epochs"]:
        epoch |= {"input_s": 1.0, "compute_s": 2.5, "communication_s": 0.5, "sent_bytes": 10}
    chart = charts.time_chart(validate_report(lenet_300_100))
    assert chart is not None
    (bar,) = chart.bars
    assert bar.label == "prune #1"
    assert [piece.width for piece in bar.segments] == pytest.approx([25, 62.5, 12.5])
    assert [tone for tone, _ in chart.legend] == ["input", "compute", "communication"]
    assert chart.legend[1][1] == "compute 62.5 %"


def test_a_diverged_epoch_leaves_a_gap(lenet_300_100):
    lenet_300_100["test_points"][0]["epochs"][3]["loss"] = float("nan")
    curve = charts.training_curves(validate_report(lenet_300_100))[0]
    assert len(curve.marks) == 23


@pytest.mark.parametrize(
    "values", [[0.0], [5.0], [0.0, 0.0], [-1.0, 2.0], [1e-9, 1e9], [3, 3.0001]]
)
def test_every_axis_holds_its_values(values):
    scale = charts.fit(values)
    assert all(0 <= scale(value) <= 100 for value in values)
    marks = charts.ticks(scale, "loss")
    assert 0 < len(marks) <= 10
    assert all(-1e-6 <= mark.at <= 100 + 1e-6 for mark in marks)
