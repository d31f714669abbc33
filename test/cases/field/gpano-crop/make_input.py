# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""gp.py IN OUT: the front half (180 x 90 degrees) of a panorama with GPano data that say so; 2:1 in pixels."""
import sys, io
from PIL import Image
im=Image.open(sys.argv[1]).convert('RGB'); w,h=im.size
c=im.crop((w//4,h//4,3*w//4,3*h//4))
xmp=f'''<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description xmlns:GPano="http://ns.google.com/photos/1.0/panorama/" GPano:ProjectionType="equirectangular" GPano:FullPanoWidthPixels="{w}" GPano:FullPanoHeightPixels="{h}" GPano:CroppedAreaImageWidthPixels="{w//2}" GPano:CroppedAreaImageHeightPixels="{h//2}" GPano:CroppedAreaLeftPixels="{w//4}" GPano:CroppedAreaTopPixels="{h//4}"/></rdf:RDF></x:xmpmeta>'''
b=io.BytesIO(); c.save(b,'JPEG',quality=92); j=b.getvalue(); seg=b'http://ns.adobe.com/xap/1.0/\0'+xmp.encode()
open(sys.argv[2],'wb').write(j[:2]+b'\xff\xe1'+(len(seg)+2).to_bytes(2,'big')+seg+j[2:])
