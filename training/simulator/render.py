# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Panorama of a scene: a ray per pixel, more on edges, one shadow ray, Lambert, glass, mirrors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from da_ros.sphere import azimuth_from_col, elevation_from_row, erp_rays, ray_from_angles
from training.simulator.scene import Scene

EDGE_OFFSETS = np.array([(0.0, -0.33), (0.29, 0.17), (-0.29, 0.17)])   # beside the centre
OCCLUSION_STRIDE = 4
OCCLUSION_RAYS = 10
OCCLUSION_REACH_M = 1.2
SURFACE_GAP_M = 2e-3
MIN_CONTRAST_COS = 0.15
SUN_M = 1e4
MAX_BOUNCES = 3
MIN_REFLECTED = 0.03


def render(scene: Scene, position, size_hw, rng: np.random.Generator, rotation=None):
    """
    Return a panorama of a scene.

    :param position: (3,) camera centre [m]
    :param size_hw: (height, width) px
    :param rotation: (3, 3) world_from_camera, None = upright
    :return: radiance (H, W, 3) float32, linear; range_m (H, W) float32, +inf where nothing is hit,
        NaN on glass and mirrors
    """
    height, width = size_hw
    rotation = np.eye(3) if rotation is None else rotation
    position = np.asarray(position, np.float32)
    rays = (erp_rays(height, width).reshape(-1, 3) @ rotation.T).astype(np.float32)
    hits = scene.cast(position, rays)
    range_m, triangle, _ = hits
    occlusion = None
    if scene.occlusion:
        occlusion = ambient_occlusion(scene, position, rays, range_m, triangle, size_hw, rng)
    colour = _shade(scene, Beam(position, rays, np.pi / height), hits, occlusion)
    # Only pixels on edges get more rays, one is enough elsewhere. Their colours are averaged, the
    # range never: the mean of a chair leg and the wall behind is a place where nothing stands.
    rows, cols = np.nonzero(_edges(scene, triangle.reshape(height, width),
                                   range_m.reshape(height, width)))
    if len(rows):
        index = rows * width + cols
        sub = ray_from_angles(azimuth_from_col(cols + 0.5 + EDGE_OFFSETS[:, :1], width),
                              elevation_from_row(rows + 0.5 + EDGE_OFFSETS[:, 1:], height))
        sub = (sub.reshape(-1, 3) @ rotation.T).astype(np.float32)
        local = None if occlusion is None else np.tile(occlusion[index], len(EDGE_OFFSETS))
        around = _shade(scene, Beam(position, sub, np.pi / height), scene.cast(position, sub),
                        local)
        total = colour[index] + around.reshape(len(EDGE_OFFSETS), -1, 3).sum(0)
        colour[index] = total / (1 + len(EDGE_OFFSETS))
    unknown = scene.looks()['unknown'][scene.material_of[triangle]] & (triangle >= 0)
    range_m = np.where(unknown, np.float32(np.nan), range_m)
    return colour.reshape(height, width, 3), range_m.reshape(height, width)


def ambient_occlusion(scene, position, rays, range_m, triangle, size_hw, rng) -> np.ndarray:
    """Return (H * W,) openness in 0..1, cast on a coarse grid and interpolated."""
    height, width = size_hw
    half = OCCLUSION_STRIDE // 2
    coarse = np.arange(height * width).reshape(height, width)
    coarse = coarse[half::OCCLUSION_STRIDE, half::OCCLUSION_STRIDE]
    index = coarse.ravel()
    seen = index[triangle[index] >= 0]
    normal = _facing_normals(scene, rays[seen], triangle[seen])
    point = position + rays[seen] * range_m[seen, None] + normal * SURFACE_GAP_M
    shape = (len(seen), OCCLUSION_RAYS, 3)
    direction = rng.normal(size=shape).astype(np.float32)
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    # A little more than the unit normal: cosine-weighted, and no ray runs inside the surface.
    direction += normal[:, None] * 1.02
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    hit = scene.occluded(np.repeat(point, OCCLUSION_RAYS, 0), direction.reshape(-1, 3),
                         np.full(len(seen) * OCCLUSION_RAYS, OCCLUSION_REACH_M, np.float32))
    openness = np.ones(height * width, np.float32)
    openness[seen] = 1 - hit.reshape(-1, OCCLUSION_RAYS).mean(1)
    # Wrapped before the blur: a step of shade at the seam would teach networks where it is.
    small = cv2.copyMakeBorder(openness[index].reshape(coarse.shape), 0, 0, 4, 4, cv2.BORDER_WRAP)
    small = cv2.GaussianBlur(small, (5, 5), 1.3)
    large = cv2.resize(small, None, fx=OCCLUSION_STRIDE, fy=OCCLUSION_STRIDE)
    return large[:, 4 * OCCLUSION_STRIDE:-4 * OCCLUSION_STRIDE].ravel()


