"""The command line as people and scripts use it: what it does, what it prints, and how its processes end."""

from __future__ import annotations

import json
import re
import signal
import subprocess

import psutil
import pytest

from secure_queue import TaskStatus, Worker
from secure_queue.payload.keys import generate_key
from tests.servers import free_port, wait_until
from tests.system.faults import Planter
from tests.system.shell import ACTIVE, DEADLINE, PATIENCE, REVOKED, TARGET, Shell

pytestmark = pytest.mark.slow

FOREIGN = generate_key("foreign")


def children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return [child for child in psutil.Process(process.pid).children() if child.status() != psutil.STATUS_ZOMBIE]


# run


def test_burst_drains_the_queue_and_ends(shell: Shell) -> None:
    shell.enqueue("note", *((number,) for number in range(50)))
    shell.spawn("run", TARGET, "--burst", "--quiet")
    assert {number for number, _ in shell.lines("end")} == set(range(50))


def test_burst_with_two_processes_drains_the_queue_and_ends(shell: Shell) -> None:
    shell.enqueue("note", *((number, 0.01) for number in range(400)))
    shell.spawn("run", TARGET, "--burst", "--processes", "2", "--quiet")
    assert {number for number, _ in shell.lines("end")} == set(range(400))


def test_a_process_that_has_done_enough_is_replaced_at_once_and_nothing_is_lost(shell: Shell) -> None:
    shell.enqueue("note", *[(number,) for number in range(8)])
    done = shell.spawn("run", TARGET, "--processes", "2", "--burst", "--max-tasks", "3", "--concurrency", "1")
    assert sorted(number for number, _ in shell.lines("end")) == list(range(8))
    pids = [pid for _, pid in shell.lines("end")]
    assert len(set(pids)) >= 3
    assert max(pids.count(pid) for pid in pids) <= 3
    assert "has done enough; starting a fresh one" in done.stderr


def test_two_queues_in_one_process_and_a_check_that_sees_it(shell: Shell) -> None:
    process = shell.start("run", TARGET, "tests.system.cli_app:second", "--weights", "2:1", "--health", "127.0.0.1:0")
    shell.enqueue("note", (1,))
    wait_until(lambda: shell.lines("end"), patience=PATIENCE)

    async def roles(worker: Worker[None]) -> list[str]:
        return [one.role for one in await worker.processes()]

    wait_until(lambda: "worker" in shell.ask(roles), patience=PATIENCE)
    told = json.loads(shell.run("check", TARGET, "--here", "--json").stdout)
    assert (told["live"], len(told["workers"])) == (True, 1)
    process.terminate()
    assert process.wait(PATIENCE) == 0
    assert "health is told at http://127.0.0.1:" in process.communicate()[1]


def test_a_check_says_by_its_exit_code_why_it_fails(shell: Shell) -> None:
    assert f"live workers of queue {shell.queue}: 0; there should be 1" in shell.refuse("check", TARGET, code=1)
    shell.environment["SECURE_QUEUE_URL"] = f"unix://{shell.folder}/nobody"
    assert "did not answer within 1 s" in shell.run("check", TARGET, "--timeout", "1", code=2).stderr


def test_concurrency_of_the_command_line_counts(shell: Shell) -> None:
    (task_id,) = shell.enqueue("seats", ())
    shell.run("run", TARGET, "--burst", "--concurrency", "7")
    assert shell.ask(lambda worker: worker.result_by_id(task_id, 5)).result == 7


@pytest.mark.parametrize(("number", "processes"), [(signal.SIGTERM, 2), (signal.SIGINT, 1)])
def test_a_signal_ends_it_in_peace_with_exit_code_0(shell: Shell, processes: int, number: signal.Signals) -> None:
    shell.enqueue("note", *((number, 0.5) for number in range(40)))  # one process alone would need 20 s for them
    process = shell.start("run", TARGET, "--processes", str(processes), "--concurrency", "1")
    wait_until(lambda: len({pid for _, pid in shell.lines("start")}) == processes)
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (0, ""), err
    assert "Traceback" not in err
    assert sorted(shell.lines("end")) == sorted(shell.lines("start"))


def test_a_second_signal_ends_it_at_once_and_hands_tasks_back(shell: Shell) -> None:
    shell.enqueue("note", *((number, 60.0) for number in range(8)))
    process = shell.start("run", TARGET, "--processes", "2")
    wait_until(lambda: len(shell.lines("start")) == 8)
    process.send_signal(signal.SIGTERM)
    told = (line for line in iter(process.stderr.readline, "") if "received SIGTERM" in line)  # type: ignore[union-attr]
    for _ in range(3):  # the supervisor and both workers: two signals at once could be taken for one
        next(told)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    counts = shell.ask(lambda worker: worker.counts())
    assert (counts.running, counts.ready["normal"]) == (0, 8)


