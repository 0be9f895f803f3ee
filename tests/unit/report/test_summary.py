from rich.console import Console

from sigdca.report import summary_table


def printed(report, **more):
    console = Console(width=110, record=True, quiet=False, file=None, color_system=None)
    with console.capture() as captured:
        console.print(summary_table(report, **more))
    return captured.get()


def row(text, name):
    return next(line.split() for line in text.splitlines() if name in line)


def test_before_and_after(lenet_300_100):
    text = printed(lenet_300_100)
    assert "1.45 %" in text
    assert "1.52 %" in text
    assert "1,066,440" in text
    assert "20,985" in text
    assert "50.8x" in text
    assert "≤ 27,000 bytes" in text
    assert "≥" in row(text, "fps@")
    assert "unverified" in text
    assert "tolerance (isa)" in text
    assert "emulated" in row(text, "tolerance (isa)")
    assert "device-required" in row(text, "jetson-tx2")
    assert "report: runs/lenet-300-100-mnist/report.html" in text


def test_a_missed_budget_says_so(lenet_5):
    text = printed(lenet_5)
    assert "lenet-5-mnist: budget-not-met" in text
    assert "missed" in row(text, "accuracy drop")


def test_an_unfinished_run_has_a_table(incomplete):
    text = printed(incomplete)
    assert "lenet-300-100-mnist: incomplete" in text
    assert "report:" not in text
    assert "report: out/report.html" in printed(incomplete, where="out/report.html")


def test_markup_in_names_is_only_text(lenet_300_100):
    lenet_300_100["name"] = "[red]x[/red][/]"
    lenet_300_100["targets"][0]["target"] = "[bold]board"
    text = printed(lenet_300_100)
    assert "[red]x[/red][/]: done" in text
    assert "[bold]board" in text
