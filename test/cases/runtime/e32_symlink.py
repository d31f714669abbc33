# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
import common, tempfile, pathlib, shutil, os
from da_ros.bundle import load_bundle, sha256_of
import yaml
d=pathlib.Path(tempfile.mkdtemp()); shutil.copytree(os.path.abspath('.')+'/da_ros/bundles/pano_tiny', d/'b')
out=d/'outside.onnx'; shutil.move(d/'b/model.onnx',out); os.symlink(out,d/'b/model.onnx')
print('symlink out of the bundle:', load_bundle(d/'b').name)
