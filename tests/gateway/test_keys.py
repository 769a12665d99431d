"""API keys in a file and in the environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.keys import ApiKeys, digest, new_key

KEY, LINE = new_key()


def test_a_file_of_keys(tmp_path: Path) -> None:
    """A key whose line is removed is refused from then on."""
    file = tmp_path / "keys"
    file.write_text(f"# phones\n{digest('one')}  phone\n\n{digest('two')}\n")
    keys = ApiKeys((LINE,), file)
    assert keys.name_of("one") == "phone"
    assert keys.name_of("two") == digest("two")[:8]
    assert keys.name_of(KEY) == LINE.split()[1]
    assert keys.name_of("") is keys.name_of("One") is keys.name_of("\udcff") is None
    file.write_text(f"{digest('two')} tablet\n")
    os.utime(file, (1, 1))
    assert keys.name_of("one") is None
    assert keys.name_of("two") == "tablet"


def test_a_key_in_place_of_its_hash_is_refused() -> None:
    with pytest.raises(ValueError, match="line 1") as refused:
        ApiKeys((KEY,))
    assert KEY not in str(refused.value)


@pytest.mark.parametrize("text", [None, "no hash\n", "\udcff"], ids=["gone", "wrong", "not UTF-8"])
def test_the_last_good_keys_hold_while_the_file_cannot_be_read(
    tmp_path: Path, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A deployment that rewrites the file must not lock everybody out."""
    file = tmp_path / "keys"
    file.write_text(f"{LINE}\n")
    keys = ApiKeys(file=file)
    if text is None:
        file.unlink()
    else:
        file.write_bytes(text.encode("utf-8", "surrogateescape"))
    for _ in range(3):
        assert keys.name_of(KEY) is not None
    assert keys.is_outdated
    assert len(caplog.records) == 1
    assert "API_KEYS_FILE" in caplog.text
    file.write_text("# nobody\n")
    assert keys.name_of(KEY) is None
    assert not keys.is_outdated
