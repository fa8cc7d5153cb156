"""pyACL as it is published: each call that the product makes, put down by hand from public sources.

pyACL's own source is not public. A call's arguments and what it returns were read in programs that
run on boxes and in Huawei's reference of pyACL; what comes of wrong use, in the C sources below it.

    (no name)  Ascend/samples fc2aea93, inference/acllite/acllitePY/acllite_*
    resnet50   Ascend/samples fc2aea93, python/level2_simple_inference/1_classification/
               resnet50_async_imagenet_classification/src/
    mmdeploy   open-mmlab/mmdeploy 0045668a, mmdeploy/backend/ascend/wrapper.py
    pyACL      Huawei's pyACL reference: of CANN 8.0.0, document aclpythondevg_01_ and the number;
               without a number, its edition in Markdown, "function" and the call's name
    rt         hicann/runtime 681ef761, include/external/acl/ and src/acl/aclrt_impl/
    ge         hicann/ge ffdcbc9f, inc/external/acl/ and api/acl/acl_model/model/
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

Kind = Literal["ret", "handle", "address", "number", "text", "dims", "gears"]


@dataclass(frozen=True)
class Published:
    """One call.

    Attributes:
        returns: in order; more than one make a tuple. "ret" is the code, 0 if all went well.
        arguments: in order; those in brackets may be left out.
    """

    returns: tuple[Kind, ...]
    arguments: tuple[str, ...]

    @property
    def fewest(self) -> int:
        """Arguments that have to be there."""
        return sum(not name.startswith("[") for name in self.arguments)


# the call; a public program that calls it so, or the reference; its C function's declaration
_TABLE = """
init([config]) -> ret                                   resource.py:79; rt acl_rt.h:1091
finalize() -> ret                                       resource.py:109; rt acl_rt.h:1103
get_soc_name() -> text                                  imageproc.py:105; rt acl_base_rt.h:377
get_recent_err_msg() -> text                            pyACL; rt acl_rt.h:1129
create_data_buffer(address, bytes) -> handle            model.py:99; rt acl_base_rt.h:268
destroy_data_buffer(buffer) -> ret                      model.py:414; rt acl_base_rt.h:286
rt.set_device(device) -> ret                            resource.py:82; rt acl_rt.h:1549
rt.reset_device(device) -> ret                          resource.py:108; rt acl_rt.h:1576
rt.get_device_count() -> number, ret                    pyACL 0067; rt acl_rt.h:1692
rt.create_context(device) -> handle, ret                resource.py:85; rt acl_rt.h:1407
rt.destroy_context(context) -> ret                      resource.py:105; rt acl_rt.h:1423
rt.get_context() -> handle, ret                         videocapture.py:95; rt acl_rt.h:1477
rt.set_context(context) -> ret                          dvpp_vdec.py:65; rt acl_rt.h:1459
rt.create_stream() -> handle, ret                       resource.py:88; rt acl_rt.h:2732
rt.destroy_stream(stream) -> ret                        resource.py:101; rt acl_rt.h:2780
rt.synchronize_stream(stream) -> ret                    imageproc.py:127; rt acl_rt.h:2808
rt.malloc(bytes, policy) -> address, ret                model.py:96; rt acl_rt.h:1905
rt.free(address) -> ret                                 model.py:103; rt acl_rt.h:2164
rt.malloc_host(bytes) -> address, ret                   utils.py:39; rt acl_rt.h:2184
rt.free_host(address) -> ret                            utils.py:49; rt acl_rt.h:2217
rt.memcpy(target, room, source, bytes, kind) -> ret     model.py:201; rt acl_rt.h:2264
mdl.load_from_file(path) -> number, ret                 model.py:57; ge acl_mdl.h:454
mdl.unload(model) -> ret                                model.py:431; ge acl_mdl.h:895
mdl.create_desc() -> handle                             model.py:76; ge acl_mdl.h:241
mdl.destroy_desc(desc) -> ret                           model.py:436; ge acl_mdl.h:252
mdl.get_desc(desc, model) -> ret                        model.py:77; ge acl_mdl.h:264
mdl.get_num_inputs(desc) -> number                      model.py:110; ge acl_mdl.h:300
mdl.get_num_outputs(desc) -> number                     model.py:80; ge acl_mdl.h:311
mdl.get_input_data_type(desc, index) -> number          mmdeploy __init__; ge acl_mdl.h:1170
mdl.get_output_data_type(desc, index) -> number         model.py:326; ge acl_mdl.h:1181
mdl.get_input_dims(desc, index) -> dims, ret            mmdeploy _get_input_dims; ge acl_mdl.h:1039
mdl.get_output_dims(desc, index) -> dims, ret           model.py:324; ge acl_mdl.h:1082
mdl.get_input_name_by_index(desc, index) -> text        pyACL; ge acl_mdl.h:1126
mdl.get_output_name_by_index(desc, index) -> text       pyACL; ge acl_mdl.h:1137
mdl.get_input_size_by_index(desc, index) -> number      model.py:139; ge acl_mdl.h:324
mdl.get_output_size_by_index(desc, index) -> number     model.py:95; ge acl_mdl.h:337
mdl.get_dynamic_batch(desc) -> gears, ret               model.py:224; ge acl_mdl.h:1219
mdl.get_input_index_by_name(desc, name) -> number, ret  model.py:116; ge acl_mdl.h:1194
mdl.set_dynamic_batch_size(model, dataset, index, batch) -> ret  model.py:229; ge acl_mdl.h:986
mdl.create_dataset() -> handle                          model.py:92; ge acl_mdl.h:364
mdl.destroy_dataset(dataset) -> ret                     model.py:404; ge acl_mdl.h:375
mdl.add_dataset_buffer(dataset, buffer) -> handle, ret  model.py:100; ge acl_mdl.h:387
mdl.execute_async(model, inputs, outputs, stream) -> ret  resnet50 acl_net.py:240; ge acl_mdl.h:883
"""
_LINE = re.compile(r"(\S+)\((.*)\) -> (.*?)  +\S.*; .*")


def _published(arguments: str, returns: str) -> Published:
    kinds = cast("tuple[Kind, ...]", tuple(returns.split(", ")))
    return Published(kinds, tuple(filter(None, arguments.split(", "))))


CALLS = {name: _published(*rest) for name, *rest in _LINE.findall(_TABLE)}

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
