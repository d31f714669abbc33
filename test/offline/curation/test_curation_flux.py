# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The FLUX out-painter on a pipeline of tiny random weights; skipped without diffusers."""

import sys

import numpy as np
import pytest

from training.curate import main
from training.curation.flux import FluxFill
from training.curation.outpaint import CurationError


def test_without_diffusers_the_install_command_is_told(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, 'diffusers', None)
    with pytest.raises(CurationError, match='needs diffusers; run `pip install diffusers'):
        FluxFill.load(tmp_path)


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """Save a FLUX.1-Fill pipeline of the right structure and a few thousand random weights."""
    diffusers = pytest.importorskip('diffusers')
    transformers = pytest.importorskip('transformers')
    import torch
    torch.set_num_threads(1)
    torch.manual_seed(0)
    letters = [chr(c) for c in range(33, 127)]
    words = ['<|startoftext|>', '<|endoftext|>', *letters, *(c + '</w>' for c in letters)]
    clip = transformers.CLIPTokenizer(vocab={w: i for i, w in enumerate(words)}, merges=[],
                                      model_max_length=77)
    t5 = transformers.T5Tokenizer(vocab=[('<pad>', 0.0), ('</s>', 0.0), ('<unk>', 0.0),
                                         *((c, -1.0) for c in letters)], extra_ids=0)
    pipeline = diffusers.FluxFillPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=diffusers.AutoencoderKL(
            block_out_channels=(8, 8), latent_channels=1, layers_per_block=1, norm_num_groups=2,
            down_block_types=['DownEncoderBlock2D'] * 2, up_block_types=['UpDecoderBlock2D'] * 2,
            use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.06,
            scaling_factor=1.5),
        text_encoder=transformers.CLIPTextModel(transformers.CLIPTextConfig(
            vocab_size=len(words), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
            num_attention_heads=2, projection_dim=16, bos_token_id=0, eos_token_id=1)),
        tokenizer=clip,
        text_encoder_2=transformers.T5EncoderModel(transformers.T5Config(
            vocab_size=len(letters) + 3, d_model=16, d_kv=8, d_ff=16, num_layers=1,
            num_heads=2)),
        tokenizer_2=t5,
        transformer=diffusers.FluxTransformer2DModel(
            in_channels=4 + 4 + 16, out_channels=4, num_layers=1, num_single_layers=1,
            attention_head_dim=16, num_attention_heads=2, joint_attention_dim=16,
            pooled_projection_dim=16, axes_dims_rope=(4, 4, 8), guidance_embeds=True))
    folder = tmp_path_factory.mktemp('flux')
    pipeline.save_pretrained(folder)
    return folder


def half_seen(height=32):
    image = np.random.default_rng(0).integers(0, 256, (height, 2 * height, 3), dtype=np.uint8)
    seen = np.zeros((height, 2 * height), bool)
    seen[8:24, 20:44] = True
    return np.where(seen[..., None], image, 0).astype(np.uint8), seen


def test_flux_paints_what_is_not_seen_and_depends_on_the_seed_alone(weights):
    fill = FluxFill.load(weights, place='indoor', steps=2)
    image, seen = half_seen()
    first, again, other = (fill(image, seen, np.random.default_rng(s)) for s in (1, 1, 2))
    assert first.shape == image.shape and first.dtype == np.uint8
    assert np.array_equal(first[seen], image[seen])
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert first[~seen].std() > 1
    with pytest.raises(CurationError, match='multiples of 16 px, got 40 rows'):
        fill(*half_seen(40), np.random.default_rng(0))


def test_sphere_conditioning_changes_nothing_until_it_is_trained(weights):
    import torch
    image, seen = half_seen()
    plain = FluxFill.load(weights, steps=2)(image, seen, np.random.default_rng(1))
    fill = FluxFill.load(weights, steps=2, sphere=True)
    assert np.array_equal(fill(image, seen, np.random.default_rng(1)), plain)
    with torch.no_grad():
        fill._pipeline.transformer.x_embedder.weight[:, -2:].normal_()
    assert not np.array_equal(fill(image, seen, np.random.default_rng(1)), plain)


def test_tokens_carry_the_angles_of_the_sphere():
    torch = pytest.importorskip('torch')
    from training.curation.flux import token_angles
    row, col = torch.meshgrid(torch.arange(4), torch.arange(10), indexing='ij')
    ids = torch.stack([torch.zeros(40), row.reshape(-1), col.reshape(-1)], -1)
    azimuth, elevation = token_angles(ids, FluxFill.border_of(0.125))[0].reshape(4, 10, 2).unbind(
        -1)
    # 8 columns of panorama, one repeated on each side: the first is the last again
    assert torch.allclose(azimuth[0, 1:9], 1 - 2 * (torch.arange(8) + 0.5).double() / 8)
    assert torch.allclose(azimuth[0, 0], azimuth[0, 8]) and torch.allclose(azimuth[0, 9],
                                                                           azimuth[0, 1])
    assert torch.allclose(elevation[:, 0], torch.tensor([0.75, 0.25, -0.25, -0.75]).double())


def test_missing_weights_are_one_line(tmp_path, capsys):
    pytest.importorskip('diffusers')
    with pytest.raises(CurationError, match='no FLUX.1-Fill pipeline in None; its weights must'):
        FluxFill.load(None)
    (tmp_path / 'model_index.json').write_text('{"_class_name": "FluxFillPipeline"}')
    with pytest.raises(CurationError, match='cannot be loaded as FLUX.1-Fill'):
        FluxFill.load(tmp_path)
    assert main(['panorama', '--set', f'rgbd_folder={tmp_path}', '--option', 'field_deg=60',
                 '--out', str(tmp_path / 'out'), '--fill', 'flux']) == 1
