"""Arguments on the command line are JSON, checked before anything is started."""

import pytest

from perdure.cli.durations import read_duration
from perdure.cli.errors import EXIT_USAGE, CommandError
from perdure.cli.inputs import read_inputs


def refused(*given):
    with pytest.raises(CommandError) as raised:
        read_inputs(given)
    assert raised.value.code == EXIT_USAGE
    return str(raised.value)


def test_each_input_is_one_argument_sent_as_it_was_written():
    payloads = read_inputs(['{"id": 1.10}', " [1,2] "])
    assert [each.data for each in payloads] == [b'{"id": 1.10}', b"[1,2]"]
    assert {each.metadata["encoding"] for each in payloads} == {b"json/plain"}


def test_null_travels_as_the_converter_writes_it():
    (payload,) = read_inputs(["null"])
    assert payload.metadata["encoding"] == b"binary/null"
    assert payload.data == b""


def test_no_input_is_no_argument():
    assert read_inputs(None) == ()


def test_broken_json_is_refused_with_its_place():
    message = refused("1", '{"a": }')
    assert "--input 2 is not JSON" in message
    assert "line 1, column 7" in message
    assert message.splitlines()[1:3] == ['  {"a": }', "        ^"]


def test_the_place_in_a_long_line_stays_in_sight():
    message = refused("[" + "1," * 100 + "x]")
    shown, pointer = message.splitlines()[1:3]
    assert len(shown) < 70
    assert shown[pointer.index("^")] == "x"


@pytest.mark.parametrize("text", ["", "abc", "NaN", "[Infinity]"])
def test_what_is_no_json_is_refused(text):
    assert "is not JSON" in refused(text)


def test_a_file_can_be_the_input(tmp_path):
    file = tmp_path / "order.json"
    file.write_text('{"id": 1}\n')
    assert read_inputs([f"@{file}"])[0].data == b'{"id": 1}'


def test_a_missing_file_is_said(tmp_path):
    assert "No such file" in refused(f"@{tmp_path / 'none.json'}")


def test_a_file_that_is_no_text_is_said(tmp_path):
    (tmp_path / "x").write_bytes(b"\xff\xfe")
    assert "not UTF-8" in refused(f"@{tmp_path / 'x'}")


def test_too_much_is_refused_before_it_is_sent():
    assert "the limit is 2,097,152" in refused('"' + "x" * 2_100_000 + '"')


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60s", 60), ("90", 90), ("1.5s", 1.5), ("5m", 300), ("1h30m", 5400), ("250ms", 0.25)],
)
def test_durations_are_read_as_people_write_them(text, seconds):
    assert read_duration("--idle-after", text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "abc", "5 apples", "0s", "-5s", "5x", "s"])
def test_other_durations_are_refused(text):
    with pytest.raises(CommandError, match="--idle-after"):
        read_duration("--idle-after", text)
