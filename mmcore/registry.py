"""A name in a settings file becomes an object here: one mechanism for every kind of component."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

T = TypeVar("T", bound=Callable[..., Any])


class Table(Generic[T]):
    """The components of one kind, by name.

    Members come from two places: `@table.add("name")` beside a class or function, and, where `folder` names a
    package, every module in it whose name does not begin with `_`: the file's name is the component's name and its
    `attribute` is the component. A folder's modules are imported when they are asked for, not before.
    """

    def __init__(self, kind: str, *, folder: str | None = None, attribute: str | None = None) -> None:
        self.kind = kind
        self._folder = folder
        self._attribute = attribute
        self._members: dict[str, T] = {}
        self._files: set[str] | None = None

    def add(self, name: str) -> Callable[[T], T]:
        """A decorator that enters its object under `name`; a name that is taken is a ValueError."""

        def enter(member: T) -> T:
            if name in self.names():
                raise ValueError(f"there are two {self.kind}s named '{name}'; rename one of them")
            self._members[name] = member
            return member

        return enter

    def names(self) -> list[str]:
        """All names, sorted."""
        if self._files is None:
            path = importlib.import_module(self._folder).__path__ if self._folder is not None else []
            self._files = {one.name for one in pkgutil.iter_modules(path) if not one.name.startswith("_")}
        return sorted(self._files | self._members.keys())

    def __getitem__(self, name: str) -> T:
        if name not in self.names():
            raise LookupError(f"no {self.kind} named '{name}'; choose one of: {', '.join(self.names())}")
        if name not in self._members:
            module = importlib.import_module(f"{self._folder}.{name}")
            self._members[name] = getattr(module, str(self._attribute))
        return self._members[name]

    def build(self, spec: Mapping[str, Any], **context: Any) -> Any:
        """The component that `spec` (`{"name": ..., option: value}`) names, made with its options.

        `context` is what the calling code supplies; of it the constructor receives only what it asks for.
        """
        member, arguments = self._bind(spec, context)
        return member(**arguments)

    def check(self, spec: Mapping[str, Any], **context: Any) -> None:
        """Raise what `build` would raise for an unknown name, an unknown option or a missing one."""
        self._bind(spec, context)

    def _bind(self, spec: Mapping[str, Any], context: Mapping[str, Any]) -> tuple[T, dict[str, Any]]:
        if "name" not in spec:
            raise LookupError(f"a {self.kind} needs a 'name'; choose one of: {', '.join(self.names())}")
        member = self[spec["name"]]
        options = {key: value for key, value in spec.items() if key != "name"}
        parameters = inspect.signature(member).parameters
        for key in options:
            if key not in parameters or key in context:
                choices = ", ".join(sorted(set(parameters) - set(context))) or "none"
                raise LookupError(f"{self.kind} '{spec['name']}' has no option '{key}'; its options: {choices}")
        arguments = {key: value for key, value in context.items() if key in parameters} | options
        for key, parameter in parameters.items():
            if key not in arguments and parameter.default is inspect.Parameter.empty:
                raise LookupError(f"{self.kind} '{spec['name']}' needs the option '{key}'")
        return member, arguments
