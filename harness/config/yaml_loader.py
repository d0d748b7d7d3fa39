"""YAML as this project reads it: safe, bounded, and without the rules of YAML 1.1 that surprise people.

It knows no setting: settings.py does.
"""

import re

import yaml

_DEEPEST = 16
# What PyYAML raises for text that looks like a number, a date or a key and is none, beside its own errors.
NO_VALUE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)


class Loader(yaml.SafeLoader):
    """YAML's safe loader without two rules of YAML 1.1: `1e-3` is a number, and `10:20` is text, not one of base 60.

    It refuses aliases, of which a few lines can make more values than any memory holds, and deep nesting.
    """

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Returns the next node, as the loader of PyYAML does, unless it is an alias or too deep."""
        if self.check_event(yaml.AliasEvent):
            raise self._refuse("aliases (*name) are not taken; write the value out")
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._refuse(f"it is nested more than {_DEEPEST} deep")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def _refuse(self, reason: str) -> yaml.MarkedYAMLError:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        return yaml.composer.ComposerError(None, None, reason, event.start_mark)


Loader.yaml_implicit_resolvers = {key: list(value) for key, value in yaml.SafeLoader.yaml_implicit_resolvers.items()}
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)
for _digit in "0123456789":  # the first that matches decides
    Loader.yaml_implicit_resolvers[_digit].insert(0, ("tag:yaml.org,2002:str", re.compile(r"^\d+(:\d+)+$")))


# What YAML makes of scalars without quotes. Where a setting takes text, all of these are the text that stands there.
WORD_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "timestamp", "merge", "value")}


def construct_names(node: yaml.Node | None) -> object:
    """Returns a list or a mapping of names, or None for null: `[0, no, 2024-11-25]` are three texts."""
    return None if node is None or node.tag.endswith(":null") else _read_names(node)


def _read_names(node: yaml.Node) -> object:
    """Returns a list or a mapping whose scalars are text as it stands there."""
    if isinstance(node, yaml.SequenceNode):
        return [_read_names(item) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        keys = [str(_read_names(key)) for key, _ in node.value]
        if len(set(keys)) < len(keys):
            return keys  # of which the schema says that one stands there twice; in a mapping the last would win
        return dict(zip(keys, (_read_names(value) for _, value in node.value)))
    return str(node.value)
