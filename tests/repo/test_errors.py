import inspect
import re

from nta_milter import errors


def drawn() -> dict[str, str | None]:
    """Each class of the drawing in the module's docstring with the class it hangs from."""
    parents: dict[str, str | None] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").split("\n"):
        found = re.match(r"([ │├└─]+)([A-Z]\w+)", line)
        if found is None:
            continue
        depth = len(found[1])
        above = [(other, name) for other, name in above if other < depth]
        parents[found[2]] = above[-1][1] if above else None
        above.append((depth, found[2]))
    return parents


def test_the_drawn_tree_is_the_tree_of_the_classes():
    classes = {
        name: value
        for name, value in vars(errors).items()
        if inspect.isclass(value) and value.__module__ == errors.__name__
    }
    bases = {name: value.__base__.__name__ for name, value in classes.items()}
    bases["NtaMilterError"] = None
    assert drawn() == bases
    assert len(bases) > 10


def test_every_error_has_a_meaning_and_says_where():
    for name in drawn():
        error = getattr(errors, name)("what is wrong", where="here")
        assert type(error).__doc__
        assert str(error) == "here: what is wrong"
        assert error.diagnostics() == "here: what is wrong"
