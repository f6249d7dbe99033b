"""No machine is ever deleted that was not the chosen one, whatever else is marked or going."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.errors import ConflictError
from autoscaler.providers.cluster_api import Machine, check_choice

FLAGS = st.tuples(st.booleans(), st.booleans(), st.booleans(), st.sampled_from(["one", "one", "one", "two"]))


def lowered(machines: list[Machine], replicas: int, *, order: list[int]) -> set[str]:
    """Return whom the owner deletes: the marked first, then in any *order*, until *replicas* are left."""
    live = [each for each in machines if not each.deleting]
    ranked = sorted(live, key=lambda each: (not each.marked, order[machines.index(each)]))
    return {each.name for each in ranked[: max(0, len(live) - replicas)]}


@given(states=st.lists(FLAGS, min_size=1, max_size=7), size=st.integers(0, 8), data=st.data())
@settings(max_examples=150)
def test_only_the_chosen_go(states: list[tuple[bool, bool, bool, str]], size: int, data: st.DataObject) -> None:
    machines = [
        Machine(
            name=f"m{number}",
            namespace="ops",
            uid=str(number),
            deployment="web",
            machine_set=machine_set,
            id=f"i-{number}" if is_up else "",
            marked=marked,
            deleting=deleting,
        )
        for number, (marked, deleting, is_up, machine_set) in enumerate(states)
    ]
    up = [each.id for each in machines if each.id and not each.deleting]
    chosen = data.draw(st.lists(st.sampled_from(up), unique=True)) if up else []
    try:
        check_choice(machines, chosen, group="web", size=size)
    except ConflictError:
        return
    marked = [msgspec.structs.replace(each, marked=True) if each.id in chosen else each for each in machines]
    order = data.draw(st.permutations(range(len(machines))))
    gone = lowered(marked, size - len(chosen), order=order)
    assert gone == {each.name for each in machines if each.id in chosen}