def _edges(scene: Scene, triangle: np.ndarray, range_m: np.ndarray) -> np.ndarray:
    """Return (H, W) bool: pixels whose neighbour shows another material, face or depth."""
    seen = triangle >= 0
    material = np.where(seen, scene.material_of[triangle], -1)
    inverse = np.where(seen, 1 / np.maximum(range_m, 1e-3), 0)
    normal = np.where(seen[..., None], scene.normals[triangle], 0)
    edge = np.zeros(triangle.shape, bool)
    for axis in (0, 1):
        def step(a, axis=axis):
            return np.roll(a, -1, axis)
        different = material != step(material)
        different |= np.abs(inverse - step(inverse)) > 0.1 * np.maximum(inverse, step(inverse))
        different |= np.einsum('ijk,ijk->ij', normal, step(normal)) < 0.7
        if axis == 0:
            different[-1] = False
        edge |= different | np.roll(different, 1, axis)
    return edge & (seen | (cv2.dilate(seen.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0))


def _facing_normals(scene: Scene, rays, triangle) -> np.ndarray:
    normal = scene.normals[triangle]
    return np.where(np.einsum('ij,ij->i', normal, rays)[:, None] > 0, -normal, normal)


@dataclass(frozen=True)
class Beam:
    """Rays with what they have behind them: length travelled and mirrors and panes passed."""

    origin: np.ndarray              # (3,) or (N, 3) m
    rays: np.ndarray                # (N, 3) unit
    pixel_rad: float                # angle of a pixel
    travelled: np.ndarray | float = 0.0     # m before the origin, (N,)
    bounce: int = 0

    def part(self, keep: np.ndarray) -> Beam:
        """Return some of the rays."""
        return replace(
            self, rays=self.rays[keep],
            origin=self.origin[keep] if self.origin.ndim == 2 else self.origin,
            travelled=self.travelled[keep] if np.ndim(self.travelled) else self.travelled)


def _shade(scene: Scene, beam: Beam, hits, occlusion=None) -> np.ndarray:
    """Return (N, 3) linear radiance of rays with their hits; `occlusion`: openness (N,)."""
    triangle = hits[1]
    colour = np.empty((len(beam.rays), 3), np.float32)
    seen = triangle >= 0
    if not seen.all():
        colour[~seen] = sky_radiance(scene.sky, beam.rays[~seen])
        beam, hits = beam.part(seen), tuple(a[seen] for a in hits)
        occlusion = None if occlusion is None else occlusion[seen]
    if seen.any():
        colour[seen] = _surface(scene, beam, hits, occlusion)
    return colour


def _surface(scene: Scene, beam: Beam, hits, occlusion) -> np.ndarray:
    """Return (N, 3) linear radiance of rays that all hit something."""
    range_m, triangle, bary = hits
    normal = _facing_normals(scene, beam.rays, triangle)
    facing = -np.einsum('ij,ij->i', normal, beam.rays)
    u, v = bary[:, :1], bary[:, 1:]
    corner = scene.uv[triangle]
    uv = corner[:, 0] * (1 - u - v) + corner[:, 1] * u + corner[:, 2] * v
    footprint = (beam.travelled + range_m) * beam.pixel_rad * scene.density[triangle]
    # The root of the cosine lies between the blur of 1 / cos and the moire of none: a floor seen
    # at a grazing angle keeps its pattern, which is what tells its distance.
    lod = np.log2(np.maximum(footprint / np.sqrt(np.maximum(facing, MIN_CONTRAST_COS)), 1e-9))
    look, material = scene.looks(), scene.material_of[triangle]
    albedo = scene.store.sample(look['texture'][material], uv, lod) ** 2 * look['tint'][material]
    point = beam.origin + beam.rays * range_m[:, None]
    above = point + normal * SURFACE_GAP_M
    ambient = scene.ambient * (0.75 + 0.25 * normal[:, 2])
    if occlusion is not None:
        ambient = ambient * (0.25 + 0.75 * occlusion)
    light = ambient[:, None] + _direct(scene, above, normal)
    colour = albedo * (light + look['emission'][material, None])
    if beam.bounce < MAX_BOUNCES:
        ahead = replace(beam, origin=above, travelled=beam.travelled + range_m,
                        bounce=beam.bounce + 1)
        clear = look['clear'][material]
        if clear.any():
            colour[clear] = albedo[clear] * _next(scene, replace(
                ahead, origin=point - normal * SURFACE_GAP_M).part(clear))
        share = look['mirror'][material]      # Schlick's approximation of the Fresnel term
        share = share + (1 - share) * (1 - facing) ** 5 * (share > 0)
        bright = share > MIN_REFLECTED
        if bright.any():
            away = replace(ahead, rays=beam.rays + 2 * facing[:, None] * normal).part(bright)
            part = share[bright, None]
            colour[bright] = (1 - part) * colour[bright] + part * _next(scene, away)
    return colour


def _next(scene: Scene, beam: Beam) -> np.ndarray:
    return _shade(scene, beam, scene.cast(beam.origin, beam.rays))


def _direct(scene: Scene, point: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Return (N, 3) irradiance of sun and lamps; only the strongest source casts a shadow."""
    places = [np.asarray(light.position, np.float32) for light in scene.lights]
    powers = [light.power for light in scene.lights]
    colours = [light.colour for light in scene.lights]
    if scene.sky.sun is not None and scene.sky.sun_power > 0:
        places.append(np.asarray(scene.sky.sun, np.float32) * np.float32(SUN_M))
        powers.append(scene.sky.sun_power * SUN_M ** 2)
        colours.append((1.0, 0.95, 0.85))
    if not places:
        return np.zeros((len(point), 3), np.float32)
    strength = np.empty((len(point), len(places)), np.float32)
    for index, (place, power) in enumerate(zip(places, powers)):
        offset = place - point
        squared = np.einsum('ij,ij->i', offset, offset)
        cosine = np.einsum('ij,ij->i', offset, normal) / np.sqrt(squared + 1e-6)
        strength[:, index] = np.float32(power) * np.maximum(cosine, 0) / (squared + 0.4)
    colour = np.asarray(colours, np.float32)
    # Every source gives half of its light freely; the strongest gives its other half where it is
    # seen and takes most of the first back where not. One shadow ray a point, however many lamps.
    best = strength.argmax(1)
    strongest = strength[np.arange(len(point)), best]
    offset = np.stack(places)[best] - point
    reach = np.sqrt(np.einsum('ij,ij->i', offset, offset)) + 1e-6
    lit = np.nonzero(strongest > 1e-4)[0]
    direction = offset[lit] / reach[lit, None]
    dark = lit[scene.occluded(point[lit], direction, np.minimum(reach[lit] * 0.97, 300.0))]
    factor = np.full(len(point), 0.5, np.float32)
    factor[dark] = -0.42
    return 0.5 * strength @ colour + (factor * strongest)[:, None] * colour[best]


def sky_radiance(sky, rays: np.ndarray) -> np.ndarray:
    """Return (N, 3) linear radiance of the sky along unit rays."""
    if sky.image is None:
        up = np.clip(rays[:, 2:], 0, 1) ** 0.5
        colour = np.asarray(sky.horizon) * (1 - up) + np.asarray(sky.zenith) * up
        if sky.sun is not None:
            colour = colour + np.clip(rays @ np.asarray(sky.sun), 0, 1)[:, None] ** 400 * 3
        return colour.astype(np.float32)
    height, width = sky.image.shape[:2]
    azimuth = np.arctan2(rays[:, 1], rays[:, 0]) + sky.yaw
    col = (np.floor((0.5 - azimuth / (2 * np.pi)) * width).astype(int)) % width
    elevation = np.arcsin(np.clip(rays[:, 2], -1, 1))
    elevation = sky.lift + elevation * (1 - sky.lift / (np.pi / 2))
    row = np.clip(((0.5 - elevation / np.pi) * height).astype(int), 0, height - 1)
    return (sky.image[row, col].astype(np.float32) / 255) ** 2 * sky.gain
