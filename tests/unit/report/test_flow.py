from sigdca.report import validate_report
from sigdca.report.flow import chosen_iteration, loop_boxes
from sigdca.report.picture import tall_picture, wide_picture
from sigdca.report.wording import headline

ORDER = ["TRAIN", "TEST", "COMPRESS", "RETRAIN", "RETEST", "PACKAGE", "EDGE TEST"]
ORDER += ["INFERENCE", "NEW DATA"]


def texts(report, title):
    box = next(box for box in loop_boxes(validate_report(report)) if box.title == title)
    return box.state, [line.text for line in box.lines]


def test_boxes_stand_in_the_loops_order(any_report):
    assert [box.title for box in loop_boxes(validate_report(any_report))] == ORDER


def test_boxes_tell_of_the_chosen_iteration(lenet_5):
    assert chosen_iteration(validate_report(lenet_5)) == 2
    assert "35,395 bytes" in texts(lenet_5, "COMPRESS")[1]
    lenet_5["best"]["iteration"] = 1
    assert "37,210 bytes" in texts(lenet_5, "COMPRESS")[1]
    assert texts(lenet_5, "EDGE TEST") == ("muted", ["not reached"])  # of this container


def test_a_box_sums_its_seconds_and_keeps_its_last_figures(lenet_300_100):
    state, lines = texts(lenet_300_100, "RETEST")
    assert (state, lines) == ("done", ["error 1.52 %", "20,985 bytes", "2.5 s"])


def test_the_retest_of_what_was_live_is_in_no_box(lenet_300_100):
    before = texts(lenet_300_100, "RETEST")
    points = lenet_300_100["test_points"]
    live = {"number": points[-1]["number"] + 1, "stage": "retest", "label": "live"}
    points += [live | {"iteration": 1, "duration_s": 9.0, "metrics": {"error": 9.0}}]
    assert texts(lenet_300_100, "RETEST") == before


def test_an_emulated_edge_test_shows_no_bare_time(lenet_300_100):
    state, lines = texts(lenet_300_100, "EDGE TEST")
    assert state == "done"
    took = lines.index("emulated: 12.4 s")
    assert lines[took + 1] == "(not a device time)"
    assert lines[-2:] == ["jetson-tx2", "device-required"]


def test_boxes_that_did_not_run_are_muted_with_the_reason(incomplete, lenet_300_100):
    assert texts(incomplete, "PACKAGE") == ("muted", ["not reached"])
    assert texts(incomplete, "EDGE TEST") == ("muted", ["not reached"])
    assert texts(incomplete, "RETRAIN")[0] == "failed"
    lenet_300_100["targets"] = []
    lenet_300_100["test_points"] = lenet_300_100["test_points"][1:-2]
    assert texts(lenet_300_100, "EDGE TEST") == ("muted", ["no target in the job"])
    assert texts(lenet_300_100, "TRAIN") == ("muted", ["not needed"])


def test_a_job_that_does_not_compress_misses_no_box(lenet_300_100):
    lenet_300_100 |= {"best": None, "layers": [], "targets": []}
    lenet_300_100["test_points"] = lenet_300_100["test_points"][:2]
    for box in ("COMPRESS", "RETRAIN", "PACKAGE", "EDGE TEST"):
        assert texts(lenet_300_100, box) == ("muted", ["not in the job"])
    assert "no container yet" not in headline(validate_report(lenet_300_100))


def test_new_data_are_told_with_what_came_of_them(lenet_300_100):
    assert texts(lenet_300_100, "NEW DATA") == ("muted", ["none acquired yet"])
    metrics = {"released": True, "num_new_images": 1200, "version": 3, "redeployment_s": 125.4}
    last = lenet_300_100["test_points"][-1]
    point = {"number": last["number"] + 1, "stage": "release", "iteration": 1, "duration_s": 0.1}
    lenet_300_100["test_points"] += [point | {"metrics": metrics}]
    told = ["1,200 images", "version 3", "in 2 min 05 s"]
    assert texts(lenet_300_100, "NEW DATA") == ("done", told)
    del metrics["version"], metrics["redeployment_s"]
    assert texts(lenet_300_100, "NEW DATA") == ("failed", ["1,200 images", "not released"])


def test_return_arrows_are_marked_where_they_were_taken(lenet_300_100, lenet_5):
    for draw in (wide_picture, tall_picture):
        once, twice = draw(validate_report(lenet_300_100)), draw(validate_report(lenet_5))
        assert not [arrow for arrow in once.arrows if arrow.tone == "taken"]
        assert len([arrow for arrow in twice.arrows if arrow.tone == "taken"]) == 3
        assert "2 iterations, 2 chosen" in " ".join(label.text for label in twice.labels)


def test_boxes_neither_overlap_nor_leave_the_picture(any_report):
    for draw in (wide_picture, tall_picture):
        picture = draw(validate_report(any_report))
        for one in picture.boxes:
            assert one.x >= 0
            assert one.y >= 0
            assert one.x + one.width <= picture.width
            assert one.y + one.height <= picture.height
            for other in picture.boxes:
                beside = one.x + one.width <= other.x or other.x + other.width <= one.x
                below = one.y + one.height <= other.y or other.y + other.height <= one.y
                assert one is other or beside or below


def test_the_description_says_what_the_picture_shows(lenet_300_100):
    said = wide_picture(validate_report(lenet_300_100)).description
    assert "TEST: error 1.45 %, 1,066,440 bytes" in said
    assert "back from RETEST and EDGE TEST to COMPRESS" in said