def test_a_sync_task_that_never_ends_does_not_keep_the_process(shell: Shell) -> None:
    (task_id,) = shell.enqueue("hang", (1,))
    process = shell.start("run", TARGET)
    wait_until(lambda: shell.lines("start"), patience=PATIENCE)
    process.send_signal(signal.SIGTERM)
    next(line for line in iter(process.stderr.readline, "") if "received SIGTERM" in line)  # type: ignore[union-attr]
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    info = shell.ask(lambda worker: worker.info_by_id(task_id))
    assert (info.status, info.tries) == (TaskStatus.QUEUED, 0)


def test_a_worker_process_that_is_killed_is_started_again(shell: Shell) -> None:
    process = shell.start("run", TARGET, "--processes", "2", stderr=subprocess.DEVNULL)
    wait_until(lambda: len(children(process)) == 2)
    doomed, survivor = children(process)
    doomed.kill()
    wait_until(lambda: doomed not in children(process) and len(children(process)) == 2)
    assert survivor in children(process)
    process.terminate()
    assert process.wait(PATIENCE) == 0


def test_worker_processes_end_when_their_supervisor_is_killed(shell: Shell) -> None:
    shell.enqueue("note", (1,), (2,))
    process = shell.start("run", TARGET, "--processes", "2", stderr=subprocess.DEVNULL)
    wait_until(lambda: len(shell.lines("end")) == 2 and len(children(process)) == 2)
    orphans = children(process)
    process.kill()
    process.wait(PATIENCE)
    try:
        _, alive = psutil.wait_procs(orphans, PATIENCE)
        assert alive == []
    finally:
        for orphan in orphans:
            if orphan.is_running():
                orphan.kill()


def test_a_server_that_is_away_is_waited_for(shell: Shell) -> None:
    shell.environment["SECURE_QUEUE_URL"] = f"redis://127.0.0.1:{free_port()}"
    process = shell.start("run", TARGET)
    for line in iter(process.stderr.readline, ""):  # type: ignore[union-attr]
        if "WARNING" in line:
            break
    assert process.poll() is None
    process.terminate()
    _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, "Traceback" in err) == (0, False), err


def test_reload_starts_anew_when_the_code_changes(shell: Shell) -> None:
    pytest.importorskip("watchfiles")
    app = shell.folder / "changing.py"
    app.write_text("from tests.system.cli_app import worker\n")
    process = shell.start("run", "changing:worker", "--reload", stderr=subprocess.DEVNULL)
    shell.enqueue("note", (1,))
    wait_until(lambda: len(shell.lines("end")) == 1)
    before = children(process)
    app.write_text("this is no Python\n")
    wait_until(lambda: children(process) == [], patience=PATIENCE)
    app.write_text("from tests.system.cli_app import worker  # again\n")
    shell.enqueue("note", (2,))
    wait_until(lambda: len(shell.lines("end")) == 2, patience=PATIENCE)
    assert not set(before) & set(children(process))
    process.terminate()
    assert process.wait(PATIENCE) == 0


def test_reload_without_watchfiles_says_what_to_install(shell: Shell) -> None:
    (shell.folder / "watchfiles.py").write_text("raise ImportError\n")
    done = shell.spawn("run", TARGET, "--reload", code=2)
    assert "pip install 'secure-queue[reload]'" in shell.refused(done)


