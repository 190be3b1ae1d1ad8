"""Options that are passed on to a library, as ``name=value``."""

import pytest

from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.options import read_options, written_options


def test_values_are_json_or_text() -> None:
    texts = ["a=true", "b=False", "c=12", "d=0.5", 'e={"width": 3, "height": 4}', "f=bicubic", "g=", "h=a=b", "i=None"]
    found = read_options("--image-option", texts)
    assert found == {
        **{"a": True, "b": False, "c": 12, "d": 0.5, "e": {"width": 3, "height": 4}},
        **{"f": "bicubic", "g": "", "h": "a=b", "i": None},
    }
    assert read_options("--image-option", written_options(found)) == found


def test_equal_options_are_written_alike() -> None:
    one = read_options("--x", ['size={"b":1, "a": 2}', "flag=True"])
    other = read_options("--x", ["flag=true", 'size={"a":2,"b":1}'])
    assert written_options(one) == written_options(other) == ("flag=true", 'size={"a": 2, "b": 1}')


@pytest.mark.parametrize("text", ["size", "=3", "a b=3", "-x=1"])
def test_what_has_no_name_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not name=value"):
        read_options("--image-option", [text])


def test_a_name_comes_once() -> None:
    with pytest.raises(UsageError, match="size twice"):
        read_options("--image-option", ["size=1", "size=2"])
