from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from autoscaler.kube.checkpoints import FileCheckpoint


async def test_a_file_gives_back_what_was_saved_last(tmp_path: Path) -> None:
    file = FileCheckpoint(tmp_path / "new" / "state")
    assert await file.load() is None
    for data in (b"one", b"", b"\x00two" * 100_000):
        await file.save(data)
        assert await FileCheckpoint(tmp_path / "new" / "state").load() == data
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["state"]


async def test_a_save_that_was_cut_off_leaves_the_old_state(tmp_path: Path) -> None:
    file = FileCheckpoint(tmp_path / "state")
    await file.save(b"old")
    (tmp_path / ".state.draft").write_bytes(b"ne")
    assert await file.load() == b"old"
    await file.save(b"new")
    assert await file.load() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


async def test_who_reads_while_others_save_sees_one_state_or_another(tmp_path: Path) -> None:
    states = [bytes([number]) * 100_000 for number in range(20)]
    file = FileCheckpoint(tmp_path / "state")
    await file.save(states[0])
    seen = []

    async def save_all() -> None:
        for state in states:
            await file.save(state)

    async with asyncio.TaskGroup() as group:
        saving = group.create_task(save_all())
        while not saving.done():
            seen.append(await FileCheckpoint(tmp_path / "state").load())
    assert set(seen) <= set(states)


async def test_a_folder_that_cannot_be_made_is_an_error_of_the_machine(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        await FileCheckpoint(tmp_path / "file" / "state").save(b"x")
