import base64
import copy
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from sigdca.errors import FormatError
from sigdca.report import build_report

HOSTILE = (
    "</title></style></script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}"
)
KEPT = {"status", "stage", "verdict", "evidence", "sha256", "artifact", "logits_sha256"}
KEPT |= {"reference_logits_sha256"}


class Page(HTMLParser):
    """Collects what a browser would make of the page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.inside: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("style", "script"):
            self.inside[self._open[-1]] = data
        else:
            self.text += data


def poison(value: Any, key: str = "") -> Any:
    """The report with every free string, and every free key, replaced by an attack."""
    if isinstance(value, dict):
        free = key in ("metrics", "versions", "machine")
        return {(HOSTILE if free else name): poison(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [poison(item, key) for item in value]
    return HOSTILE if isinstance(value, str) and key not in KEPT else value


def test_the_main_figures_are_text(lenet_300_100):
    text = Page(build_report(lenet_300_100)).text
    assert "1,066,440 → 20,985 bytes, 50.8x; error 1.45 % → 1.52 %" in text
    assert "✓ met" in text
    assert "? unverified" in text
    assert lenet_300_100["command"] in text
    assert lenet_300_100["job"] in text
    for target in lenet_300_100["targets"]:
        assert target["reason"] in text
    for name, version in lenet_300_100["versions"].items():
        assert name in text
        assert version in text


def test_both_hashes_and_the_differences_are_shown(lenet_5):
    text = Page(build_report(lenet_5)).text
    emulated = lenet_5["targets"][0]
    for name in ("logits_sha256", "reference_logits_sha256", "emulator", "engine"):
        assert emulated[name] in text
    assert "different bits" in text
    assert "the same bits" in text
    assert "0.0312" in text
    assert "✗ budget not met" in text


def test_an_emulations_seconds_are_always_labelled(lenet_300_100):
    lenet_300_100["test_points"][11]["duration_s"] = 77.7
    lenet_300_100["targets"][0]["duration_s"] = 77.7
    text = " ".join(Page(build_report(lenet_300_100)).text.split())
    shown = [match.start() for match in re.finditer("78 s|77.7 s|1 min 18 s", text)]
    assert len(shown) >= 4  # both pictures, the target's card, the ledger
    labelled = re.findall(r"(?:emulation took|emulated:) 78 s,? \(not a device time\)", text)
    assert len(labelled) == len(shown)


def test_an_unfinished_run_has_a_page(incomplete):
    text = Page(build_report(incomplete)).text
    assert "The run has not ended" in text
    assert "no container yet" in text
    incomplete["baseline"] = None
    incomplete["test_points"] = []
    incomplete["budget"] = []
    assert "The run has not ended" in Page(build_report(incomplete)).text


def test_a_run_without_required_evidence_says_so(lenet_300_100):
    lenet_300_100["status"] = "not-proven"
    text = Page(build_report(lenet_300_100)).text
    assert "not proven" in text
    assert "without the evidence that edge_test.require asks for" in text


def test_hostile_strings_stay_text(any_report):
    clean, page = Page(build_report(any_report)), Page(build_report(poison(any_report)))
    assert HOSTILE in page.text
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in clean.tags}
    assert [tag for tag, _ in page.tags].count("script") == 1
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]


def test_the_page_asks_for_nothing(any_report):
    page = Page(build_report(any_report))
    for tag, attributes in page.tags:
        assert "src" not in attributes
        assert attributes.get("href") == ("data:," if tag == "link" else None)
    assert "url(" not in page.inside["style"]
    assert "@import" not in page.inside["style"]


def test_the_policy_allows_exactly_this_style_and_script(lenet_5):
    page = Page(build_report(lenet_5))
    policies = [dict(a) for tag, a in page.tags if tag == "meta" and "http-equiv" in a]
    policy = policies[0]["content"]
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for part in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(page.inside[part].encode()).digest()).decode()
        assert f"{part}-src 'sha256-{digest}'" in policy


def test_pictures_and_tables_can_be_read_aloud(lenet_5):
    page = Page(build_report(lenet_5))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.tags:
        if tag == "th":
            assert attributes["scope"] in ("col", "row")
        if tag == "svg" and attributes.get("role") == "img":
            names = attributes["aria-labelledby"]
            assert names is not None
            assert set(names.split()) <= set(ids)


def test_the_same_report_gives_the_same_page(lenet_5):
    assert build_report(lenet_5) == build_report(copy.deepcopy(lenet_5))


def test_a_large_run_stays_small(lenet_5):
    layer, point = lenet_5["layers"][0], lenet_5["test_points"][0]
    lenet_5["layers"] = [{**layer, "name": f"conv{i}"} for i in range(60)]
    epochs = [{**point["epochs"][0], "epoch": i} for i in range(300)]
    lenet_5["test_points"] += [{**point, "number": 100 + i, "epochs": epochs} for i in range(30)]
    assert len(build_report(lenet_5).encode()) < 500_000


def test_a_wrong_report_is_refused(lenet_5):
    del lenet_5["command"]
    with pytest.raises(FormatError, match=r"report\.json: command: Field required"):
        build_report(lenet_5)
