"""Many small checks as one test."""

import functools
import inspect

import pytest


def of_each(names, rows):
    """As `pytest.mark.parametrize`, for checks of a few milliseconds: one test, which names the
    rows that fail and shows the first. (A test for each takes 4 ms more of pytest and its workers.)
    """
    names = [name.strip() for name in names.split(",")] if isinstance(names, str) else names

    def decorate(test):
        @functools.wraps(test)
        def run(**given):
            wrong, first = [], None
            assert rows
            for row in rows:
                values = dict(zip(names, row if len(names) > 1 else (row,), strict=True))
                try:
                    test(**given, **values)
                except pytest.skip.Exception:
                    pass
                except Exception as error:
                    first = first or error
                    told = ", ".join(f"{name}={value!r:.60}" for name, value in values.items())
                    wrong.append(f"{told}: {type(error).__name__}: {error}")
            if first:
                raise AssertionError("\n".join(wrong)) from first

        takes = inspect.signature(test)
        kept = [p for name, p in takes.parameters.items() if name not in names]
        run.__signature__ = takes.replace(parameters=kept)
        return run

    return decorate
