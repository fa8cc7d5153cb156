"""How far two sources are apart, in pixels. Record where the engine is; compare anywhere."""
