import inspect
import pickle
import re

import pytest

from shammah import errors
from shammah.errors import ConfigError, Interrupted, ShammahError


def all_errors():
    found, waiting = [], [ShammahError]
    while waiting:
        found.append(waiting.pop())
        waiting += found[-1].__subclasses__()
    return found


def drawn_tree():
    """Name -> (parent, exit code), read from the drawing in the module's docstring."""
    tree, above = {}, []
    for indent, name, code, meaning in re.findall(r"^( {4,})(\w+) +(\d+)  (.*)$", errors.__doc__, re.MULTILINE):
        del above[(len(indent) - 4) // 2 :]
        assert meaning, f"{name} is drawn without its meaning"
        assert name not in tree, f"{name} is drawn twice"
        tree[name] = (above[-1] if above else "Exception", int(code))
        above.append(name)
    return tree


def test_drawing_shows_every_class_below_its_parent_with_its_exit_code():
    assert drawn_tree() == {kind.__name__: (kind.__base__.__name__, kind.exit_code) for kind in all_errors()}


def test_every_error_is_declared_in_one_module():
    assert {kind.__module__ for kind in all_errors()} == {"shammah.errors"}
    assert all(hasattr(errors, kind.__name__) for kind in all_errors())


@pytest.mark.parametrize("kind", all_errors())
def test_pickling_keeps_message_and_hint(kind):
    copy = pickle.loads(pickle.dumps(kind("It broke", hint="Mend it.")))
    assert type(copy) is kind
    assert (copy.message, copy.hint, str(copy), copy.exit_code) == ("It broke", "Mend it.", "It broke", kind.exit_code)


@pytest.mark.parametrize("kind", all_errors())
def test_hint_is_optional_and_given_by_name(kind):
    assert kind("It broke").hint == ""
    assert inspect.signature(kind).parameters["hint"].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.parametrize(
    ("message", "hint", "line"),
    [
        ("It broke", "", "It broke"),
        ("It broke.", "", "It broke."),
        ("It broke", "Mend it.", "It broke. Mend it."),
        ("It broke.", "Mend it.", "It broke. Mend it."),
        ("Did it break?", "Mend it.", "Did it break? Mend it."),
        ("It broke:\n  in two\tplaces ", " Mend\nit. ", "It broke: in two places. Mend it."),
    ],
)
def test_one_line(message, hint, line):
    assert ShammahError(message, hint=hint).one_line() == line


def test_interrupted_has_words_of_its_own():
    assert Interrupted().one_line() == "Interrupted"


def test_a_config_error_is_caught_as_wrong_usage():
    with pytest.raises(errors.UsageError):
        raise ConfigError("no")
