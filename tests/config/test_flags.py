"""Flags made from the schema."""

import pytest

from harness.config import flags, settings


@pytest.mark.parametrize("flag", ["--profile", "--runtime.profile"])
def test_steps_to_profile_are_a_flag(flag):
    arguments = flags.make_parser("train", "", sections=("runtime",)).parse_args([flag, "10:20"])
    config, _ = flags.read_config(arguments)
    assert config.runtime.profile == "10:20"
    assert "profile: '10:20'" in settings.as_yaml(config)  # other programs read YAML too
