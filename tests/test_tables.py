"""Recorded tables: what is written is read, and what is damaged, undescribed or not listed is found."""

import json
from pathlib import Path

import pandas as pd
import pytest

from resnet_nb import records
from resnet_nb.errors import InputError
from resnet_nb.files import checksum

ABOUT = {"what": "Two numbers", "command": "python -c ...", "provenance": {"package": "0"}}
EMPTY = f"# {json.dumps(ABOUT)}\nname,value\n"
UNMARKED = f"{json.dumps(ABOUT)}\nname,value\na,1\n"
TABLE = pd.DataFrame({"name": ["a", "b"], "value": [0.1234567, float("nan")]})


@pytest.fixture
def filed(tmp_path: Path) -> Path:
    return records.file_table(TABLE, ABOUT, "a-study", "numbers", tmp_path)


def test_what_is_filed_is_read_to_five_digits_with_its_story(filed: Path) -> None:
    found = records.load_table("a-study", "numbers", filed.parents[1])
    assert found["value"].tolist()[0] == 0.12346 and found["value"].isna().tolist() == [False, True]
    assert found.attrs["about"] == ABOUT
    assert records.verify(filed.parents[1]) == [] and records.all_records(filed.parents[1]) == []


def test_a_table_filed_again_takes_the_place_of_the_old_one(filed: Path) -> None:
    records.file_table(TABLE.assign(value=1.0), ABOUT, "a-study", "numbers", filed.parents[1])
    assert records.load_table("a-study", "numbers", filed.parents[1])["value"].tolist() == [1, 1]
    assert records.verify(filed.parents[1]) == []


@pytest.mark.parametrize("missing", list(ABOUT))
def test_a_table_that_does_not_say_how_it_was_made_is_refused(tmp_path: Path, missing: str) -> None:
    about = {name: value for name, value in ABOUT.items() if name != missing}
    with pytest.raises(InputError, match=missing):
        records.file_table(TABLE, about, "a-study", "numbers", tmp_path)
    assert not list(tmp_path.rglob("*.csv"))


def test_what_is_said_of_a_table_is_json_without_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        records.file_table(TABLE, ABOUT | {"rate": float("nan")}, "a-study", "numbers", tmp_path)
    assert not list(tmp_path.rglob("*.csv"))


def test_an_edited_number_is_found(filed: Path) -> None:
    filed.write_text(filed.read_text().replace("0.12346", "0.22346"))
    (problem,) = records.verify(filed.parents[1])
    assert problem.kind == "edited"


@pytest.mark.parametrize(
    "content", ["", "name,value\na,1\n", "# {}\nname\na\n", '# {"what": 1}\nname\na\n', "# [1]\nname\na\n", EMPTY, UNMARKED], ids=repr
)
def test_what_is_no_table_is_refused_and_found(filed: Path, content: str) -> None:
    filed.write_text(content)
    with pytest.raises(InputError, match="table"):
        records.load_table("a-study", "numbers", filed.parents[1])
    sums = filed.parent / records.SUMS
    sums.write_text(f"{checksum(filed)}  {filed.name}\n")
    (problem,) = records.verify(filed.parents[1])
    assert problem.kind == "unreadable"


def test_a_table_that_is_not_listed_or_not_there_is_found(filed: Path) -> None:
    (filed.parent / records.SUMS).write_text("")
    assert [problem.kind for problem in records.verify(filed.parents[1])] == ["orphaned"]
    with pytest.raises(InputError, match="absent|restore"):
        records.load_table("a-study", "others", filed.parents[1])
