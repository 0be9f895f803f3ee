"""One study on servers of both sites and two emulated boards, while all that can be lost is lost.

Its images are bound to the private site, where a host without a node serves them. A server is
killed and comes back, a board is cut off for a minute, and the driver is killed.
"""

import contextlib
import json
import threading
import time
from dataclasses import dataclass

from tests.cluster.boards import BOARDS, BoardsLab
from tests.cluster.private_images import num_seen, served, write_noise
from tests.cluster.studies import study

SERVER, PUBLIC, STORE, CUT = "one", "four", "nas", "two"
ELSEWHERE = ("head", PUBLIC, *BOARDS)  # all but the private site
LABELS = {SERVER: "sigdca.io/site=private", PUBLIC: "sigdca.io/site=public"}
NUM_TRIALS, CUT_S = 12, 60.0
OBJECTIVES = {"container_bytes": "min"} | {
    f"latency_us@{target}": "min" for target in BOARDS.values()
}


def make_lab():
    """The lab, not started yet; this process has `tests.s3.CREDENTIALS`."""
    return BoardsLab(labels=LABELS, more=(PUBLIC,), bare=(STORE,))


@dataclass(frozen=True)
class Disturbed:
    """What is left of the study.

    Attributes:
        before: the trials' records as the killed driver left them.
        outcome: `sigdca search --json` of the one that went on.
        trials: all records at the end.
        verdicts: of each container on each board, by the file's name in `measured/`.
        num_legs: how many legs have begun, by host.
        sent_bytes: what each host outside the private site was sent in all.
        num_seen: how many images were among it.
        num_lost: frames that were not looked at; with any, `num_seen` proves nothing.
        faults: what was lost, in order.
    """

    before: list
    outcome: dict
    trials: list
    verdicts: dict
    num_legs: dict
    sent_bytes: dict
    num_seen: dict
    num_lost: dict
    faults: list

    @property
    def containers(self):
        """Of all trials at full fidelity."""
        return {trial["rungs"][-1]["container"] for trial in self.trials if trial["rungs"]}

    @property
    def changed(self):
        """Trials that were done when the driver was killed, and are otherwise now."""
        now = {trial["number"]: trial for trial in self.trials}
        done = [trial for trial in self.before if trial["status"] == "done"]
        return [trial["number"] for trial in done if now[trial["number"]] != trial]

    @property
    def unproven(self):
        """Containers that some board has not proven exact."""
        stems = (f"{target}-{sha}" for target in BOARDS.values() for sha in self.containers)
        return [stem for stem in stems if self.verdicts.get(f"{stem}.isa.json") != "exact (isa)"]

    @property
    def num_again(self):
        """Legs beyond one a board and container, and beyond those that a fault took along."""
        lost = dict.fromkeys(BOARDS, 1) | {CUT: 2}  # the driver's death may; its own too
        once = len(self.containers)
        return sum(max(0, self.num_legs[host] - once - lost[host]) for host in BOARDS)


def disturbed_study(lab, folder):
    """Runs it in a running lab.

    Args:
        lab: what `make_lab` gave.
        folder: an empty one.
    """
    faults, threads = [], []

    def back(host, after_s, heal):
        def come_back():
            time.sleep(after_s)
            if heal:
                lab.heal(host)
                lab.wait_until_left(host, 300)  # its supervisor starts another node
            lab.start_again(host)

        threads.append(threading.Thread(target=come_back))
        threads[-1].start()

    def kill_server(_driver):
        faults.append("server killed")
        lab.kill(SERVER)
        back(SERVER, 15.0, heal=False)

    def cut_board(_driver):
        faults.append("board cut off")
        lab.cut(CUT)
        back(CUT, CUT_S, heal=True)

    def kill_driver(driver):
        faults.append("driver killed")
        driver.kill()

    at = {2: kill_server, 5: cut_board, 8: kill_driver}
    ended = []

    def follow(driver):
        ended.append(driver)
        if fault := at.pop(len(ended), None):
            fault(driver)

    with contextlib.ExitStack() as stack:
        (folder / "images").mkdir()
        address = stack.enter_context(served(lab, STORE, folder))
        images = write_noise(address, folder / "images")
        lab.forget_legs()
        frames = {host: stack.enter_context(lab.frames_into(host)) for host in ELSEWHERE}
        settings = (
            f"data={{source: '{address}', site: private}}",
            f"search.num_trials={NUM_TRIALS}",
            f"search.objectives={json.dumps(OBJECTIVES)}",
        )
        _, before = study(lab, folder, "disturbed", *settings, on_trial=follow, ends=-9)
        for thread in threads:
            thread.join()
        outcome, trials = study(lab, folder, "disturbed", *settings, resume=True)
    told = {path.name: json.loads(path.read_text()) for path in _measured(folder)}
    return Disturbed(
        before=before,
        outcome=outcome,
        trials=trials,
        verdicts={name: f"{leg['verdict']} ({leg['evidence']})" for name, leg in told.items()},
        num_legs={host: lab.num_legs(host) for host in BOARDS},
        sent_bytes={host: len(sent.content) for host, sent in frames.items()},
        num_seen={host: num_seen(images, sent.content) for host, sent in frames.items()},
        num_lost={host: sent.num_lost for host, sent in frames.items()},
        faults=faults,
    )


def _measured(folder):
    return sorted((folder / "disturbed/measured").iterdir())
