"""`typing.NamedTuple` without its price, which the hook would pay fifty times at each start.

typing's own makes each class by compiling source text, and looks at every annotation. That was a
fifth of the time of an event. Type checkers see typing's own.
"""

import sys

TYPE_CHECKING = False  # typing's own would be an import more for the hook
if TYPE_CHECKING or sys.version_info >= (3, 14):
    # From Python 3.14 on, a class body has no annotations yet when its class is made.
    from typing import NamedTuple as NamedTuple  # noqa: PLC0414 (it is for others)
else:
    from _collections import _tuplegetter

    class _Record(tuple):
        """What all named tuples have, as `collections.namedtuple` gives it to them."""

        __slots__ = ()
        _fields = ()
        _field_defaults = {}

        def __new__(cls, *values, **named):
            if named or len(values) != len(cls._fields):
                values = _completed(cls, values, named)
            return tuple.__new__(cls, values)

        @classmethod
        def _make(cls, values):
            return cls(*values)

        def _replace(self, **changes):
            values = [
                changes.pop(field, value) for field, value in zip(self._fields, self, strict=True)
            ]
            if changes:
                raise ValueError(f"{type(self).__name__} has no field {next(iter(changes))}")
            return tuple.__new__(type(self), values)

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def __repr__(self):
            values = ", ".join(f"{field}={value!r}" for field, value in self._asdict().items())
            return f"{type(self).__name__}({values})"

        def __getnewargs__(self):
            return tuple(self)

    def _completed(cls, values, named):
        """The values in the order of the fields, with the defaults. Raises TypeError."""
        name = cls.__name__
        if len(values) > len(cls._fields):
            raise TypeError(f"{name} has {len(cls._fields)} fields, not {len(values)}")
        completed = list(values)
        for field in cls._fields[len(values) :]:
            if field in named:
                completed.append(named.pop(field))
            elif field in cls._field_defaults:
                completed.append(cls._field_defaults[field])
            else:
                raise TypeError(f"{name} needs {field}")
        if named:
            raise TypeError(f"{name} has no field {next(iter(named))}, or has it twice")
        return completed

    class _Maker(type):
        """Makes a named tuple of a class body.

        Each annotation is a field, and its value the default.
        """

        def __new__(cls, name, _bases, body):
            fields = tuple(body.get("__annotations__", ()))
            defaults = {field: body.pop(field) for field in fields if field in body}
            for position, field in enumerate(fields):
                body[field] = _tuplegetter(position, "")
            body.update(
                __slots__=(),
                _fields=fields,
                _field_defaults=defaults,
                __match_args__=fields,
            )
            return type(name, (_Record,), body)

    NamedTuple = type.__new__(_Maker, "NamedTuple", (), {})