BAD_MODULES = {
    "broken": "x = 1 / 0\n",
    "unparsable": "def (:\n",
    "leaving": "raise SystemExit(3)\n",
    "keyless": "from secure_queue import Worker\nworker = Worker(signing_secret='')\n",
    "fine": "from secure_queue import Worker\nworker = Worker('memory://')\nother = 1\n",
    "needy": "import a_library_that_is_not_there\n",
}


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("app", "write module:object"),
        (":worker", "write module:object"),
        ("nowhere:worker", "no module 'nowhere'"),
        ("nowhere.deep:worker", "no module 'nowhere'"),
        ("needy:worker", "ModuleNotFoundError: No module named 'a_library_that_is_not_there' (line 1)"),
        ("broken:worker", "ZeroDivisionError: division by zero (line 1)"),
        ("unparsable:worker", "SyntaxError"),
        ("leaving:worker", "SystemExit: 3"),
        ("keyless:worker", "the signing key is empty"),
        ("fine:missing", "has no 'missing'; it has: worker"),
        ("fine:other", "is a int and no Worker"),
    ],
)
@pytest.mark.parametrize("options", [("--burst",), ("--burst", "--processes", "2")])
def test_a_bad_target_is_one_clear_line(shell: Shell, target: str, told: str, options: tuple[str, ...]) -> None:
    for name, text in BAD_MODULES.items():
        (shell.folder / f"{name}.py").write_text(text)
    assert told in shell.refuse("run", target, *options)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("nonsense",), "No such command 'nonsense'"),
        (("run",), "Missing argument 'TARGET'"),
        (("run", TARGET, "--processes", "0"), "--processes"),
        (("run", TARGET, "--burst", "--reload"), "give one of them"),
        (("run", TARGET, "--verbose", "--quiet"), "give one of them"),
        (("audit", "check"), "Missing argument 'TARGET'"),
        (("audit", TARGET, "--rate", "fast"), "--rate"),
        (("dlq", "retry", TARGET), "name one ID, or all of them with --all"),
        (("dlq", "delete", TARGET, "x", "--all"), "name one ID"),
        (("dlq", "retry", TARGET, "x", "--task", "note"), "--task goes with --all"),
        (("dlq", "show", TARGET, "a b\x1b[31m"), "cannot be a task id"),
        (("keys", "revoke"), "Missing argument 'NAME'"),
    ],
)
def test_wrong_arguments_are_one_line(shell: Shell, words: tuple[str, ...], told: str) -> None:
    assert told in shell.refuse(*words)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("status", TARGET), 0),
        (("dlq", "show", TARGET, "nobody"), 1),
        (("run", "nowhere:worker", "--burst", "--processes", "2"), 2),
        (("run",), 2),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else None,
)
def test_a_process_ends_as_its_command_does(shell: Shell, words: tuple[str, ...], code: int) -> None:
    here, process = shell.run(*words, code=code), shell.spawn(*words, code=code)
    assert (here.stdout, here.stderr) == (process.stdout, process.stderr)


# keys


def test_a_generated_key_is_one_line_of_shell(shell: Shell) -> None:
    out = shell.run("keys", "generate", "--name", "2026-12").stdout
    assert re.fullmatch(r"export SECURE_QUEUE_KEYS=sqk1:2026-12:active:hs:[\w-]{43}:[0-9a-f]{8}\n", out)
    raw = shell.run("keys", "generate", "--raw").stdout
    assert re.fullmatch(r"sqk1:[\d-]{10}:active:hs:[\w-]{43}:[0-9a-f]{8}\n", raw)
    shell.environment["SECURE_QUEUE_KEYS"] = raw.strip()
    shell.run("status", TARGET)


def test_a_key_is_added_and_retired(shell: Shell) -> None:
    file = str(shell.folder / "pair.toml")
    shell.run("keys", "generate", "--name", "old", "--file", file)
    shell.run("keys", "add", "--name", "new", "--file", file)
    listed = json.loads(shell.run("keys", "list", "--file", file, "--json").stdout)["keys"]
    assert {key["name"]: key["state"] for key in listed} == {"old": "active", "new": "verify"}
    shell.run("keys", "retire", "new", "--file", file)
    listed = json.loads(shell.run("keys", "list", "--file", file, "--json").stdout)["keys"]
    assert {key["name"]: key["state"] for key in listed} == {"old": "active", "new": "revoked"}


def test_keys_that_cannot_be_handled_are_one_line(shell: Shell) -> None:
    file = shell.folder / "keys.toml"
    assert "there is no key file" in shell.refuse("keys", "rotate", "distribute", "--file", str(file))
    assert "cannot be read" in shell.refuse("keys", "list", "--file", str(file))
    shell.run("keys", "generate", "--file", str(file))
    assert "exists" in shell.refuse("keys", "generate", "--file", str(file))
    assert "no key of that name" in shell.refuse("keys", "revoke", "nobody", "--file", str(file))
    file.chmod(0o640)
    assert "chmod 600" in shell.refuse("keys", "list", "--file", str(file))


# dlq


@pytest.fixture
def graveyard(shell: Shell) -> list[str]:
    """Three tasks that died of a hostile message, and one that died otherwise."""
    ids = shell.enqueue("fail", *[("[bold]bang[/bold]\n\x1b[31mforged line",)] * 3)
    ids += shell.enqueue("fail_otherwise", ())
    shell.run("run", TARGET, "--burst", "--quiet")
    return ids


