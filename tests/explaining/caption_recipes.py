"""Recipes of captioners of every kind, and of one network that tells labels."""

ENCODER = "{name: resnet, depths: [1, 1, 1, 1], channels: [2, 3, 5, 7], stem: small}"
KINDS = {
    "soft": (ENCODER, "{name: lstm, dim: 8}"),
    "hard": (ENCODER, "{name: lstm, dim: 8, look: hard}"),
    "transformer": (ENCODER, "{name: transformer, dim: 8, depth: 1, heads: 2}"),
    "glimpse": ("{name: retina, size: 6, scales: 2, channels: [4]}", "{name: glimpse, dim: 8}"),
}
RECIPE = """\
run: {run}
data: {{name: scene_captions, image_size: 24, train: 7, valid: 5, test: 4}}
model: {{name: captioner, encoder: {encoder}, decoder: {decoder}}}
task: {{name: captioning, beams: 3, penalty: 2.5, longest: 7}}
train: {{steps: 1, batch_size: 5, device: cpu}}
"""
LABELS = """\
run: {run}
data: {{name: scenes, image_size: 24, train: 7, valid: 5, test: 4}}
model: {encoder}
train: {{steps: 1, batch_size: 5, device: cpu}}
"""
