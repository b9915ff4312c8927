import pytest

from vision_attn.engine.config import TrainConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps must be 1 or more, got 0"),
        ({"log_every": -3}, "log_every must be 1 or more, got -3"),
        ({"batch_size": 12, "accumulate": 5}, "accumulate must divide batch_size.*12.*5"),
        ({"rate": 0.0}, "rate must be positive, got 0.0"),
        ({"rate": float("nan")}, "rate must be positive, got nan"),
        ({"steps": 10, "warmup": 10}, r"warmup must be in \[0, steps\), got warmup=10"),
        ({"final_rate": 1.5}, "final_rate must be in"),
        ({"final_rate": 0.5, "schedule": "step"}, "final_rate ends cosine and linear.*step"),
        ({"weight_decay": -0.1}, "weight_decay must be 0 or more"),
        ({"momentum": 1.0, "optimizer": "sgd"}, "momentum must be in"),
        ({"momentum": 0.95}, "momentum is for sgd, lars and muon.*adamw"),
        ({"layer_decay": 1.1}, "layer_decay must be in"),
        ({"head_rate": 0.0}, "head_rate must be positive"),
        ({"policy_rate": -1.0}, "policy_rate must be positive, got -1.0"),
        ({"patience": 0}, "patience must be 1 or more evaluations"),
        ({"clip": 0.0}, "clip must be positive or null"),
        ({"ema": 1.0}, "ema must be in"),
        ({"device": "GPU 1"}, "device must be auto or like cpu"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**settings)
