"""A state directory is removed only when it is ours, used by one supervisor only, and closed where it must be."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from launcher.accounts import ROLES, Account, Accounts
from launcher.errors import StateRefusedError
from launcher.state import MARKER, Stamp, State


@pytest.fixture
def state(tmp_path: Path) -> State:
    own = Account("me", os.getuid(), os.getgid())
    return State(tmp_path / "demo", Accounts(dict.fromkeys(ROLES, own), separate=False))


def prepared(state: State) -> State:
    state.make_folders()
    state.mark(Stamp(base_port=8400, separate_users=False, prepared=True))
    return state


def test_a_marked_directory_is_recognised_and_removed(state: State) -> None:
    assert prepared(state).stamp() == Stamp(8400, separate_users=False, prepared=True)
    state.remove()
    assert not state.root.exists()


def test_removing_what_is_not_there_does_nothing(state: State) -> None:
    state.remove()
    assert state.stamp() is None


def test_a_directory_of_somebody_elses_is_never_removed(state: State) -> None:
    state.root.mkdir()
    (state.root / "thesis.txt").write_text("years of work")
    with pytest.raises(StateRefusedError, match="not of our making"):
        state.remove()
    assert (state.root / "thesis.txt").exists()


def test_a_link_to_a_marked_directory_is_not_followed(state: State, tmp_path: Path) -> None:
    prepared(state)
    link = State(tmp_path / "link", state.accounts)
    link.root.symlink_to(state.root)
    with pytest.raises(StateRefusedError):
        link.remove()
    assert (state.root / MARKER).exists()


def test_a_marker_that_is_a_link_marks_nothing(state: State, tmp_path: Path) -> None:
    prepared(state)
    (state.root / MARKER).rename(tmp_path / "elsewhere")
    (state.root / MARKER).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateRefusedError):
        state.remove()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"base_port": 1, "unknown": 2}'])
def test_a_damaged_marker_is_refused(state: State, content: str) -> None:
    prepared(state)
    (state.root / MARKER).write_text(content)
    with pytest.raises(StateRefusedError, match="damaged"):
        state.stamp()


def test_two_supervisors_cannot_share_a_directory(state: State) -> None:
    with state.locked(), pytest.raises(StateRefusedError, match="another privyseal dev"), state.locked():
        pass
    with state.locked():
        assert state.stamp() is None


def test_each_trust_domain_has_a_folder_only_its_user_can_enter(state: State) -> None:
    state.make_folders()
    for role in ROLES:
        assert stat.S_IMODE(state.home(role).stat().st_mode) == 0o700
    assert stat.S_IMODE(state.admin_socket.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(state.link_socket.parent.stat().st_mode) == 0o2750


def test_a_secret_is_written_for_its_owner_only_even_over_a_file_that_was_open_to_all(state: State) -> None:
    state.make_folders()
    path = state.home("idp") / "secret"
    path.write_text("old")
    path.chmod(0o666)
    state.write(path, b"new", "idp")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() == b"new"


def test_a_secret_is_not_written_through_a_link(state: State, tmp_path: Path) -> None:
    state.make_folders()
    target = tmp_path / "target"
    target.write_text("untouched")
    (state.home("idp") / "secret").symlink_to(target)
    state.write(state.home("idp") / "secret", b"new", "idp")
    assert target.read_text() == "untouched"


def test_a_path_too_long_for_a_socket_is_refused_before_anything_is_made(state: State, tmp_path: Path) -> None:
    long = State(tmp_path / ("x" * 100), state.accounts)
    with pytest.raises(StateRefusedError, match="too long"):
        long.make_folders()
    assert not long.root.exists()


def test_a_directory_that_the_service_users_cannot_get_to_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    own = Account("me", os.getuid(), os.getgid())
    (tmp_path / "private").mkdir(mode=0o700)
    closed = State(tmp_path / "private" / "demo", Accounts(dict.fromkeys(ROLES, own), separate=True))
    with pytest.raises(StateRefusedError, match="cannot enter"):
        closed.make_folders()
    assert not closed.root.exists()
