"""The smallest network that training can run, and a config of it."""

TINY = {'size_hw': [32, 64], 'stem': 8, 'widths': [8, 8, 16, 14], 'blocks': [1, 1, 1, 1],
        'decoder': [8, 8, 8, 8]}
MICRO = {'network': 'pano_tiny', 'batch': 3, 'warmup_steps': 2, 'evaluate_images': 2,
         'model': TINY}
