"""pyACL as it is published: each call that the product makes, put down by hand from public sources.

pyACL's own source is not public. A call's arguments and what it returns were read in programs that
run on boxes and in Huawei's reference of pyACL; what comes of wrong use, in the C sources below it.

    ACLLite    Ascend/samples fc2aea93, inference/acllite/acllitePY/
    resnet50   Ascend/samples fc2aea93, python/level2_simple_inference/1_classification/
               resnet50_async_imagenet_classification/src/
    mmdeploy   open-mmlab/mmdeploy 0045668a, mmdeploy/backend/ascend/wrapper.py
    pyACL      Huawei's pyACL reference: of CANN 8.0.0, document aclpythondevg_01_ and the number;
               without a number, its edition in Markdown, "function" and the call's name
    rt         hicann/runtime 681ef761, include/external/acl/ and src/acl/aclrt_impl/
    ge         hicann/ge ffdcbc9f, inc/external/acl/ and api/acl/acl_model/model/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["ret", "handle", "address", "number", "text", "dims", "gears"]


@dataclass(frozen=True)
class Published:
    """One call.

    Attributes:
        returns: what it gives, in order; more than one make a tuple. "ret" is the code, 0 if all
            went well.
        arguments: in order; those in brackets may be left out.
        user: a public program that calls it so, or the reference.
        source: its C function's declaration.
    """

    returns: tuple[Kind, ...]
    arguments: tuple[str, ...]
    user: str
    source: str

    @property
    def fewest(self) -> int:
        """Arguments that have to be there."""
        return sum(not name.startswith("[") for name in self.arguments)


RET: tuple[Kind, ...] = ("ret",)
HANDLE: tuple[Kind, ...] = ("handle",)

CALLS: dict[str, Published] = {
    "init": Published(RET, ("[config]",), "ACLLite acllite_resource.py:79", "rt acl_rt.h:1091"),
    "finalize": Published(RET, (), "ACLLite acllite_resource.py:109", "rt acl_rt.h:1103"),
    "get_soc_name": Published(
        ("text",), (), "ACLLite acllite_imageproc.py:105", "rt acl_base_rt.h:377"
    ),
    "get_recent_err_msg": Published(("text",), (), "pyACL get_recent_err_msg", "rt acl_rt.h:1129"),
    "create_data_buffer": Published(
        HANDLE, ("address", "bytes"), "ACLLite acllite_model.py:99", "rt acl_base_rt.h:268"
    ),
    "destroy_data_buffer": Published(
        RET, ("buffer",), "ACLLite acllite_model.py:414", "rt acl_base_rt.h:286"
    ),
    "rt.set_device": Published(
        RET, ("device",), "ACLLite acllite_resource.py:82", "rt acl_rt.h:1549"
    ),
    "rt.reset_device": Published(
        RET, ("device",), "ACLLite acllite_resource.py:108", "rt acl_rt.h:1576"
    ),
    "rt.get_device_count": Published(("number", "ret"), (), "pyACL 0067", "rt acl_rt.h:1692"),
    "rt.create_context": Published(
        ("handle", "ret"), ("device",), "ACLLite acllite_resource.py:85", "rt acl_rt.h:1407"
    ),
    "rt.destroy_context": Published(
        RET, ("context",), "ACLLite acllite_resource.py:105", "rt acl_rt.h:1423"
    ),
    "rt.get_context": Published(
        ("handle", "ret"), (), "ACLLite videocapture.py:95", "rt acl_rt.h:1477"
    ),
    "rt.set_context": Published(RET, ("context",), "ACLLite dvpp_vdec.py:65", "rt acl_rt.h:1459"),
    "rt.create_stream": Published(
        ("handle", "ret"), (), "ACLLite acllite_resource.py:88", "rt acl_rt.h:2732"
    ),
    "rt.destroy_stream": Published(
        RET, ("stream",), "ACLLite acllite_resource.py:101", "rt acl_rt.h:2780"
    ),
    "rt.synchronize_stream": Published(
        RET, ("stream",), "ACLLite acllite_imageproc.py:127", "rt acl_rt.h:2808"
    ),
    "rt.malloc": Published(
        ("address", "ret"), ("bytes", "policy"), "ACLLite acllite_model.py:96", "rt acl_rt.h:1905"
    ),
    "rt.free": Published(RET, ("address",), "ACLLite acllite_model.py:103", "rt acl_rt.h:2164"),
    "rt.malloc_host": Published(
        ("address", "ret"), ("bytes",), "ACLLite acllite_utils.py:39", "rt acl_rt.h:2184"
    ),
    "rt.free_host": Published(RET, ("address",), "ACLLite acllite_utils.py:49", "rt acl_rt.h:2217"),
    "rt.memcpy": Published(
        RET,
        ("target", "room", "source", "bytes", "kind"),
        "ACLLite acllite_model.py:201",
        "rt acl_rt.h:2264",
    ),
    "mdl.load_from_file": Published(
        ("number", "ret"), ("path",), "ACLLite acllite_model.py:57", "ge acl_mdl.h:454"
    ),
    "mdl.unload": Published(RET, ("model",), "ACLLite acllite_model.py:431", "ge acl_mdl.h:895"),
    "mdl.create_desc": Published(HANDLE, (), "ACLLite acllite_model.py:76", "ge acl_mdl.h:241"),
    "mdl.destroy_desc": Published(
        RET, ("desc",), "ACLLite acllite_model.py:436", "ge acl_mdl.h:252"
    ),
    "mdl.get_desc": Published(
        RET, ("desc", "model"), "ACLLite acllite_model.py:77", "ge acl_mdl.h:264"
    ),
    "mdl.get_num_inputs": Published(
        ("number",), ("desc",), "ACLLite acllite_model.py:110", "ge acl_mdl.h:300"
    ),
    "mdl.get_num_outputs": Published(
        ("number",), ("desc",), "ACLLite acllite_model.py:80", "ge acl_mdl.h:311"
    ),
    "mdl.get_input_data_type": Published(
        ("number",), ("desc", "index"), "mmdeploy ModelDesc.__init__", "ge acl_mdl.h:1170"
    ),
    "mdl.get_output_data_type": Published(
        ("number",), ("desc", "index"), "ACLLite acllite_model.py:326", "ge acl_mdl.h:1181"
    ),
    "mdl.get_input_dims": Published(
        ("dims", "ret"),
        ("desc", "index"),
        "mmdeploy ModelDesc._get_input_dims",
        "ge acl_mdl.h:1039",
    ),
    "mdl.get_output_dims": Published(
        ("dims", "ret"), ("desc", "index"), "ACLLite acllite_model.py:324", "ge acl_mdl.h:1082"
    ),
    "mdl.get_input_name_by_index": Published(
        ("text",), ("desc", "index"), "pyACL get_input_name_by_index", "ge acl_mdl.h:1126"
    ),
    "mdl.get_output_name_by_index": Published(
        ("text",), ("desc", "index"), "pyACL get_output_name_by_index", "ge acl_mdl.h:1137"
    ),
    "mdl.get_input_size_by_index": Published(
        ("number",), ("desc", "index"), "ACLLite acllite_model.py:139", "ge acl_mdl.h:324"
    ),
    "mdl.get_output_size_by_index": Published(
        ("number",), ("desc", "index"), "ACLLite acllite_model.py:95", "ge acl_mdl.h:337"
    ),
    "mdl.get_dynamic_batch": Published(
        ("gears", "ret"), ("desc",), "ACLLite acllite_model.py:224", "ge acl_mdl.h:1219"
    ),
    "mdl.get_input_index_by_name": Published(
        ("number", "ret"), ("desc", "name"), "ACLLite acllite_model.py:116", "ge acl_mdl.h:1194"
    ),
    "mdl.set_dynamic_batch_size": Published(
        RET,
        ("model", "dataset", "index", "batch"),
        "ACLLite acllite_model.py:229",
        "ge acl_mdl.h:986",
    ),
    "mdl.create_dataset": Published(HANDLE, (), "ACLLite acllite_model.py:92", "ge acl_mdl.h:364"),
    "mdl.destroy_dataset": Published(
        RET, ("dataset",), "ACLLite acllite_model.py:404", "ge acl_mdl.h:375"
    ),
    "mdl.add_dataset_buffer": Published(
        ("handle", "ret"),
        ("dataset", "buffer"),
        "ACLLite acllite_model.py:100",
        "ge acl_mdl.h:387",
    ),
    "mdl.execute_async": Published(
        RET,
        ("model", "inputs", "outputs", "stream"),
        "resnet50 acl_net.py:240",
        "ge acl_mdl.h:883",
    ),
}

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