def letters(shell: Shell, *words: str) -> list[str]:
    listed = json.loads(shell.run("dlq", "list", TARGET, "--json", *words).stdout)
    return [letter["task_id"] for letter in listed["dead_letters"]]


def test_dead_letters_are_listed_and_shown_with_their_text_escaped(shell: Shell, graveyard: list[str]) -> None:
    assert set(letters(shell)) == set(graveyard)
    assert letters(shell, "--task", "fail_otherwise") == graveyard[3:]
    assert len(letters(shell, "--limit", "2")) == 2
    listed = shell.run("dlq", "list", TARGET).stdout
    assert all(task_id in listed for task_id in graveyard)
    shown = shell.run("dlq", "show", TARGET, graveyard[0]).stdout
    assert "ValueError" in shown
    assert "[bold]bang[/bold]" in shown
    assert "raise ValueError(message)" in shown
    assert "\x1b" not in listed + shown
    assert json.loads(shell.run("dlq", "show", TARGET, graveyard[0], "--json").stdout)["tries"] == 1
    assert "no dead letter" in shell.refuse("dlq", "show", TARGET, "nobody", code=1)


def test_dead_letters_are_put_back_and_deleted(shell: Shell, graveyard: list[str]) -> None:
    shell.run("dlq", "retry", TARGET, graveyard[0])
    shell.run("dlq", "delete", TARGET, graveyard[1])
    assert set(letters(shell)) == set(graveyard[2:])
    assert "no dead letter" in shell.refuse("dlq", "delete", TARGET, graveyard[1], code=1)
    assert "no dead letter" in shell.refuse("dlq", "retry", TARGET, graveyard[1], code=1)
    shell.run("run", TARGET, "--burst", "--quiet")
    assert set(letters(shell)) == {graveyard[0], *graveyard[2:]}
    shell.run("dlq", "retry", TARGET, "--all", "--task", "fail", "--yes")
    assert letters(shell) == graveyard[3:]


def test_all_asks_first(shell: Shell, graveyard: list[str]) -> None:
    for answer in ("n\n", ""):
        done = shell.run("dlq", "delete", TARGET, "--all", code=1, stdin=answer)
        assert "delete 4 dead letters?" in done.stderr
        assert "nothing was done" in done.stderr
    assert len(letters(shell)) == 4
    shell.run("dlq", "delete", TARGET, "--all", stdin="y\n")
    assert letters(shell) == []


# audit and status


def test_the_audit_of_a_clean_queue_ends_with_0(shell: Shell, graveyard: list[str]) -> None:
    shell.enqueue("note", *((number,) for number in range(30)))
    done = shell.run("audit", TARGET)
    assert "clean" in done.stdout
    report = json.loads(shell.run("audit", TARGET, "--json").stdout)
    assert report["codes"]["valid"] == report["payloads"] == 30 + 4 * 3  # of each dead letter: task, failure, result
    assert report["keys"]["current"]["payloads"] == report["payloads"]
    assert report["functions"] == {"note": 30, "fail": 9, "fail_otherwise": 3}
    assert report["findings"] == []


def test_the_audit_finds_each_planted_fault_and_ends_with_1(shell: Shell) -> None:
    shell.enqueue("note", *((number,) for number in range(200)))
    planter = Planter(shell.server, shell.queue, ACTIVE, REVOKED, FOREIGN)
    planted = planter.plant()
    assert len(planted) >= 20
    before = planter.snapshot()
    out = shell.run("audit", TARGET, "--json", code=1).stdout
    report = json.loads(out)
    found = {(finding["code"], finding["kind"], finding["id"]) for finding in report["findings"]}
    assert found == planted
    assert report["exit_code"] == 1
    assert report["kinds"]["task"] == 200 + 17  # no fault hides a good one
    assert (report["keys"]["leaked"]["payloads"], report["unknown_keys"]) == (1, 1)
    moved = next(finding for finding in report["findings"] if finding["id"] == "swapped")
    assert moved["detail"].startswith(
        f"wrong-task: sealed as task another of queue {shell.queue}, found as task swapped"
    )
    assert planter.snapshot() == before
    table = shell.run("audit", TARGET, "--rate", "20000", code=1)
    assert "\x1b" not in table.stdout
    assert "dangerous-pickle" in table.stdout
    assert "[red]log line" in table.stdout


def test_an_audit_that_cannot_be_made_ends_with_2(shell: Shell) -> None:
    shell.environment |= {"SECURE_QUEUE_URL": f"redis://127.0.0.1:{free_port()}", DEADLINE: "1"}
    done = shell.run("audit", TARGET, code=2)
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("error: no answer from 127.0.0.1")


