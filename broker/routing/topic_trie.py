"""A trie of words, with the wildcards of topic exchanges, that holds any values under binding keys.

Matching walks the routing key once, word by word, with the list of all nodes that are reached so far, as one runs
a nondeterministic automaton. A node is on that list once however many ways lead to it, so that a match costs at
most nodes times words, even where several ``#`` could share the words among them in countless ways.
"""

from __future__ import annotations

from typing import Any


def split_words(key: str) -> list[str]:
    """Return the words of a routing key or binding key; the empty key has none."""
    return key.split(".") if key else []


class Node:
    """A place in the trie: the end of the binding keys that are the way to it."""

    def __init__(self, repeats: bool) -> None:
        self.repeats = repeats  # entered by '#', which may take the next word too
        self.children: dict[str, Node] = {}
        self.star: Node | None = None
        self.hash: Node | None = None
        self.values: dict[Any, None] = {}
        self.step = 0  # when it was last reached

    def is_empty(self) -> bool:
        """Return whether nothing is lost if this node goes."""
        return not self.values and not self.children and self.star is None and self.hash is None


class TopicTrie:
    """Finds the values whose binding key matches a routing key.

    ``visited`` counts the nodes that all matches so far have looked at: what matching costs, without a clock.
    """

    def __init__(self) -> None:
        self._root = Node(False)
        self._step = 0
        self.visited = 0

    def add(self, binding_key: str, value: Any) -> None:
        """Put a hashable value under a binding key; the same one a second time changes nothing."""
        node = self._root
        for word in split_words(binding_key):
            node = self._child_or_new(node, word)
        node.values[value] = None

    def remove(self, binding_key: str, value: Any) -> None:
        """Take a value away from under a binding key, or raise ``KeyError`` if it is not there."""
        node = self._root
        path: list[tuple[Node, str]] = []
        for word in split_words(binding_key):
            path.append((node, word))
            child = self._child(node, word)
            if child is None:
                raise KeyError(binding_key)
            node = child
        del node.values[value]
        while path and node.is_empty():
            node, word = path.pop()
            self._drop_child(node, word)

    def match(self, routing_key: str) -> list[Any]:
        """Return all values whose binding key matches; one that was put under several keys may come up again."""
        self._step += 1
        reached: list[Node] = []
        self._reach(self._root, reached)
        for word in split_words(routing_key):
            before = reached
            reached = []
            self._step += 1
            for node in before:
                if node.repeats:
                    self._reach(node, reached)
                if node.star is not None:
                    self._reach(node.star, reached)
                child = node.children.get(word)
                if child is not None:
                    self._reach(child, reached)
        values: list[Any] = []
        for node in reached:
            values.extend(node.values)
        return values

    def _reach(self, node: Node, reached: list[Node]) -> None:
        """Note that a node is reached, and those that a '#' without a word leads on to, unless they are noted."""
        while node.step != self._step:
            node.step = self._step
            self.visited += 1
            reached.append(node)
            if node.hash is None:
                break
            node = node.hash

    def _child(self, node: Node, word: str) -> Node | None:
        if word == "*":
            return node.star
        if word == "#":
            return node.hash
        return node.children.get(word)

    def _child_or_new(self, node: Node, word: str) -> Node:
        child = self._child(node, word)
        if child is None:
            child = Node(word == "#")
            if word == "*":
                node.star = child
            elif word == "#":
                node.hash = child
            else:
                node.children[word] = child
        return child

    def _drop_child(self, node: Node, word: str) -> None:
        if word == "*":
            node.star = None
        elif word == "#":
            node.hash = None
        else:
            del node.children[word]
