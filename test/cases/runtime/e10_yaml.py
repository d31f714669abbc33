# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Damaged or hostile model.yaml: what comes out of load_bundle?"""
import common, os, tempfile, pathlib, shutil, resource, time, signal
import yaml
from da_ros.bundle import load_bundle, BundleError
resource.setrlimit(resource.RLIMIT_AS,(6<<30,6<<30))
src=pathlib.Path(os.path.abspath('.')+'/da_ros/bundles/pano_tiny')
base=yaml.safe_load((src/'model.yaml').read_text())
def attempt(name, change=None, text=None):
    d=pathlib.Path(tempfile.mkdtemp())/'b'; shutil.copytree(src,d)
    m=yaml.safe_load((src/'model.yaml').read_text())
    if change: change(m)
    (d/'model.yaml').write_text(text if text is not None else yaml.safe_dump(m))
    t=time.time()
    try: load_bundle(d); out='LOADED'
    except BundleError as e: out='BundleError: '+str(e)[-150:]
    except BaseException as e: out=f'*** {type(e).__name__}: {str(e)[:150]}'
    print(f'{name}: {out} ({time.time()-t:.1f} s)')
    shutil.rmtree(d.parent)
attempt('self_check image is a number', lambda m: m['self_check'].__setitem__(0,{'image':5,'expected':'self_check/0.npz'}))
attempt('kind is a list', lambda m: m.__setitem__('kind',['metric']))
attempt('precision is a list', lambda m: m.__setitem__('precision',['fp32']))
attempt('camera_height text "false"', lambda m: m['input'].__setitem__('camera_height','false'))
attempt('max_range_m nan', lambda m: m.__setitem__('max_range_m',float('nan')))
attempt('max_range_m inf', lambda m: m.__setitem__('max_range_m',float('inf')))
attempt('max_range true', lambda m: m.__setitem__('max_range_m',True))
attempt('scale_invariant with max_range str', lambda m: (m.__setitem__('kind','scale_invariant'), m.__setitem__('max_range_m','far')))
attempt('masks inf', lambda m: m.__setitem__('range_masks_m',[10,20,50,float('inf')]))
attempt('files list', lambda m: m.__setitem__('files',['a']))
attempt('not utf8 / null', text='\0')
attempt('deep nesting', text='['*20000)
attempt('size text', lambda m: m['input'].__setitem__('size_hw','abcd'))
attempt('huge size', lambda m: m['input'].__setitem__('size_hw',[10**9,2*10**9]))
attempt('no self check', lambda m: m.__setitem__('self_check',[]))
attempt('self_check check height text', lambda m: m['self_check'][0].__setitem__('camera_height_m','x'))
bomb='l0: &l0 [x,x,x,x,x,x,x,x,x]\n'+''.join(f'l{i}: &l{i} [{",".join([f"*l{i-1}"]*9)}]\n' for i in range(1,10))
text=yaml.safe_dump(base)
text=bomb+text.replace('name: pano_tiny','name: *l7')
attempt('YAML bomb in name (l7)', text=text)
attempt('YAML bomb in name (l9)', text=text.replace('*l7','*l9',) .replace('name: *l7','name: *l9'))
