# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
YAML that somebody else has written: bounded when it is read, typed where it is used.

Who has written it is shown by a signature of OpenSSH, where that is asked.
"""

from __future__ import annotations

from collections import Counter
import math
from pathlib import Path
import re
import subprocess
from typing import Any

import yaml

from da_ros.errors import DaRosError, reason_of

MOST_BYTES, DEEPEST = 4 << 20, 20
# YAML 1.1 reads `1:30:00` as a number to the base of 60: a megabyte of them takes hours.
LONG_NUMBER = re.compile(r'[-+0-9_:.]{100,}')
_LOADER = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)      # ten times as fast where it is
NAMESPACE = 'da_ros-bundle'                               # of signatures
LONGEST_S = 10.0
_REQUIRED: Any = object()
_NAMES = {str: 'a text', bool: 'true or false', float: 'a finite number', int: 'a whole number',
          list: 'a list', dict: 'a mapping'}


class DocumentError(DaRosError):
    """A document that cannot be read, or a value in it of the wrong type; one line."""


class SignatureError(DaRosError):
    """A document that nobody who may has signed, or whose signature cannot be checked."""


def read_yaml(path: Path) -> Any:
    """
    Read a YAML file.

    :raises DocumentError: unreadable, no YAML, above 4 MiB, nested deeper than 20, or with aliases
    """
    return yaml_of(read_bytes(path), path)


def read_bytes(path: Path) -> bytes:
    """
    Read a document as it is.

    :raises DocumentError: unreadable, or above 4 MiB
    """
    try:
        with path.open('rb') as stream:
            content = stream.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ValueError(f'larger than {MOST_BYTES >> 20} MiB')
    except (OSError, ValueError) as error:
        raise DocumentError(f'{path} is not readable YAML ({reason_of(error)})') from error
    return content


def yaml_of(content: bytes, path: Path) -> Any:
    """
    Return what a document says.

    :param path: for the message
    :raises DocumentError: no YAML, nested deeper than 20, or with aliases
    """
    try:
        _check_events(content)
        _check_keys(yaml.compose(content, _LOADER))
        return yaml.load(content, _LOADER)
    except Exception as error:      # the constructors of tags raise anything, from KeyError on
        reason = reason_of(error)
        if isinstance(error, yaml.MarkedYAMLError) and error.problem and error.problem_mark:
            reason = f'{error.problem} in line {error.problem_mark.line + 1}'
        raise DocumentError(f'{path} is not readable YAML ({reason})') from error


def check_signature(content: bytes, path: Path, signers: Path) -> str:
    """
    Return who has signed a document: `ssh-keygen -Y sign -n da_ros-bundle -f KEY FILE`.

    :param content: what is to be believed
    :param path: of the document; its signature lies beside it, as FILE.sig
    :param signers: file of the allowed signers, see ALLOWED SIGNERS in ssh-keygen(1)
    :raises SignatureError: naming the file and the remedy
    """
    signature = path.with_name(path.name + '.sig')
    if not signers.is_file():
        raise SignatureError(f'file of allowed signers {signers} does not exist; see SECURITY.md')
    if not signature.is_file():
        raise SignatureError(f'{path} is not signed: {signature} does not exist; sign it with '
                             f'`ssh-keygen -Y sign -n {NAMESPACE} -f KEY {path}`')
    found = _ssh_keygen('find-principals', '-s', str(signature), '-f', str(signers))
    for signer in found.stdout.decode(errors='replace').splitlines():
        if not _ssh_keygen('verify', '-s', str(signature), '-f', str(signers), '-I', signer, '-n',
                           NAMESPACE, content=content).returncode:
            return signer
    why = ('it is of another text or namespace' if found.stdout else
           f'nobody in {signers} made it')
    raise SignatureError(f'signature {signature} is not good ({why}); sign {path.name} with '
                         f'`ssh-keygen -Y sign -n {NAMESPACE} -f KEY`, or add the key to the '
                         'signers')


def _ssh_keygen(task: str, *options: str,
                content: bytes = b'') -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(['ssh-keygen', '-Y', task, *options], input=content,
                              capture_output=True, timeout=LONGEST_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SignatureError(f'ssh-keygen cannot check a signature ({reason_of(error)}); install '
                             'openssh-client') from error


def _check_events(content: bytes) -> None:
    # A few hundred bytes of aliases that name each other become gigabytes, and nesting ends the
    # stack, so both are refused while the document is still a stream of events.
    depth = 0
    for event in yaml.parse(content, _LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError(f'nested deeper than {DEEPEST}')
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f'alias *{event.anchor:.40}: write out what it stands for')
        if isinstance(event, yaml.ScalarEvent) and LONG_NUMBER.match(event.value):
            raise ValueError(f'a number of {len(event.value)} characters')


def _check_keys(root: yaml.Node | None) -> None:
    # YAML forbids a key twice, and its reader takes the last one without a word.
    nodes = [root]
    while nodes:
        node = nodes.pop()
        if isinstance(node, yaml.MappingNode):
            keys = [(key.tag, key.value) for key, _ in node.value
                    if isinstance(key, yaml.ScalarNode)]
            if twice := [value for (_, value), count in Counter(keys).items() if count > 1]:
                raise ValueError(f'key {twice[0]!r:.60} twice')
            nodes += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            nodes += node.value


class _WithoutAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def yaml_text(document: Any) -> str:
    """Return a document as YAML, its keys in the order given, without aliases."""
    return yaml.dump(document, Dumper=_WithoutAliases, sort_keys=False, allow_unicode=True)


class Fields:
    """The fields of a mapping, each taken as what it must be."""

    def __init__(self, values: Any, where: str):
        """
        Wrap a mapping.

        :param where: for errors: the file, and the field that holds the mapping
        :raises DocumentError: if it is none
        """
        self.values: dict[Any, Any] = _checked(values, dict, where)
        self._where = where

    def take(self, name: str, kind: type, default: Any = _REQUIRED) -> Any:
        """
        Return a field.

        :param kind: str, bool, int, float (any finite number), list or dict
        :param default: what an absent or empty (null) field means; none = it must be there
        :raises DocumentError: naming the field, its value and what it must be
        """
        value = self.values.get(name)
        if value is None and default is not _REQUIRED:
            return default
        if name not in self.values:
            raise DocumentError(f'{self._where} has no field {name!r}')
        return _checked(value, kind, self._name(name))

    def fields(self, name: str, default: Any = _REQUIRED) -> Fields:
        """Return a field that is a mapping."""
        return Fields(self.take(name, dict, default), self._name(name))

    def listed(self, name: str, kind: type, default: Any = _REQUIRED) -> list[Any]:
        """Return a field that is a list of values of one kind."""
        return [_checked(value, kind, f'{self._name(name)}[{index}]')
                for index, value in enumerate(self.take(name, list, default))]

    def mapped(self, name: str, key: type, kind: type, default: Any = _REQUIRED) -> dict[Any, Any]:
        """Return a field that is a mapping of one kind of key to one kind of value."""
        where = self._name(name)
        return {_checked(k, key, f'a key of {where}'): _checked(value, kind, f'{where}.{k!s:.40}')
                for k, value in self.take(name, dict, default).items()}

    def _name(self, name: str) -> str:
        return f'{self._where}{"." if ": " in self._where else ": "}{name}'


def _checked(value: Any, kind: type, where: str) -> Any:
    kinds = (int, float) if kind is float else (kind,)
    fits = isinstance(value, kinds) and (kind is bool or not isinstance(value, bool))
    if fits and kind is float:
        # A whole number beyond 1e308 is no float.
        fits = abs(value) <= 1e300 and math.isfinite(value)
    if not fits:
        shown = repr(value)
        raise DocumentError(f'{where} is {shown if len(shown) <= 60 else shown[:57] + "..."}, not '
                            f'{_NAMES[kind]}')
    return float(value) if kind is float else value
