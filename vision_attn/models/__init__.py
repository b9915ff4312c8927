"""Networks, bottom-up: each file is one idea; their settings are in `config`."""