def test_status_counts(shell: Shell, graveyard: list[str]) -> None:
    shell.enqueue("note", (1,), (2,))
    counted = json.loads(shell.run("status", TARGET, "--json").stdout)
    assert (counted["queue"], counted["ready"], counted["dead"]) == (shell.queue, {"normal": 2}, 4)
    assert "dead letters" in shell.run("status", TARGET).stdout


def test_a_queue_is_paused_and_resumed_and_says_why_a_task_does_not_run(shell: Shell) -> None:
    [task_id] = shell.enqueue("note", (1,))
    shell.ask(lambda worker: worker.pause(task="note"))
    assert shell.run("pause", TARGET, "--for", "2h").stderr == "paused: queue, for 7200 s\n"
    assert "paused: task note, until it is resumed" in shell.run("status", TARGET).stdout
    found = shell.run("explain", TARGET, task_id).stdout.splitlines()
    assert found[0] == f"{task_id} (note) is queued" and found[1].startswith("- the queue is paused for 7")
    assert shell.run("resume", TARGET).stderr == "resumed: queue\n"
    assert "it is not paused" in shell.refuse("resume", TARGET, code=1)
    shell.server.command(
        "HSET", f"sq:{{{shell.queue}/0}}:paused", b"p:\x1b[31m\nready 0", "0", b"t:\x1b[31m\nready 0", "0"
    )
    paused = shell.run("status", TARGET).stdout.splitlines()[-3:-1]
    escaped = "\\x1b[31m\\x0aready 0, until it is resumed"
    assert paused == [f"paused: priority {escaped}", f"paused: task {escaped}"]


def test_partitions_are_shown_and_given_up_when_they_are_empty(shell: Shell) -> None:
    async def use_two(worker: Worker[None]) -> None:
        await worker._client().routes.at(0).storage.register(1, None)
        await worker._client().routes.at(0).storage.register(2, None)

    shell.enqueue("note", (1,))
    shell.ask(use_two)
    told = json.loads(shell.run("partitions", TARGET, "--json").stdout)
    assert [(told["queue"], one["ready"]["normal"]) for one in told["partitions"]] == [
        (shell.queue, 1),
        (shell.queue, 0),
    ]
    shell.run("partitions", TARGET, "--shrink")
    assert len(json.loads(shell.run("partitions", TARGET, "--json").stdout)["partitions"]) == 1
    assert "put aside" in shell.run("partitions", TARGET).stdout


# schedules


def test_schedules_are_listed_and_deleted(shell: Shell) -> None:
    async def store(worker: Worker[None]) -> None:
        await worker.schedule(worker.registry["note"].enqueue(1), "0 3 * * *", schedule_id="nightly")

    shell.ask(store)
    shell.ask(lambda worker: worker._client().routes.timetable.schedule(b"\x1b[1m", b"x", PATIENCE))
    rows = json.loads(shell.run("schedules", "list", TARGET, "--json").stdout)["schedules"]
    assert [(row["schedule_id"], row.get("rule"), row.get("reason")) for row in rows] == [
        ("nightly", "0 3 * * * (UTC)", None),
        ("\\x1b[1m", None, "bad-id"),
    ]
    listed = shell.run("schedules", "list", TARGET).stdout
    assert "nightly" in listed and "\x1b[1m" not in listed
    shell.run("schedules", "delete", TARGET, "nightly")
    assert "no schedule" in shell.refuse("schedules", "delete", TARGET, "nightly", code=1)


# graph


def test_a_workflow_is_drawn_and_stopped(shell: Shell) -> None:
    async def enqueue(worker: Worker[None]) -> str:
        note, hang = worker.registry["note"], worker.registry["note"].enqueue(1).start(delay=600)
        last = await worker.group([hang | note, note.enqueue(2).start(delay=600)]).then(note)
        return last.id

    task_id = shell.ask(enqueue)
    found = json.loads(shell.run("graph", TARGET, task_id, "--json").stdout)
    assert (found["workflow_id"], [task["status"] for task in found["tasks"]]) == (task_id, ["scheduled"] * 4)
    assert sorted(len(task["after"]) for task in found["tasks"]) == [0, 0, 1, 2]
    drawn = shell.run("graph", TARGET, task_id).stdout
    assert "1 (success)" in drawn and task_id in drawn
    done = shell.run("graph", TARGET, task_id, "--abort")
    assert "stopped 4 tasks" in done.stderr and done.stdout.count("aborted") == 4
    assert "no workflow" in shell.refuse("graph", TARGET, "nobody", code=1)
