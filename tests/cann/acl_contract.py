"""pyACL as it is published: the calls in docs/cann.md, put down by hand from public sources.

pyACL's own source is not public. A call's arguments and results were read in programs that run on
boxes and in Huawei's reference of pyACL; the page names them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Published:
    """One call.

    Attributes:
        returns: in order; more than one make a tuple. "ret" is the code, 0 if all went well.
        arguments: in order; those in brackets may be left out.
    """

    returns: tuple[str, ...]
    arguments: tuple[str, ...]

    @property
    def fewest(self) -> int:
        """Arguments that have to be there."""
        return sum(not name.startswith("[") for name in self.arguments)


_PAGE = Path(__file__).resolve().parents[2] / "docs/cann.md"
# call, arguments, returns; what comes of failure and the sources follow on the page
_LINE = re.compile(r"^\| `([\w.]+)` \| (.*?) \| (.*?) \| .* \|$", re.MULTILINE)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.split(", ")) if text != "-" else ()


def _calls() -> dict[str, Published]:
    section = _PAGE.read_text().split("## Every call of pyACL\n")[1].split("\n## ")[0]
    return {
        name: Published(_listed(returns), _listed(arguments))
        for name, arguments, returns in _LINE.findall(section)
    }


CALLS = _calls()

# value, where it stands in public
CONSTANTS = {
    "aclDataType.ACL_FLOAT": 0,  # rt acl_base_rt.h:142
    "aclDataType.ACL_FLOAT16": 1,  # rt acl_base_rt.h:143
    "aclDataType.ACL_INT8": 2,  # rt acl_base_rt.h:144
    "aclDataType.ACL_INT32": 3,  # rt acl_base_rt.h:145
    "aclDataType.ACL_UINT8": 4,  # rt acl_base_rt.h:146
    "aclDataType.ACL_INT16": 6,  # rt acl_base_rt.h:147
    "aclDataType.ACL_UINT16": 7,  # rt acl_base_rt.h:148
    "aclDataType.ACL_UINT32": 8,  # rt acl_base_rt.h:149
    "aclDataType.ACL_INT64": 9,  # rt acl_base_rt.h:150
    "aclDataType.ACL_UINT64": 10,  # rt acl_base_rt.h:151
    "aclDataType.ACL_DOUBLE": 11,  # rt acl_base_rt.h:152
    "aclDataType.ACL_BOOL": 12,  # rt acl_base_rt.h:153
    "aclDataType.ACL_BF16": 27,  # rt acl_base_rt.h:157
    "aclrtMemMallocPolicy.ACL_MEM_MALLOC_HUGE_FIRST": 0,  # rt acl_rt.h:178, the first
    "aclrtMemcpyKind.ACL_MEMCPY_HOST_TO_DEVICE": 1,  # rt acl_rt.h:146, the second
    "aclrtMemcpyKind.ACL_MEMCPY_DEVICE_TO_HOST": 2,  # rt acl_rt.h:147
    "ACL_ERROR_REPEAT_INITIALIZE": 100002,  # rt acl_base_rt.h:69
}
