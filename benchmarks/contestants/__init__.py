"""The ways of moving a synth.v2 store that ``migrate_synth.py`` measures, each a program of its own."""
