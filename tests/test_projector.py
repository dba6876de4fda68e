"""The projector drops what an epoch has left behind, and makes its calls in the order of the protocol."""

from types import SimpleNamespace

from models.record import Lane
from streams.lanes import Batch
from streams.runner import EpochBatch, Projector
from tests.lane_recorder import LANES, Recorder, wait_until


def read(epochs: dict[Lane, int], lane: Lane, start: int, count: int) -> EpochBatch:
    """A batch of `count` records as the consumer reads it."""
    records = [SimpleNamespace(offset=start + n) for n in range(count)]
    return EpochBatch(epochs[lane], Batch(lane, start, records, start + count, None))


def started(recorder: Recorder, *lanes: Lane) -> tuple[Projector, dict[Lane, int]]:
    """A projector whose worker has taken these lanes, and their epochs."""
    projector = Projector(recorder)
    projector.start(lambda: None)
    projector.assign(lanes)
    return projector, epochs(projector, *lanes)


def epochs(projector: Projector, *lanes: Lane) -> dict[Lane, int]:
    placed: dict[Lane, int] = {}

    def all_placed() -> bool:
        placed.update({lane: placement.epoch for lane, placement in projector.placements().items()})
        return placed.keys() >= set(lanes)

    wait_until(all_placed, "the lanes are placed")
    return placed


def test_a_round_read_before_its_lane_moved_is_dropped() -> None:
    lane, other = LANES[:2]
    recorder = Recorder(refuse={lane: 3})
    projector, before = started(recorder, lane, other)
    recorder.go.clear()
    projector.offer([read(before, lane, 0, 10), read(before, other, 0, 10)])
    wait_until(lambda: not projector.rounds_waiting, "the first round is being folded")
    projector.offer([read(before, lane, 10, 10), read(before, other, 10, 10)])
    assert projector.rounds_waiting == 1
    recorder.go.set()
    after = epochs(projector, lane)
    projector_has_folded(projector, other, 20)
    projector.offer([read(after, lane, 3, 5)])
    projector_has_folded(projector, lane, 8)
    assert recorder.offsets(lane) == [3, 4, 5, 6, 7]
    assert recorder.offsets(other) == list(range(20))
    assert projector.close(10.0)


def test_what_is_read_while_a_round_waits_joins_it() -> None:
    lane, other = LANES[:2]
    recorder = Recorder()
    projector, of = started(recorder, lane, other)
    recorder.go.clear()
    busy(projector, read(of, lane, 0, 1))
    projector.offer([read(of, lane, 1, 2)], 800)
    projector.offer([read(of, other, 0, 3)], 1_200)
    projector.offer([read(of, other, 3, 1), read(of, lane, 3, 1)], 800)
    assert (projector.rounds_waiting, projector.waiting) == (1, (7, 2_800))
    recorder.go.set()
    projector_has_folded(projector, lane, 4)
    projector_has_folded(projector, other, 4)
    assert [call for call in recorder.calls if call[0] == "step"] == [
        ("step", [lane]),
        ("step", [lane, other]),
    ]
    assert (recorder.offsets(lane), recorder.offsets(other)) == ([0, 1, 2, 3], [0, 1, 2, 3])
    assert (projector.rounds_waiting, projector.waiting) == (0, (0, 0))
    assert projector.close(10.0)


def test_what_was_read_before_a_lane_was_taken_anew_is_joined_by_nothing() -> None:
    lane, other = LANES[:2]
    recorder = Recorder()
    projector, before = started(recorder, lane, other)
    recorder.go.clear()
    busy(projector, read(before, other, 0, 1))
    projector.offer([read(before, lane, 0, 5)])
    projector.assign([lane])
    # The order goes before the round, yet its reader may be told of the place while the round waits.
    projector.offer(
        [EpochBatch(before[lane] + 2, Batch(lane, 0, read(before, lane, 0, 3).batch.records, 3, 9))]
    )
    assert projector.waiting.records == 8
    recorder.go.set()
    after = epochs(projector, lane)
    assert after[lane] == before[lane] + 2
    projector_has_folded(projector, lane, 3)
    assert recorder.offsets(lane) == [0, 1, 2]
    assert projector.close(10.0)


def busy(projector: Projector, batch: EpochBatch) -> None:
    """A step has begun with this batch; what is offered now waits."""
    projector.offer([batch], 400)
    wait_until(lambda: not projector.rounds_waiting, "a step runs")


def projector_has_folded(projector: Projector, lane: Lane, offset: int) -> None:
    wait_until(lambda: projector.folded().get(lane) == offset, f"{lane} is folded up to {offset}")


def test_a_lane_that_was_revoked_is_lost_before_it_is_taken_anew_and_its_rounds_are_dropped() -> None:
    lane, other = LANES[:2]
    recorder = Recorder()
    projector, before = started(recorder, lane, other)
    recorder.go.clear()
    busy(projector, read(before, other, 0, 1))
    projector.offer([read(before, lane, 0, 10)])
    projector.revoke([lane, other])
    projector.assign([lane])
    assert projector.holds([lane]), "its worker has not been told yet"
    recorder.go.set()
    after = epochs(projector, lane)
    assert not projector.holds([other])
    assert after[lane] != before[lane]
    assert recorder.calls == [
        ("take", [lane, other]),
        ("step", [other]),
        ("lose", [lane, other]),
        ("take", [lane]),
    ]
    assert projector.close(10.0)
    assert recorder.count() == 1


def test_a_new_assignment_leaves_no_lane_of_the_one_before() -> None:
    lane, other = LANES[:2]
    recorder = Recorder()
    projector, _ = started(recorder, lane)
    projector.assign([other])
    epochs(projector, other)
    assert recorder.calls == [("take", [lane]), ("lose", [lane]), ("take", [other])]
    assert projector.close(10.0)


def test_nothing_is_called_after_a_failure() -> None:
    recorder = Recorder()
    projector, before = started(recorder, LANES[0])
    projector.offer([read(before, LANES[0], 0, 1)])
    projector_has_folded(projector, LANES[0], 1)
    projector.offer([read(before, LANES[0], 7, 1)])
    wait_until(lambda: projector.failure, "the gap is noticed")
    projector.revoke(LANES)
    assert projector.close(10.0)
    assert isinstance(projector.failure, AssertionError)
    assert [name for name, _ in recorder.calls if name != "idle"] == ["take", "step", "step"]


def test_every_taken_lane_needs_an_offset() -> None:
    class Forgetful(Recorder):
        def take(self, lanes: object) -> dict[Lane, int | None]:
            return {}

    projector = Projector(Forgetful())
    projector.start(lambda: None)
    projector.assign([LANES[0]])
    wait_until(lambda: projector.failure, "the missing offset is noticed")
    assert "facts-0" in str(projector.failure)
