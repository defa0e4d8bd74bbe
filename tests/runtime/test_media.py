"""Media hold a path or bytes, and give the other form on request."""

import hashlib
import os
import pickle
from pathlib import Path

import pytest

from murakkab.runtime.media import Media


def test_bytes_and_a_file_with_them_have_one_digest(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    file = tmp_path / "x.bin"
    file.write_bytes(content)
    stored, held = Media("file", path=str(file)), Media("file", data=content)
    assert stored.read() == held.read() == content
    assert stored.digest() == held.digest() == hashlib.sha256(content).hexdigest()


def test_file_lends_a_temporary_path_for_bytes_and_the_own_path_otherwise(tmp_path: Path) -> None:
    file = tmp_path / "x.png"
    file.write_bytes(b"abc")
    with Media("image", path=str(file)).file() as path:
        assert path == str(file)
    with Media("image", data=b"abc").file() as path:
        assert Path(path).read_bytes() == b"abc"
    assert not os.path.exists(path)
    assert file.exists()


@pytest.mark.parametrize("content", [{}, {"path": "a", "data": b""}])
def test_a_medium_has_one_source(content: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="exactly one"):
        Media("image", **content)  # type: ignore[arg-type]


def test_names_and_texts_do_not_spill_the_content() -> None:
    medium = Media("audio", data=b"secret" * 100)
    assert medium.name == "audio of 600 bytes"
    assert "secret" not in repr(medium)
    assert pickle.loads(pickle.dumps(medium)) == medium
